//! Derives probes from directives: port, request, deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::probe::{
    DatagramProbe, Dialogue, DialogueProbe, DnsProbe, ExternalProbe, HttpProbe, LdapProbe, Probe,
    ProbeAction, RadiusProbe, Scheme, SimpleTcpProbe, SqlProbe, Transport,
};
use super::{Check, CheckKey, Combined, Destinations, ServerRef, Spec, SpecParts};
use crate::config::{CheckType, Config, Negotiate, Real, Virtual};
use crate::value::{Protocol, Secret, Tls, VirtualId};

/// `leaving` are the servers of an earlier configuration at the end of their virtual services, each with its check.
pub(super) fn spec(config: Arc<Config>, leaving: BTreeMap<ServerRef, Option<Arc<CheckKey>>>) -> Spec {
    let mut checks: Vec<Check> = Vec::new();
    let mut known: BTreeMap<Arc<CheckKey>, usize> = BTreeMap::new();
    let mut assignments = Vec::with_capacity(config.virtuals.len());
    for (virtual_index, v) in config.virtuals.iter().enumerate() {
        let mut row = Vec::with_capacity(v.reals.len());
        for (real_index, real) in v.reals.iter().enumerate() {
            let member = ServerRef { virtual_index, real_index };
            let key = match leaving.get(&member) {
                Some(old) => old.clone(),
                None => check_key(v, real).map(Arc::new),
            };
            row.push(key.map(|key| {
                let index = *known.entry(Arc::clone(&key)).or_insert_with(|| {
                    checks.push(Check { key, members: Vec::new() });
                    checks.len() - 1
                });
                checks[index].members.push(member);
                index
            }));
        }
        assignments.push(row);
    }
    let leaving = leaving.into_keys().collect();
    let index = config.virtuals.iter().enumerate().map(|(index, v)| (v.id, index)).collect();
    let destinations: Vec<Destinations> = config.virtuals.iter().map(destinations).collect();
    let twins = twins(&destinations, &leaving);
    let by_key = known.into_values().collect();
    Spec(Arc::new(SpecParts { config, assignments, checks, by_key, leaving, index, destinations, twins }))
}

/// The lines of a virtual service, by destination.
fn destinations(v: &Virtual) -> Destinations {
    let mut lines = Destinations::new();
    for (real_index, real) in v.reals.iter().enumerate() {
        let destination = v.destination(real.address, real.method);
        // Without a scope, because the kernel's table has none.
        let destination = SocketAddr::new(destination.ip(), destination.port());
        lines.entry(destination).or_default().push(real_index);
    }
    lines
}

/// For each server whose destination is also in other lines of its virtual service: all of these servers.
fn twins(
    destinations: &[Destinations],
    leaving: &BTreeSet<ServerRef>,
) -> BTreeMap<ServerRef, Vec<ServerRef>> {
    let mut twins = BTreeMap::new();
    for (virtual_index, lines) in destinations.iter().enumerate() {
        for lines in lines.values().filter(|lines| lines.len() > 1) {
            let members = lines.iter().map(|real_index| ServerRef { virtual_index, real_index: *real_index });
            let members: Vec<ServerRef> = members.filter(|member| !leaving.contains(member)).collect();
            if members.len() > 1 {
                twins.extend(members.iter().map(|member| (*member, members.clone())));
            }
        }
    }
    twins
}

/// The check of one server. None for `checktype=off`.
fn check_key(v: &Virtual, real: &Real) -> Option<CheckKey> {
    let probe = match v.check.checktype {
        CheckType::Off => return None,
        CheckType::On => nothing(v, real),
        CheckType::Connect => connect(v, real),
        CheckType::Ping => ping(v, real),
        CheckType::External => external(v, real, false),
        CheckType::ExternalPerl => external(v, real, true),
        CheckType::Negotiate | CheckType::Combined(_) => negotiate(v, real),
    };
    let combined = match v.check.checktype {
        CheckType::Combined(count) if count > 0 => {
            Some(Combined { count, probe: Arc::new(combined_connect(v, real)) })
        }
        _ => None,
    };
    Some(CheckKey { probe: Arc::new(probe), combined, interval: v.timing.checkinterval })
}

fn is_udp(v: &Virtual) -> bool {
    matches!(v.id, VirtualId::Address { protocol: Protocol::Udp, .. })
}

fn is_sctp(v: &Virtual) -> bool {
    matches!(v.id, VirtualId::Address { protocol: Protocol::Sctp, .. })
}

/// The target of the check, with `checkport`, else the server's own port, else the standard port of the service.
fn target(v: &Virtual, real: &Real) -> SocketAddr {
    let own = Some(real.address.port()).filter(|port| *port != 0);
    let port = v.check.checkport.or(own).or_else(|| v.check.service.standard_port()).unwrap_or(0);
    SocketAddr::new(real.address.ip(), port)
}

fn nothing(v: &Virtual, real: &Real) -> Probe {
    Probe { target: target(v, real), deadline: v.timing.checktimeout, action: ProbeAction::Nothing }
}

/// The connect check. For a UDP service it is a ping, as in the original, unless `udpprobe` is set.
fn connect(v: &Virtual, real: &Real) -> Probe {
    let action = match &v.check.udpprobe {
        _ if is_sctp(v) => ProbeAction::SctpConnect,
        _ if !is_udp(v) => ProbeAction::Connect,
        Some(payload) => {
            ProbeAction::Datagram(DatagramProbe { payload: payload.clone(), reply: v.check.udpreply.clone() })
        }
        None => return ping(v, real),
    };
    Probe { target: target(v, real), deadline: v.timing.checktimeout, action }
}

/// The connect check of a combined check. In UDP it sends nothing and always succeeds, unless `udpprobe` is set;
/// only the negotiation can fail.
fn combined_connect(v: &Virtual, real: &Real) -> Probe {
    if is_udp(v) && v.check.udpprobe.is_none() { nothing(v, real) } else { connect(v, real) }
}

fn ping(v: &Virtual, real: &Real) -> Probe {
    let attempts = v.timing.checkcount.max(1);
    Probe {
        target: SocketAddr::new(real.address.ip(), 0),
        deadline: v.timing.checktimeout.saturating_mul(attempts),
        action: ProbeAction::Ping { attempts },
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
        deadline: v.timing.checktimeout,
        action: ProbeAction::External(ExternalProbe {
            command: v.check.checkcommand.clone(),
            perl,
            arguments,
        }),
    }
}

/// The address without its port, IPv6 in brackets, as external commands and Host headers require it.
fn host_text(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}

fn negotiate(v: &Virtual, real: &Real) -> Probe {
    let action = match v.check.service {
        Negotiate::None => ProbeAction::Nothing,
        Negotiate::Http => ProbeAction::Http(http(v, real, Scheme::Http)),
        Negotiate::Https => ProbeAction::Http(http(v, real, Scheme::Https)),
        Negotiate::HttpProxy => ProbeAction::Http(http_proxy(v, real)),
        Negotiate::Simpletcp => ProbeAction::SimpleTcp(simpletcp(v, real)),
        Negotiate::Dns => ProbeAction::Dns(dns(v, real)),
        Negotiate::Ftp => dialogue(v, real, Dialogue::Ftp, false),
        Negotiate::Imap => dialogue(v, real, Dialogue::Imap, false),
        Negotiate::Imaps => dialogue(v, real, Dialogue::Imap, true),
        Negotiate::Nntp => dialogue(v, real, Dialogue::Nntp, false),
        Negotiate::Pop => dialogue(v, real, Dialogue::Pop, false),
        Negotiate::Pops => dialogue(v, real, Dialogue::Pop, true),
        Negotiate::Ldap => ProbeAction::Ldap(ldap(v, real, false)),
        Negotiate::Ldaps => ProbeAction::Ldap(ldap(v, real, true)),
        Negotiate::Mysql => ProbeAction::Mysql(sql(v, real)),
        Negotiate::Pgsql => ProbeAction::Pgsql(sql(v, real)),
        Negotiate::Radius => ProbeAction::Radius(radius(v)),
        Negotiate::Sip => dialogue(v, real, Dialogue::Sip { udp: is_udp(v) }, false),
        Negotiate::Smtp | Negotiate::Submission => dialogue(v, real, Dialogue::Smtp, false),
        Negotiate::Oracle => ProbeAction::Oracle(sql(v, real)),
    };
    // For these the original uses the other time-out.
    let deadline = match v.check.service {
        Negotiate::Radius | Negotiate::Ldap | Negotiate::Ldaps => v.timing.checktimeout,
        _ => v.timing.negotiatetimeout,
    };
    Probe { target: target(v, real), deadline, action }
}

/// The request and the pattern of a server: its own pair, else that of the virtual service.
fn request_and_receive<'a>(v: &'a Virtual, real: &'a Real) -> (&'a str, Option<&'a crate::value::Pattern>) {
    match &real.request {
        Some(request) => (request, real.receive.as_ref()),
        None => (&v.check.request, v.check.receive.as_ref()),
    }
}

fn http(v: &Virtual, real: &Real, scheme: Scheme) -> HttpProbe {
    let (request, receive) = request_and_receive(v, real);
    // Only a server's own request can be an absolute URL of the same scheme. The request of a virtual service is
    // always a path.
    let own_url = real.request.is_some() && request.contains(&format!("{scheme}://"));
    HttpProbe {
        scheme,
        method: v.check.httpmethod,
        request: if own_url { without_slash(request) } else { request.to_owned() },
        host: Some(v.check.virtualhost.clone().unwrap_or_else(|| host_text(real.address))),
        tls: match scheme {
            Scheme::Https => v.tls.clone(),
            // Only a redirect leads to TLS, with the name in the redirect.
            Scheme::Http => nameless(v),
        },
        receive: receive.cloned(),
        redirects: v.check.redirects,
        proxy: false,
    }
}

fn http_proxy(v: &Virtual, real: &Real) -> HttpProbe {
    let (request, receive) = request_and_receive(v, real);
    let request = without_slash(request);
    // A server's own request that is not an absolute URL is sent to that server as the proxy of itself.
    let own_path = real.request.is_some() && !request.contains("http://");
    HttpProbe {
        scheme: Scheme::Http,
        method: v.check.httpmethod,
        request: if own_path { format!("http://{}/{request}", target(v, real)) } else { request },
        host: None,
        tls: nameless(v),
        receive: receive.cloned(),
        redirects: v.check.redirects,
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

fn dns(v: &Virtual, real: &Real) -> DnsProbe {
    let (request, receive) = request_and_receive(v, real);
    let tcp = matches!(v.id, VirtualId::Address { protocol: Protocol::Tcp | Protocol::Sctp, .. });
    DnsProbe { name: without_slash(request), kind: v.check.dnstype, receive: receive.cloned(), tcp }
}

fn radius(v: &Virtual) -> RadiusProbe {
    RadiusProbe {
        login: v.check.credentials.login.clone(),
        passwd: v.check.credentials.password().clone(),
        secret: v.check.credentials.shared_secret().clone(),
    }
}

fn ldap(v: &Virtual, real: &Real, tls: bool) -> LdapProbe {
    let (request, receive) = request_and_receive(v, real);
    LdapProbe {
        transport: transport(v, tls),
        login: v.check.credentials.login.clone(),
        passwd: v.check.credentials.password().clone(),
        base: without_slash(request),
        receive: receive.cloned(),
    }
}

fn sql(v: &Virtual, real: &Real) -> SqlProbe {
    let (request, _) = request_and_receive(v, real);
    // MySQL uses TLS only with `starttls`. Without it the TLS settings are not part of the check.
    let speaks_tls = v.check.starttls || v.check.service == Negotiate::Pgsql;
    let tls = if speaks_tls { v.tls.clone() } else { Tls::default() };
    SqlProbe {
        login: v.check.credentials.login.clone(),
        passwd: v.check.credentials.password().clone(),
        database: v.check.credentials.database.clone(),
        query: without_slash(request),
        starttls: v.check.starttls,
        tls,
    }
}

/// Only the settings that a protocol uses are part of its probe, so that others do not make a different check.
fn dialogue(v: &Virtual, real: &Real, protocol: Dialogue, tls: bool) -> ProbeAction {
    let asks_for_a_file = protocol == Dialogue::Ftp;
    let logs_in = matches!(protocol, Dialogue::Ftp | Dialogue::Imap | Dialogue::Pop);
    let is_sip = matches!(protocol, Dialogue::Sip { .. });
    let (request, receive) = request_and_receive(v, real);
    ProbeAction::Dialogue(DialogueProbe {
        protocol,
        transport: transport(v, tls),
        login: if logs_in || is_sip { v.check.credentials.login.clone() } else { String::new() },
        passwd: if logs_in { v.check.credentials.password().clone() } else { Secret::default() },
        request: if asks_for_a_file { request.to_owned() } else { "/".to_owned() },
        receive: receive.filter(|_| asks_for_a_file).cloned(),
    })
}

fn transport(v: &Virtual, tls: bool) -> Transport {
    match (tls, v.check.starttls) {
        (true, _) => Transport::Tls(v.tls.clone()),
        (false, true) => Transport::StartTls(v.tls.clone()),
        (false, false) => Transport::Plain,
    }
}

fn nameless(v: &Virtual) -> Tls {
    Tls { server_name: None, ..v.tls.clone() }
}

fn without_slash(request: &str) -> String {
    request.strip_prefix('/').unwrap_or(request).to_owned()
}
