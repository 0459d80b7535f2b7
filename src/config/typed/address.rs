//! Addresses and ports of virtual services and fallback servers, and their lookup.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::{Reader, ValueError};
use crate::config::Fallback;
use crate::config::ast::Assignment;
use crate::config::nearest_word;
use crate::config::source::is_blank;
use crate::value::{Family, ForwardingMethod, Protocol};

/// The value of `virtual=` or `virtual6=` before the lookup of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WrittenId {
    /// A host, without brackets, and a port.
    Address { host: String, port: String },
    /// A firewall mark.
    Mark(u32),
}

/// Reads the value of `virtual=` or `virtual6=`.
pub(super) fn head(
    line: &Assignment<'_>,
    family: Family,
    reader: &mut Reader<'_, '_>,
) -> Result<WrittenId, ValueError> {
    let text = line.value.text();
    let refusal = |message: &str| Err(ValueError::new(message).at(0..text.len()));
    let host = prefix(text, |c| c.is_ascii_alphanumeric() || "._+-".contains(c));
    if let (false, Some(port)) = (host.is_empty(), port_after(text, host.len())) {
        warn_of_octal(line, host, reader);
        rest_is_ignored(line, port.end, reader);
        return Ok(WrittenId::Address { host: host.to_owned(), port: text[port].to_owned() });
    }
    let digits = prefix(text, |c| c.is_ascii_digit());
    if !digits.is_empty() {
        return mark(line, digits, reader);
    }
    let Some((address, end)) = bracketed(text) else { return refusal(line.directive.refusal) };
    let Some(port) = port_after(text, end) else { return refusal(line.directive.refusal) };
    if family == Family::V4 {
        return refusal("cannot specify an IPv6 address here. please use \"virtual6\" instead.");
    }
    if address.parse::<Ipv6Addr>().is_err() {
        return refusal("invalid ipv6 address for virtual server");
    }
    rest_is_ignored(line, port.end, reader);
    Ok(WrittenId::Address { host: address.to_owned(), port: text[port].to_owned() })
}

/// A firewall mark. An address without a port is an error, although the original reads it as a mark.
fn mark(line: &Assignment<'_>, digits: &str, reader: &mut Reader<'_, '_>) -> Result<WrittenId, ValueError> {
    let text = line.value.text();
    if text[digits.len()..].starts_with('.') {
        let address = prefix(text, |c| c.is_ascii_digit() || c == '.');
        return Err(ValueError::new(line.directive.refusal)
            .at(0..text.len())
            .help(format!("add a port: {address}:80 (ldirectord reads this as the firewall mark {digits})"))
            .stricter_than_original());
    }
    match digits.parse() {
        Ok(mark) if mark > 0 => {
            rest_is_ignored(line, digits.len(), reader);
            Ok(WrittenId::Mark(mark))
        }
        _ => Err(ValueError::new(format!("{digits} is not a firewall mark"))
            .at(0..digits.len())
            .help("write a number from 1 to 4294967295, or address:port")
            .stricter_than_original()),
    }
}

/// Warns about text after the address, which the original ignores silently.
fn rest_is_ignored(line: &Assignment<'_>, end: usize, reader: &mut Reader<'_, '_>) {
    let rest = line.value.text()[end..].trim_matches(is_blank);
    if !rest.is_empty() && !rest.starts_with('#') {
        reader.warn(line, end..line.value.text().len(), format!("\"{rest}\" is ignored"), "remove it");
    }
}

/// `[…]:` with hexadecimal digits and colons inside: the text inside, and the place after the bracket.
pub(super) fn bracketed(text: &str) -> Option<(&str, usize)> {
    let inner = prefix(text.strip_prefix('[')?, |c| c.is_ascii_hexdigit() || c == ':');
    let end = 1 + inner.len();
    (!inner.is_empty() && text[end..].starts_with(']')).then_some((inner, end + 1))
}

/// The range of the port that follows an address.
pub(super) fn port_after(text: &str, end: usize) -> Option<Range<usize>> {
    let port = prefix(text[end..].strip_prefix(':')?, is_port);
    (!port.is_empty()).then(|| end + 1..end + 1 + port.len())
}

fn is_port(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// The longest prefix that consists of such characters.
pub(super) fn prefix(text: &str, is: impl Fn(char) -> bool) -> &str {
    &text[..text.find(|c| !is(c)).unwrap_or(text.len())]
}

/// The address of a host. The system's resolver reads a dotted quad with leading zeros, as octal.
pub(super) fn host(name: &str, family: Family, reader: &Reader<'_, '_>) -> Option<IpAddr> {
    match family {
        Family::V4 => name.parse::<Ipv4Addr>().map(IpAddr::V4).ok(),
        Family::V6 => name.parse::<Ipv6Addr>().map(IpAddr::V6).ok(),
    }
    // The system's resolver supports zones (`fe80::1%eth0`), IPVS does not.
    .or_else(|| match part_help(name) {
        Some(_) => None,
        None => reader.names.host(name, family).filter(|_| !name.contains('%')),
    })
}

/// What to write instead of a port that cannot be found.
pub(super) const PORT_HELP: &str = "write a number from 1 to 65535, or a name of /etc/services";

/// What to do about numbers that look like an address and are not one. No host has such a name.
pub(super) fn part_help(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_large = |part: &&str| part.parse::<u64>().is_ok_and(|number| number > 255);
    (parts.iter().all(is_number) && (parts.len() > 4 || (parts.len() == 4 && parts.iter().any(is_large))))
        .then(|| "an IPv4 address has four numbers from 0 to 255".to_owned())
}

/// The resolver reads a number that begins with 0 as octal: `10.9.1.010` is 10.9.1.8.
pub(super) fn warn_of_octal(line: &Assignment<'_>, host: &str, reader: &mut Reader<'_, '_>) {
    let octet = |part: &str| u8::from_str_radix(part, if part.starts_with('0') { 8 } else { 10 }).ok();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = host.split('.').collect();
    let has_octal = parts.iter().any(|part| part.len() > 1 && part.starts_with('0'));
    if parts.len() != 4 || !has_octal || !parts.iter().all(|part| is_number(part)) {
        return;
    }
    let octets: Option<Vec<u8>> = parts.into_iter().map(octet).collect();
    if let Some(&[a, b, c, d]) = octets.as_deref() {
        let address = Ipv4Addr::new(a, b, c, d);
        let start = line.value.text().find(host).unwrap_or_default();
        let message = format!("{host} is read as {address}: a number that begins with 0 is octal");
        reader.warn(line, start..start + host.len(), message, "write the numbers without a leading 0");
    }
}

/// What to write instead of another program's word for a forwarding method.
pub(super) fn method_help(word: &str) -> Option<&'static str> {
    match word.to_ascii_lowercase().as_str() {
        "nat" | "masquerade" | "masquerading" | "snat" => Some("write masq for NAT"),
        "dr" | "direct" | "droute" | "route" | "lvs-dr" => Some("write gate for direct routing"),
        "tun" | "tunnel" | "ipip6" | "ip-ip" | "lvs-tun" => Some("write ipip for a tunnel"),
        near => match nearest_word(near, ["gate", "masq", "ipip"].into_iter())? {
            "gate" => Some("did you mean gate (direct routing)?"),
            "masq" => Some("did you mean masq (NAT)?"),
            _ => Some("did you mean ipip (a tunnel)?"),
        },
    }
}

fn version(family: Family) -> &'static str {
    if family == Family::V4 { "IPv4" } else { "IPv6" }
}

/// The number of a port, for any protocol if `protocol` is `None`.
pub(super) fn port(name: &str, protocol: Option<Protocol>, reader: &Reader<'_, '_>) -> Option<u16> {
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return name.parse().ok();
    }
    reader.names.port(name, protocol)
}

/// A fallback server. The lookup of its port needs the protocol of the virtual service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FallbackText {
    address: IpAddr,
    port: Option<String>,
    method: ForwardingMethod,
    /// Place in the file.
    pub(super) span: Range<usize>,
}

/// Reads `host[:port] [method]` from the last one or two words of the value.
pub(super) fn fallback_text(
    line: &Assignment<'_>,
    family: Family,
    reader: &mut Reader<'_, '_>,
) -> Result<FallbackText, ValueError> {
    let text = line.value.text();
    let words: Vec<&str> = text.split(is_blank).filter(|word| !word.is_empty()).collect();
    let (server, method) = match words[..] {
        [] => ("", "gate"),
        [server] => (server, "gate"),
        [.., server, method] => (server, method),
    };
    let Some(method) = ForwardingMethod::from_word(method) else {
        let wrong = ValueError::new("forward method must be gate, masq or ipip").at(0..text.len());
        let help =
            method_help(method).unwrap_or("write address[:port] [gate|masq|ipip] and nothing after it");
        return Err(wrong.help(help));
    };
    if server.contains(['"', '\'']) {
        let wrong = ValueError::new(format!(
            "invalid {} address or could not resolve for fallback server: {server}",
            version(family)
        ));
        return Err(wrong.at(0..text.len()).help("write the address without quotes"));
    }
    warn_of_octal(line, host_and_port(server).0, reader);
    if words.len() > 2 {
        reader.warn(
            line,
            0..text.len(),
            format!("everything except \"{server} {method}\" is ignored"),
            "remove the rest",
        );
    }
    let (host, port) = host_and_port(server);
    // Look up everything before reporting an error. The protocol is only known with the virtual service.
    let any = [Some(Protocol::Tcp), Some(Protocol::Udp), Some(Protocol::Sctp), None];
    let known = port.is_none_or(|name| any.map(|protocol| self::port(name, protocol, reader)) != [None; 4]);
    let address =
        if host.is_empty() { loopback(line, family, reader) } else { fallback_host(host, family, reader) };
    let Some(address) = address else {
        return Err(ValueError::new(format!(
            "invalid {} address or could not resolve for fallback server: {host}",
            version(family)
        ))
        .at(0..text.len()));
    };
    if !known {
        return Err(ValueError::new(line.directive.refusal).at(0..text.len()));
    }
    Ok(FallbackText { address, port: port.map(str::to_owned), method, span: line.span() })
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn host_and_port(server: &str) -> (&str, Option<&str>) {
    match server.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.chars().all(is_port) && !inside_brackets(host) => {
            (host, Some(port))
        }
        _ => (server, None),
    }
}

/// Whether a bracket is opened here and not closed.
fn inside_brackets(host: &str) -> bool {
    host.starts_with('[') && !host.ends_with(']')
}

fn fallback_host(text: &str, family: Family, reader: &Reader<'_, '_>) -> Option<IpAddr> {
    host(text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text), family, reader)
}

/// The original reads an empty host as this machine.
fn loopback(line: &Assignment<'_>, family: Family, reader: &mut Reader<'_, '_>) -> Option<IpAddr> {
    let address = match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Family::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    reader
        .report
        .warning(line.span(), format!("no address is given: {address} is used"))
        .directive(line.directive.name)
        .help("write the address");
    Some(address)
}

impl FallbackText {
    /// The fallback server for a virtual service of this protocol. Port 0 means no port.
    pub(super) fn resolve(&self, protocol: Option<Protocol>, reader: &Reader<'_, '_>) -> Option<Fallback> {
        let port = match &self.port {
            None => None,
            Some(text) => Some(port(text, protocol, reader)?).filter(|port| *port != 0),
        };
        Some(Fallback { address: self.address, port, method: self.method })
    }
}
