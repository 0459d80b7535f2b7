//! From directives to probes: which port, which request, which deadline.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::probe::{Action, ExternalProbe, HttpProbe, Probe, Scheme, SimpleTcpProbe};
use super::{Check, CheckKey, Combined, Member, Plan, Unsupported};
use crate::config::{CheckType, Config, Negotiate, Real, Virtual};
use crate::value::{Protocol, VirtualId};

pub(super) fn plan(config: Arc<Config>) -> Result<Plan, Vec<Unsupported>> {
    let mut checks: Vec<Check> = Vec::new();
    let mut known: BTreeMap<Arc<CheckKey>, usize> = BTreeMap::new();
    let mut assignments = Vec::with_capacity(config.virtuals.len());
    let mut unsupported = Vec::new();
    for (virtual_index, v) in config.virtuals.iter().enumerate() {
        let mut row = Vec::with_capacity(v.reals.len());
        for (real_index, real) in v.reals.iter().enumerate() {
            let key = match check_key(v, real) {
                Ok(key) => key,
                Err(message) => {
                    unsupported.push(Unsupported { line: v.line, message });
                    break;
                }
            };
            row.push(key.map(|key| {
                let key = Arc::new(key);
                let index = *known.entry(Arc::clone(&key)).or_insert_with(|| {
                    checks.push(Check { key, members: Vec::new() });
                    checks.len() - 1
                });
                checks[index].members.push(Member { virtual_index, real_index });
                index
            }));
        }
        assignments.push(row);
    }
    if unsupported.is_empty() { Ok(Plan { config, assignments, checks }) } else { Err(unsupported) }
}

/// The check of one server, none for `checktype=off`.
fn check_key(v: &Virtual, real: &Real) -> Result<Option<CheckKey>, String> {
    let probe = match v.checktype {
        CheckType::Off => return Ok(None),
        CheckType::On => nothing(v, real),
        CheckType::Connect => connect(v, real),
        CheckType::Ping => ping(v, real),
        CheckType::External => external(v, real, false),
        CheckType::ExternalPerl => external(v, real, true),
        CheckType::Negotiate | CheckType::Combined(_) => negotiate(v, real)?,
    };
    let combined = match v.checktype {
        CheckType::Combined(count) if count > 0 => {
            Some(Combined { count, probe: Arc::new(combined_connect(v, real)) })
        }
        _ => None,
    };
    Ok(Some(CheckKey { probe: Arc::new(probe), combined, interval: v.checkinterval }))
}

fn is_udp(v: &Virtual) -> bool {
    matches!(v.id, VirtualId::Address { protocol: Protocol::Udp, .. })
}

/// Where the check goes: `checkport`, else the server's own port, else the standard port of the service.
fn target(v: &Virtual, real: &Real) -> SocketAddr {
    let own = Some(real.address.port()).filter(|port| *port != 0);
    let port = v.checkport.or(own).or_else(|| v.service.standard_port()).unwrap_or(0);
    SocketAddr::new(real.address.ip(), port)
}

fn nothing(v: &Virtual, real: &Real) -> Probe {
    Probe { target: target(v, real), deadline: v.checktimeout, action: Action::Nothing }
}

/// A connect on a UDP virtual is a ping, as in the original.
fn connect(v: &Virtual, real: &Real) -> Probe {
    if is_udp(v) {
        return ping(v, real);
    }
    Probe { target: target(v, real), deadline: v.checktimeout, action: Action::Connect }
}

/// A UDP `connect` sends nothing and so always succeeds; only the negotiation of the combined check can fail.
fn combined_connect(v: &Virtual, real: &Real) -> Probe {
    if is_udp(v) { nothing(v, real) } else { connect(v, real) }
}

fn ping(v: &Virtual, real: &Real) -> Probe {
    let attempts = v.checkcount.max(1);
    Probe {
        target: SocketAddr::new(real.address.ip(), 0),
        deadline: v.checktimeout.saturating_mul(attempts),
        action: Action::Ping { attempts },
    }
}

fn external(v: &Virtual, real: &Real, perl: bool) -> Probe {
    let (virtual_host, virtual_port) = match v.id {
        VirtualId::Address { address, .. } => (host_text(address), address.port()),
        VirtualId::Mark { mark, .. } => (mark.to_string(), 0),
    };
    let arguments =
        [virtual_host, virtual_port.to_string(), host_text(real.address), real.address.port().to_string()];
    Probe {
        target: real.address,
        deadline: v.checktimeout,
        action: Action::External(ExternalProbe { command: v.checkcommand.clone(), perl, arguments }),
    }
}

/// The address without its port, IPv6 in brackets, as external commands and Host headers want it.
fn host_text(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}

fn negotiate(v: &Virtual, real: &Real) -> Result<Probe, String> {
    let action = match v.service {
        Negotiate::None => Action::Nothing,
        Negotiate::Http => Action::Http(http(v, real, Scheme::Http)),
        Negotiate::Https => Action::Http(http(v, real, Scheme::Https)),
        Negotiate::HttpProxy => Action::Http(http_proxy(v, real)),
        Negotiate::Simpletcp => Action::SimpleTcp(simpletcp(v, real)),
        other => {
            return Err(format!(
                "service={} cannot be negotiated by this version; use checktype=connect, or checktype=external \
                 with a checkcommand of your own",
                other.word()
            ));
        }
    };
    Ok(Probe { target: target(v, real), deadline: v.negotiatetimeout, action })
}

/// The request and the pattern that count for a server: its own pair, else the virtual's.
fn request_and_receive<'a>(v: &'a Virtual, real: &'a Real) -> (&'a str, Option<&'a crate::value::Pattern>) {
    match &real.request {
        Some(request) => (request, real.receive.as_ref()),
        None => (&v.request, v.receive.as_ref()),
    }
}

fn http(v: &Virtual, real: &Real, scheme: Scheme) -> HttpProbe {
    let (request, receive) = request_and_receive(v, real);
    // Only a server's own request can be a whole URL; that of a virtual is always a path.
    let own_url = real.request.is_some() && request.contains("://");
    HttpProbe {
        scheme,
        method: v.httpmethod,
        request: if own_url { without_slash(request) } else { request.to_owned() },
        host: Some(v.virtualhost.clone().unwrap_or_else(|| host_text(real.address))),
        server_name: v.virtualhost.clone().filter(|_| scheme == Scheme::Https),
        receive: receive.cloned(),
        proxy: false,
    }
}

fn http_proxy(v: &Virtual, real: &Real) -> HttpProbe {
    let (request, receive) = request_and_receive(v, real);
    HttpProbe {
        scheme: Scheme::Http,
        method: v.httpmethod,
        request: without_slash(request),
        host: None,
        server_name: None,
        receive: receive.cloned(),
        proxy: true,
    }
}

fn simpletcp(v: &Virtual, real: &Real) -> SimpleTcpProbe {
    let (request, receive) = request_and_receive(v, real);
    SimpleTcpProbe {
        request: without_slash(request).replace("\\n", "\n"),
        receive: receive.cloned(),
        udp: is_udp(v),
    }
}

fn without_slash(request: &str) -> String {
    request.strip_prefix('/').unwrap_or(request).to_owned()
}
