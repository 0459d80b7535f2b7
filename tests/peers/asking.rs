//! One check as the daemon makes it: from the text of a configuration to the verdict.

use std::net::SocketAddr;
use std::sync::Arc;

use ldirectord_rs::check::Checker;
use ldirectord_rs::config::{self, Answers};
use ldirectord_rs::plan::{Plan, Probe};
use ldirectord_rs::value::{Outcome, Verdict};

/// A check in the words of the configuration, and what should come of it.
#[derive(Clone)]
pub struct Case {
    /// The server, with its port.
    pub real: SocketAddr,
    /// Whether the virtual is one of UDP.
    pub udp: bool,
    /// The directives of the virtual, separated by `; `.
    pub directives: String,
    pub outcome: Outcome,
    /// A part of the reason.
    pub reason: String,
}

impl Case {
    fn new(real: &str, directives: &str, outcome: Outcome, reason: &str) -> Case {
        Case {
            real: real.parse().unwrap(),
            udp: false,
            directives: directives.to_owned(),
            outcome,
            reason: reason.to_owned(),
        }
    }

    pub fn up(real: &str, directives: &str, reason: &str) -> Case {
        Case::new(real, directives, Outcome::Up, reason)
    }

    pub fn down(real: &str, directives: &str, reason: &str) -> Case {
        Case::new(real, directives, Outcome::Down, reason)
    }

    pub fn udp(mut self) -> Case {
        self.udp = true;
        self
    }

    /// The same check, of which something else should come.
    pub fn but(&self, outcome: Outcome, reason: &str) -> Case {
        Case { outcome, reason: reason.to_owned(), ..self.clone() }
    }

    /// The probe that the configuration leads to, with so many seconds for it.
    pub fn probe(&self, seconds: u32) -> Arc<Probe> {
        let (six, address) = if self.real.is_ipv4() { ("", "192.0.2.1") } else { ("6", "[2001:db8::1]") };
        let protocol = if self.udp { "udp" } else { "tcp" };
        let mut text = format!(
            "checktimeout={seconds}\nnegotiatetimeout={seconds}\nvirtual{six}={address}:99\n\treal{six}={} masq\n\tprotocol={protocol}\n",
            self.real
        );
        // What is empty is left out: the configuration refuses some directives without a value.
        for line in self.directives.split("; ").filter(|line| !line.ends_with("=\"\"")) {
            text.push_str(&format!("\t{line}\n"));
        }
        let loaded = config::load(text.as_bytes(), &Answers::new("director"));
        let found = config::render(&loaded.diagnostics, "test.cf", false);
        let config = loaded.config.unwrap_or_else(|| panic!("{text}\n{found}"));
        let plan = Plan::new(Arc::new(config)).unwrap();
        Arc::clone(&plan.checks()[0].key.probe)
    }

    /// What is wrong with a verdict; nothing, if it is as it should be.
    pub fn fault(&self, verdict: &Verdict) -> Option<String> {
        let good = verdict.outcome == self.outcome && verdict.reason.contains(&self.reason);
        (!good).then(|| {
            format!(
                "{} {}\n  expected {:?} {}\n  found    {:?} {}",
                self.real, self.directives, self.outcome, self.reason, verdict.outcome, verdict.reason
            )
        })
    }

    pub async fn ask(&self, checker: &Checker, seconds: u32) -> Verdict {
        checker.run(&self.probe(seconds)).await
    }
}
