//! Masks secrets in text of a server, a relay or a command, which may repeat what it was given.

use std::borrow::Cow;

use super::shown;

/// Shorter secrets are not masked: they are part of many words, so the masked places would reveal them.
const SHORTEST: usize = 3;
/// From this length on a secret is masked inside words, too.
const LONG: usize = 8;
const MASK: &str = "***";
/// The mark where a reply was cut.
const CUT: &str = "…";

/// Secrets, each in each form that a quoted reply may contain, the longest first.
#[derive(Clone, Default)]
pub struct Mask(Vec<String>);

impl Mask {
    /// Masks these secrets.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Mask {
        let forms = secrets.into_iter().flat_map(forms);
        let mut forms: Vec<String> = forms.filter(|form| form.len() >= SHORTEST).collect();
        forms.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        forms.dedup();
        Mask(forms)
    }

    /// Masks the arguments of a command, without its program. Options, paths, numbers and addresses stay: they are not
    /// secrets, and a message without them would say little. Of `--password=x` and `user:x` only `x` may be printed.
    #[must_use]
    pub fn of_arguments<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Mask {
        Mask::new(arguments.into_iter().flat_map(of_argument))
    }

    /// Whether there is nothing to mask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text with `***` in place of secrets. Ignores ASCII case.
    #[must_use]
    pub fn hide(&self, text: String) -> String {
        self.0.iter().fold(text, |text, secret| replaced(&text, secret))
    }

    /// The same for output, which stays as it is if it contains no secret.
    #[must_use]
    pub fn hide_in_output<'a>(&self, output: &'a [u8]) -> Cow<'a, [u8]> {
        let text = String::from_utf8_lossy(output);
        let hidden = self.hide(text.clone().into_owned());
        if hidden == text { Cow::Borrowed(output) } else { Cow::Owned(hidden.into_bytes()) }
    }
}

/// What may be a secret in an argument.
fn of_argument(argument: &str) -> Vec<String> {
    let value = match argument.strip_prefix('-') {
        None => argument,
        Some(option) if option.starts_with('-') => option.split_once('=').map_or("", |(_, value)| value),
        // `-psecret`
        Some(option) => option.get(1..).unwrap_or_default(),
    };
    let is_harmless = |text: &str| {
        text.starts_with('/') || text.chars().all(|c| c.is_ascii_digit() || ".:,%[]".contains(c))
    };
    let parts = [value.split_once('='), value.split_once(':')].into_iter().flatten().map(|(_, part)| part);
    [value].into_iter().chain(parts).filter(|text| !is_harmless(text)).map(str::to_owned).collect()
}

/// A word unchanged, as IMAP quotes it, and both as escaped in a quoted reply.
fn forms(word: String) -> [String; 4] {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let imap = quoted(&word);
    let in_reply = |text: &str| shown::escaped(&quoted(text)).into_owned();
    let (reply, imap_in_reply) = (in_reply(&word), in_reply(&imap));
    [word, imap, reply, imap_in_reply]
}

/// Replaces the secret, ignoring ASCII case, and its beginning where a reply was cut.
fn replaced(text: &str, secret: &str) -> String {
    let (lower, secret) = (text.to_ascii_lowercase(), secret.to_ascii_lowercase());
    let mut masked = String::with_capacity(text.len());
    let mut end = 0;
    for (at, found) in lower.match_indices(&secret) {
        // A weak password may be part of an ordinary word: `pass` in `password authentication failed`.
        let inside = |neighbour: Option<char>| neighbour.is_some_and(char::is_alphanumeric);
        if secret.len() < LONG
            && (inside(text[..at].chars().next_back()) || inside(text[at + found.len()..].chars().next()))
        {
            continue;
        }
        masked.push_str(&text[end..at]);
        masked.push_str(MASK);
        end = at + found.len();
    }
    masked.push_str(&text[end..]);
    without_beginnings(masked, &secret)
}

fn without_beginnings(mut text: String, secret: &str) -> String {
    let cuts: Vec<usize> = text.match_indices(CUT).map(|(at, _)| at).collect();
    for cut in cuts.into_iter().rev() {
        let before = text[..cut].to_ascii_lowercase();
        let beginnings = secret.char_indices().map(|(length, _)| length).rev();
        if let Some(length) = beginnings
            .take_while(|length| *length >= SHORTEST)
            .find(|length| before.ends_with(&secret[..*length]))
        {
            text.replace_range(cut - length..cut, MASK);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c4_a_secret_is_masked_in_each_form() {
        for (text, word, expected) in [
            ("PASS geheim; geheim", "geheim", "PASS ***; ***"),
            ("PASS GEHEIM", "geheim", "PASS ***"),
            (r#"LOGIN "a\\\\b""#, r"a\b", r#"LOGIN "***""#),
            (r#""a\\b""#, r"a\b", r#""***""#),
            ("\"PASS gehe…\"", "geheim", "\"PASS ***…\""),
            ("\"PASS ge…\"", "geheim", "\"PASS ge…\""),
            ("\"PASS süß…\"", "süße", "\"PASS ***…\""),
            ("nothing here", "geheim", "nothing here"),
            ("password failed: pass", "pass", "password failed: ***"),
            ("joelong-secretx", "long-secret", "joe***x"),
        ] {
            assert_eq!(Mask::new([word.to_owned()]).hide(text.to_owned()), expected, "{text}");
        }
    }

    #[test]
    fn c4_arguments_of_a_command_may_be_secrets() {
        let arguments = [
            "-H",
            "10.0.0.1",
            "--password=word",
            "-pother",
            "-a",
            "joe:third",
            "-u",
            "/health",
            "-w",
            "5,10",
        ];
        let mask = Mask::of_arguments(arguments);
        for (text, expected) in [
            ("word, other, joe:third", "***, ***, ***"),
            ("third is wrong", "*** is wrong"),
            ("connect to 10.0.0.1 for /health: refused", "connect to 10.0.0.1 for /health: refused"),
            ("usage: -H --password -a", "usage: -H --password -a"),
        ] {
            assert_eq!(mask.hide(text.to_owned()), expected);
        }
    }
}
