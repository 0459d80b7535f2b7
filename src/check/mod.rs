//! Runs one probe and returns its verdict. One file per protocol.
#![expect(clippy::disallowed_methods, reason = "a check takes time, and says how much")]

mod aside;
mod attendance;
mod catch_panic;
mod clients;
mod connect;
mod content;
mod datagram;
mod descriptors;
mod dialogue;
mod dns;
mod external;
mod failure;
mod format;
mod http;
mod ldap;
mod mask;
mod matching;
mod mysql;
mod oracle;
mod pgsql;
mod ping;
mod progress;
mod radius;
mod sctp;
mod simple_tcp;
mod sql;
#[cfg(test)]
mod tests;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::time::sleep;

use crate::net::lookup::Lookups;
use crate::net::tls;
use crate::spec::{Probe, ProbeAction};
use crate::sys::links::Links;
use crate::value::{Unreachable, Verdict};
use attendance::Attendance;
use catch_panic::contain;
pub use catch_panic::silence as silence_contained_panics;
use clients::Clients;
pub use descriptors::descriptors;
#[cfg(feature = "oracle")]
pub use oracle::login as oracle_login;
use progress::Progress;

/// Why the checks cannot be set up.
#[derive(Debug, Error)]
pub enum CheckerError {
    /// The TLS library rejects its own defaults.
    #[error("TLS for checks: {0}")]
    Tls(#[from] tls::TlsClientError),
}

/// The pause before a check is repeated because this machine has no route to the server.
const ROUTE_PAUSE: Duration = Duration::from_millis(500);

/// How much later than an error the kernel may report the link change that caused it.
const LINK_EVENT_PAUSE: Duration = Duration::from_millis(50);

/// Shared by all checks. Created once, for one runtime; a check itself creates only its connection.
pub struct Checker {
    attendance: Arc<Attendance>,
    clients: Clients,
    links: Links,
    lookups: Lookups,
    ping: ping::Sockets,
    run_commands: bool,
}

impl Checker {
    /// Sets up the shared parts. [`Checker::open_pings`], or the first ping, opens the sockets for pings.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn new() -> Result<Checker, CheckerError> {
        tls::install_provider();
        let clients = Clients::default();
        // Most checks use the default client: report here if it cannot be created.
        clients.of(&Arc::default())?;
        let (attendance, lookups, ping) = (Arc::default(), Lookups::default(), ping::Sockets::default());
        Ok(Checker { attendance, clients, links: Links::open(), lookups, ping, run_commands: true })
    }

    /// Sets whether external checks run their commands. If not (dry run), their verdict is unknown.
    #[must_use]
    pub fn with_commands(self, run_commands: bool) -> Checker {
        Checker { run_commands, ..self }
    }

    /// Opens the sockets for pings while this process has the privilege. Call it in the runtime of the checks. If a
    /// socket cannot be opened, the first ping tries again and reports why.
    pub fn open_pings(&self) {
        self.ping.open();
    }

    /// Runs one probe and returns its verdict by the deadline, which counts only time in which the loop of the
    /// checks ran. Dropping the future cancels the probe.
    pub async fn run(&self, probe: &Probe) -> Verdict {
        let shift = self.attendance.enter();
        let progress = Progress::new(shift.began(), probe.target);
        let verdict = match shift.within(probe.deadline, pin!(self.attempts(probe, &progress))).await {
            Some(verdict) => shift.judge(probe.deadline, verdict),
            None => overdue(probe, &progress).await,
        };
        let mut verdict = verdict.with_warning(progress.warning());
        verdict.took = shift.began().elapsed();
        verdict.phases = progress.phases();
        verdict.certificate_expires = progress.certificate_expires();
        mask::mask(probe, verdict)
    }

    /// Repeats the probe, until the deadline, while this machine has no route to the server or a link to it changed.
    async fn attempts(&self, probe: &Probe, progress: &Progress) -> Verdict {
        let (begin, mut link_changed) = (self.links.now(), false);
        loop {
            let verdict = self.dispatch(probe, progress).await;
            let again = match verdict.unreachable {
                None => false,
                Some(Unreachable::NoRoute) => true,
                Some(Unreachable::Host) if link_changed => true,
                Some(Unreachable::Host) => {
                    // The kernel reports the failed transmission a moment before the link change.
                    sleep(LINK_EVENT_PAUSE).await;
                    link_changed = self.links.changed_since(begin, probe.target.ip());
                    link_changed
                }
            };
            if !again {
                return verdict;
            }
            progress.no_route(Some(verdict));
            sleep(ROUTE_PAUSE).await;
            progress.no_route(None);
        }
    }

    async fn dispatch(&self, probe: &Probe, progress: &Progress) -> Verdict {
        match &probe.action {
            ProbeAction::Nothing => Verdict::up("nothing is checked"),
            ProbeAction::SctpConnect => sctp::run(probe).await,
            ProbeAction::Connect => connect::run(probe).await,
            ProbeAction::Http(http) => http::run(&self.clients, &self.lookups, probe, http, progress).await,
            ProbeAction::Ping { attempts } => ping::run(&self.ping, probe, *attempts, progress).await,
            ProbeAction::SimpleTcp(simple) => simple_tcp::run(probe, simple, progress).await,
            ProbeAction::Datagram(datagram) => datagram::run(probe, datagram, progress).await,
            ProbeAction::Dns(dns) => dns::run(probe, dns, progress).await,
            ProbeAction::Radius(radius) => radius::run(probe, radius, progress).await,
            ProbeAction::Ldap(ldap) => {
                contain(&format!("ldap {}", probe.target), ldap::run(&self.clients, probe, ldap, progress))
                    .await
            }
            ProbeAction::Mysql(sql) => {
                contain(&format!("mysql {}", probe.target), mysql::run(&self.clients, probe, sql, progress))
                    .await
            }
            ProbeAction::Pgsql(sql) => {
                contain(&format!("pgsql {}", probe.target), pgsql::run(&self.clients, probe, sql, progress))
                    .await
            }
            ProbeAction::Oracle(sql) => oracle::run(probe, sql, progress).await,
            ProbeAction::Dialogue(dialogue) => dialogue::run(&self.clients, probe, dialogue, progress).await,
            ProbeAction::External(external) if !self.run_commands => external::not_run(external),
            ProbeAction::External(external) => external::run(external, progress).await,
        }
    }
}

/// The verdict if the deadline passed first.
async fn overdue(probe: &Probe, progress: &Progress) -> Verdict {
    if let Some(verdict) = progress.no_route(None) {
        let reason = format!("{} (tried again for {})", verdict.reason, format::spoken(probe.deadline));
        return Verdict { reason, ..verdict };
    }
    let reason = progress.overdue(probe.deadline);
    if let Some(cause) = progress.own_fault(probe.deadline) {
        return Verdict::unknown(cause, reason);
    }
    let receive = match &probe.action {
        ProbeAction::Http(http) => http.receive.as_ref(),
        ProbeAction::Dialogue(dialogue) => dialogue.receive.as_ref(),
        _ => None,
    };
    if let Some(verdict) = content::at_the_deadline(probe.deadline, receive, progress).await {
        return verdict;
    }
    let verdict = Verdict::down(reason);
    match &probe.action {
        ProbeAction::Http(_) => verdict.with_monitor("500 Timeout Alarm"),
        ProbeAction::Dns(_) => verdict.with_monitor(dns::NO_ANSWER),
        ProbeAction::Ldap(_) => verdict.with_monitor(ldap::NO_ANSWER),
        _ => verdict,
    }
}
