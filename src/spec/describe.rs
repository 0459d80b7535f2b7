//! Describes each probe in one sentence, for logs and listings.

use std::fmt;

use super::probe::{
    DatagramProbe, Dialogue, DialogueProbe, DnsProbe, ExternalProbe, HttpProbe, Probe, ProbeAction, Scheme,
    SimpleTcpProbe, SqlProbe, Transport,
};
use crate::value::shown::{beginning, command, url};
use crate::value::{Pattern, Tls};

/// Formats what is sent, the target, and what is expected:
/// `GET http://10.0.0.2:80/index.html (Host: www.example.net), expecting /Test Page/`.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target;
        match &self.action {
            ProbeAction::Nothing => f.write_str("nothing (always up)"),
            ProbeAction::Connect => write!(f, "connect to {target}"),
            ProbeAction::SctpConnect => write!(f, "connect to sctp {target}"),
            ProbeAction::Ping { attempts: 1 } => write!(f, "ping {}", target.ip()),
            ProbeAction::Ping { attempts } => write!(f, "ping {} ({attempts} attempts)", target.ip()),
            ProbeAction::Http(http) => http_sentence(f, self, http),
            ProbeAction::SimpleTcp(simple) => simple_sentence(f, self, simple),
            ProbeAction::Datagram(datagram) => datagram_sentence(f, self, datagram),
            ProbeAction::Dns(dns) => dns_sentence(f, self, dns),
            ProbeAction::Radius(radius) => {
                write!(f, "ask the RADIUS server {target} to let {} in", radius.login)
            }
            ProbeAction::Ldap(ldap) => {
                let scheme = if ldap.transport.is_tls() { "ldaps" } else { "ldap" };
                write!(f, "search {scheme} {target} for \"{}\"", ldap.base)?;
                transport_words(f, self, &ldap.transport)?;
                expecting(f, ldap.receive.as_ref())
            }
            ProbeAction::Oracle(sql) => write!(f, "query oracle {target} as {}", sql.login),
            ProbeAction::Mysql(sql) => sql_sentence(f, self, "mysql", sql),
            ProbeAction::Pgsql(sql) => sql_sentence(f, self, "pgsql", sql),
            ProbeAction::Dialogue(dialogue) => dialogue_sentence(f, self, dialogue),
            ProbeAction::External(external) => external_sentence(f, external),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        })
    }
}

fn http_sentence(f: &mut fmt::Formatter<'_>, probe: &Probe, http: &HttpProbe) -> fmt::Result {
    write!(f, "{} ", http.method_word())?;
    if http.request.starts_with('/') {
        write!(f, "{}://{}", http.scheme, probe.target)?;
    }
    f.write_str(&url(&http.request))?;
    if http.proxy {
        write!(f, " through the proxy {}", probe.target)?;
    }
    if let Some(host) = &http.host {
        write!(f, " (Host: {host})")?;
    }
    if http.scheme == Scheme::Https {
        verifying(f, probe, &http.tls)?;
    }
    expecting(f, http.receive.as_ref())
}

fn simple_sentence(f: &mut fmt::Formatter<'_>, probe: &Probe, simple: &SimpleTcpProbe) -> fmt::Result {
    let protocol = if simple.udp { "udp" } else { "tcp" };
    let request = beginning(simple.request.as_bytes(), 100);
    write!(f, "send {request} to {protocol} {}, expecting ", probe.target)?;
    match &simple.receive {
        Some(receive) => write!(f, "/{}/", receive.source()),
        None => f.write_str("any line"),
    }
}

fn datagram_sentence(f: &mut fmt::Formatter<'_>, probe: &Probe, datagram: &DatagramProbe) -> fmt::Result {
    let payload = beginning(&datagram.payload, 100);
    write!(f, "send {payload} to udp {}, expecting ", probe.target)?;
    match &datagram.reply {
        Some(reply) => write!(f, "/{}/", reply.source()),
        None => f.write_str("no refusal"),
    }
}

fn expecting(f: &mut fmt::Formatter<'_>, receive: Option<&Pattern>) -> fmt::Result {
    receive.map_or(Ok(()), |pattern| write!(f, ", expecting /{}/", pattern.source()))
}

fn dns_sentence(f: &mut fmt::Formatter<'_>, probe: &Probe, dns: &DnsProbe) -> fmt::Result {
    let transport = if dns.tcp { "tcp" } else { "udp" };
    write!(f, "ask the name server {transport} {} for ", probe.target)?;
    if let Some(kind) = dns.kind {
        write!(f, "{} ", kind.as_str())?;
    }
    f.write_str(&dns.name)?;
    expecting(f, dns.receive.as_ref())
}

fn dialogue_sentence(f: &mut fmt::Formatter<'_>, probe: &Probe, dialogue: &DialogueProbe) -> fmt::Result {
    let transport = if dialogue.protocol == (Dialogue::Sip { udp: true }) { " udp" } else { "" };
    write!(f, "{}{transport} {}", dialogue.as_str(), probe.target)?;
    transport_words(f, probe, &dialogue.transport)?;
    match (dialogue.login.as_str(), dialogue.protocol) {
        ("", _) => {}
        (login, Dialogue::Sip { .. }) => write!(f, ", OPTIONS for {login}")?,
        (login, _) => write!(f, ", login {login}")?,
    }
    if dialogue.request != "/" {
        write!(f, ", file {}", dialogue.request)?;
    }
    expecting(f, dialogue.receive.as_ref())
}

fn sql_sentence(f: &mut fmt::Formatter<'_>, probe: &Probe, word: &str, sql: &SqlProbe) -> fmt::Result {
    write!(f, "query {word} {} as {}", probe.target, sql.login)?;
    if sql.starttls {
        f.write_str(" with STARTTLS")?;
    }
    verifying(f, probe, &sql.tls)
}

fn transport_words(f: &mut fmt::Formatter<'_>, probe: &Probe, transport: &Transport) -> fmt::Result {
    if let Transport::StartTls(_) = transport {
        f.write_str(" with STARTTLS")?;
    }
    transport.tls().map_or(Ok(()), |tls| verifying(f, probe, tls))
}

fn verifying(f: &mut fmt::Formatter<'_>, probe: &Probe, tls: &Tls) -> fmt::Result {
    match (&tls.policy.verify, &tls.server_name) {
        (None, _) => Ok(()),
        (Some(_), Some(name)) => write!(f, ", verifying that it is {name}"),
        (Some(_), None) => write!(f, ", verifying that it is {}", probe.target.ip()),
    }
}

fn external_sentence(f: &mut fmt::Formatter<'_>, external: &ExternalProbe) -> fmt::Result {
    write!(f, "run {}{}", if external.perl { "perl " } else { "" }, command(&external.command))?;
    external.arguments.iter().try_for_each(|argument| write!(f, " {argument}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::spec::{HttpMethod, Redirects};

    fn describe(action: ProbeAction) -> String {
        let deadline = Duration::from_secs(5);
        Probe { target: "10.0.0.2:80".parse().unwrap(), deadline, action }.to_string()
    }

    #[test]
    fn probes_are_sentences() {
        let http = HttpProbe {
            scheme: Scheme::Http,
            method: HttpMethod::Get,
            request: "/index.html".to_owned(),
            host: Some("www.example.net".to_owned()),
            tls: Tls::default(),
            receive: Some(Pattern::parse("Test Page").unwrap()),
            redirects: Redirects::Any,
            proxy: false,
        };
        assert_eq!(
            describe(ProbeAction::Http(http)),
            "GET http://10.0.0.2:80/index.html (Host: www.example.net), expecting /Test Page/"
        );
        assert_eq!(describe(ProbeAction::Connect), "connect to 10.0.0.2:80");
        assert_eq!(describe(ProbeAction::Ping { attempts: 3 }), "ping 10.0.0.2 (3 attempts)");
    }
}
