//! `real=`: `address[->address][:port] method [weight] ["request", "receive"] [l:n] [u:n]`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;

use super::address::{self, prefix};
use super::{MAX_REALS, Reader, ValueError, value};
use crate::config::ast::Assignment;
use crate::config::diagnostic::{Original, blank_secret};
use crate::config::source::{is_blank, is_word};
use crate::config::{Real, Virtual};
use crate::value::{Family, ForwardingMethod, Pattern};

/// Maximum weight and threshold of `ipvsadm`.
const LARGEST: u64 = 65_535;

/// The real servers of one line: several for a range.
pub(super) fn read(
    line: &Assignment<'_>,
    family: Family,
    reader: &mut Reader<'_, '_>,
) -> Result<Vec<Real>, ValueError> {
    let text = line.value.text();
    let server = text.split(is_blank).next().unwrap_or_default();
    let wrong_format = || {
        let name = line.directive.name;
        let help = match server.contains([',', '/']) {
            true => format!(
                "a line has one address; write a range as {name}=FIRST->LAST, or a line for each server"
            ),
            false => {
                let brackets = if family == Family::V6 { ", with the address in brackets" } else { "" };
                format!("write {name}=address[:port] gate|masq|ipip [weight]{brackets}")
            }
        };
        ValueError::new(line.directive.refusal).at(0..text.len()).help(help)
    };
    let written = written(server).ok_or_else(|| {
        // The original searches the whole line for something like an address, and requires nothing after it.
        let digs = text.len() > server.len() && !server.is_empty();
        if digs { wrong_format().stricter_than_original() } else { wrong_format() }
    })?;
    if server.len() == text.len() {
        return Err(wrong_format());
    }
    // Look up everything before reporting an error: all names of a file are looked up together.
    let port = address::port(written.port.unwrap_or("0"), None, reader);
    address::warn_of_octal(line, written.first, reader);
    let addresses = addresses(&written, family, reader)?;
    let port = port.ok_or_else(|| {
        let port = written.port.unwrap_or_default();
        ValueError::new(format!("invalid port ({port}) for real server (could not resolve port)"))
            .at(server.len() - port.len()..server.len())
            .help(address::PORT_HELP)
    })?;
    let options = RealOptions::read(line, server.len(), reader)?;
    Ok(addresses.into_iter().map(|address| options.real(line.line, SocketAddr::new(address, port))).collect())
}

/// The first word of the value, taken apart.
struct ServerSpec<'a> {
    first: &'a str,
    last: Option<&'a str>,
    port: Option<&'a str>,
}

fn written(server: &str) -> Option<ServerSpec<'_>> {
    let end = host_end(server)?;
    let (first, rest) = server.split_at(end);
    let (last, rest) = match rest.strip_prefix("->") {
        Some(rest) => {
            let (last, rest) = rest.split_at(host_end(rest)?);
            (Some(last), rest)
        }
        None => (None, rest),
    };
    let port = match address::port_after(rest, 0) {
        Some(port) if port.end == rest.len() => Some(&rest[port]),
        None if rest.is_empty() => None,
        _ => return None,
    };
    Some(ServerSpec { first, last, port })
}

/// The end of the host at the start of the text.
fn host_end(text: &str) -> Option<usize> {
    if text.starts_with('[') {
        return address::bracketed(text).map(|(_, end)| end);
    }
    let host = prefix(text, |c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
    // The arrow of a range begins with a character that is allowed in a host.
    let host = if text[host.len()..].starts_with('>') { host.strip_suffix('-')? } else { host };
    (!host.is_empty()).then_some(host.len())
}

/// The address, or all addresses of a range.
fn addresses(
    written: &ServerSpec<'_>,
    family: Family,
    reader: &mut Reader<'_, '_>,
) -> Result<Vec<IpAddr>, ValueError> {
    let whole = 0..written.first.len() + written.last.map_or(0, |last| last.len() + 2);
    let found = [Some(written.first), written.last]
        .map(|name| name.map(|name| (name, address::host(name.trim_matches(['[', ']']), family, reader))));
    let resolved = |name: &str, address: Option<IpAddr>, which: &str| {
        address.ok_or_else(|| {
            let message = format!("invalid address ({name}) for real server (could not resolve {which})");
            ValueError::new(message)
                .at(whole.clone())
                .or_help(|| range_help(name).or_else(|| address::part_help(name)))
        })
    };
    let (name, first) = found[0].unwrap_or(("", None));
    let first = resolved(name, first.filter(|_| range_help(name).is_none()), "host")?;
    let Some((name, last)) = found[1] else { return count(reader, vec![first], &whole) };
    match (first, resolved(name, last, "end host")?) {
        // The file is validated without a name server: how many servers the range has is not known.
        (first @ IpAddr::V4(_), IpAddr::V4(_))
            if [written.first, name].iter().any(|name| reader.names.is_invented(name, family)) =>
        {
            count(reader, vec![first], &whole)
        }
        (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => {
            let (from, to) = (u32::from(first), u32::from(last));
            let many = (to - from) as usize;
            if many >= MAX_REALS {
                return Err(too_many(&whole));
            }
            count(reader, (from..=to).map(|bits| IpAddr::V4(Ipv4Addr::from(bits))).collect(), &whole)
        }
        (IpAddr::V4(first), IpAddr::V4(last)) => Err(ValueError::new(format!(
            "Invalid Range: {first}-{last}: First value must be greater than or equal to the second value"
        ))
        .at(whole)
        .help("write the lower address first")),
        _ => Err(ValueError::new("Address range for IPv6 is not supported yet")
            .at(whole)
            .help("write a real6 line for each server")),
    }
}

/// What to write instead of two addresses with a hyphen between them, which the original takes for a name.
fn range_help(name: &str) -> Option<String> {
    let (first, last) = name.split_once('-')?;
    let is_address = |text: &str| text.parse::<Ipv4Addr>().is_ok();
    (is_address(first) && (is_address(last) || last.parse::<u8>().is_ok()))
        .then(|| "write a range as FIRST->LAST, two whole addresses with an arrow between them".to_owned())
}

/// Warns about a line that names the same destination as an earlier line, once per line.
pub(super) fn warn_of_twins(v: &Virtual, spans: &[Range<usize>], reader: &mut Reader<'_, '_>) {
    let mut first = BTreeMap::new();
    let mut warned = BTreeSet::new();
    for (real, span) in v.reals.iter().zip(spans) {
        let destination = v.destination(real.address, real.method);
        let before = *first.entry(destination).or_insert(real.line);
        if before != real.line && warned.insert(real.line) {
            let message = format!(
                "{destination} is also the destination of line {before}: it is in rotation while the checks of both lines pass, \
                 with the weight of the last line"
            );
            reader
                .report
                .warning(span.clone(), message)
                .help("remove one of the lines, unless you want two checks");
        }
    }
}

fn count(
    reader: &mut Reader<'_, '_>,
    found: Vec<IpAddr>,
    part: &Range<usize>,
) -> Result<Vec<IpAddr>, ValueError> {
    reader.reals += found.len();
    if reader.reals > MAX_REALS { Err(too_many(part)) } else { Ok(found) }
}

fn too_many(part: &Range<usize>) -> ValueError {
    ValueError::new(format!("more than {MAX_REALS} real servers")).at(part.clone()).stricter_than_original()
}

/// The options after the address.
struct RealOptions {
    method: ForwardingMethod,
    weight: u32,
    request: Option<String>,
    receive: Option<Pattern>,
    lower: u32,
    upper: u32,
}

impl RealOptions {
    fn real(&self, line: usize, address: SocketAddr) -> Real {
        Real {
            line,
            address,
            method: self.method,
            weight: self.weight,
            upper: self.upper,
            lower: self.lower,
            request: self.request.clone(),
            receive: self.receive.clone(),
        }
    }

    fn read(
        line: &Assignment<'_>,
        start: usize,
        reader: &mut Reader<'_, '_>,
    ) -> Result<RealOptions, ValueError> {
        let text = line.value.text();
        let mut rest = Cursor { text, at: start };
        let word = rest.word();
        let Some(method) = ForwardingMethod::from_word(&text[word.clone()]) else {
            let word_text = &text[word.clone()];
            let port = word_text.parse::<u16>().is_ok();
            let help = match address::method_help(word_text) {
                Some(help) => Some(help.to_owned()),
                None if port => {
                    Some(format!("write the port after a colon: {}:{word_text}", text[..start].trim()))
                }
                None => None,
            };
            return Err(ValueError::new("forward method must be gate, masq or ipip")
                .at(word)
                .or_help(|| help));
        };
        let mut options = RealOptions { method, weight: 1, request: None, receive: None, lower: 0, upper: 0 };
        let weight = rest.number("");
        let weighed = weight.is_some();
        options.weight = weight.unwrap_or(Ok(1))?;
        if let Some((request, receive)) = rest.strings()? {
            if !weighed && looks_like_a_weight(&text[request.start..receive.end]) {
                reader
                    .report
                    .warning(line.span(), "ldirectord reads a number inside the quotes as the weight")
                    .directive(line.directive.name)
                    .help("write the weight before the request")
                    .original(Original::Refuses);
            }
            if text[request.clone()].starts_with('/') {
                let message = "ldirectord drops a request that begins with / here, and everything after it";
                reader.warn(
                    line,
                    request.clone(),
                    message,
                    "remove the leading / if ldirectord must use the request too",
                );
            }
            options.request = Some(value::with_slash(&text[request]));
            if !receive.is_empty() {
                options.receive = Some(value::compile(&text[receive.clone()], receive.start, "receive")?);
            }
        }
        if let Some(lower) = rest.number("l:") {
            options.lower = lower?;
        }
        if let Some(upper) = rest.number("u:") {
            options.upper = upper?;
        }
        rest.end()?;
        if options.lower > options.upper {
            let message = format!(
                "the kernel refuses l:{} without a larger u:, so no thresholds are set",
                options.lower
            );
            reader.warn(line, 0..text.len(), message, "write both, with l: not above u:");
        }
        Ok(options)
    }
}

/// Whether white space is followed by a digit, which the original reads as the weight if none is written.
fn looks_like_a_weight(texts: &str) -> bool {
    texts.as_bytes().windows(2).any(|pair| pair[0].is_ascii_whitespace() && pair[1].is_ascii_digit())
}

/// The ranges of a server's own request and receive.
type RequestAndReceive = (Range<usize>, Range<usize>);

/// The options that have not been read yet.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl Cursor<'_> {
    /// The start of the next option, after white space.
    fn next(&self) -> usize {
        let rest = &self.text[self.at..];
        self.at + (rest.len() - rest.trim_start_matches(is_blank).len())
    }

    /// The next word of letters, digits and `_`.
    fn word(&mut self) -> Range<usize> {
        let start = self.next();
        self.at = start + prefix(&self.text[start..], is_word).len();
        start..self.at
    }

    /// A number after a prefix, if it comes next.
    fn number(&mut self, mark: &str) -> Option<Result<u32, ValueError>> {
        let start = self.next();
        let digits = prefix(self.text[start..].strip_prefix(mark)?, |c| c.is_ascii_digit());
        if digits.is_empty() || start == self.at {
            return None;
        }
        self.at = start + mark.len() + digits.len();
        let value = digits.parse().unwrap_or(u64::MAX);
        Some(match u32::try_from(value) {
            Ok(number) if value <= LARGEST => Ok(number),
            _ => Err(ValueError::new(format!("{mark}{digits} is too large"))
                .at(start..self.at)
                .help(format!(
                    "write at most {LARGEST}: ipvsadm refuses more, and ldirectord then never adds the server"
                ))
                .stricter_than_original()),
        })
    }

    /// Two texts in quotes, separated by a comma or white space, if they come next. Quotes inside belong to the text.
    fn strings(&mut self) -> Result<Option<RequestAndReceive>, ValueError> {
        let start = self.next();
        if start == self.at || !self.text[start..].starts_with('"') {
            return Ok(None);
        }
        let Some(last) = self.text.rfind('"').filter(|last| *last > start) else {
            return Err(self.invalid());
        };
        for (at, _) in self.text[start + 1..last].rmatch_indices('"') {
            let open = start + 1 + at;
            let before = &self.text[..open];
            let bare = before.trim_end_matches(is_blank);
            let blank = bare.len() < before.len();
            let first = bare.strip_suffix("\",").or_else(|| bare.strip_suffix('"').filter(|_| blank));
            if let Some(first) = first.filter(|first| first.len() > start) {
                self.at = last + 1;
                return Ok(Some((start + 1..first.len(), open + 1..last)));
            }
        }
        Err(self.invalid())
    }

    /// Reports an error if text is left.
    fn end(&self) -> Result<(), ValueError> {
        if self.text[self.at..].trim_matches(is_blank).is_empty() { Ok(()) } else { Err(self.invalid()) }
    }

    fn invalid(&self) -> ValueError {
        let rest = &self.text[self.at..];
        let shown = blank_secret(rest).map_or_else(|| rest.to_owned(), |(_, shown)| shown);
        let wrong = ValueError::new(format!("Invalid real server line, around \"{shown}\""))
            .at(self.next()..self.text.len());
        let bare = rest.trim_matches(is_blank);
        if bare.starts_with("-w") {
            return wrong.help("write the weight alone: gate 1, for example");
        }
        if bare.starts_with("l:") {
            // The original accepts this and loses the upper threshold.
            return wrong.help("write l: before u:").stricter_than_original();
        }
        if bare.chars().next().is_some_and(char::is_alphanumeric) && rest.starts_with(is_blank) {
            return wrong.help("remove it (ldirectord skips it if another option follows)");
        }
        wrong.help("after the method, write only [weight] [\"request\", \"receive\"] [l:number] [u:number]")
    }
}
