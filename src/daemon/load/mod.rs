//! Loads a configuration file into a [`Spec`], or returns all its errors.

mod answers;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use answers::{NOTHING, Unread, answer, invent};

use super::addresses::{Hosts, InUse};
use super::maintenance::{self, MaintainedServers};
use crate::config::{self, Answers, Diagnostic, Severity};
use crate::net::{cause, resolve, tls};
use crate::settings::credential;
use crate::spec::Spec;
use crate::sys::{privileges, regular};
use crate::value::TlsPolicy;

/// Maximum size of a configuration file or certificate in bytes.
pub(super) const MAX_SIZE: u64 = 16 * 1024 * 1024;

/// Maximum number of errors of a file that are logged.
const LOGGED: usize = 1000;

/// Maximum number of error lines that are printed on a terminal.
const SHOWN: usize = 100;

/// A valid configuration.
#[derive(Debug)]
pub struct LoadedFile {
    /// The spec of the configuration.
    pub spec: Spec,
    /// The bytes of the file.
    pub content: Vec<u8>,
    /// The address of each name in it.
    pub hosts: Hosts,
    /// Warnings about the file.
    pub warnings: Vec<Diagnostic>,
    /// Warnings about the machine.
    notes: Vec<String>,
}

/// Why a configuration cannot be used.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It has errors.
    Invalid {
        /// Which file.
        path: PathBuf,
        /// All errors and warnings.
        diagnostics: Vec<Diagnostic>,
        /// The message for names that were not resolved because the system's resolver does not answer. `None`
        /// otherwise.
        silence: Option<String>,
    },
    /// It names certificates or keys that cannot be used.
    Tls {
        /// Which file.
        path: PathBuf,
        /// The line of each virtual service, from 1, and the error.
        faults: Vec<(usize, String)>,
    },
    /// The file was not read in time.
    Late {
        /// Which file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A bug in this program.
    Bug(String),
}

impl LoadError {
    /// One line for each error, in the original's form.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let pid = std::process::id();
        match self {
            LoadError::Unreadable { path, error } => {
                let advice = advice(path, error.kind(), &privileges::own_name());
                let why = cause(error);
                vec![format!("Error [{pid}] reading file {}: {why}{advice}", path.display())]
            }
            LoadError::Invalid { path, diagnostics, silence } => {
                let about = |what: &String| format!("Error [{pid}] reading file {}: {what}", path.display());
                lines(diagnostics, path).into_iter().chain(silence.as_ref().map(about)).collect()
            }
            LoadError::Tls { path, faults } => {
                let line = |(line, what): &(usize, String)| {
                    format!("Error [{pid}] reading file {} at line {line}: {what}", path.display())
                };
                faults.iter().map(line).collect()
            }
            LoadError::Late { path, why } => vec![format!(
                "Error [{pid}] reading file {}: {why}; the file, a file that it names, maintenancedir or the name server does not \
                 respond; reload when it does",
                path.display()
            )],
            LoadError::Bug(what) => {
                vec![format!("a bug in this program while reading the configuration: {what}")]
            }
        }
    }

    /// The lines for the log of a daemon, at most 1000: more would fill the queue of the log, and later lines would
    /// be lost.
    #[must_use]
    pub fn log_lines(&self) -> Vec<String> {
        let mut lines = self.lines();
        if let more @ 1.. = lines.len().saturating_sub(LOGGED) {
            lines.truncate(LOGGED);
            lines.push(format!("{more} more errors: ldirectord-rs check --json lists all"));
        }
        lines
    }

    /// Renders the errors for a terminal: first in the original's form, for scripts, then with the lines of the
    /// file. Both are limited in length.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let lines = self.lines();
        let first = lines[..lines.len().min(SHOWN)].join("\n");
        match self {
            LoadError::Invalid { path, diagnostics, .. } => {
                let excerpts = config::render(diagnostics, &path.display().to_string(), colour);
                // A person at a terminal reads each error once.
                if colour {
                    format!("{excerpts}\n\n{}", count(diagnostics))
                } else {
                    format!("{first}\n\n{excerpts}")
                }
            }
            _ => first,
        }
    }

    /// The number of errors.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            LoadError::Invalid { diagnostics, .. } => {
                diagnostics.iter().filter(|found| found.severity == Severity::Error).count()
            }
            LoadError::Tls { faults, .. } => faults.len(),
            _ => 1,
        }
    }
}

impl LoadedFile {
    /// The servers that are in maintenance now. Separate from loading, because it may look up the name of every
    /// server and so may block.
    #[must_use]
    pub fn in_maintenance(&self) -> MaintainedServers {
        let rules = maintenance::MaintenanceDir::of(&self.spec, [], maintenance::Learned::default());
        rules.and_then(|rules| rules.look().ok()).unwrap_or_default()
    }

    /// What is odd about the machine.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// One line for each warning, for the log, in the original's form.
    #[must_use]
    pub fn warning_lines(&self, path: &Path) -> Vec<String> {
        let pid = std::process::id();
        let about_the_file =
            |what: String| format!("Warning [{pid}] reading file {}: {what}", path.display());
        let notes = self.notes.iter().cloned();
        let warnings = self.warnings.iter().filter(|found| !found.is_advice());
        lines(warnings, path).into_iter().chain(notes.map(about_the_file)).collect()
    }
}

/// Reads the file, resolves names, and makes the spec. Blocks as long as the system's resolver, which takes about
/// twice its time-out if no name server answers.
///
/// # Errors
/// The file cannot be read or used. The error has all that is wrong with it.
pub fn load(path: &Path) -> Result<LoadedFile, LoadError> {
    load_for(path, &InUse::default())
}

/// As [`load`]. Prefers the addresses in use.
///
/// # Errors
/// As [`load`].
pub fn load_for(path: &Path, in_use: &InUse) -> Result<LoadedFile, LoadError> {
    load_content(path, read(path)?, in_use)
}

/// As [`load_for`], with the content already read.
///
/// # Errors
/// As [`load`].
pub fn load_content(path: &Path, content: Vec<u8>, in_use: &InUse) -> Result<LoadedFile, LoadError> {
    let (answers, silence) = answer(config::questions(&content), in_use, NOTHING, resolve::host);
    finish(path, content, answers, silence, NOTHING)
}

/// As [`load`], for a command to a running daemon: a credential that only the daemon can read counts as valid.
///
/// # Errors
/// As [`load`].
pub fn load_for_daemon(path: &Path) -> Result<LoadedFile, LoadError> {
    let content = read(path)?;
    let unread = credential::is_out_of_reach;
    let (answers, silence) = answer(config::questions(&content), &InUse::default(), unread, resolve::host);
    finish(path, content, answers, silence, unread)
}

/// Checks a file without a name server and without any socket: each host name resolves to an invented address. For
/// commands that need to know whether the file is valid, but no addresses.
///
/// # Errors
/// As [`load`].
pub fn judge(path: &Path) -> Result<LoadedFile, LoadError> {
    judge_with(path, &Hosts::new())
}

/// As [`judge`], but names in `hosts` have their known address.
///
/// # Errors
/// As [`load`].
pub fn judge_with(path: &Path, hosts: &Hosts) -> Result<LoadedFile, LoadError> {
    let content = read(path)?;
    let answers = invent(config::questions(&content), hosts);
    finish(path, content, answers, None, credential::is_out_of_reach)
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    regular::read(path, MAX_SIZE).map_err(|error| LoadError::Unreadable { path: path.to_owned(), error })
}

fn finish(
    path: &Path,
    content: Vec<u8>,
    answers: Answers,
    silence: Option<String>,
    unread: Unread,
) -> Result<LoadedFile, LoadError> {
    let config::LoadedConfig { config, diagnostics } = config::load(&content, &answers);
    let Some(config) = config else {
        return Err(LoadError::Invalid { path: path.to_owned(), diagnostics, silence });
    };
    let spec = Spec::new(Arc::new(config));
    match &*tls_faults(&spec, unread) {
        [] => {
            let notes = maintenance::missing(&spec).into_iter().collect();
            Ok(LoadedFile { spec, content, hosts: answers.into_hosts(), warnings: diagnostics, notes })
        }
        faults => Err(LoadError::Tls { path: path.to_owned(), faults: faults.to_vec() }),
    }
}

/// The user and group of the daemon in the units of the packages.
const PACKAGED_USER: &str = "ldirectord-rs";

/// What to do if this user may not read the file. Empty for other errors.
fn advice(path: &Path, kind: io::ErrorKind, user: &str) -> String {
    let path = path.display();
    match kind {
        io::ErrorKind::PermissionDenied if user == PACKAGED_USER => {
            format!("; user {user} must be able to read it: chown root:{user} {path} && chmod 0640 {path}")
        }
        io::ErrorKind::PermissionDenied => format!("; user {user} may not read it: try again as root"),
        _ => String::new(),
    }
}

/// Creates a TLS client for each policy, to find errors in its files.
fn tls_faults(spec: &Spec, unread: Unread) -> Vec<(usize, String)> {
    let mut known: Vec<&TlsPolicy> = Vec::new();
    let mut faults = Vec::new();
    for v in spec.virtuals() {
        let policy = &*v.tls.policy;
        let is_whole = !policy.files().filter_map(|file| file.path().to_str()).any(unread);
        if is_whole && !known.contains(&policy) {
            known.push(policy);
            if let Err(error) = tls::TlsClient::new(policy) {
                faults.push((v.line, error.to_string()));
            }
        }
    }
    faults
}

/// How many errors and warnings there are.
fn count(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|found| found.severity == Severity::Error).count();
    let count = |number: usize, what: &str| match number {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{number} {what}s")),
    };
    let counts = [count(errors, "error"), count(diagnostics.len() - errors, "warning")];
    counts.into_iter().flatten().collect::<Vec<String>>().join(", ")
}

/// The original's form of each diagnostic.
fn lines<'a>(diagnostics: impl IntoIterator<Item = &'a Diagnostic>, path: &Path) -> Vec<String> {
    let (pid, path) = (std::process::id(), path.display().to_string());
    diagnostics.into_iter().map(|diagnostic| diagnostic.one_line(pid, &path)).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_unreadable_file_names_its_reader_and_the_remedy() {
        let advice = |kind, user| advice(Path::new("/etc/ha.d/web.cf"), kind, user);
        let denied = io::ErrorKind::PermissionDenied;
        assert_eq!(
            advice(denied, "ldirectord-rs"),
            "; user ldirectord-rs must be able to read it: chown root:ldirectord-rs /etc/ha.d/web.cf && chmod 0640 \
             /etc/ha.d/web.cf"
        );
        assert_eq!(advice(denied, "ann"), "; user ann may not read it: try again as root");
        assert_eq!(advice(io::ErrorKind::IsADirectory, "ldirectord-rs"), "");
    }

    /// A name server returns the addresses of a name in a different order each time.
    #[test]
    fn b5_the_same_file_keeps_its_addresses_in_any_order() {
        let content = b"virtual=10.0.0.1:80\n\treal=web:80 masq\n\treal=db:80 masq\n".to_vec();
        let addresses = |order: [u8; 2]| order.map(|last| Ipv4Addr::new(10, 0, 0, last).into()).to_vec();
        let load = |order: [u8; 2], in_use: &InUse| {
            let questions = config::questions(&content);
            let (answers, silence) = answer(questions, in_use, NOTHING, |_, _| Ok(addresses(order)));
            finish(Path::new("web.cf"), content.clone(), answers, silence, NOTHING).unwrap()
        };
        let reals = |loaded: &LoadedFile| {
            loaded.spec.virtuals()[0].reals.iter().map(|real| real.address.to_string()).collect::<Vec<_>>()
        };
        let first = load([2, 3], &InUse::default());
        assert_eq!(reals(&first), ["10.0.0.2:80", "10.0.0.2:80"]);
        let running = InUse::new(first.hosts.clone(), &ipvs_rs::Table::default());
        assert_eq!(reals(&load([3, 2], &running)), reals(&first));
        assert_eq!(reals(&load([3, 2], &InUse::default())), ["10.0.0.3:80", "10.0.0.3:80"]);
    }

    /// No address of a file is taken for an invented address.
    #[test]
    fn a_range_of_reserved_addresses_is_a_range() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.cf");
        for read in [load, judge] {
            let count = |range: &str| {
                std::fs::write(&path, format!("virtual=10.0.0.1:80\n\treal={range}:80 masq\n")).unwrap();
                read(&path).map(|loaded| loaded.spec.virtuals()[0].reals.len()).map_err(|error| error.lines())
            };
            assert_eq!(count("240.0.0.1->240.0.0.10"), Ok(10));
            assert!(count("10.0.0.1->255.0.0.5").is_err());
            assert!(count("255.1.1.1->10.0.0.1").is_err());
        }
    }

    /// A range may end with a name, or with a number in another form.
    #[test]
    fn a_file_is_judged_without_the_ends_of_its_ranges() {
        let directory = tempfile::tempdir().unwrap();
        for range in [
            "10.0.0.1->web3.example.net",
            "web1.example.net->10.0.0.3",
            "10.0.0.1->10.0.0.012",
            "10.0.0.1->10.0.3",
        ] {
            let path = directory.path().join("web.cf");
            std::fs::write(&path, format!("virtual=10.0.0.1:80\n\treal={range}:80 masq\n")).unwrap();
            assert!(judge(&path).is_ok(), "{range}: {:?}", judge(&path).unwrap_err().lines());
        }
    }
}
