//! The metrics, one family after the other. `docs/monitoring.md` lists them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::Scrape;
use super::meters::{Durations, OPERATIONS};
use crate::health::Owner;
use crate::report::view::{DestinationRole, DestinationView, ServerView, ServiceView, ShownState};
use crate::value::{Family, ForwardingMethod, Outcome, Protocol, VirtualId};

/// Names and values of the labels of one sample.
type Labels = Vec<(&'static str, String)>;

/// Computes all metrics of a scrape.
#[derive(Debug)]
pub(super) struct Families(pub(super) Arc<Scrape>);

impl Collector for Families {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        self.daemon(&mut writer)?;
        self.services(&mut writer)?;
        if self.0.per_server {
            self.servers(&mut writer)?;
        }
        self.checks(&mut writer)?;
        self.table(&mut writer)?;
        self.outlets(&mut writer)
    }
}

impl Families {
    fn daemon(&self, to: &mut Writer<'_>) -> fmt::Result {
        let Scrape { view, meters, facts, .. } = &*self.0;
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        to.gauge("build_info", "The version of the program. Always 1", [(version, 1.0)])?;
        let started = [(vec![], unix(facts.started))];
        to.gauge("start_time_seconds", "When the daemon started, in seconds since 1970", started)?;
        let config = vec![("path", view.config.to_string()), ("sha256", facts.config_digest.clone())];
        to.gauge("config_info", "The configuration in force. Always 1", [(config, 1.0)])?;
        let last = meters.last_reload;
        let success = last.is_none_or(|(_, is_applied)| is_applied);
        let help = "Whether the last reload was applied. 1 before the first";
        to.gauge("config_last_reload_success", help, [(vec![], f64::from(u8::from(success)))])?;
        let at = last.map_or(facts.started, |(at, _)| at);
        let help = "When the last reload ended, or the daemon started, in seconds since 1970";
        to.gauge("config_last_reload_timestamp_seconds", help, [(vec![], unix(at))])?;
        let reloads = ["applied", "refused"].map(|result| {
            (vec![("result", result.to_owned())], meters.reloads.get(result).copied().unwrap_or_default())
        });
        to.counter("config_reloads", "Reloads of the configuration", reloads)
    }

    fn services(&self, to: &mut Writer<'_>) -> fmt::Result {
        let services = &self.0.view.services;
        let states = services.iter().flat_map(|service| {
            counted_states(service).into_iter().map(|(state, count)| {
                let labels = [service_labels(service.id), vec![("state", state_word(state).to_owned())]];
                (labels.concat(), count)
            })
        });
        to.gauge("virtual_servers", "Real servers of the virtual service in this state", states)?;
        let fallbacks = services.iter().filter(|service| service.fallback.is_some());
        let active = fallbacks
            .map(|service| (service_labels(service.id), f64::from(u8::from(is_fallback_active(service)))));
        to.gauge("virtual_fallback_active", "Whether the fallback server is activated", active)?;
        let expiries = services.iter().filter_map(|service| {
            let verdicts = service.servers.iter().filter_map(|server| server.verdict.as_ref());
            let first = verdicts.filter_map(|verdict| verdict.certificate_expires).min()?;
            Some((service_labels(service.id), seconds(first)))
        });
        let help = "When the first certificate of the real servers expires, in seconds since 1970";
        to.gauge("certificate_expiry_timestamp_seconds", help, expiries)?;
        let all = || services.iter().flat_map(|service| &service.servers);
        let count = |what: &str| {
            all()
                .filter(|server| server.state != ShownState::Maintenance)
                .filter(|server| {
                    server.overridden.as_ref().is_some_and(|decided| decided.what.as_str() == what)
                })
                .count()
        };
        let maintenance = all().filter(|server| server.state == ShownState::Maintenance).count();
        let counts = ["drain", "down", "up", "weight"]
            .map(|what| (what, count(what)))
            .into_iter()
            .chain([("maintenance", maintenance)])
            .map(|(word, count)| (vec![("what", word.to_owned())], whole(count)));
        to.gauge("overrides", "Real servers with an override of an operator, or in maintenance", counts)?;
        let is_old = |server: &&ServerView| {
            let decided = server.overridden.as_ref().filter(|decided| decided.owner != Owner::Maintenance);
            decided.is_some_and(|decided| decided.is_old_without_end(self.0.view.at.instant))
        };
        let old = [(Vec::new(), whole(all().filter(is_old).count()))];
        let help = "Real servers with an override of an operator that has no end and is older than a day";
        to.gauge("overrides_without_end_over_a_day", help, old)?;
        let mut causes: BTreeMap<String, usize> = BTreeMap::new();
        let verdicts = all().filter_map(|server| server.verdict.as_ref());
        for verdict in verdicts {
            if let Outcome::Unknown(cause) = verdict.outcome {
                *causes.entry(cause.to_string()).or_default() += 1;
            }
        }
        let causes = causes.into_iter().map(|(cause, count)| (vec![("cause", cause)], whole(count)));
        to.gauge("unknown_servers", "Real servers whose last check was not possible", causes)
    }

    fn servers(&self, to: &mut Writer<'_>) -> fmt::Result {
        let Scrape { view, meters, .. } = &*self.0;
        let all = || {
            let services = view.services.iter();
            services.flat_map(|service| distinct(service).map(move |server| (&**service, server)))
        };
        let labels = |service: &ServiceView, server: &ServerView| {
            server_labels(service.id, destination(service, server))
        };
        let up = all().map(|(service, server)| {
            (labels(service, server), f64::from(u8::from(server.state == ShownState::Up)))
        });
        to.gauge("server_up", "Whether the real server is up", up)?;
        let weights = all().map(|(service, server)| {
            let key = destination(service, server);
            let mut destinations = service.destinations.iter().flatten();
            let destination = destinations.find(|d| {
                d.role == DestinationRole::Server && SocketAddr::new(d.key.address, d.key.port) == key
            });
            (labels(service, server), f64::from(destination.map_or(0, |d| d.config.weight)))
        });
        to.gauge(
            "server_weight",
            "The weight of the real server in the table, 0 if it is not there",
            weights,
        )?;
        let since = all().map(|(s, server)| (labels(s, server), unix(view.at.wall_at(server.since))));
        let help = "When the real server went into or out of rotation, in seconds since 1970";
        to.gauge("server_state_change_timestamp_seconds", help, since)?;
        let counts = all().flat_map(|(service, server)| {
            let known = meters.servers.get(&(service.id, server.address)).copied().unwrap_or_default();
            [("up", known.ups), ("down", known.downs)]
                .map(|(to, count)| ([labels(service, server), vec![("to", to.to_owned())]].concat(), count))
        });
        to.counter("server_transitions", "How often the real server was marked up or down", counts)?;
        let downtime = all().map(|(service, server)| {
            let known = meters.servers.get(&(service.id, server.address)).copied().unwrap_or_default();
            (labels(service, server), known.downtime(view.at.instant).as_secs_f64())
        });
        to.counter_seconds("server_downtime_seconds", "For how long the real server was down", downtime)
    }

    fn checks(&self, to: &mut Writer<'_>) -> fmt::Result {
        let Scrape { view, meters, facts, .. } = &*self.0;
        let checks = meters.checks.iter().map(|((kind, result), count)| {
            (vec![("service", (*kind).to_owned()), ("result", (*result).to_owned())], *count)
        });
        to.counter("checks", "Checks that ended", checks)?;
        let failures = meters
            .failures
            .iter()
            .map(|(phase, count)| (vec![("layer", phase.as_str().to_ascii_lowercase())], *count));
        to.counter("check_failures", "Checks that failed, by the phase in which they failed", failures)?;
        let durations = meters
            .durations
            .iter()
            .map(|(kind, durations)| (vec![("service", (*kind).to_owned())], durations));
        to.histogram("check_duration_seconds", "How long checks took", durations)?;
        let lag = [(vec![], meters.lag().as_secs_f64())];
        to.gauge("check_lag_seconds", "Largest delay of the start of a check in the last minute", lag)?;
        to.counter(
            "checks_late",
            "Checks that began more than one interval late",
            [(vec![], view.late_checks)],
        )?;
        to.gauge("checks_running", "Checks that run now", [(vec![], whole(facts.running_checks))])?;
        let limit = [(vec![], whole(facts.max_checks))];
        to.gauge("checks_limit", "Maximum number of checks that run at the same time", limit)
    }

    fn table(&self, to: &mut Writer<'_>) -> fmt::Result {
        let meters = &self.0.meters;
        // Also those that have not happened: Prometheus does not see the increase of a series that begins with 1.
        let all =
            OPERATIONS.into_iter().flat_map(|operation| ["ok", "refused"].map(|result| (operation, result)));
        let operations = all.map(|(operation, result)| {
            let count = meters.kernel.get(&(operation, result)).copied().unwrap_or_default();
            (vec![("operation", operation.to_owned()), ("result", result.to_owned())], count)
        });
        to.counter("kernel_operations", "Operations on the kernel's table", operations)?;
        let help = "Operations that repaired changes of other programs";
        to.counter("table_repairs", help, [(vec![], meters.repairs)])?;
        let help = "From the decision on a real server to the kernel's table";
        to.histogram("verdict_to_kernel_seconds", help, [(vec![], &meters.to_kernel)])
    }

    fn outlets(&self, to: &mut Writer<'_>) -> fmt::Result {
        let facts = &self.0.facts;
        to.gauge("mail_queue_length", "Messages in the mail queues", [(vec![], whole(facts.mail_queued))])?;
        let dropped = [(vec![], facts.mail_dropped as u64)];
        to.counter("mail_dropped", "Messages that were dropped", dropped)?;
        let commands = facts.commands.iter().map(|(kind, result, count)| {
            (vec![("kind", kind.clone()), ("result", (*result).to_owned())], *count)
        });
        to.counter("commands", "Operator commands that ended", commands)
    }
}

/// Writes families of samples.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// The encoder adds `_total` to the name.
    fn counter(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn counter_seconds(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn histogram<'d>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, &'d Durations)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, durations) in samples {
            let buckets = durations.buckets();
            let mut family = family.encode_family(&labels)?;
            family.encode_histogram::<NoLabelSet>(durations.sum, durations.count(), &buckets, None)?;
        }
        Ok(())
    }
}

/// Whether the fallback is activated. If it is the destination of a server, no server is in rotation then.
fn is_fallback_active(service: &ServiceView) -> bool {
    let is_fallback = |d: &&DestinationView| {
        d.role == DestinationRole::Fallback
            || service.fallback == Some(SocketAddr::new(d.key.address, d.key.port))
                && !service.servers.iter().any(|server| server.state == ShownState::Up)
    };
    service.destinations.iter().flatten().any(|d| is_fallback(&d) && d.config.weight > 0)
}

/// The labels of a virtual service, as node_exporter names and writes them.
fn service_labels(id: VirtualId) -> Labels {
    let (address, port, proto, mark) = match id {
        VirtualId::Address { protocol, address } => {
            let proto = match protocol {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
                Protocol::Sctp => "SCTP",
            };
            (address.ip().to_string(), address.port(), proto, String::new())
        }
        VirtualId::Mark { mark, family: Family::V4 } => (String::new(), 0, "FWM", format!("{mark:08X}")),
        // node_exporter does not tell the two families of a mark apart, but series must be unique.
        VirtualId::Mark { mark, family: Family::V6 } => (String::new(), 0, "FWM6", format!("{mark:08X}")),
    };
    vec![
        ("local_address", address),
        ("local_port", port.to_string()),
        ("proto", proto.to_owned()),
        ("local_mark", mark),
    ]
}

/// The labels of the destination of a real server. Its address shows the family of a mark, so `proto` is what
/// node_exporter writes.
fn server_labels(service: VirtualId, server: SocketAddr) -> Labels {
    let service = match service {
        VirtualId::Mark { mark, .. } => VirtualId::Mark { mark, family: Family::V4 },
        VirtualId::Address { .. } => service,
    };
    let mut labels = service_labels(service);
    labels.push(("remote_address", server.ip().to_string()));
    labels.push(("remote_port", server.port().to_string()));
    labels
}

/// Where the table has a server. Direct routing and tunnels keep the port of the virtual service. A mark has none.
fn destination(service: &ServiceView, server: &ServerView) -> SocketAddr {
    let port = match server.method {
        ForwardingMethod::Masq => None,
        _ => service.id.port(),
    };
    SocketAddr::new(server.address.ip(), port.unwrap_or(server.address.port()))
}

/// The servers of a service, each destination once: a series must be unique. Of several lines the first that is not
/// up counts, as in the table.
fn distinct(service: &ServiceView) -> impl Iterator<Item = &ServerView> {
    let mut by_address: BTreeMap<SocketAddr, &ServerView> = BTreeMap::new();
    for server in &service.servers {
        let known = by_address.entry(destination(service, server)).or_insert(server);
        if known.state == ShownState::Up && server.state != ShownState::Up {
            *known = server;
        }
    }
    by_address.into_values()
}

/// The number of servers in each state. Up and down are always there.
fn counted_states(service: &ServiceView) -> Vec<(ShownState, f64)> {
    let all = [
        ShownState::Up,
        ShownState::Down,
        ShownState::Draining,
        ShownState::Maintenance,
        ShownState::Leaving,
        ShownState::Off,
        ShownState::Unknown,
    ];
    let count = |state| service.servers.iter().filter(|server| server.state == state).count();
    let counts = all.into_iter().map(|state| (state, count(state)));
    let is_shown = |(state, count): &(ShownState, usize)| {
        *count > 0 || matches!(state, ShownState::Up | ShownState::Down)
    };
    counts.filter(is_shown).map(|(state, count)| (state, whole(count))).collect()
}

fn state_word(state: ShownState) -> &'static str {
    match state {
        ShownState::Up => "up",
        ShownState::Down => "down",
        ShownState::Off => "off",
        ShownState::Unknown => "unknown",
        ShownState::Maintenance => "maintenance",
        ShownState::Draining => "draining",
        ShownState::Leaving => "leaving",
    }
}

fn unix(at: SystemTime) -> f64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    (since * 1000.0).round() / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "a date and a number of servers are far below 2^52")]
fn seconds(value: i64) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "a date and a number of servers are far below 2^52")]
fn whole(value: usize) -> f64 {
    value as f64
}
