//! URLs of HTTP requests, read as the original reads them, without normalization.

use std::borrow::Cow;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode_str;

use crate::check::format;
use crate::spec::Scheme;
use crate::value::Secret;

/// A parsed absolute URL. Path and query are escaped, ready for the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// HTTP or HTTPS.
    pub(super) scheme: Scheme,
    /// Host and port as written in the URL, without user and password.
    pub(super) authority: String,
    /// The user and the password of the URL, encoded for `Authorization: Basic`. Empty if the URL has none.
    pub(super) credentials: Secret,
    /// The host alone, without brackets.
    pub(super) host: String,
    /// The port, or the default of the scheme.
    pub(super) port: u16,
    /// Path and query, at least `/`.
    pub(super) path: String,
}

impl Url {
    /// Parses an absolute URL. The error is part of a sentence.
    pub(super) fn parse(url: &str) -> Result<Url, String> {
        let url = escape(url);
        let shown = format::url(&url);
        let (scheme, rest) =
            split_scheme(&url).ok_or_else(|| format!("\"{shown}\" is not an absolute URL"))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => return Err(format!("{shown} has the unsupported scheme {other}")),
        };
        let rest = rest.strip_prefix("//").ok_or_else(|| format!("{shown} has no host"))?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (userinfo, authority) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (host, port) = split_authority(authority, scheme)
            .ok_or_else(|| format!("{shown} has no valid host and port"))?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let credentials = credentials(userinfo).ok_or_else(|| {
            format!("the user name in {shown} contains a colon, which Basic authentication does not allow")
        })?;
        Ok(Url { scheme, authority: authority.to_owned(), credentials, host, port, path })
    }

    /// The host, if it is an address.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Follows a `Location`, which may be relative.
    pub(super) fn join(&self, location: &str) -> Result<Url, String> {
        let location = location.trim();
        if split_scheme(location).is_some() {
            return Url::parse(location);
        }
        if location.starts_with("//") {
            return Url::parse(&format!("{}:{location}", self.scheme));
        }
        let reference = escape(location);
        let old_path = self.path.split('?').next().unwrap_or("/");
        let path = if reference.is_empty() {
            self.path.clone()
        } else if reference.starts_with('?') {
            format!("{old_path}{reference}")
        } else if reference.starts_with('/') {
            without_dots(&reference)
        } else {
            let folder = old_path.rfind('/').map_or("/", |slash| &old_path[..=slash]);
            without_dots(&format!("{folder}{reference}"))
        };
        Ok(Url { path, ..self.clone() })
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

/// Escapes a path or URL for a request line, like the original: invalid bytes become `%XX`. Existing escapes stay. The
/// fragment and blanks at the end are dropped.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    let text = text.split('#').next().unwrap_or_default().trim_end_matches([' ', '\t', '\r', '\n', '\x0c']);
    // Only the brackets of an IPv6 host are kept.
    let host_end = text
        .find("://")
        .map_or(0, |at| text[at + 3..].find(['/', '?']).map_or(text.len(), |end| at + 3 + end));
    if text.bytes().enumerate().all(|(at, byte)| stays(byte) || (at < host_end && is_bracket(byte))) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for (at, byte) in text.bytes().enumerate() {
        if stays(byte) || (at < host_end && is_bracket(byte)) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    Cow::Owned(escaped)
}

/// Encodes the part of a URL before the `@` for `Basic` (RFC 7617 2): unescaped, with a colon between user and
/// password. None for a user with a colon: a server would read the rest as the password.
fn credentials(userinfo: &str) -> Option<Secret> {
    if userinfo.is_empty() {
        return Some(Secret::default());
    }
    let (user, passwd) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let mut plain: Vec<u8> = percent_decode_str(user).collect();
    if plain.contains(&b':') {
        return None;
    }
    plain.push(b':');
    plain.extend(percent_decode_str(passwd));
    Some(Secret::new(BASE64.encode(plain)))
}

fn stays(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b";/?:@&=+$,-_.!~*'()%".contains(&byte)
}

fn is_bracket(byte: u8) -> bool {
    matches!(byte, b'[' | b']')
}

fn split_scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let mut letters = scheme.bytes();
    let first = letters.next()?;
    let valid = first.is_ascii_alphabetic()
        && letters.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    valid.then_some((scheme, rest))
}

fn split_authority(authority: &str, scheme: Scheme) -> Option<(String, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => match authority.find(':') {
            Some(colon) => authority.split_at(colon),
            None => (authority, ""),
        },
    };
    let port = match port.strip_prefix(':') {
        None if !port.is_empty() => return None,
        None | Some("") => match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        },
        Some(port) => port.parse().ok()?,
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// Resolves `.` and `..` in a path that results from a relative reference.
fn without_dots(path: &str) -> String {
    let (path, query) = path.find('?').map_or((path, ""), |at| path.split_at(at));
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The results of Perl's `URI`.
    #[test]
    fn paths_are_escaped_like_the_original() {
        for (path, expected) in [
            ("/index.html", "/index.html"),
            ("/a b", "/a%20b"),
            ("/é", "/%C3%A9"),
            ("/%20%zz%", "/%20%zz%"),
            ("/a|b^c`d{e}\"f<g>h\\i", "/a%7Cb%5Ec%60d%7Be%7D%22f%3Cg%3Eh%5Ci"),
            ("/a[b]c", "/a%5Bb%5Dc"),
            ("/a#frag", "/a"),
            ("/a?b=[c] d#e", "/a?b=%5Bc%5D%20d"),
            ("/a;b:c@d&e=f+g$h,i!j~k*l'm(n)", "/a;b:c@d&e=f+g$h,i!j~k*l'm(n)"),
            ("/a\tb", "/a%09b"),
            ("/a ", "/a"),
            ("//x/../y/./z", "//x/../y/./z"),
            ("/\u{1}\u{7f}", "/%01%7F"),
            ("http://[::1]:80/[x]", "http://[::1]:80/%5Bx%5D"),
        ] {
            assert_eq!(escape(path), expected);
        }
    }

    #[test]
    fn urls_are_taken_apart() {
        let target = Url::parse("HTTPS://user:pw@[fd00::2]:8443?q=1 2#f").unwrap();
        assert_eq!(
            (target.scheme, &*target.authority, &*target.host, target.port, &*target.path),
            (Scheme::Https, "[fd00::2]:8443", "fd00::2", 8443, "/?q=1%202")
        );
        assert_eq!(Url::parse("http://h").unwrap().to_string(), "http://h/");
        for wrong in [
            "",
            "/x",
            "ftp://h/",
            "http:/x",
            "http://",
            "http://:80/",
            "http://h:99999/",
            "http://[::1/",
            "http://[::1]x/",
        ] {
            assert!(Url::parse(wrong).is_err(), "{wrong}");
        }
    }

    /// The credentials that `LWP` sends.
    #[test]
    fn users_and_passwords_are_unescaped_and_not_shown() {
        for (url, plain) in [
            ("http://mon:pw@h/", "mon:pw"),
            ("http://mon@h/", "mon:"),
            ("http://:@h/", ":"),
            ("http://a:b:c@h/", "a:b:c"),
            ("http://%6don:p%40w%zz%4@h/", "mon:p@w%zz%4"),
            ("http://mon:p\u{e9}@h/", "mon:p\u{e9}"),
            ("http://@h/", ""),
            ("http://h/u:p@x", ""),
        ] {
            let target = Url::parse(url).unwrap();
            assert_eq!(target.credentials.reveal(), BASE64.encode(plain), "{url}");
            for shown in [target.to_string(), format!("{target:?}")] {
                assert!(!shown.contains("mon") && !shown.contains("bW9u"), "{shown}");
            }
        }
        let refused = Url::parse("http://mon%3ax:pw@h/").unwrap_err();
        let expected =
            "the user name in http://h/ contains a colon, which Basic authentication does not allow";
        assert_eq!(refused, expected);
        let target = Url::parse("http://mon:pw@h/a").unwrap();
        assert_eq!(target.join("b").unwrap().credentials, target.credentials);
        assert_eq!(target.join("//h/b").unwrap().credentials, Secret::default());
    }

    #[test]
    fn locations_are_joined_like_the_original() {
        let base = Url::parse("http://10.0.0.2:80/a/b/c?d").unwrap();
        for (location, expected) in [
            ("foo", "http://10.0.0.2:80/a/b/foo"),
            ("../x", "http://10.0.0.2:80/a/x"),
            ("//h/p", "http://h/p"),
            ("http://h:80/x", "http://h:80/x"),
            ("?q", "http://10.0.0.2:80/a/b/c?q"),
            ("/x y", "http://10.0.0.2:80/x%20y"),
            ("../../../../x/.", "http://10.0.0.2:80/x/"),
            ("", "http://10.0.0.2:80/a/b/c?d"),
        ] {
            assert_eq!(base.join(location).unwrap().to_string(), expected, "{location}");
        }
        assert!(base.join("mailto:x").is_err());
    }
}
