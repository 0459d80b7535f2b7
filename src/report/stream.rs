//! Writes the JSON form of a view server by server, without a copy of the whole state in memory.

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use super::counters::{Counters, ServiceCounters};
use super::moment::Moment;
use super::snapshot::{Elsewhere, destination, server, time};
use super::traffic::Traffic;
use super::view::{DestinationView, ServiceView, View};

/// Writes the JSON form of a view on one line: what [`super::StateSnapshot`] serializes to, with the kernel's counters.
///
/// # Errors
/// As `to`.
pub fn write_state(view: &View, counters: &Counters, to: &mut dyn Write) -> io::Result<()> {
    let virtuals =
        || view.services.iter().map(|service| lazy_service(service, view.at, counters.service(service.id)));
    let elsewhere = || {
        let all = view.elsewhere.iter();
        all.map(|(id, owner)| Elsewhere { id: id.qualified(), owner: owner.clone() })
    };
    let state = LazyState {
        name: &view.name,
        config: &view.config,
        taken_at: time(view.at.wall),
        virtuals: Sequence(virtuals),
        late_checks: view.late_checks,
        elsewhere: (!view.elsewhere.is_empty()).then_some(Sequence(elsewhere)),
    };
    serde_json::to_writer(to, &state).map_err(io::Error::from)
}

fn lazy_service<'a>(
    service: &'a ServiceView,
    at: Moment,
    counters: Option<ServiceCounters<'a>>,
) -> impl Serialize + use<'a> {
    let servers = move || service.servers.iter().map(move |view| server(view, at, service.failurecount));
    let destinations = service.destinations.as_ref();
    let counted = move |view: &DestinationView| {
        let mut entry = destination(view);
        if let Some(counters) = counters {
            counters.count(view.key, &mut entry);
        }
        entry
    };
    let (traffic, rates) = counters.map(ServiceCounters::traffic).unwrap_or_default();
    LazyService {
        id: service.id.qualified(),
        scheduler: &service.scheduler,
        name: service.name.as_deref(),
        fallback: service.fallback.map(|fallback| fallback.to_string()),
        servers: Sequence(servers),
        destinations: destinations.map(|all| Sequence(move || all.iter().map(counted))),
        traffic,
        rates,
    }
}

/// A [`super::StateSnapshot`] whose lists are created while they are written.
#[derive(Serialize)]
struct LazyState<'a, V, E> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    config: &'a str,
    taken_at: String,
    virtuals: V,
    late_checks: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    elsewhere: Option<E>,
}

/// A [`super::VirtualService`] whose lists are created while they are written.
#[derive(Serialize)]
struct LazyService<'a, S, D> {
    id: String,
    scheduler: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<String>,
    servers: S,
    destinations: Option<D>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic: Option<Traffic>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rates: Option<Traffic>,
}

/// A list that is created while it is written.
struct Sequence<F>(F);

impl<F, I> Serialize for Sequence<F>
where
    F: Fn() -> I,
    I: IntoIterator,
    I::Item: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::{Instant, UNIX_EPOCH};

    use ipvs_rs::Table;

    use super::*;
    use crate::config::{self, Answers};
    use crate::desired;
    use crate::health::Health;
    use crate::report::StateSnapshot;
    use crate::spec::Spec;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test needs a start time")]
    fn the_state_is_written_as_its_snapshot() {
        let text = "virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\treal=10.0.0.3:80 masq\n\tfallback=127.0.0.1:80\n\
                    \tservicename=web \"one\"\n\tcheckcount=3\nvirtual6=7\n\treal6=[2001:db8::2]:53 masq\n";
        let config = config::load(text.as_bytes(), &Answers::new("director")).config.unwrap();
        let (spec, instant) = (Spec::new(Arc::new(config)), Instant::now());
        let up: BTreeSet<_> = spec.virtuals().iter().map(|v| (v.id, v.reals[0].address)).collect();
        let health = Health::new(&spec, &up, instant);
        let table = desired::wanted(&spec, &health);
        let now = Moment { instant, wall: UNIX_EPOCH };
        let full = View::of(&spec, &health, &table, now);
        let elsewhere = vec![("fwm:5".parse().unwrap(), "other.cf".to_owned())];
        let daemon = View { name: Arc::from("web.cf"), config: Arc::from("/x"), elsewhere, ..full.clone() };
        let unread = View::of(&spec, &health, &Table::default(), now);
        for view in [full, daemon, unread] {
            let mut written = Vec::new();
            write_state(&view, &Counters::default(), &mut written).unwrap();
            let expected = serde_json::to_string(&StateSnapshot::of(&view)).unwrap();
            assert_eq!(String::from_utf8(written).unwrap(), expected);
        }
    }
}
