//! Warnings about directives that do nothing, or not what they seem to do, in their virtual service.

use super::{Reader, kernel, tls};
use crate::config::ast::Assignment;
use crate::config::diagnostic::Original;
use crate::config::{Negotiate, Virtual};
use crate::value::{Protocol, VirtualId};

/// What the lines of a virtual service say and its configuration does not show.
pub(super) struct Said {
    /// `checkinterval`, where it does not count.
    pub(super) idle_interval: bool,
    /// `redirects`
    pub(super) redirects: bool,
    /// A directive that begins with `tls`.
    pub(super) tls: bool,
}

/// Reports what has no effect in a virtual service.
pub(super) fn judge(v: &Virtual, said: &Said, head: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    kernel::judge(v, head, reader);
    if said.idle_interval {
        warn_of_interval(v, head, reader);
    }
    warn_of_oracle(v, head, reader);
    warn_of_probe(v, head, reader);
    warn_of_idle(v, said, head, reader);
}

fn warn_of_interval(v: &Virtual, head: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    let message = format!("checkinterval in virtual service {} ignored when fork=no", v.id.qualified());
    reader
        .report
        .warning(head.span(), message)
        .code("no-effect")
        .directive("checkinterval")
        .help("write fork=yes outside all virtuals, or remove it")
        .original(Original::Warns)
        .without_line();
}

/// A build without the feature cannot log in at Oracle, and says so before anybody relies on it.
fn warn_of_oracle(v: &Virtual, head: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    if v.check.negotiates() && v.check.service == Negotiate::Oracle && !cfg!(feature = "oracle") {
        let message = "service=oracle: this build asks whether the listener connects to the database, and does not log in";
        reader.report.warning(head.span(), message).code("limited-build").directive("service").help(
            "for a login and the query build it with the feature oracle, or use checktype=external with sqlplus",
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
            .warning(head.span(), "udpprobe without udpreply: a machine that is switched off counts as up")
            .code("missing-directive")
            .directive("udpprobe")
            .help("add `#rs: udpreply=\"…\"` if the service answers, or remove udpprobe: then it is a ping");
    }
}

/// Says which of our own directives nothing looks at. Those of the original do no harm where they are not needed, and files
/// in the field are full of them; who writes one of ours wants it.
fn warn_of_idle(v: &Virtual, said: &Said, head: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    let check = &v.check;
    let negotiates = check.negotiates();
    let speaks_tls = negotiates && (tls::may_speak(check.service) || check.starttls);
    let asks_dns = negotiates && check.service == Negotiate::Dns;
    let asks_http = negotiates && check.service.is_http();
    let has_probe = check.udpprobe.is_some();
    for (name, idle, needs) in [
        ("starttls", check.starttls && !negotiates, "checktype=negotiate"),
        ("a directive of TLS", said.tls && !speaks_tls, "a service that speaks TLS, or starttls=yes"),
        ("redirects", said.redirects && !asks_http, "service=http, https or http_proxy"),
        ("dnstype", check.dnstype.is_some() && !asks_dns, "service=dns"),
        ("udpprobe", has_probe && !sends_datagrams(v), "checktype=connect and protocol=udp"),
        ("udpreply", check.udpreply.is_some() && !has_probe, "udpprobe"),
    ] {
        if idle {
            let message = format!("{name} is without effect here: it goes with {needs}");
            reader.report.warning(head.span(), message).code("no-effect").help("remove the line");
        }
    }
}
