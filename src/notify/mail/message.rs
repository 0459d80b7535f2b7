//! Text and recipients of an alert, in the original's words. No I/O.

use crate::spec::Virtual;
use crate::value::{DaemonStatus, Mailbox, Relay};

/// The author of mail: this machine and the user of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renderer {
    /// The name of this machine.
    pub host: String,
    /// The domain of addresses without one: the name of this machine, or `localhost` if that name cannot be part of an
    /// address.
    pub domain: String,
    /// The user's name.
    pub user: String,
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailMessage {
    /// The sender.
    pub from: Mailbox,
    /// The recipients. Not empty.
    pub recipients: Vec<Mailbox>,
    /// The relay (`smtp`). None: the local sendmail.
    pub relay: Option<Relay>,
    /// The subject.
    pub subject: String,
    /// The text. Lines end in LF.
    pub body: String,
}

impl MailMessage {
    /// Adds lines below the original's, after an empty line.
    pub fn append(&mut self, lines: &str) {
        if !self.body.ends_with("\n\n") {
            self.body.push('\n');
        }
        self.body.push_str(lines);
    }
}

impl Renderer {
    /// The alert with this text. None if it has no recipients or `emailalertstatus` excludes the daemon's status.
    #[must_use]
    pub fn message(
        &self,
        v: &Virtual,
        from: Option<&str>,
        status: DaemonStatus,
        text: &str,
    ) -> Option<MailMessage> {
        let (recipients, _) = self.recipients(&v.alert.recipients);
        if recipients.is_empty() || !v.alert.status.includes(status) {
            return None;
        }
        let subject = match v.notes.servicename.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => format!("[{name}] {text}"),
            None => text.to_owned(),
        };
        let mut body =
            format!("ldirectord host: {}\nLog-Message: {subject}\nDaemon-Status: {status}\n", self.host);
        let facts = [("Service name", &v.notes.servicename), ("Comment", &v.notes.comment)];
        let facts =
            facts.map(|(title, value)| Some((title, value.as_deref().filter(|text| !text.is_empty())?)));
        if facts.iter().any(Option::is_some) {
            body.push('\n');
            for (title, value) in facts.into_iter().flatten() {
                body.push_str(&format!("{title}: {value}\n"));
            }
            body.push('\n');
        }
        Some(MailMessage { from: self.sender(from), recipients, relay: v.alert.smtp.clone(), subject, body })
    }

    /// The sender: `emailalertfrom`, or the user of this process if that is not an address.
    #[must_use]
    pub fn sender(&self, from: Option<&str>) -> Mailbox {
        let own = || Mailbox { name: None, user: self.user.clone(), domain: None };
        self.complete(from.and_then(|from| from.parse().ok()).unwrap_or_else(own))
    }

    /// The recipients of a comma-separated list, and an error for each that is not an address. A bare name is a user of
    /// this machine.
    #[must_use]
    pub fn recipients(&self, list: &str) -> (Vec<Mailbox>, Vec<String>) {
        let (mut mailboxes, mut wrong) = (Vec::new(), Vec::new());
        for recipient in Mailbox::list(list).into_iter().map(|part| &list[part]) {
            match recipient.parse() {
                Ok(mailbox) => mailboxes.push(self.complete(mailbox)),
                Err(why) => wrong.push(format!("{recipient} is not a mail address: {why}")),
            }
        }
        (mailboxes, wrong)
    }

    fn complete(&self, mut mailbox: Mailbox) -> Mailbox {
        mailbox.domain.get_or_insert_with(|| self.domain.clone());
        mailbox
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_are_a_list() {
        let renderer = Renderer { host: "vm".to_owned(), domain: "vm".to_owned(), user: "root".to_owned() };
        let check = |list: &str, expected: &[&str]| {
            let (recipients, wrong) = renderer.recipients(list);
            let addresses: Vec<String> = recipients.iter().map(|one| one.address("elsewhere")).collect();
            assert_eq!(addresses, expected, "{list}");
            assert_eq!(wrong.len(), usize::from(list.contains("no address")), "{wrong:?}");
        };
        // B17
        check("a@b, c@d", &["a@b", "c@d"]);
        check("root", &["root@vm"]);
        check(" ,", &[]);
        check("\"Doe, J\" <a@b>, no address, c@d", &["a@b", "c@d"]);
    }

    #[test]
    fn b7_an_unusable_sender_becomes_the_user_of_the_daemon() {
        let renderer = Renderer { host: "vm".to_owned(), domain: "vm".to_owned(), user: "root".to_owned() };
        let check = |from: Option<&str>, expected: &str| {
            assert_eq!(renderer.sender(from).address("elsewhere"), expected, "{from:?}");
        };
        check(None, "root@vm");
        check(Some("no address"), "root@vm");
        check(Some("ld"), "ld@vm");
        check(Some("\"ld@x.example\""), "ld@x.example");
        check(Some("Load Balancer <ld@x.example>"), "ld@x.example");
    }

    /// The original's words: it sent these texts in the same cases.
    #[test]
    fn a_message_reads_like_the_originals() {
        let renderer = Renderer { host: "vm".to_owned(), domain: "vm".to_owned(), user: "root".to_owned() };
        let text = "Added real server: 127.0.0.2:80 (127.0.0.1:8080) (Weight set to 3)";
        let check = |directives: &str, status, expected: Option<&str>| {
            let file = format!("virtual=127.0.0.1:8080\n\treal=127.0.0.2:80 masq 3\n{directives}");
            let answers = crate::config::Answers::new("vm".to_owned());
            let config = crate::config::load(file.as_bytes(), &answers).config.unwrap();
            let message = renderer.message(&config.virtuals[0], None, status, text);
            assert_eq!(message.as_ref().map(|message| message.body.as_str()), expected, "{directives}");
            assert!(message.is_none_or(|message| message.from.address("") == "root@vm"));
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

    /// The original's lines stay as they are (R97).
    #[test]
    fn added_lines_follow_an_empty_line() {
        let mut message = MailMessage {
            from: "ld@here.example".parse().unwrap(),
            recipients: Vec::new(),
            relay: None,
            subject: String::new(),
            body: "Daemon-Status: running\n".to_owned(),
        };
        message.append("Up:          1 of 2\n");
        assert_eq!(message.body, "Daemon-Status: running\n\nUp:          1 of 2\n");
        message.body = "Daemon-Status: running\n\nComment: Call Bob\n\n".to_owned();
        message.append("Up:          1 of 2\n");
        assert_eq!(message.body, "Daemon-Status: running\n\nComment: Call Bob\n\nUp:          1 of 2\n");
    }
}
