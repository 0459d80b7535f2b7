//! Judges whether a machine suits a configuration: what was observed → findings, each with its reason and its remedy.

mod addresses;
mod host;
mod kernel;
mod machine;
mod marks;
mod sysctl;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::Serialize;

pub use machine::{
    Descriptors, Interface, IpvsModule, Machine, Mail, Marks, OperatorCommand, Privileges, Runs, Seen,
    SeenDaemon, Sync, Sysctls, TableState,
};

use crate::spec::{Real, Spec, Virtual};

/// One finding about the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub topic: Topic,
    /// How bad it is.
    pub level: FindingLevel,
    /// What was found, with the value and the wanted one.
    pub what: String,
    /// What it means, and which service needs it. Absent if nothing is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What the operator can do. Absent if nothing is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is the topic of its name")]
pub enum Topic {
    File,
    Kernel,
    Privileges,
    Daemon,
    Table,
    Addresses,
    Forwarding,
    Method,
    Marks,
    Sysctl,
    Descriptors,
    Ping,
    Mail,
}

impl Topic {
    /// The word for readers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Topic::File => "file",
            Topic::Kernel => "kernel",
            Topic::Privileges => "privileges",
            Topic::Daemon => "daemon",
            Topic::Table => "table",
            Topic::Addresses => "addresses",
            Topic::Forwarding => "forwarding",
            Topic::Method => "method",
            Topic::Marks => "marks",
            Topic::Sysctl => "sysctl",
            Topic::Descriptors => "descriptors",
            Topic::Ping => "ping",
            Topic::Mail => "mail",
        }
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingLevel {
    /// As it should be.
    Ok,
    /// Worth knowing, or it could not be looked at.
    Note,
    /// It works, but worse than it could.
    Warning,
    /// A service of the file does not work as written.
    Error,
}

impl Finding {
    /// A finding that is as it should be.
    fn ok(topic: Topic, what: impl Into<String>) -> Finding {
        Finding { topic, level: FindingLevel::Ok, what: what.into(), why: None, remedy: None }
    }

    /// A finding that only informs.
    fn note(topic: Topic, what: impl Into<String>) -> Finding {
        Finding { level: FindingLevel::Note, ..Finding::ok(topic, what) }
    }

    fn warning(topic: Topic, what: impl Into<String>) -> Finding {
        Finding { level: FindingLevel::Warning, ..Finding::ok(topic, what) }
    }

    fn error(topic: Topic, what: impl Into<String>) -> Finding {
        Finding { level: FindingLevel::Error, ..Finding::ok(topic, what) }
    }

    /// A finding about what could not be observed.
    fn unseen(topic: Topic, what: &str, why: &str) -> Finding {
        Finding::note(topic, format!("{what} could not be looked at: {why}"))
    }

    fn why(self, why: impl Into<String>) -> Finding {
        Finding { why: Some(why.into()), ..self }
    }

    fn remedy(self, remedy: impl Into<String>) -> Finding {
        Finding { remedy: Some(remedy.into()), ..self }
    }
}

/// All findings, by topic.
#[must_use]
pub fn judge(spec: &Spec, machine: &Machine) -> Vec<Finding> {
    let judges = [
        host::file,
        kernel::judge,
        host::privileges,
        host::daemon,
        kernel::table,
        addresses::addresses,
        addresses::forwarding,
        addresses::method,
        marks::judge,
        sysctl::judge,
        host::descriptors,
        host::ping,
        host::mail,
    ];
    judges.into_iter().flat_map(|judge| judge(spec, machine)).collect()
}

/// The services for which something is true.
fn services(spec: &Spec, mut needs: impl FnMut(&Virtual) -> bool) -> Vec<&Virtual> {
    spec.virtuals().iter().filter(|v| needs(v)).collect()
}

/// The names of services: the first one, and the number of the others.
fn names(services: &[&Virtual]) -> String {
    match services {
        [] => String::new(),
        [only] => only.id.qualified(),
        [first, second] => format!("{} and {}", first.id.qualified(), second.id.qualified()),
        [first, others @ ..] => format!("{} and {} more", first.id.qualified(), others.len()),
    }
}

/// The servers of some services that a condition selects, each once.
fn servers(services: &[&Virtual], needs: impl Fn(&Real) -> bool) -> BTreeSet<std::net::SocketAddr> {
    services.iter().flat_map(|v| &v.reals).filter(|real| needs(real)).map(|real| real.address).collect()
}

/// A number with its noun: `1 server`, `1,024 servers`.
fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(number as u64))
}

/// A number with a comma between groups of three digits.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
