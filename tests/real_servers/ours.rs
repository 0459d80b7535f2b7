//! Runs one check as our daemon does: from the lines of a configuration to the verdict.

use std::sync::Arc;

use ldirectord_rs::check::Checker;
use ldirectord_rs::config::{self, Answers, NameQuestion};
use ldirectord_rs::spec::{CheckKey, Spec};
use ldirectord_rs::value::{Outcome, Verdict};

/// The check of a virtual service, with this many seconds for it. None if the server is never checked. The error is
/// what is wrong with the configuration.
pub fn check(block: &str, seconds: u32) -> Result<Option<Arc<CheckKey>>, String> {
    let text = format!("checktimeout={seconds}\nnegotiatetimeout={seconds}\n{block}");
    let loaded = config::load(text.as_bytes(), &answers(text.as_bytes()));
    let found = config::render(&loaded.diagnostics, "test.cf", false);
    let config = loaded.config.ok_or(found)?;
    let spec = Spec::new(Arc::new(config));
    Ok(spec.checks().first().map(|check| Arc::clone(&check.key)))
}

/// The answers that a configuration asks for: files, and nothing else.
fn answers(text: &[u8]) -> Answers {
    let mut answers = Answers::new("director");
    for question in config::questions(text) {
        if let NameQuestion::File(path) = question {
            let content = std::fs::read(&path).map(Into::into).map_err(|error| error.to_string());
            answers.add_file(path, content);
        }
    }
    answers
}

/// The same check over TLS after STARTTLS, which the original lacks: with certificates that are
/// unverified, valid or wrong. Each has its outcome and a part of the reason.
pub fn over_tls(block: &str, said: &str) -> Vec<(String, Outcome, String)> {
    const VERIFY: &str = "\t#rs: starttls=yes\n\t#rs: tlsverify=yes\n\t#rs: tlsca=\"/etc/peers.crt\"\n";
    [
        ("\t#rs: starttls=yes\n".to_owned(), Outcome::Up, said),
        (VERIFY.to_owned(), Outcome::Up, said),
        (format!("{VERIFY}\t#rs: tlsname=\"peers.test\"\n"), Outcome::Up, said),
        (
            format!("{VERIFY}\t#rs: tlsname=\"other.test\"\n"),
            Outcome::Down,
            "not valid for name \"other.test\"",
        ),
        // No CA there has signed it.
        (
            VERIFY.replace("peers.crt", "stranger.crt"),
            Outcome::Down,
            "the certificate is not signed by a trusted CA",
        ),
        (
            "\t#rs: starttls=yes\n\t#rs: tlswarn=31\n".to_owned(),
            Outcome::Up,
            "warning: the certificate of CN=peers.test expires in 29 days",
        ),
    ]
    .map(|(more, outcome, said)| (format!("{block}{more}"), outcome, said.to_owned()))
    .into()
}

/// What the daemon makes of it: the probe, and for a combined check the connect after it.
pub async fn ask(checker: &Checker, block: &str, seconds: u32) -> Verdict {
    let key = match check(block, seconds) {
        Ok(Some(key)) => key,
        Ok(None) => return Verdict::down("never checked"),
        Err(found) => return Verdict::down(found),
    };
    run(checker, &key).await
}

/// One round of a check.
pub async fn run(checker: &Checker, key: &CheckKey) -> Verdict {
    let negotiated = checker.run(&key.probe).await;
    match &key.combined {
        Some(combined) if negotiated.outcome == Outcome::Up => checker.run(&combined.probe).await,
        _ => negotiated,
    }
}

/// What is wrong with a verdict. None if it is as expected.
pub fn fault(what: &str, outcome: Outcome, reason: &str, verdict: &Verdict) -> Option<String> {
    let good = verdict.outcome == outcome && verdict.reason.contains(reason);
    (!good).then(|| {
        format!(
            "{what}\n  expected {outcome:?} {reason}\n  found    {:?} {}",
            verdict.outcome, verdict.reason
        )
    })
}
