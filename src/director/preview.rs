//! Predicts what a director would do to the table.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use ipvs_rs::Operation;

use super::{Director, Done, Step};
use crate::desired;
use crate::spec::Spec;

impl Director {
    /// The operations that the director would request now, in order, without further verdicts and including those
    /// in progress. With a spec: those of a reload. Assumes that the table is as the director knows it, and that
    /// the kernel refuses nothing.
    #[must_use]
    pub fn preview(&self, spec: Option<Spec>, now: Instant) -> Vec<Operation> {
        self.preview_with(spec, None, now).0
    }

    /// As [`Director::preview`], for a reload that also reads which servers are in maintenance. Returns the director
    /// after it as well.
    #[must_use]
    pub fn preview_maintained(
        &self,
        spec: Spec,
        maintained: &BTreeMap<SocketAddr, String>,
        now: Instant,
    ) -> (Vec<Operation>, Director) {
        self.preview_with(Some(spec), Some(maintained), now)
    }

    fn preview_with(
        &self,
        spec: Option<Spec>,
        maintained: Option<&BTreeMap<SocketAddr, String>>,
        now: Instant,
    ) -> (Vec<Operation>, Director) {
        let mut copy = self.clone();
        if let Some(spec) = spec {
            copy.reload(spec);
        }
        let mut table = self.table().clone();
        let mut all = Vec::new();
        let mut under_way = copy.reconciler.under_way();
        loop {
            let done = match under_way.take().unwrap_or_else(|| copy.next_step()) {
                Step::Rest => return (all, copy),
                Step::Read(keys) => Done::Read(Ok(desired::restrict(&table, &keys))),
                Step::SetTimeouts(_) => Done::Timeouts(Ok(None)),
                Step::Apply(operations) => {
                    let results = operations.iter().map(|operation| table.apply(operation)).collect();
                    all.extend(operations);
                    Done::Applied(results)
                }
            };
            let was_reloading = copy.is_reloading();
            copy.done(done, now);
            if let Some(maintained) = maintained.filter(|_| was_reloading && !copy.is_reloading()) {
                copy.maintain(maintained, now);
            }
        }
    }
}
