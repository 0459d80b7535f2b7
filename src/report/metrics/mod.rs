//! The state and the counters of a daemon as Prometheus metrics. Label names and values are those of node_exporter's
//! IPVS collector, so that both can be joined.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>, version 0.0.4.

mod families;
mod meters;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::registry::Registry;

use super::view::View;
use families::Families;
pub use meters::Meters;

/// What a daemon reports about itself, besides its servers and its counters.
#[derive(Clone, Debug)]
pub struct DaemonFacts {
    /// When it started.
    pub started: SystemTime,
    /// The SHA-256 digest of the configuration in force, in hexadecimal digits.
    pub config_digest: String,
    /// The number of checks that run.
    pub running_checks: usize,
    /// The maximum number of checks that run at the same time.
    pub max_checks: usize,
    /// The number of messages in the mail queues.
    pub mail_queued: usize,
    /// The number of messages that were dropped.
    pub mail_dropped: usize,
    /// The number of operator commands that ended, by directive and result.
    pub commands: Vec<(String, &'static str, u64)>,
}

/// Everything that metrics are computed from.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// The state of all services.
    pub view: Arc<View>,
    /// The counters.
    pub meters: Meters,
    /// The daemon itself.
    pub facts: DaemonFacts,
    /// Whether each real server has metrics, not only each virtual service.
    pub per_server: bool,
}

impl Scrape {
    /// Writes the metrics as text.
    ///
    /// # Errors
    /// As `to`.
    pub fn write(self: Arc<Self>, to: &mut dyn Write) -> io::Result<()> {
        let mut registry = Registry::with_prefix("ldirectord");
        registry.register_collector(Box::new(Families(self)));
        let mut text = TextWriter { to, result: Ok(()) };
        let encoded = prometheus_text::encode(&mut text, &registry);
        text.result.and(encoded.map_err(io::Error::other))
    }
}

/// Writes text, and keeps the error of the writer.
struct TextWriter<'a> {
    to: &'a mut dyn Write,
    result: io::Result<()>,
}

impl fmt::Write for TextWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.to.write_all(text.as_bytes()).map_err(|error| {
            self.result = Err(error);
            fmt::Error
        })
    }
}
