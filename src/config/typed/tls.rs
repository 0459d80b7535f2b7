//! The TLS directives: `tlsverify` and its companions, and the services that allow `starttls`.

use std::ops::Range;
use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::{Reader, ValueError, value};
use crate::config::ast::Assignment;
use crate::config::{Negotiate, Original, SecretFile};
use crate::value::host::without_port;
use crate::value::{ClientIdentity, PemFile, Roots, Secret, Tls, TlsPolicy};

/// The values written in one place. `None` for directives that are not written there.
#[derive(Debug, Default)]
pub(super) struct TlsLines {
    pub(super) verify: Option<bool>,
    pub(super) ca: Option<File>,
    pub(super) certificates: Option<File>,
    pub(super) key: Option<File>,
    pub(super) warn_days: Option<u32>,
    pub(super) legacy: Option<bool>,
}

/// A file and the line that names it.
#[derive(Clone, Debug)]
pub(super) struct File {
    pem: PemFile,
    line: Range<usize>,
}

impl TlsLines {
    /// Whether any directive is written.
    pub(super) fn is_something(&self) -> bool {
        let TlsLines { verify, ca, certificates, key, warn_days, legacy } = self;
        let files = [ca, certificates, key].into_iter().any(Option::is_some);
        files || verify.is_some() || warn_days.is_some() || legacy.is_some()
    }

    /// Reports a certificate without its key, or a key without its certificate.
    pub(super) fn judge_pair(&self, reader: &mut Reader<'_, '_>) {
        let (one, given, missing) = match (&self.certificates, &self.key) {
            (Some(one), None) => (one, "tlscert", "tlskey"),
            (None, Some(one)) => (one, "tlskey", "tlscert"),
            _ => return,
        };
        let message = format!("{given} without {missing}");
        let diagnostic = reader.report.error(one.line.clone(), message);
        diagnostic.code("missing-directive").directive(given);
        diagnostic.help(format!("write both in the same place: add {missing}=\"…\""));
        diagnostic.original(Original::Accepts);
    }

    /// The TLS settings of a virtual service with these values, where `outside` has the values for all.
    pub(super) fn resolve(
        &self,
        outside: &TlsLines,
        server_name: Option<String>,
        reader: &mut Reader<'_, '_>,
    ) -> Tls {
        self.judge_pair(reader);
        let verify = self.verify.or(outside.verify).unwrap_or(false);
        if let (false, Some(ca)) = (verify, &self.ca) {
            reader
                .report
                .warning(ca.line.clone(), "tlsca has no effect without tlsverify=yes")
                .code("no-effect")
                .directive("tlsca")
                .help("add `#rs: tlsverify=yes`, or remove tlsca");
        }
        let ca = self.ca.as_ref().or(outside.ca.as_ref());
        let own_pair = self.certificates.is_some() || self.key.is_some();
        let pair = if own_pair { self } else { outside };
        let identity = pair.certificates.as_ref().zip(pair.key.as_ref());
        let policy = TlsPolicy {
            verify: verify.then(|| ca.map_or(Roots::System, |file| Roots::File(file.pem.clone()))),
            identity: identity.map(|(certificates, key)| ClientIdentity {
                certificates: certificates.pem.clone(),
                key: key.pem.clone(),
            }),
            legacy: self.legacy.or(outside.legacy).unwrap_or(false),
        };
        Tls {
            policy: shared(policy, reader),
            server_name,
            warn_days: self.warn_days.or(outside.warn_days).unwrap_or(Tls::WARN_DAYS),
        }
    }
}

/// Returns the shared instance of equal policies.
fn shared(policy: TlsPolicy, reader: &mut Reader<'_, '_>) -> Arc<TlsPolicy> {
    if let Some(known) = reader.policies.iter().find(|known| ***known == policy) {
        return Arc::clone(known);
    }
    let policy = Arc::new(policy);
    reader.policies.push(Arc::clone(&policy));
    policy
}

/// A file in PEM.
pub(super) fn file(line: &Assignment<'_>, reader: &Reader<'_, '_>) -> Result<File, ValueError> {
    let (path, content) = named_file(line, reader)?;
    Ok(File { pem: PemFile::new(path, content), line: line.span() })
}

/// A file by its full path, because the daemon changes its working directory, or a credential by its name.
fn named_file(line: &Assignment<'_>, reader: &Reader<'_, '_>) -> Result<(String, Arc<[u8]>), ValueError> {
    let inner = value::quoted_text(line)?;
    let path = &line.value.text()[inner.clone()];
    if !path.starts_with('/') && !path.starts_with("credential:") {
        let message = format!("{} needs the full path of a file", line.directive.name);
        return Err(ValueError::new(message)
            .at(inner)
            .help("begin the path with /, or write credential:NAME"));
    }
    let content = reader.names.file(path).map_err(|cause| {
        let message = format!("{}: {path} cannot be read: {cause}", line.directive.name);
        ValueError::new(message).code("unreadable-file").at(inner)
    })?;
    Ok((path.to_owned(), content))
}

/// The first line of a file: a password.
pub(super) fn secret(line: &Assignment<'_>, reader: &Reader<'_, '_>) -> Result<SecretFile, ValueError> {
    let (path, content) = named_file(line, reader)?;
    let text = std::str::from_utf8(&content).map_err(|_| {
        ValueError::new(format!("{}: {path} is not UTF-8", line.directive.name)).code("unreadable-file")
    })?;
    let secret = Secret::new(text.lines().next().unwrap_or_default());
    Ok(SecretFile { path, secret })
}

/// `tlsname`: a host name, or an address.
pub(super) fn name(line: &Assignment<'_>) -> Result<String, ValueError> {
    let inner = value::quoted_text(line)?;
    let name = &line.value.text()[inner.clone()];
    match ServerName::try_from(name) {
        Ok(_) => Ok(name.to_owned()),
        Err(_) => Err(ValueError::new("tlsname must be a host name or an address")
            .at(inner)
            .help("write only the name, without a port")),
    }
}

/// The name to send to a server if only `virtualhost` is set, which may have a port, and spaces before a removed
/// comment.
pub(in crate::config) fn name_of_host(host: &str) -> Option<String> {
    let name = without_port(host.trim());
    ServerName::try_from(name).is_ok().then(|| name.to_owned())
}

/// Whether a service can use TLS without `starttls`. `http` after a redirect.
pub(super) fn may_speak(service: Negotiate) -> bool {
    use Negotiate::{Http, HttpProxy, Https, Imaps, Ldaps, Pgsql, Pops};
    matches!(service, Http | HttpProxy | Https | Imaps | Ldaps | Pgsql | Pops)
}

/// Reports `starttls=yes` for a service that does not support it.
pub(super) fn judge_starttls(service: Negotiate, line: Range<usize>, reader: &mut Reader<'_, '_>) {
    let sealed = matches!(service, Negotiate::Https | Negotiate::Imaps | Negotiate::Pops | Negotiate::Ldaps);
    if service.has_starttls() {
        return;
    }
    let (word, other) = (service.as_str(), service.as_str().trim_end_matches('s'));
    let help = match (sealed, service) {
        (true, Negotiate::Https) => "remove starttls".to_owned(),
        (true, _) => format!("remove starttls, or write service={other}"),
        _ => "remove starttls: it requires ftp, imap, ldap, mysql, nntp, pgsql, pop, smtp or submission"
            .to_owned(),
    };
    let why = if sealed { "begins with TLS" } else { "has no STARTTLS" };
    let diagnostic = reader.report.error(line, format!("starttls=yes, but service={word} {why}"));
    diagnostic.code("conflict").directive("starttls").help(help).original(Original::Accepts);
}
