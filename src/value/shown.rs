//! Makes external text safe to show: in one line, without terminal control characters, and without secrets.

use std::borrow::Cow;

/// Escapes the text of a server, a relay or a command for a log line, a mail or a terminal: control characters,
/// line ends and marks that change the direction of text become escapes such as `\n` and `\u{202e}`. Other text is
/// unchanged.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    escaped_except(text, &[])
}

/// Like [`escaped`], but keeps these characters.
#[must_use]
pub fn escaped_except<'a>(text: &'a str, stay: &[char]) -> Cow<'a, str> {
    let escape = |sign: char| acts(sign) && !stay.contains(&sign);
    if !text.chars().any(escape) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for sign in text.chars() {
        if escape(sign) {
            shown.extend(sign.escape_default());
        } else {
            shown.push(sign);
        }
    }
    Cow::Owned(shown)
}

/// Quotes the beginning of a reply in one line: control characters and bytes that are not UTF-8 become escapes.
#[must_use]
pub fn beginning(bytes: &[u8], most: usize) -> String {
    let cut = bytes.len() > most;
    let mut text = String::from("\"");
    for chunk in bytes[..bytes.len().min(most)].utf8_chunks() {
        let quoted = chunk.valid().replace('\\', "\\\\").replace('"', "\\\"");
        text.push_str(&escaped(&quoted));
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text.push_str(if cut { "…\"" } else { "\"" });
    text
}

/// Whether a character has another effect than to be shown: moves the cursor, ends the line, hides text, or changes
/// its direction.
fn acts(sign: char) -> bool {
    sign.is_control()
        || matches!(
            sign,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// A URL without its user and password, even if it is not a valid URL, and without the values of parameters such as
/// `token`.
#[must_use]
pub fn url(url: &str) -> Cow<'_, str> {
    match without_login(url) {
        Cow::Borrowed(url) => without_tokens(url),
        Cow::Owned(url) => Cow::Owned(without_tokens(&url).into_owned()),
    }
}

/// Whether a parameter of this name, such as `access_token`, holds a secret.
#[must_use]
pub fn is_token(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "pwd", "secret", "token", "auth", "signature"].iter().any(|part| name.contains(part))
        || ["key", "sig"].iter().any(|end| name.ends_with(end))
}

/// The parameters of a URL, each with its value and the place of the value.
fn parameters(url: &str) -> impl Iterator<Item = (&str, &str, usize)> {
    let begin = url.find('?').map_or(url.len(), |mark| mark + 1);
    let end = url[begin..].find('#').map_or(url.len(), |length| begin + length);
    let mut at = begin;
    url[begin..end].split('&').filter_map(move |parameter| {
        let start = at;
        at += parameter.len() + 1;
        let (name, value) = parameter.split_once('=')?;
        Some((name, value, start + name.len() + 1))
    })
}

/// The values of the parameters that hold a secret.
pub fn tokens(url: &str) -> impl Iterator<Item = &str> {
    parameters(url).filter(|(name, ..)| is_token(name)).map(|(_, value, _)| value)
}

fn without_tokens(url: &str) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut end = 0;
    for (_, value, at) in parameters(url).filter(|(name, value, _)| !value.is_empty() && is_token(name)) {
        shown.push_str(&url[end..at]);
        shown.push_str("***");
        end = at + value.len();
    }
    if end == 0 {
        return Cow::Borrowed(url);
    }
    shown.push_str(&url[end..]);
    Cow::Owned(shown)
}

fn without_login(url: &str) -> Cow<'_, str> {
    let start = url.find("://").map_or(0, |colon| colon + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |length| start + length);
    let authority = &url[start..end];
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    // A password with one of these characters that is not encoded: what follows the colon is not a port.
    let is_cut = !authority.contains('@')
        && !authority.starts_with('[')
        && !port.bytes().all(|byte| byte.is_ascii_digit());
    let end = if is_cut && url[end..].contains('@') { url.len() } else { end };
    match url[start..end].rfind('@') {
        Some(at) => Cow::Owned(format!("{}{}", &url[..start], &url[start + at + 1..])),
        None => Cow::Borrowed(url),
    }
}

/// A command line without its arguments, which may hold passwords: `/usr/bin/check …`.
#[must_use]
pub fn command(line: &str) -> Cow<'_, str> {
    let line = line.trim();
    match line.split_once(char::is_whitespace) {
        Some((program, _)) => Cow::Owned(format!("{program} …")),
        None => Cow::Borrowed(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c4_signs_that_act_become_escapes() {
        for (given, shown) in [
            ("plain text, café, 漢字", "plain text, café, 漢字"),
            ("a\x1b[31m\x07\r\n\tb", "a\\u{1b}[31m\\u{7}\\r\\n\\tb"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
            (
                "\u{202e}\u{2066}\u{200f}\u{61c}\u{feff}\u{2028}",
                "\\u{202e}\\u{2066}\\u{200f}\\u{61c}\\u{feff}\\u{2028}",
            ),
            ("\\n", "\\n"),
        ] {
            assert_eq!(escaped(given), shown);
        }
        assert_eq!(escaped_except("a\nb\x1b", &['\n']), "a\nb\\u{1b}");
    }

    #[test]
    fn c3_urls_show_no_password() {
        for (given, shown) in [
            ("http://u:secret@h:80/a@b", "http://h:80/a@b"),
            ("/http://u:secret@h:80/a@b", "/http://h:80/a@b"),
            ("http://h/x?mail=a@b", "http://h/x?mail=a@b"),
            ("http://a@b@h", "http://h"),
            ("/path://x", "/path://x"),
            ("/path@x", "/path@x"),
            ("http:u:secret@h/x", "h/x"),
            ("http://u:s/cr?t@h:80/x", "http://h:80/x"),
            ("http://h:80/x@y", "http://h:80/x@y"),
            ("http://[::1]:80/x@y", "http://[::1]:80/x@y"),
            ("/x?a=b&access_token=s3cret&api-key=x=y#part", "/x?a=b&access_token=***&api-key=***#part"),
            ("http://u:secret@h/x?Password=s", "http://h/x?Password=***"),
            ("/x?token=&page=2&keys", "/x?token=&page=2&keys"),
        ] {
            assert_eq!(url(given), shown);
        }
    }

    #[test]
    fn c3_commands_show_no_arguments() {
        assert_eq!(command("/usr/bin/check -p secret"), "/usr/bin/check …");
        assert_eq!(command("/usr/bin/check"), "/usr/bin/check");
    }

    #[test]
    fn beginnings_are_one_harmless_line() {
        assert_eq!(beginning(b"a\r\nb\x1b[31m\"\\", 64), r#""a\r\nb\u{1b}[31m\"\\""#);
        assert_eq!(beginning(b"caf\xe9", 64), r#""caf\xe9""#);
        assert_eq!(beginning("café".as_bytes(), 64), "\"café\"");
        assert_eq!(beginning(b"abcdef", 3), "\"abc…\"");
        assert_eq!(beginning("\u{202e}x".as_bytes(), 64), "\"\\u{202e}x\"");
    }
}
