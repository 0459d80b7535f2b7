//! Answers what the text of a configuration leaves open: addresses of host names, ports of service names, and files.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::MAX_SIZE;
use crate::config::{Answers, NameQuestion};
use crate::daemon::addresses::{Hosts, InUse};
use crate::net::cause;
use crate::net::resolve::{self, AT_ONCE, ResolveError};
use crate::settings::credential;
use crate::sys::regular;
use crate::value::{Family, Protocol};

/// Whether a file counts as valid although this process cannot read it.
pub(super) type Unread = fn(&str) -> bool;

/// Every file is read.
pub(super) const NOTHING: Unread = |_| false;

/// Answers all questions, many at a time: a failed name server must not cost its time-out for each name. If a full
/// round of names gets no answer, the rest is not looked up, and the second part of the result is the message about
/// it.
pub(super) fn answer(
    questions: Vec<NameQuestion>,
    in_use: &InUse,
    unread: Unread,
    look_up: impl Fn(&str, Family) -> Result<Vec<IpAddr>, ResolveError> + Sync,
) -> (Answers, Option<String>) {
    // The environment takes precedence, as in the original.
    let named = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    let hostname = named.or_else(|| resolve::hostname().ok()).unwrap_or_else(|| "localhost".to_owned());
    let answers = Mutex::new(Answers::new(hostname));
    let found = Mutex::new(BTreeMap::new());
    let unanswered = resolve::each(questions, |question| match question {
        NameQuestion::Host { name, family } => match look_up(&name, family) {
            Ok(addresses) => {
                lock(&found).insert((name, family), addresses);
                Ok(())
            }
            Err(ResolveError::NotFound(_)) => Ok(()),
            Err(error @ ResolveError::Failed { .. }) => Err(error),
        },
        local => {
            answer_locally(local, &answers, resolve::port, unread);
            Ok(())
        }
    });
    let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    for ((name, family), address) in in_use.choose(found) {
        answers.add_host(name, family, address);
    }
    let silence = match &*unanswered {
        [first, others @ ..] if others.len() + 1 >= AT_ONCE => Some(format!(
            "the system's resolver does not answer ({first}; {} more), so further names were not looked up; check \
             /etc/resolv.conf, or add the names to /etc/hosts",
            others.len()
        )),
        _ => None,
    };
    (answers, silence)
}

/// Answers questions without looking up host names. Unknown names get different addresses, so that none seems a
/// duplicate of another.
pub(super) fn invent(questions: Vec<NameQuestion>, hosts: &Hosts) -> Answers {
    let answers = Mutex::new(Answers::new("localhost"));
    for (number, question) in (1_u32..).zip(questions) {
        match question {
            NameQuestion::Host { name, family } if hosts.contains_key(&(name.clone(), family)) => {
                let address = hosts[&(name.clone(), family)];
                lock(&answers).add_host(name, family, address);
            }
            // 240.0.0.0/4 is reserved, and 100::/64 is the discard prefix (RFC 6666).
            NameQuestion::Host { name, family: Family::V4 } => {
                let address = Ipv4Addr::from_bits(0xF000_0000 | number);
                lock(&answers).add_invented_host(name, Family::V4, address.into());
            }
            NameQuestion::Host { name, family: Family::V6 } => {
                let address = Ipv6Addr::from_bits((0x0100 << 112) | u128::from(number));
                lock(&answers).add_invented_host(name, Family::V6, address.into());
            }
            local => {
                answer_locally(local, &answers, resolve::listed_port, credential::is_out_of_reach);
            }
        }
    }
    answers.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Answers questions about ports and files of this machine.
fn answer_locally(
    question: NameQuestion,
    answers: &Mutex<Answers>,
    port: impl Fn(&str, Protocol) -> Option<u16>,
    unread: Unread,
) {
    match question {
        NameQuestion::Host { .. } => {}
        NameQuestion::Port { name, protocol } => {
            // A real server's port may be a name of any protocol.
            let protocols = protocol.map_or(vec![Protocol::Tcp, Protocol::Udp], |known| vec![known]);
            if let Some(port) = protocols.into_iter().find_map(|protocol| port(&name, protocol)) {
                lock(answers).add_port(name, protocol, port);
            }
        }
        NameQuestion::File(path) => {
            let content = if unread(&path) { Ok(Arc::from([])) } else { read_named(&path) };
            lock(answers).add_file(path, content);
        }
    }
}

/// Reads a file that a directive names, or a credential.
fn read_named(named: &str) -> Result<Arc<[u8]>, String> {
    let path = credential::locate(Path::new(named))?;
    regular::read(&path, MAX_SIZE).map(Arc::from).map_err(|error| cause(&error))
}

/// Locks a mutex, even after a thread panicked: the content is valid at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::config::NameLookup;

    fn hosts(count: usize) -> Vec<NameQuestion> {
        let host = |number| NameQuestion::Host { name: format!("web{number}"), family: Family::V4 };
        (0..count).map(host).collect()
    }

    #[test]
    fn a_silent_resolver_is_asked_one_round_of_names() {
        let asked = AtomicUsize::new(0);
        let (_, silence) = answer(hosts(500), &InUse::default(), NOTHING, |name, _| {
            asked.fetch_add(1, Ordering::Relaxed);
            Err(ResolveError::Failed { name: name.to_owned(), cause: "try again".to_owned() })
        });
        // A worker that started just before the last failure adds to the number.
        let asked = asked.into_inner();
        assert!((AT_ONCE..2 * AT_ONCE).contains(&asked), "{asked}");
        let silence = silence.unwrap();
        assert!(
            silence.contains("does not answer (cannot resolve web") && silence.contains("try again"),
            "{silence}"
        );
    }

    #[test]
    fn names_that_do_not_exist_are_no_silence() {
        let (answers, silence) = answer(hosts(100), &InUse::default(), NOTHING, |name, _| match name {
            "web99" => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
            name => Err(ResolveError::NotFound(name.to_owned())),
        });
        assert_eq!(silence, None);
        assert_eq!(answers.host("web98", Family::V4), None);
        assert_eq!(answers.host("web99", Family::V4), Some(Ipv4Addr::LOCALHOST.into()));
    }
}
