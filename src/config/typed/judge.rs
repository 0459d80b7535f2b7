//! Warnings about directives that have no effect, or an unexpected one, in their virtual service.

use super::{Reader, kernel, tls};
use crate::config::ast::Assignment;
use crate::config::diagnostic::Original;
use crate::config::{Negotiate, Virtual};
use crate::value::{Protocol, VirtualId};

/// Facts about the lines of a virtual service that its configuration does not show.
pub(super) struct Mentioned {
    /// Whether it has a `checkinterval` without effect.
    pub(super) idle_interval: bool,
    /// Whether it has `redirects`.
    pub(super) redirects: bool,
    /// Whether it has a directive that begins with `tls`.
    pub(super) tls: bool,
}

/// Reports directives without effect in a virtual service.
pub(super) fn judge(v: &Virtual, mentioned: &Mentioned, head: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    kernel::judge(v, head, reader);
    if mentioned.idle_interval {
        warn_of_interval(v, head, reader);
    }
    warn_of_oracle(v, head, reader);
    warn_of_probe(v, head, reader);
    warn_of_idle(v, mentioned, head, reader);
}

fn warn_of_interval(v: &Virtual, head: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    // The original's words.
    let message = format!("checkinterval in virtual service {} ignored when fork=no", v.id.qualified());
    reader
        .report
        .warning(head.span(), message)
        .code("no-effect")
        .directive("checkinterval")
        .help("write fork=yes outside all virtual services, or remove checkinterval")
        .original(Original::Warns)
        .without_line();
}

/// Warns that a build without the feature cannot log in to Oracle.
fn warn_of_oracle(v: &Virtual, head: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    if v.check.negotiates() && v.check.service == Negotiate::Oracle && !cfg!(feature = "oracle") {
        let message = "service=oracle: this build checks whether the listener connects to the database, and does not log in";
        reader.report.warning(head.span(), message).code("limited-build").directive("service").help(
            "for a login and a query, build with the feature oracle, or use checktype=external with sqlplus",
        );
    }
}

fn sends_datagrams(v: &Virtual) -> bool {
    v.check.connects() && matches!(v.id, VirtualId::Address { protocol: Protocol::Udp, .. })
}

fn warn_of_probe(v: &Virtual, head: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    if v.check.udpprobe.is_some() && v.check.udpreply.is_none() && sends_datagrams(v) {
        reader
            .report
            .warning(head.span(), "udpprobe without udpreply: a server that is switched off counts as up")
            .code("missing-directive")
            .directive("udpprobe")
            .help("add `#rs: udpreply=\"…\"` if the service answers, or remove udpprobe to check by ping");
    }
}

/// Warns about extensions without effect. Directives of the original get no warning: existing files have many that
/// are not needed and do no harm. An extension is written on purpose.
fn warn_of_idle(v: &Virtual, mentioned: &Mentioned, head: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    let check = &v.check;
    let negotiates = check.negotiates();
    let speaks_tls = negotiates && (tls::may_speak(check.service) || check.starttls);
    let asks_dns = negotiates && check.service == Negotiate::Dns;
    let asks_http = negotiates && check.service.is_http();
    let has_probe = check.udpprobe.is_some();
    for (name, idle, needs) in [
        ("starttls", check.starttls && !negotiates, "checktype=negotiate"),
        ("a TLS directive", mentioned.tls && !speaks_tls, "a service that uses TLS, or starttls=yes"),
        ("redirects", mentioned.redirects && !asks_http, "service=http, https or http_proxy"),
        ("dnstype", check.dnstype.is_some() && !asks_dns, "service=dns"),
        ("udpprobe", has_probe && !sends_datagrams(v), "checktype=connect and protocol=udp"),
        ("udpreply", check.udpreply.is_some() && !has_probe, "udpprobe"),
    ] {
        if idle {
            let message = format!("{name} has no effect here: it requires {needs}");
            reader.report.warning(head.span(), message).code("no-effect").help("remove the line");
        }
    }
}
