//! Masks the secrets of a probe in its verdict: a server that repeats a password in its refusal must not get it
//! into the log.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode_str;

use crate::spec::{Probe, ProbeAction};
use crate::value::{Verdict, shown};

/// Shorter secrets are not masked: they are part of many words, so the masked places would reveal them.
const SHORTEST: usize = 3;
const MASK: &str = "***";
/// The mark where a reply was cut.
const CUT: &str = "…";

/// Masks the secrets of the probe in the texts of the verdict.
pub(super) fn mask(probe: &Probe, verdict: Verdict) -> Verdict {
    let secrets = secrets(probe);
    if secrets.is_empty() {
        return verdict;
    }
    let without = |text: String| secrets.iter().fold(text, |text, secret| replaced(&text, secret));
    Verdict {
        reason: without(verdict.reason),
        monitor: verdict.monitor.map(without),
        warning: verdict.warning.map(without),
        ..verdict
    }
}

/// Each secret in each form that a quoted reply may contain, the longest first.
fn secrets(probe: &Probe) -> Vec<String> {
    let words = match &probe.action {
        ProbeAction::Radius(radius) => {
            vec![radius.passwd.reveal().to_owned(), radius.secret.reveal().to_owned()]
        }
        ProbeAction::Ldap(ldap) => vec![ldap.passwd.reveal().to_owned()],
        ProbeAction::Mysql(sql) | ProbeAction::Pgsql(sql) | ProbeAction::Oracle(sql) => {
            vec![sql.passwd.reveal().to_owned()]
        }
        ProbeAction::Dialogue(dialogue) => vec![dialogue.passwd.reveal().to_owned()],
        ProbeAction::Http(http) => of_url(&http.request),
        ProbeAction::External(external) => external.command.split_whitespace().flat_map(of_url).collect(),
        ProbeAction::Nothing
        | ProbeAction::Connect
        | ProbeAction::SctpConnect
        | ProbeAction::Ping { .. }
        | ProbeAction::SimpleTcp(_)
        | ProbeAction::Datagram(_)
        | ProbeAction::Dns(_) => Vec::new(),
    };
    let mut forms: Vec<String> =
        words.into_iter().flat_map(forms).filter(|form| form.len() >= SHORTEST).collect();
    forms.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
    forms.dedup();
    forms
}

/// The user and the password of a URL, as written there and as sent.
fn of_url(text: &str) -> Vec<String> {
    let Some(start) = text.find("://").map(|colon| colon + 3) else { return Vec::new() };
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |length| start + length);
    let Some(at) = text[start..end].rfind('@') else { return Vec::new() };
    let user_and_password = &text[start..start + at];
    let decoded = percent_decode_str(user_and_password).decode_utf8_lossy().into_owned();
    let mut words = vec![BASE64.encode(&decoded), user_and_password.to_owned()];
    words.extend(user_and_password.split_once(':').map(|(_, password)| password.to_owned()));
    words.extend(decoded.split_once(':').map(|(_, password)| password.to_owned()));
    words
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
        if inside(text[..at].chars().next_back()) || inside(text[at + found.len()..].chars().next()) {
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
        let masked = |text: &str, word: &str| {
            let mut forms = forms(word.to_owned()).to_vec();
            forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
            forms.iter().fold(text.to_owned(), |text, form| replaced(&text, form))
        };
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
        ] {
            assert_eq!(masked(text, word), expected, "{text}");
        }
    }

    #[test]
    fn c4_the_user_and_the_password_of_a_url_are_secrets() {
        let words = of_url("http://joe:p%40ss@host:80/path?a=b@c");
        for word in ["joe:p%40ss", "p%40ss", "p@ss", "am9lOnBAc3M="] {
            assert!(words.iter().any(|known| known == word), "{word}: {words:?}");
        }
        for plain in ["/path", "http://host/a@b", "--option=x@y"] {
            assert!(of_url(plain).is_empty(), "{plain}");
        }
    }
}
