//! `service=ldap` and `ldaps` (RFC 4511): a bind, and a search for one entry, whose name must match `receive`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, Scope, SearchEntry, StdStream};
use rustls::ClientConfig;

use super::progress::{Progress, Step};
use super::{say, unreachable};
use crate::net::{cause, dial, tls};
use crate::plan::{LdapProbe, Probe};
use crate::value::Verdict;

/// Asks, and judges the answer.
pub(super) async fn run(
    config: &Arc<ClientConfig>,
    probe: &Probe,
    ldap: &LdapProbe,
    progress: &Progress,
) -> Verdict {
    ask(config, probe, ldap, progress).await.unwrap_or_else(|verdict| verdict)
}

/// The error is the verdict, too.
async fn ask(
    config: &Arc<ClientConfig>,
    probe: &Probe,
    ldap: &LdapProbe,
    progress: &Progress,
) -> Result<Verdict, Verdict> {
    let target = probe.target;
    let scheme = if ldap.tls { "ldaps" } else { "ldap" };
    let name = format!("{scheme} {target}");
    let not_connected =
        |what: String, error: &std::io::Error| unreachable(&what, error).with_monitor("Connection failed");
    let stream =
        dial::connect(target).await.map_err(|error| not_connected(format!("connect to {target}"), &error))?;
    progress.connected(if ldap.tls { Step::Handshake } else { Step::Answer("the answer to Bind") });
    let stream = stream.into_std().map_err(|error| not_connected(name.clone(), &error))?;
    let settings = LdapConnSettings::new()
        .set_config(Arc::clone(config))
        .set_no_tls_verify(true)
        .set_std_stream(StdStream::Tcp(stream));
    // The connection stands already: the URL only says how to speak, and the name for TLS.
    let host = match &ldap.server_name {
        Some(host) if ldap.tls && tls::is_dns_name(host) => format!("{host}:{}", target.port()),
        // Whatever the server's own address: the library takes an IPv6 address for a name, and refuses it.
        _ => SocketAddr::from((Ipv4Addr::LOCALHOST, target.port())).to_string(),
    };
    let failed = |what: &str, monitor: &str, error: &LdapError| {
        Verdict::down(format!("{name}: {what}: {}", said(error))).with_monitor(monitor)
    };
    let (connection, mut client) = LdapConnAsync::with_settings(settings, &format!("{scheme}://{host}"))
        .await
        .map_err(|error| failed("no connection", "Connection failed", &error))?;
    progress.step(Step::Answer("the answer to Bind"));
    let work = async {
        let (login, passwd) = match (ldap.login.as_str(), ldap.passwd.reveal()) {
            ("", _) | (_, "") => ("", ""),
            both => both,
        };
        let bound = client.simple_bind(login, passwd).await.and_then(ldap3::LdapResult::success);
        bound.map_err(|error| failed("Bind", "Bind failed", &error))?;
        progress.step(Step::Answer("the answer to Search"));
        search(&mut client, &name, ldap).await
    };
    tokio::select! {
        verdict = work => verdict,
        ended = connection.drive() => {
            let why = ended.map_or_else(|error| said(&error), |()| "the server closed the connection".to_owned());
            Err(Verdict::down(format!("{name}: {why}")).with_monitor("Connection failed"))
        }
    }
}

async fn search(client: &mut Ldap, name: &str, ldap: &LdapProbe) -> Result<Verdict, Verdict> {
    const NOTHING: &str = "No answer received";
    let base = &ldap.base;
    let found = client.search(base, Scope::Base, "(objectClass=*)", vec!["1.1"]).await;
    let found = found.and_then(ldap3::SearchResult::success).map_err(|error| {
        Verdict::down(format!("{name}: Search for \"{base}\": {}", said(&error))).with_monitor(NOTHING)
    })?;
    let mut entries = found.0.into_iter().filter(|entry| !entry.is_ref()).map(SearchEntry::construct);
    let (Some(entry), None) = (entries.next(), entries.next()) else {
        return Err(Verdict::down(format!("{name}: Search for \"{base}\" found not exactly one entry"))
            .with_monitor(NOTHING));
    };
    let dn = say::beginning(entry.dn.as_bytes(), 200);
    let Some(pattern) = &ldap.receive else {
        return Ok(Verdict::up(format!("{name}: found {dn}")).with_monitor("Success"));
    };
    let source = pattern.source();
    match pattern.is_match(entry.dn.as_bytes()) {
        Ok(true) => Ok(Verdict::up(format!("{name}: {dn} matches /{source}/")).with_monitor("Success")),
        Ok(false) => Err(Verdict::down(format!("{name}: {dn} does not match /{source}/"))
            .with_monitor("Response mismatch")),
        Err(limit) => Err(Verdict::down(format!("{name}: {dn}, but /{source}/: {limit}"))),
    }
}

/// What went wrong, without the passwords that an error of the library might show.
fn said(error: &LdapError) -> String {
    match error {
        LdapError::LdapResult { result } => {
            let text = say::beginning(result.text.as_bytes(), 100);
            format!("result code {} ({}) {text}", result.rc, code_name(result.rc))
        }
        LdapError::Io { source } => tls::explain(source).replace("TLS handshake: ", ""),
        LdapError::OpSend { .. } | LdapError::ResultRecv { .. } | LdapError::EndOfStream => {
            "the server closed the connection".to_owned()
        }
        other => cause(&std::io::Error::other(other.to_string())),
    }
}

/// RFC 4511 4.1.9, those that a check meets.
fn code_name(code: u32) -> &'static str {
    match code {
        1 => "operationsError",
        2 => "protocolError",
        7 => "authMethodNotSupported",
        8 => "strongerAuthRequired",
        10 => "referral",
        13 => "confidentialityRequired",
        32 => "noSuchObject",
        34 => "invalidDNSyntax",
        48 => "inappropriateAuthentication",
        49 => "invalidCredentials",
        50 => "insufficientAccessRights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwillingToPerform",
        _ => "see RFC 4511, appendix A",
    }
}
