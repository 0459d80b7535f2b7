//! Reads values by their kind, as the original does: it extracts numbers and words from the text around them.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use super::{Reader, ValueError};
use crate::config::ast::Assignment;
use crate::config::source::{is_blank, is_word};
use crate::config::{LogTarget, directive};
use crate::value::{Pattern, syslog_facility};

/// Maximum of a number of seconds: a year, with which no computation overflows.
const MAX_SECONDS: u64 = 366 * 24 * 60 * 60;

/// The first run of such characters.
pub(super) fn first_run(text: &str, is: impl Fn(char) -> bool) -> Option<Range<usize>> {
    let start = text.find(&is)?;
    let end = text[start..].find(|c| !is(c)).map_or(text.len(), |length| start + length);
    Some(start..end)
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

/// Reads a number. A number that is too large becomes the largest value.
fn saturated(digits: &str) -> u64 {
    digits.parse().unwrap_or(u64::MAX)
}

/// `yes` or `no`, with nothing around it.
pub(super) fn yes_no(line: &Assignment<'_>) -> Result<bool, ValueError> {
    match line.value.text() {
        "yes" => Ok(true),
        "no" => Ok(false),
        text => {
            let name = line.directive.name;
            let wrong = ValueError::new(format!("{name} must be 'yes' or 'no'")).at(0..text.len());
            let word = first_run(text, is_word).map(|run| text[run].to_ascii_lowercase());
            Err(match word.as_deref() {
                Some(word @ ("yes" | "no")) => {
                    wrong.help(format!("write {name}={word} with nothing after it, no space and no comment"))
                }
                _ => wrong,
            })
        }
    }
}

/// Advice about text around a word: only the word counts.
pub(super) fn advise_on_the_rest(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    let text = line.value.text();
    let Some(run) = first_run(text, |c| is_word(c) || c == '-') else { return };
    let (before, after) = (text[..run.start].trim_matches(is_blank), text[run.end..].trim_matches(is_blank));
    if !(before.is_empty() && (after.is_empty() || after.starts_with('#'))) {
        let message = format!("{} is read as {}", line.directive.name, &text[run]);
        let found = reader.report.warning(line.value.span(), message).directive(line.directive.name);
        found.help("write only this word").as_advice();
    }
}

/// The first number in the value. The original does not accept a `0` alone.
fn digits(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> Result<u64, ValueError> {
    let text = line.value.text();
    let refusal = || ValueError::new(line.directive.refusal(line.inside)).at(0..text.len());
    let run = first_run(text, is_digit).ok_or_else(refusal)?;
    if &text[run.clone()] == "0" {
        return Err(refusal().help("write at least 1"));
    }
    let value = saturated(&text[run.clone()]);
    warn_of_the_rest(line, &run, reader);
    Ok(value)
}

/// Warns about text around a number: `1.5` is read as 1, and `10m` as 10.
fn warn_of_the_rest(line: &Assignment<'_>, run: &Range<usize>, reader: &mut Reader<'_, '_>) {
    let text = line.value.text();
    let bare = |part: Range<usize>| text[part].trim_matches(|c| is_blank(c) || c == '"');
    let (before, after) = (bare(0..run.start), bare(run.end..text.len()));
    let unit = ["s", "sec", "seconds"].contains(&after) || after.starts_with('#');
    if !before.is_empty() || !(after.is_empty() || unit) {
        let unit = line.directive.kind.unit();
        let message = format!("{} is read as {}{unit}", line.directive.name, &text[run.clone()]);
        reader.warn(line, 0..text.len(), message, "write only a whole number");
    }
}

/// A deadline. For the original `00` means no deadline; here every check has one.
pub(super) fn timeout(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> Result<Duration, ValueError> {
    let seconds = digits(line, reader)?;
    if seconds == 0 {
        if !line.inside {
            return Err(ValueError::new(line.directive.refusal(false)).at(0..line.value.text().len()));
        }
        let message = format!("{} is zero: an hour is used", line.directive.name);
        reader.warn(line, 0..line.value.text().len(), message, "give a number of seconds");
        return Ok(Duration::from_secs(3600));
    }
    Ok(Duration::from_secs(seconds.min(MAX_SECONDS)))
}

/// An interval. `00` makes the original check without a pause; here the minimum is a second.
pub(super) fn interval(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> Result<Duration, ValueError> {
    let seconds = digits(line, reader)?;
    if seconds == 0 {
        let message = format!("{} is zero: a second is used", line.directive.name);
        reader.warn(line, 0..line.value.text().len(), message, "give a number of seconds");
    }
    Ok(Duration::from_secs(seconds.clamp(1, MAX_SECONDS)))
}

/// A count, at least 1.
pub(super) fn count(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> Result<u32, ValueError> {
    Ok(u32::try_from(digits(line, reader)?).unwrap_or(u32::MAX).max(1))
}

/// The first number in the value. May be 0.
pub(super) fn number(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> Result<u64, ValueError> {
    let text = line.value.text();
    let run = first_run(text, is_digit)
        .ok_or_else(|| ValueError::new(line.directive.refusal(line.inside)).at(0..text.len()))?;
    warn_of_the_rest(line, &run, reader);
    Ok(saturated(&text[run]))
}

/// Like [`number`]. A number that is too large becomes the largest.
pub(super) fn small_number(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> Result<u32, ValueError> {
    Ok(u32::try_from(number(line, reader)?).unwrap_or(u32::MAX))
}

/// A number of seconds at the start of the value. May be 0.
pub(super) fn frequency(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> Result<Duration, ValueError> {
    let text = line.value.text();
    match first_run(text, is_digit) {
        Some(run) if run.start == 0 => {
            warn_of_the_rest(line, &run, reader);
            Ok(Duration::from_secs(saturated(&text[run]).min(MAX_SECONDS)))
        }
        _ => Err(ValueError::new(line.directive.refusal(line.inside)).at(0..text.len())),
    }
}

/// The range between the first and the last double quote. The value must begin with a double quote.
pub(super) fn quoted(line: &Assignment<'_>) -> Result<Range<usize>, ValueError> {
    let text = line.value.text();
    let name = line.directive.name;
    let wrong = || ValueError::new(format!("{name} needs its value in double quotes")).at(0..text.len());
    if !text.starts_with('"') {
        return Err(wrong().help(format!("write {name}=\"…\"")));
    }
    match text.rfind('"') {
        Some(last) if last > 0 => Ok(1..last),
        _ if line.inside => {
            Err(wrong().help("add the closing quote (# begins a comment even inside quotes)"))
        }
        _ => Err(wrong().help("add the closing quote")),
    }
}

/// Like [`quoted`], and not empty.
pub(super) fn quoted_text(line: &Assignment<'_>) -> Result<Range<usize>, ValueError> {
    let inner = quoted(line)?;
    if inner.is_empty() {
        let wrong = ValueError::new(line.directive.refusal(line.inside)).at(0..line.value.text().len());
        return Err(wrong.help("leave the line out: the value must not be empty"));
    }
    Ok(inner)
}

/// The text in double quotes, not empty.
pub(super) fn inner(line: &Assignment<'_>) -> Result<String, ValueError> {
    quoted_text(line).map(|inner| line.value.text()[inner].to_owned())
}

/// The text in double quotes. Absent if it is empty.
pub(super) fn inner_or_empty(line: &Assignment<'_>) -> Result<Option<String>, ValueError> {
    let inner = quoted(line)?;
    Ok((!inner.is_empty()).then(|| line.value.text()[inner].to_owned()))
}

/// The text up to a double quote, without one at the beginning.
pub(super) fn up_to_quote(line: &Assignment<'_>) -> String {
    let text = line.value.text();
    let text = text.strip_prefix('"').unwrap_or(text);
    text.split('"').next().unwrap_or(text).to_owned()
}

/// The first word, without quotes around it: in the original a shell removes them.
pub(super) fn word(line: &Assignment<'_>) -> Result<String, ValueError> {
    let word = line.value.text().split_whitespace().next();
    let word = word.ok_or_else(|| ValueError::new(line.directive.refusal))?;
    let inner = ['"', '\''].iter().find_map(|quote| word.strip_prefix(*quote)?.strip_suffix(*quote));
    Ok(inner.unwrap_or(word).to_owned())
}

/// A text in double quotes with a word in it, which is not used.
pub(super) fn ignored(line: &Assignment<'_>) -> Result<(), ValueError> {
    match first_run(&line.value.text()[quoted_text(line)?], is_word) {
        Some(_) => Ok(()),
        None => Err(ValueError::new(line.directive.refusal)),
    }
}

/// Bytes in double quotes, with the usual escape sequences `\n`, `\r`, `\t`, `\\` and `\xHH`.
pub(super) fn bytes(line: &Assignment<'_>) -> Result<Vec<u8>, ValueError> {
    let inner = quoted(line)?;
    let text = &line.value.text()[inner.clone()];
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        bytes.extend_from_slice(before.as_bytes());
        let start = inner.start + (text.len() - escape.len());
        let digits = escape.get(2..4).filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let hex = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let (byte, length) = match (escape.as_bytes().get(1), hex) {
            (Some(b'n'), _) => (b'\n', 2),
            (Some(b'r'), _) => (b'\r', 2),
            (Some(b't'), _) => (b'\t', 2),
            (Some(b'\\'), _) => (b'\\', 2),
            (Some(b'x'), Some(byte)) => (byte, 4),
            _ => {
                let end = start + escape.chars().take(2).map(char::len_utf8).sum::<usize>();
                let wrong = ValueError::new(format!("{}: invalid escape sequence", line.directive.name));
                return Err(wrong
                    .at(start..end)
                    .help("write \\n, \\r, \\t, \\\\ or \\xHH with two hexadecimal digits"));
            }
        };
        bytes.push(byte);
        rest = &escape[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// A text with or without double quotes, not empty.
pub(super) fn text(line: &Assignment<'_>) -> Result<String, ValueError> {
    let all = line.value.text();
    let inner = quoted(line).unwrap_or(0..all.len());
    if inner.is_empty() {
        return Err(ValueError::new(line.directive.refusal(line.inside)));
    }
    Ok(all[inner].to_owned())
}

/// A file that is written to. White space around its name is removed, as the original's `open` does.
pub(super) fn file(text: &str) -> PathBuf {
    PathBuf::from(text.trim_matches(is_blank))
}

/// The unchanged rest of the line, not empty.
pub(super) fn whole(line: &Assignment<'_>) -> Result<String, ValueError> {
    match line.value.text() {
        "" => Err(ValueError::new(line.directive.refusal(line.inside))),
        text => Ok(text.to_owned()),
    }
}

/// `logfile`: a path begins with `/`. Anything else is a syslog facility.
pub(super) fn log_target(
    line: &Assignment<'_>,
    reader: &mut Reader<'_, '_>,
) -> Result<LogTarget, ValueError> {
    let all = line.value.text();
    let text = &all[quoted(line)?];
    if text.starts_with('/') {
        return Ok(LogTarget::File(file(text)));
    }
    if syslog_facility(text).is_none() {
        let message = format!("{text} is not a syslog facility: the facility daemon is used");
        let help = "write a facility such as local0, or the full path of a file";
        reader.warn(line, 0..all.len(), message, help);
    }
    Ok(LogTarget::Syslog(text.to_owned()))
}

/// A regular expression in double quotes.
pub(super) fn pattern(line: &Assignment<'_>) -> Result<Pattern, ValueError> {
    let inner = quoted_text(line)?;
    compile(&line.value.text()[inner.clone()], inner.start, line.directive.name)
}

/// Compiles a pattern that begins at offset `start` of its value.
pub(super) fn compile(source: &str, start: usize, name: &str) -> Result<Pattern, ValueError> {
    Pattern::parse(source).map_err(|error| {
        let at = start + error.offset;
        let end = (start + source.len()).max(at + 1);
        // The original accepts it, and exits at the first answer that it compares with it.
        ValueError::new(format!("{name}: invalid or unsupported regular expression: {}", error.message))
            .at(at..end)
            .help("use . or \\xHH for a character that cannot be written, and test with ldirectord-rs check")
            .stricter_than_original()
    })
}

/// A path, with `/` added in front if it is missing.
pub(super) fn with_slash(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// The first word of letters, digits and `_`, which must be known.
pub(super) fn one_of<T>(
    line: &Assignment<'_>,
    known: &[&str],
    find: impl Fn(&str) -> Option<T>,
) -> Result<T, ValueError> {
    first_of(line, is_word, known, find)
}

/// Like [`one_of`], for words that may contain hyphens.
pub(super) fn one_with_hyphens<T>(
    line: &Assignment<'_>,
    known: &[&str],
    find: impl Fn(&str) -> Option<T>,
) -> Result<T, ValueError> {
    first_of(line, |c| is_word(c) || c == '-', known, find)
}

/// The first run of such characters, which must be a known word.
fn first_of<T>(
    line: &Assignment<'_>,
    is: impl Fn(char) -> bool,
    known: &[&str],
    find: impl Fn(&str) -> Option<T>,
) -> Result<T, ValueError> {
    let text = line.value.text();
    let run = first_run(text, is).unwrap_or(0..text.len());
    let word = &text[run.clone()];
    find(word).ok_or_else(|| {
        let wrong = ValueError::new(line.directive.refusal(line.inside)).at(run);
        match directive::nearest_word(word, known.iter().copied()) {
            Some(near) if near.eq_ignore_ascii_case(word) => {
                wrong.help(format!("write {near} in lower case"))
            }
            Some(near) => wrong.help(format!("did you mean {near}?")),
            None => wrong,
        }
    })
}
