//! Mail addresses with an optional display name, comment, or quotes around all of it (RFC 5322, 3.4).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// A recipient or sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// The display name, or a comment in its place.
    pub name: Option<String>,
    /// The user, before the @.
    pub user: String,
    /// The domain, after the @. None for a user of this machine.
    pub domain: Option<String>,
}

/// Why a text is not a mail address, as the rest of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxError(&'static str);

impl fmt::Display for MailboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::str::FromStr for Mailbox {
    type Err = MailboxError;

    fn from_str(text: &str) -> Result<Mailbox, MailboxError> {
        let text = text.trim();
        if text.chars().any(char::is_control) {
            return Err(MailboxError("it has a control character"));
        }
        let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let (bare, comment) = without_comments(inner.filter(|inner| !inner.contains('"')).unwrap_or(text))?;
        let bare = bare.trim();
        let (name, address) = match outside_quotes(bare).find(|(_, sign)| *sign == '<') {
            None => (None, bare),
            Some((open, _)) => {
                let inside = bare[open + 1..].strip_suffix('>');
                let inside = inside.ok_or(MailboxError("the closing > is missing or followed by text"))?;
                (Some(unquoted(bare[..open].trim())), inside)
            }
        };
        let (user, domain) = match address.rsplit_once('@') {
            Some((user, domain)) => (user.trim_end(), Some(domain.trim_start())),
            None => (address, None),
        };
        check_user(user)?;
        domain.map_or(Ok(()), check_domain)?;
        let name = name.filter(|name| !name.is_empty()).or(comment);
        Ok(Mailbox { name, user: user.to_owned(), domain: domain.map(str::to_owned) })
    }
}

impl Mailbox {
    /// The address without a name. A user of this machine gets this domain.
    #[must_use]
    pub fn address(&self, domain: &str) -> String {
        format!("{}@{}", self.user, self.domain.as_deref().unwrap_or(domain))
    }

    /// The ranges of the parts of a comma-separated list, without white space around them and without empty parts.
    #[must_use]
    pub fn list(text: &str) -> Vec<Range<usize>> {
        let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_usize);
        let end = (text.len(), ',');
        for (at, sign) in outside_quotes(text).chain([end]) {
            match sign {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                ',' if depth == 0 || at == text.len() => {
                    let part = text[start..at].trim();
                    let blanks = text[start..at].len() - text[start..at].trim_start().len();
                    if !part.is_empty() {
                        parts.push(start + blanks..start + blanks + part.len());
                    }
                    start = at + 1;
                }
                _ => {}
            }
        }
        parts
    }
}

/// The characters outside double quotes, with their places.
fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, char)> {
    let (mut quoted, mut escaped) = (false, false);
    text.char_indices().filter(move |(_, sign)| {
        let is_escaped = escaped;
        escaped = quoted && !is_escaped && *sign == '\\';
        if *sign == '"' && !is_escaped {
            quoted = !quoted;
            return false;
        }
        !quoted
    })
}

/// The text without its comments, and the first comment.
fn without_comments(text: &str) -> Result<(String, Option<String>), MailboxError> {
    let unbalanced = MailboxError("a parenthesis has no matching one");
    let (mut bare, mut comment, mut depth, mut last) = (String::new(), None, 0_usize, 0);
    let mut open = 0;
    for (at, sign) in outside_quotes(text) {
        match sign {
            '(' => {
                if depth == 0 {
                    bare.push_str(&text[last..at]);
                    open = at + 1;
                }
                depth += 1;
            }
            ')' => {
                depth = depth.checked_sub(1).ok_or(unbalanced)?;
                if depth == 0 {
                    last = at + 1;
                    comment.get_or_insert_with(|| text[open..at].trim().to_owned());
                }
            }
            _ => {}
        }
    }
    if depth > 0 {
        return Err(unbalanced);
    }
    bare.push_str(&text[last..]);
    Ok((bare, comment.filter(|comment| !comment.is_empty())))
}

/// A display name without its quotes and backslashes.
fn unquoted(name: &str) -> String {
    let Some(inner) = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return name.to_owned();
    };
    let (mut text, mut escaped) = (String::with_capacity(inner.len()), false);
    for sign in inner.chars() {
        escaped = sign == '\\' && !escaped;
        if !escaped {
            text.push(sign);
        }
    }
    text
}

/// Maximum length of the user and of the domain in bytes (RFC 5321, 4.5.3.1).
const LONGEST_USER: usize = 64;
const LONGEST_DOMAIN: usize = 255;

fn check_user(user: &str) -> Result<(), MailboxError> {
    if user.is_empty() {
        return Err(MailboxError("it has no user"));
    }
    if user.len() > LONGEST_USER {
        return Err(MailboxError("the user has more than 64 bytes"));
    }
    if let Some(inner) = user.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        return if inner.bytes().all(plain) { Ok(()) } else { Err(MailboxError("the user is not valid")) };
    }
    let atom = |atom: &str| {
        !atom.is_empty() && atom.chars().all(|c| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c))
    };
    if user.split('.').all(atom) { Ok(()) } else { Err(MailboxError("the user is not valid")) }
}

fn check_domain(domain: &str) -> Result<(), MailboxError> {
    if let Some(literal) = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let is_address = match literal.strip_prefix("IPv6:") {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => literal.parse::<Ipv4Addr>().is_ok() || literal.parse::<IpAddr>().is_ok(),
        };
        return if is_address { Ok(()) } else { Err(MailboxError("the address in [] is not valid")) };
    }
    let label = |label: &str| {
        let valid = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.len() <= 63 && label.chars().all(valid)
    };
    if domain.len() <= LONGEST_DOMAIN && domain.split('.').all(label) {
        Ok(())
    } else {
        Err(MailboxError("the domain is not valid"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b7_addresses_are_read_as_people_write_them() {
        for (text, name, address) in [
            ("ld@x.example", None, "ld@x.example"),
            ("root", None, "root@vm"),
            ("\"ld@x.example\"", None, "ld@x.example"),
            ("\"root\"", None, "root@vm"),
            ("<ld@x.example>", None, "ld@x.example"),
            ("Load Balancer <ld@x.example>", Some("Load Balancer"), "ld@x.example"),
            ("\"Load Balancer <ld@x.example>\"", Some("Load Balancer"), "ld@x.example"),
            ("\"Doe, \\\"J\\\"\" <ld@x.example>", Some("Doe, \"J\""), "ld@x.example"),
            ("\"a\" <\"b c\"@x>", Some("a"), "\"b c\"@x"),
            ("ld@x.example (the balancer)", Some("the balancer"), "ld@x.example"),
            ("(a (b)) LB <ld@x.example>", Some("LB"), "ld@x.example"),
            ("ld@[192.0.2.1]", None, "ld@[192.0.2.1]"),
            ("ld@[IPv6:fd00::1]", None, "ld@[IPv6:fd00::1]"),
            ("ld @ x.example", None, "ld@x.example"),
            ("Jörg <jörg@bücher.example>", Some("Jörg"), "jörg@bücher.example"),
            ("\"b c\"@x", None, "\"b c\"@x"),
        ] {
            let mailbox: Mailbox = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((mailbox.name.as_deref(), mailbox.address("vm").as_str()), (name, address), "{text}");
        }
    }

    #[test]
    fn b7_what_is_not_an_address_says_why() {
        for (text, words) in [
            ("", "no user"),
            ("@x", "no user"),
            ("no address", "user is not valid"),
            ("a@b c", "domain is not valid"),
            ("a..b@x", "user is not valid"),
            ("a@", "domain is not valid"),
            ("a@x.", "domain is not valid"),
            ("a@[300.1.1.1]", "address in []"),
            ("a@x (b", "parenthesis"),
            ("a@x) b", "parenthesis"),
            ("LB <a@x> b", "closing >"),
            ("LB <a@x", "closing >"),
            ("a@x\r\nBcc: b@x", "control character"),
            ("\"a b\"", "user is not valid"),
        ] {
            let error = text.parse::<Mailbox>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn b7_a_comma_in_quotes_or_a_comment_separates_nothing() {
        let parts = |text: &'static str| -> Vec<&str> {
            Mailbox::list(text).into_iter().map(|part| &text[part]).collect()
        };
        assert_eq!(parts("a@b, c@d ,,"), ["a@b", "c@d"]);
        assert_eq!(parts("\"Doe, J\" <a@b>,c@d (x, y), z"), ["\"Doe, J\" <a@b>", "c@d (x, y)", "z"]);
        assert_eq!(parts("a (b, c"), ["a (b, c"]);
        assert_eq!(parts(" , "), [""; 0]);
    }
}
