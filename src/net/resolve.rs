//! Resolves names by the C library, so that `nsswitch.conf`, `/etc/hosts` and `/etc/services` apply, as in the
//! original.
//!
//! These functions block: in the runtime call them in `spawn_blocking`.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::thread;

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType};
use thiserror::Error;

use crate::value::{Family, Protocol};

/// Why a name cannot be resolved.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// The name does not exist, or has no address of the requested family.
    #[error("no such name: {0}")]
    NotFound(String),
    /// The resolver failed.
    #[error("cannot resolve {name}: {cause}")]
    Failed {
        /// The name.
        name: String,
        /// The resolver's error.
        cause: String,
    },
}

/// The addresses of a host, in the order of the resolver, without duplicates. An address as text is returned as it is.
///
/// # Errors
/// When the name does not exist, has no address of this family, or the resolver fails.
pub fn host(name: &str, family: Family) -> Result<Vec<IpAddr>, ResolveError> {
    let family = match family {
        Family::V4 => nix::libc::AF_INET,
        Family::V6 => nix::libc::AF_INET6,
    };
    addresses(name, family)
}

/// The addresses of a host in both families, in the order in which the resolver recommends to try them.
///
/// # Errors
/// Like [`host`].
pub fn any_host(name: &str) -> Result<Vec<IpAddr>, ResolveError> {
    addresses(name, nix::libc::AF_UNSPEC)
}

/// The port of a service name (`http`), by `nsswitch.conf` (`/etc/services` and others). A number is returned as it is.
#[must_use]
pub fn port(name: &str, protocol: Protocol) -> Option<u16> {
    if name.is_empty() {
        return None;
    }
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return name.parse().ok();
    }
    let socktype = match protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::DGram,
        // Few lists have names for SCTP. Use those of TCP: IANA assigns both.
        Protocol::Sctp => return port(name, Protocol::Tcp),
    };
    let hints = AddrInfoHints { socktype: socktype.into(), ..AddrInfoHints::default() };
    let answers = dns_lookup::getaddrinfo(None, Some(name), Some(hints)).ok()?;
    answers.flatten().map(|answer| answer.sockaddr.port()).next()
}

/// Like [`port`], but opens no socket if `/etc/services` has the name for any protocol. The C library opens sockets to
/// sort its answers and to ask its cache.
#[must_use]
pub fn listed_port(name: &str, protocol: Protocol) -> Option<u16> {
    let listed = std::fs::read_to_string("/etc/services").unwrap_or_default();
    let mut ports = ports_in(&listed, name).peekable();
    if ports.peek().is_none() {
        return port(name, protocol);
    }
    let protocol = if protocol == Protocol::Sctp { Protocol::Tcp } else { protocol }.to_string();
    ports.find(|(_, of)| *of == protocol).map(|(port, _)| port)
}

/// The ports of a name in a text in the form of `services(5)`, each with its protocol.
fn ports_in<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (u16, &'a str)> {
    text.lines().filter_map(move |line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (first, (port, protocol)) = (words.next()?, words.next()?.split_once('/')?);
        let is_meant = first == name || words.any(|alias| alias == name);
        port.parse().ok().filter(|_| is_meant).map(|port| (port, protocol))
    })
}

/// The name of an address.
///
/// # Errors
/// When it has none, or the resolver fails.
pub fn reverse(address: IpAddr) -> Result<String, ResolveError> {
    let asked = dns_lookup::getnameinfo(&SocketAddr::new(address, 0), nix::libc::NI_NAMEREQD);
    asked.map(|(name, _)| name).map_err(|error| refusal(&address.to_string(), error))
}

/// The most names that are looked up at the same time.
pub const AT_ONCE: usize = 16;

/// Asks many questions, several at the same time, so that the timeouts of a failed name server do not add up. `ask`
/// returns an error if there is no answer; after [`AT_ONCE`] errors no more questions are asked. Returns the errors.
pub fn each<Q: Send>(
    questions: Vec<Q>,
    ask: impl Fn(Q) -> Result<(), ResolveError> + Sync,
) -> Vec<ResolveError> {
    let workers = questions.len().min(AT_ONCE);
    let state = Mutex::new((questions.into_iter(), Vec::new()));
    let locked = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let next = || {
        let (questions, silent) = &mut *locked();
        if silent.len() < AT_ONCE { questions.next() } else { None }
    };
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(question) = next() {
                    if let Err(error) = ask(question) {
                        locked().1.push(error);
                    }
                }
            });
        }
    });
    state.into_inner().unwrap_or_else(PoisonError::into_inner).1
}

/// The domains that complete a name without a dot (`search` and `domain` in resolv.conf(5)). The last such line counts.
#[must_use]
pub fn search_list() -> Vec<String> {
    search_list_in(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
}

fn search_list_in(text: &str) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<String>>();
    let is_search =
        |line: &Vec<String>| matches!(line.first().map(String::as_str), Some("search" | "domain"));
    text.lines().rev().map(words).find(is_search).map(|line| line[1..].to_vec()).unwrap_or_default()
}

/// The name of this host.
///
/// # Errors
/// When the system does not report it, or it is not UTF-8.
pub fn hostname() -> Result<String, ResolveError> {
    dns_lookup::get_hostname().map_err(|error| ResolveError::Failed {
        name: "the name of this host".to_owned(),
        cause: super::cause(&error),
    })
}

fn addresses(name: &str, family: i32) -> Result<Vec<IpAddr>, ResolveError> {
    // The C library resolves an empty name to the loopback address.
    if name.is_empty() {
        return Err(ResolveError::NotFound("(empty)".to_owned()));
    }
    let hints =
        AddrInfoHints { address: family, socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let answers =
        dns_lookup::getaddrinfo(Some(name), None, Some(hints)).map_err(|error| refusal(name, error))?;
    let mut found = Vec::new();
    for answer in answers.flatten() {
        let address = answer.sockaddr.ip();
        if !found.contains(&address) {
            found.push(address);
        }
    }
    if found.is_empty() { Err(ResolveError::NotFound(name.to_owned())) } else { Ok(found) }
}

fn refusal(name: &str, error: LookupError) -> ResolveError {
    match error.kind() {
        LookupErrorKind::NoName | LookupErrorKind::NoData => ResolveError::NotFound(name.to_owned()),
        _ => ResolveError::Failed { name: name.to_owned(), cause: std::io::Error::from(error).to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_text_form_are_their_own_answer() {
        assert_eq!(host("127.0.0.1", Family::V4).unwrap(), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(host("::1", Family::V6).unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
        assert!(host("::1", Family::V4).is_err());
        assert!(host("", Family::V4).is_err());
    }

    #[test]
    fn localhost_has_an_address() {
        assert_eq!(host("localhost", Family::V4).unwrap(), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
        assert!(any_host("localhost").unwrap().iter().all(IpAddr::is_loopback));
    }

    #[test]
    fn services_have_ports() {
        assert_eq!(port("http", Protocol::Tcp), Some(80));
        assert_eq!(port("domain", Protocol::Udp), Some(53));
        assert_eq!(port("8080", Protocol::Tcp), Some(8080));
        assert_eq!(port("65536", Protocol::Tcp), None);
        assert_eq!(port("no-such-service", Protocol::Tcp), None);
        assert_eq!(port("", Protocol::Tcp), None);
    }

    #[test]
    fn services_are_read_with_aliases_and_comments() {
        let text =
            "# http 1/tcp\nhttp\t80/tcp www # http 2/tcp\ndomain 53/tcp\ndomain 54/udp\nodd\nbad x/tcp\n";
        let found = |name| ports_in(text, name).collect::<Vec<_>>();
        assert_eq!((found("http"), found("www")), (vec![(80, "tcp")], vec![(80, "tcp")]));
        assert_eq!(found("domain"), [(53, "tcp"), (54, "udp")]);
        for name in ["odd", "bad", "", "80"] {
            assert!(found(name).is_empty(), "{name}");
        }
        let listed = [("8080", Some(8080)), ("http", Some(80)), ("no-such-service", None), ("", None)];
        for (name, port) in listed {
            assert_eq!(listed_port(name, Protocol::Tcp), port, "{name}");
        }
    }

    #[test]
    fn the_last_search_line_counts() {
        assert_eq!(
            search_list_in("nameserver ::1\nsearch a.example b.example\n"),
            ["a.example", "b.example"]
        );
        assert_eq!(search_list_in("search a.example\ndomain c.example\n"), ["c.example"]);
        assert!(search_list_in("# search a.example\nnameserver ::1\n").is_empty());
    }

    #[test]
    fn this_host_has_a_name() {
        assert!(!hostname().unwrap().is_empty());
    }
}
