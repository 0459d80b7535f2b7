//! One check as the daemon makes it: from the text of a configuration to the verdict.

use std::net::SocketAddr;
use std::sync::Arc;

use ldirectord_rs::check::Checker;
use ldirectord_rs::config::{self, Answers, Question};
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
        let loaded = config::load(text.as_bytes(), &answers(text.as_bytes()));
        let found = config::render(&loaded.diagnostics, "test.cf", false);
        let config = loaded.config.unwrap_or_else(|| panic!("{text}\n{found}"));
        let plan = Plan::new(Arc::new(config));
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

/// What a configuration asks for: files, and nothing else.
fn answers(text: &[u8]) -> Answers {
    let mut answers = Answers::new("director");
    for question in config::questions(text) {
        if let Question::File(path) = question {
            let content = std::fs::read(&path).map(Into::into).map_err(|error| error.to_string());
            answers.add_file(path, content);
        }
    }
    answers
}

/// The same checks with more directives: over TLS after STARTTLS, and with a certificate that is verified, or is of another.
pub fn with_starttls(good: &[Case], said: &str) -> Vec<Case> {
    const VERIFY: &str = "#rs: starttls=yes; #rs: tlsverify=yes; #rs: tlsca=\"/etc/peers.crt\"";
    let more =
        |case: &Case, more: &str| Case { directives: format!("{}; {more}", case.directives), ..case.clone() };
    let mut cases = Vec::new();
    for case in good {
        cases.extend([
            more(case, "#rs: starttls=yes").but(Outcome::Up, said),
            more(case, VERIFY).but(Outcome::Up, said),
            more(case, &format!("{VERIFY}; #rs: tlsname=\"peers.test\"")).but(Outcome::Up, said),
            more(case, &format!("{VERIFY}; #rs: tlsname=\"other.test\""))
                .but(Outcome::Down, "not valid for name \"other.test\""),
            // Nobody on this machine vouches for it.
            more(case, "#rs: starttls=yes; #rs: tlsverify=yes; #rs: tlsca=\"/etc/stranger.crt\"")
                .but(Outcome::Down, "no root that is believed stands behind the certificate"),
            more(case, "#rs: starttls=yes; #rs: tlswarn=31")
                .but(Outcome::Up, "warning: the certificate of CN=peers.test ends in 29 days"),
        ]);
    }
    cases
}
