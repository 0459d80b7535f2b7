//! Features of the kernel for which the original has no directive: `tunnel`, `persistengine`, `timeouts`, SCTP.

use std::collections::BTreeMap;

use super::{Reader, ValueError, value};
use crate::config::ast::Assignment;
use crate::config::diagnostic::Original;
use crate::config::{Timeouts, Tunnel, Virtual};
use crate::value::{ForwardingMethod, Protocol, VirtualId};

/// Maximum time-out in seconds that a kernel of any clock rate accepts.
const MAX_TIMEOUT: u32 = 2_147_483;

/// `gue:PORT[,csum]` or `gre[,csum]`.
pub(super) fn tunnel(line: &Assignment<'_>) -> Result<Tunnel, ValueError> {
    let text = line.value.text().trim();
    let (kind, checksum) = text.strip_suffix(",csum").map_or((text, false), |kind| (kind, true));
    let port = |port: &str| port.parse().ok().filter(|port| *port > 0);
    let tunnel = match kind.split_once(':') {
        None if kind == "gre" => Some(Tunnel::Gre { checksum }),
        Some(("gue", number)) => port(number).map(|port| Tunnel::Gue { port, checksum }),
        _ => None,
    };
    tunnel.ok_or_else(|| ValueError::new(line.directive.refusal).help("write for example tunnel=gue:5555"))
}

/// The name of a persistence engine of the kernel: `sip` is the only one.
pub(super) fn engine(line: &Assignment<'_>) -> Result<String, ValueError> {
    value::one_of(line, &["sip"], |word| (word == "sip").then(|| word.to_owned()))
}

/// Three numbers of seconds. 0 leaves a time-out as it is.
pub(super) fn timeouts(line: &Assignment<'_>) -> Result<Timeouts, ValueError> {
    let numbers: Vec<Option<u32>> =
        line.value.text().split(',').map(|number| number.trim().parse().ok()).collect();
    let wrong = || ValueError::new(line.directive.refusal).at(0..line.value.text().len());
    let [Some(tcp), Some(tcpfin), Some(udp)] = numbers[..] else {
        return Err(wrong().help("write for example timeouts=900,120,300 (0 leaves a time-out unchanged)"));
    };
    if [tcp, tcpfin, udp].into_iter().max() > Some(MAX_TIMEOUT) {
        return Err(wrong().help(format!("write at most {MAX_TIMEOUT} seconds: the kernel accepts no more")));
    }
    Ok(Timeouts { tcp, tcpfin, udp })
}

/// Warns about these directives where they have no effect, and about negotiate checks of SCTP services.
pub(super) fn judge(v: &Virtual, head: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    let protocol = match v.id {
        VirtualId::Address { protocol, .. } => Some(protocol),
        VirtualId::Mark { .. } => None,
    };
    let fallback = v.fallback.map(|fallback| fallback.method);
    let mut methods = v.reals.iter().map(|real| real.method).chain(fallback);
    let tunnelled = methods.any(|method| method == ForwardingMethod::Ipip);
    let scheduling = &v.scheduling;
    // The engine supports only UDP.
    let reads_sip = scheduling.persistent.is_some() && matches!(protocol, Some(Protocol::Udp) | None);
    for (name, idle, needs) in [
        ("tunnel", scheduling.tunnel.is_some() && !tunnelled, "a server with ipip"),
        ("persistengine", scheduling.persistengine.is_some() && !reads_sip, "persistent and protocol=udp"),
    ] {
        if idle {
            let message = format!("{name} has no effect here: it requires {needs}");
            let warning = reader.report.warning(head.span(), message);
            warning.code("no-effect").directive(name).help("remove the line");
        }
    }
    if protocol == Some(Protocol::Sctp) && v.check.negotiates() {
        reader
            .report
            .warning(head.span(), "protocol=sctp: a negotiate check uses TCP to the server, not SCTP")
            .code("conflict")
            .directive("checktype")
            .help("write checktype=connect, which opens an SCTP association");
    }
}

/// Warns about an SCTP service that the original reads as a duplicate of a TCP service, so that it refuses the
/// file. `lines` maps each service to its line.
pub(super) fn judge_twins(
    heads: &[(VirtualId, &Assignment<'_>)],
    lines: &BTreeMap<VirtualId, usize>,
    reader: &mut Reader<'_, '_>,
) {
    for (id, head) in heads {
        let VirtualId::Address { protocol: Protocol::Sctp, address } = *id else { continue };
        if let Some(line) = lines.get(&VirtualId::Address { protocol: Protocol::Tcp, address }) {
            reader
                .report
                .warning(
                    head.span(),
                    format!("the original reads this as a duplicate of the service in line {line}"),
                )
                .code("duplicate-virtual")
                .directive(head.directive.name)
                .help(
                    "use two files if the original must read them: it ignores #rs: and sees two TCP services",
                )
                .original(Original::Refuses);
        }
    }
}
