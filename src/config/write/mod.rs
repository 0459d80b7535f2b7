//! Writes a configuration as the text of `ldirectord.cf`.

#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use thiserror::Error;

use self::text::{Text, seconds};
use super::diagnostic::blank_secret;
use super::directive::{DIRECTIVES, Directive, Key, Scope, Unwritten};
use super::{Answers, Config, Severity, Virtual, load};
use crate::value::Family;

/// A value that `ldirectord.cf` cannot express: for example, a `#` in a password begins a comment there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("ldirectord.cf cannot hold this value: {line}")]
pub struct Unwritable {
    /// The line that would be read differently, without passwords.
    line: String,
}

/// Writes a configuration so that [`load`] reads the same configuration again, apart from the numbers of lines.
///
/// Default values are left out, and values that all virtual services share are written once, before them.
/// Extensions follow `#rs:`. Addresses and ports are numbers, even if the file that was read has names. Passwords
/// from `passwd` and `secret` are in the text.
///
/// # Errors
/// When the file format cannot express a value. The text is read again before it is returned, so no value is
/// changed silently.
pub fn write(config: &Config) -> Result<String, Unwritable> {
    let lines = lines(config);
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    let broken = lines.into_iter().find(|line| line.contains('\n'));
    match broken.or_else(|| difference(config, &text)) {
        None => Ok(text),
        Some(line) => {
            let shown = blank_secret(&line).map_or_else(|| line.clone(), |(_, shown)| shown);
            Err(Unwritable { line: shown.trim().replace('\n', "\\n") })
        }
    }
}

/// The first line of the text that is not read as intended, if any.
fn difference(config: &Config, text: &str) -> Option<String> {
    let loaded = load(text.as_bytes(), &files(config));
    let Some(mut read) = loaded.config else {
        let error = loaded.diagnostics.iter().find(|found| found.severity == Severity::Error);
        let line = error.and_then(|error| text.split('\n').nth(error.line - 1));
        return Some(line.unwrap_or_default().to_owned());
    };
    adopt_line_numbers(&mut read, config);
    if read == *config {
        return None;
    }
    let (meant, read) = (lines(config), lines(&read));
    let end = meant.len().max(read.len());
    let line = (0..end).find(|index| meant.get(*index) != read.get(*index));
    let line = line.and_then(|index| meant.get(index).or_else(|| read.get(index)));
    Some(line.map_or_else(|| "no line sets it".to_owned(), String::clone))
}

/// The files that a configuration was read with.
fn files(config: &Config) -> Answers {
    let mut answers = Answers::new("");
    for v in &config.virtuals {
        let credentials = &v.check.credentials;
        for file in credentials.passwdfile.iter().chain(&credentials.secretfile) {
            answers.add_file(&file.path, Ok(file.secret.reveal().as_bytes().into()));
        }
    }
    // If a file is of both kinds, this content begins with the password.
    for file in config.virtuals.iter().flat_map(|v| v.tls.policy.files()) {
        answers.add_file(file.path().to_string_lossy(), Ok(file.reveal().into()));
    }
    answers
}

/// Gives the virtual services and real servers the line numbers of another configuration.
fn adopt_line_numbers(config: &mut Config, other: &Config) {
    for (v, other) in config.virtuals.iter_mut().zip(&other.virtuals) {
        v.line = other.line;
        for (real, other) in v.reals.iter_mut().zip(&other.reals) {
            real.line = other.line;
        }
    }
}

/// The lines of the file, without line ends.
fn lines(config: &Config) -> Vec<String> {
    let inherited = inherited(&config.virtuals);
    let mut lines = Vec::new();
    for row in DIRECTIVES.iter().filter(|row| row.scope.allows(false)) {
        let common = inherited.get(&row.key).map(|common| common.outside.clone());
        let text = common.or_else(|| unless_default(row, &config.globals));
        lines.extend(text.map(|text| line(row, "", &text)));
        if row.key == Key::Execute {
            lines.extend(config.globals.execute.iter().map(|path| line(row, "", path)));
        }
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    for v in &config.virtuals {
        block(v, config, &inherited, &mut lines);
    }
    lines
}

/// The lines of a virtual service. The empty line at the end keeps the original from reading a block of one line
/// twice.
fn block(v: &Virtual, config: &Config, inherited: &BTreeMap<Key, Common>, lines: &mut Vec<String>) {
    let six = v.id.family() == Family::V6;
    lines.push(format!("{}={}", if six { "virtual6" } else { "virtual" }, text::head(v.id)));
    for row in DIRECTIVES.iter().filter(|row| row.scope.allows(true)) {
        let text = match (row.key, inherited.get(&row.key)) {
            (Key::Real | Key::Real6, _) if (row.key == Key::Real6) == six => {
                lines.extend(v.reals.iter().map(|server| line(row, "\t", &text::real(server))));
                None
            }
            (Key::CheckInterval, _) => {
                let interval = v.timing.checkinterval;
                (interval != config.globals.checkinterval).then(|| seconds(interval))
            }
            (_, Some(_)) => v.text(row.key).filter(|_| !inherits(v, unit(row), inherited)),
            (_, None) => unless_default(row, v),
        };
        lines.extend(text.map(|text| line(row, "\t", &text)));
    }
    lines.push(String::new());
}

fn line(row: &Directive, indent: &str, text: &str) -> String {
    let ours = row.extension || (row.key == Key::Protocol && text == "sctp");
    // A final CR belongs to the line end.
    let end = if text.ends_with('\r') { "\r" } else { "" };
    format!("{indent}{}{}={text}{end}", if ours { "#rs: " } else { "" }, row.name)
}

/// The text of a value, unless it is the default.
fn unless_default(row: &Directive, part: &dyn Text) -> Option<String> {
    part.text(row.key).filter(|text| !matches!(row.default, Unwritten::Value(default) if default == text))
}

/// A value that virtual services inherit.
struct Common {
    /// The text before them.
    outside: String,
    /// The text inside one of them.
    inside: String,
}

/// Directives that apply only together: either of them in one place replaces both from another place.
static PAIRS: [[Key; 2]; 2] = [[Key::CheckTimeout, Key::NegotiateTimeout], [Key::TlsCert, Key::TlsKey]];

/// The pair of a directive, or the directive alone.
fn unit(row: &'static Directive) -> &'static [Key] {
    let pair = PAIRS.iter().find(|pair| pair.contains(&row.key));
    pair.map_or(std::slice::from_ref(&row.key), |pair| pair)
}

/// Whether a virtual service inherits all of a unit.
fn inherits(v: &Virtual, unit: &[Key], inherited: &BTreeMap<Key, Common>) -> bool {
    unit.iter().all(|key| v.text(*key).as_ref() == inherited.get(key).map(|common| &common.inside))
}

/// The values to write once for all virtual services. No line in a virtual service can remove such a value, so each
/// of them must have one: the same, or another one in its own lines.
fn inherited(virtuals: &[Virtual]) -> BTreeMap<Key, Common> {
    let mut inherited = BTreeMap::new();
    for row in DIRECTIVES.iter().filter(|row| row.scope == Scope::Both && row.key != Key::CheckInterval) {
        let Some(donor) = donor(unit(row), virtuals) else { continue };
        if let (Some(outside), Some(inside)) = (donor.text_outside(row.key), donor.text(row.key)) {
            inherited.insert(row.key, Common { outside, inside });
        }
    }
    inherited
}

/// The virtual service whose values can be written for all.
fn donor<'a>(unit: &[Key], virtuals: &'a [Virtual]) -> Option<&'a Virtual> {
    let rows = DIRECTIVES.iter().filter(|row| unit.contains(&row.key));
    let said = |v: &Virtual| rows.clone().map(|row| unless_default(row, v)).collect::<Vec<_>>();
    let is_concerned = |v: &&Virtual| match unit[0] {
        Key::Fallback => v.id.family() == Family::V4,
        Key::Fallback6 => v.id.family() == Family::V6,
        Key::TlsCa => v.tls.policy.verify.is_some(),
        _ => true,
    };
    let concerned: Vec<(&Virtual, Vec<Option<String>>)> =
        virtuals.iter().filter(is_concerned).map(|v| (v, said(v))).collect();
    let (first, common) = concerned.first()?;
    if concerned.iter().any(|(_, texts)| texts.iter().all(Option::is_none)) {
        return None;
    }
    // In a virtual service `#` begins a comment and a tab is four spaces: such a value must be written outside.
    let needs_outside = |text: &String| text.contains(['#', '\t']);
    let other = concerned.iter().find(|(_, texts)| texts.iter().flatten().any(needs_outside));
    let is_common = concerned.len() > 1 && concerned.iter().all(|(_, texts)| texts == common);
    other.map(|(v, _)| *v).or_else(|| is_common.then_some(*first))
}
