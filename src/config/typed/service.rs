//! Values of directives inside virtual services: checks, protocol, netmask and scheduler flags.

use std::net::Ipv4Addr;
use std::ops::Range;

use super::{Reader, ValueError, value};
use crate::config::ast::Assignment;
use crate::config::diagnostic::Original;
use crate::config::source::is_word;
use crate::config::{CheckType, HttpMethod, Negotiate, Netmask, Redirects};
use crate::value::{DnsType, Family, Protocol};

/// Maximum persistence of `ipvsadm` in seconds: 31 days.
const MAX_PERSISTENT: u64 = 31 * 24 * 60 * 60;

/// The flags in a list, or nothing if a flag is not known to this scheduler, which is reported. `line` is the place
/// of the list.
pub(super) fn sched_flags(
    list: &str,
    scheduler: &str,
    line: Range<usize>,
    reader: &mut Reader<'_, '_>,
) -> Option<String> {
    let own: &[&str] = match scheduler {
        "sh" => &["sh-port", "sh-fallback"],
        "mh" => &["mh-port", "mh-fallback"],
        _ => &[],
    };
    let known = [&["flag-1", "flag-2", "flag-3"], own].concat();
    let names: Vec<&str> = list.split(',').filter(|name| !name.is_empty()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        reader
            .report
            .error(line, format!("{unknown} is not a flag of the scheduler {scheduler}"))
            .directive("schedflags")
            .help(format!("valid flags are {}", known.join(", ")))
            .original(Original::Accepts);
        return None;
    }
    Some(names.join(","))
}

/// The first run of lowercase letters.
pub(super) fn scheduler(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> Result<String, ValueError> {
    let text = line.value.text();
    let run = value::first_run(text, |c| c.is_ascii_lowercase());
    let name = &text[run.ok_or_else(|| ValueError::new(line.directive.refusal))?];
    if name != text.trim_end() {
        let message = format!("scheduler is read as {name}");
        reader.warn(line, 0..text.len(), message, "write only the name of a scheduler");
    }
    Ok(name.to_owned())
}

/// A number of seconds. Absent if it is 0.
pub(super) fn persistence(
    line: &Assignment<'_>,
    reader: &mut Reader<'_, '_>,
) -> Result<Option<u32>, ValueError> {
    let seconds = value::number(line, reader)?;
    let all = 0..line.value.text().len();
    if seconds == 0 {
        let help = "remove the line, or write a number of seconds";
        reader.warn(line, all, "persistent=0 has no effect", help);
        return Ok(None);
    }
    if seconds > MAX_PERSISTENT {
        reader.warn(
            line,
            all,
            "persistent is more than 31 days: 31 days are used",
            "write at most 2678400 seconds",
        );
    }
    Ok(u32::try_from(seconds.min(MAX_PERSISTENT)).ok())
}

/// Any number selects the combined check. Otherwise the first word counts.
pub(super) fn check_type(line: &Assignment<'_>) -> Result<CheckType, ValueError> {
    let text = line.value.text();
    if let Some(digits) = value::first_run(text, |c| c.is_ascii_digit()) {
        return Ok(CheckType::Combined(text[digits].parse().unwrap_or(u32::MAX)));
    }
    let known = ["connect", "negotiate", "ping", "off", "on", "external", "external-perl"];
    value::one_with_hyphens(line, &known, |word| {
        Some(match word {
            "connect" => CheckType::Connect,
            "negotiate" => CheckType::Negotiate,
            "ping" => CheckType::Ping,
            "off" => CheckType::Off,
            "on" => CheckType::On,
            "external" => CheckType::External,
            "external-perl" => CheckType::ExternalPerl,
            _ => return None,
        })
    })
    .map_err(|wrong| {
        let service = value::first_run(text, is_word)
            .map(|run| &text[run])
            .filter(|word| Negotiate::from_word(word).is_some());
        wrong.or_help(|| {
            service.map(|service| {
                format!("write checktype=negotiate, and service={service} on a line of its own")
            })
        })
    })
}

/// A port above 0.
pub(super) fn check_port(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> Result<u16, ValueError> {
    let number = value::number(line, reader)?;
    u16::try_from(number).ok().filter(|port| *port > 0).ok_or_else(|| {
        ValueError::new("checkport must be in range 1..65536")
            .at(0..line.value.text().len())
            .help("the highest port is 65535")
    })
}

/// The protocol of a negotiate check.
pub(super) fn service(line: &Assignment<'_>) -> Result<Negotiate, ValueError> {
    let known: Vec<&str> = Negotiate::ALL.iter().map(|row| row.1).collect();
    value::one_of(line, &known, Negotiate::from_word).map_err(|wrong| {
        let help = "for another protocol write checktype=connect, service=simpletcp with request and receive, or checktype=external";
        wrong.or_help(|| Some(help.to_owned()))
    })
}

/// `GET` or `HEAD`, in any case.
pub(super) fn http_method(line: &Assignment<'_>) -> Result<HttpMethod, ValueError> {
    value::one_of(line, &["GET", "HEAD"], |word| match word.to_ascii_uppercase().as_str() {
        "GET" => Some(HttpMethod::Get),
        "HEAD" => Some(HttpMethod::Head),
        _ => None,
    })
}

/// `any`, `same-host` or `no`.
pub(super) fn redirects(line: &Assignment<'_>) -> Result<Redirects, ValueError> {
    value::one_with_hyphens(line, &["any", "same-host", "no"], Redirects::from_word)
}

/// The name of a DNS record, in any case.
pub(super) fn dns_type(line: &Assignment<'_>) -> Result<DnsType, ValueError> {
    let known: Vec<&str> = DnsType::ALL.iter().map(|row| row.1).collect();
    value::one_of(line, &known, DnsType::from_word)
}

/// `None` for a firewall mark, whose packets may be of any protocol.
pub(super) fn protocol(line: &Assignment<'_>, mark: bool) -> Result<Option<Protocol>, ValueError> {
    let text = line.value.text();
    let run = value::first_run(text, is_word);
    let Some(run) = run else { return Err(ValueError::new("invalid protocol")) };
    match (&text[run.clone()], mark) {
        ("fwm", true) => Ok(None),
        ("tcp", false) => Ok(Some(Protocol::Tcp)),
        ("udp", false) => Ok(Some(Protocol::Udp)),
        ("sctp", false) if line.ours => Ok(Some(Protocol::Sctp)),
        ("sctp", false) => Err(ValueError::new(line.directive.refusal)
            .at(run)
            .help("write `#rs: protocol=sctp`, which the original reads as a comment")),
        (_, true) => {
            Err(ValueError::new("protocol must be fwm if the virtual service is a fwmark (a number)").at(run))
        }
        (_, false) => Err(ValueError::new(line.directive.refusal).at(run)),
    }
}

/// A netmask with nothing around it: the original is strict here.
pub(super) fn netmask(line: &Assignment<'_>, family: Family) -> Result<Netmask, ValueError> {
    let text = line.value.text();
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if family == Family::V6 {
        let prefix = text.parse().ok().filter(|prefix| (1..=128).contains(prefix) && digits(text));
        return prefix.map(Netmask::V6).ok_or_else(|| {
            ValueError::new("invalid netmask: a prefix length between 1 and 128 is required")
                .at(0..text.len())
        });
    }
    let quad = text.split('.').count() == 4 && text.split('.').all(digits);
    let wrong = ValueError::new(line.directive.refusal).at(0..text.len());
    if !quad {
        return Err(wrong.help("write for example 255.255.255.0, with nothing after it"));
    }
    let parts: Option<Vec<u8>> = text.split('.').map(octet).collect();
    match parts.as_deref() {
        Some(&[a, b, c, d]) => Ok(Netmask::V4(Ipv4Addr::new(a, b, c, d))),
        // The original accepts it, but `ipvsadm` refuses it.
        _ => Err(wrong
            .help("each part is at most 255 (a part that begins with 0 is octal)")
            .stricter_than_original()),
    }
}

/// A part of a dotted quad as `inet_aton` reads it: `ipvsadm` reads the original's netmask that way.
fn octet(digits: &str) -> Option<u8> {
    u8::from_str_radix(digits, if digits.starts_with('0') { 8 } else { 10 }).ok()
}
