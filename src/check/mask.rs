//! Masks the secrets of a probe in its verdict: a server that repeats a password in its refusal must not get it
//! into the log.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode_str;

use crate::spec::{Probe, ProbeAction};
use crate::value::mask::Mask;
use crate::value::{Verdict, shown};

/// Masks the secrets of the probe in the texts of the verdict.
pub(super) fn mask(probe: &Probe, verdict: Verdict) -> Verdict {
    let mask = secrets(probe);
    if mask.is_empty() {
        return verdict;
    }
    let without = |text: String| mask.hide(text);
    Verdict {
        reason: without(verdict.reason),
        monitor: verdict.monitor.map(without),
        warning: verdict.warning.map(without),
        ..verdict
    }
}

/// The secrets of a probe.
fn secrets(probe: &Probe) -> Mask {
    let words = match &probe.action {
        ProbeAction::Radius(radius) => {
            vec![radius.passwd.reveal().to_owned(), radius.secret.reveal().to_owned()]
        }
        ProbeAction::Ldap(ldap) => vec![ldap.passwd.reveal().to_owned()],
        ProbeAction::Mysql(sql) | ProbeAction::Pgsql(sql) | ProbeAction::Oracle(sql) => {
            vec![sql.passwd.reveal().to_owned()]
        }
        ProbeAction::Dialogue(dialogue) => vec![dialogue.passwd.reveal().to_owned()],
        ProbeAction::Http(http) => {
            let tokens = shown::tokens(&http.request).flat_map(|token| {
                [token.to_owned(), percent_decode_str(token).decode_utf8_lossy().into_owned()]
            });
            of_url(&http.request).into_iter().chain(tokens).collect()
        }
        ProbeAction::External(external) => external.command.split_whitespace().flat_map(of_url).collect(),
        ProbeAction::Nothing
        | ProbeAction::Connect
        | ProbeAction::SctpConnect
        | ProbeAction::Ping { .. }
        | ProbeAction::SimpleTcp(_)
        | ProbeAction::Datagram(_)
        | ProbeAction::Dns(_) => Vec::new(),
    };
    Mask::new(words)
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

#[cfg(test)]
mod tests {
    use super::*;

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
