//! What an alert says, and to whom: pure text, in the original's words.

use crate::plan::Virtual;
use crate::value::DaemonStatus;

/// Who writes: this machine and the user of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The name of this machine.
    pub host: String,
    /// What stands behind the @ of an address without one: the name of this machine, where mail knows such names.
    pub domain: String,
    /// The user's name.
    pub user: String,
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The sender, as a mail header has it.
    pub from: String,
    /// The recipients, each as a mail header has it; not empty.
    pub recipients: Vec<String>,
    /// The relay (`smtp`); none: the local sendmail.
    pub relay: Option<String>,
    /// The subject.
    pub subject: String,
    /// The text; lines end in LF.
    pub body: String,
}

impl Writer {
    /// The alert with this text; none where nobody is to get it or the daemon's status is filtered out.
    #[must_use]
    pub fn letter(
        &self,
        v: &Virtual,
        from: Option<&str>,
        status: DaemonStatus,
        text: &str,
    ) -> Option<Letter> {
        let recipients = self.recipients(&v.alert.recipients);
        if recipients.is_empty() || !v.alert.status.includes(status) {
            return None;
        }
        let subject = match v.servicename.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => format!("[{name}] {text}"),
            None => text.to_owned(),
        };
        let mut body =
            format!("ldirectord host: {}\nLog-Message: {subject}\nDaemon-Status: {status}\n", self.host);
        let facts = [("Service name", &v.servicename), ("Comment", &v.comment)];
        let facts =
            facts.map(|(title, value)| Some((title, value.as_deref().filter(|text| !text.is_empty())?)));
        if facts.iter().any(Option::is_some) {
            body.push('\n');
            for (title, value) in facts.into_iter().flatten() {
                body.push_str(&format!("{title}: {value}\n"));
            }
            body.push('\n');
        }
        Some(Letter { from: self.sender(from), recipients, relay: v.alert.smtp.clone(), subject, body })
    }

    /// The sender: `emailalertfrom`, or the user of this process.
    #[must_use]
    pub fn sender(&self, from: Option<&str>) -> String {
        self.complete(from.unwrap_or(&self.user))
    }

    /// The recipients of a comma list. A bare name is a user of this machine.
    #[must_use]
    pub fn recipients(&self, list: &str) -> Vec<String> {
        list.split(',').map(str::trim).filter(|one| !one.is_empty()).map(|one| self.complete(one)).collect()
    }

    fn complete(&self, address: &str) -> String {
        if address.contains('@') { address.to_owned() } else { format!("{address}@{}", self.domain) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_are_a_list() {
        let writer = Writer { host: "vm".to_owned(), domain: "vm".to_owned(), user: "root".to_owned() };
        let check = |list: &str, expected: &[&str]| assert_eq!(writer.recipients(list), expected, "{list}");
        // B17
        check("a@b, c@d", &["a@b", "c@d"]);
        check("root", &["root@vm"]);
        check(" ,", &[]);
    }

    /// The texts are those that the original sent in the same cases.
    #[test]
    fn a_letter_reads_like_the_originals() {
        let writer = Writer { host: "vm".to_owned(), domain: "vm".to_owned(), user: "root".to_owned() };
        let text = "Added real server: 127.0.0.2:80 (127.0.0.1:8080) (Weight set to 3)";
        let check = |directives: &str, status, expected: Option<&str>| {
            let file = format!("virtual=127.0.0.1:8080\n\treal=127.0.0.2:80 masq 3\n{directives}");
            let answers = crate::config::Answers::new("vm".to_owned());
            let config = crate::config::load(file.as_bytes(), &answers).config.unwrap();
            let letter = writer.letter(&config.virtuals[0], None, status, text);
            assert_eq!(letter.as_ref().map(|letter| letter.body.as_str()), expected, "{directives}");
            assert!(letter.is_none_or(|letter| letter.from == "root@vm"));
        };
        let to = "\temailalert=root@localhost\n";
        check("", DaemonStatus::Starting, None);
        check(&format!("{to}\temailalertstatus=running\n"), DaemonStatus::Starting, None);
        check(
            &format!("{to}\tservicename=Web shop\n\tcomment=Call Bob\n"),
            DaemonStatus::Starting,
            Some(&format!(
                "ldirectord host: vm\nLog-Message: [Web shop] {text}\nDaemon-Status: starting\n\nService name: Web \
                 shop\nComment: Call Bob\n\n"
            )),
        );
        check(
            &format!("{to}\tcomment=only comment\n"),
            DaemonStatus::Stopping,
            Some(&format!(
                "ldirectord host: vm\nLog-Message: {text}\nDaemon-Status: stopping\n\nComment: only comment\n\n"
            )),
        );
        check(
            to,
            DaemonStatus::Reloading,
            Some(&format!("ldirectord host: vm\nLog-Message: {text}\nDaemon-Status: reloading\n")),
        );
    }
}
