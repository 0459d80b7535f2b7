//! What an alert says below the original's lines (R97). Pure text.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, FixedOffset, Offset};

use crate::value::layout::{span, wrap};

/// The longest line in columns.
const WIDTH: usize = 78;

/// The width of the column with the titles.
const TITLES: usize = 13;

/// What is known about a server and its virtual service at the time of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// The virtual service: `tcp:10.0.0.1:80`.
    pub service: String,
    /// Its servers.
    pub servers: Servers,
    /// Its fallback server, if it has one: `10.0.0.9:80`.
    pub fallback: Option<String>,
    /// What happened to the server that the alert is about.
    pub course: ServerTransition,
    /// The name of the configuration.
    pub config: String,
}

/// The servers of a virtual service, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Servers {
    /// All servers of the configuration.
    pub all: usize,
    /// Those in rotation.
    pub up: usize,
    /// Those without a first verdict.
    pub unchecked: usize,
    /// Whether a server is in rotation, also a server that leaves with a reload.
    pub any_in: bool,
}

/// What happened to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerTransition {
    /// It is out of rotation.
    Out {
        /// The reason of the last check, or of the override.
        why: Option<String>,
        /// The number of checks that failed in a row.
        failures: u32,
        /// Since when.
        since: Option<DateTime<FixedOffset>>,
        /// For how long, in a reminder.
        lasts: Option<Duration>,
    },
    /// It is in rotation again.
    Returned {
        /// How long it was out of rotation.
        after: Duration,
        /// Why.
        cause: String,
    },
    /// Nothing else is known, or the alert is about the fallback server.
    Other,
}

impl Servers {
    /// Whether no server is left in rotation although all were checked.
    fn none_left(self) -> bool {
        self.all > 0 && !self.any_in && self.unchecked == 0
    }
}

impl Details {
    /// The lines of the mail, each with its end.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        if self.servers.none_left() {
            let fallback = match &self.fallback {
                Some(fallback) => format!("Fallback {fallback} activated."),
                None => "No fallback.".to_owned(),
            };
            for line in wrap(&format!("NO SERVER LEFT in {}. {fallback}", self.service), WIDTH) {
                text.push_str(&line);
                text.push('\n');
            }
            text.push('\n');
        }
        let mut field = |title: &str, value: &str| {
            let mut title = title;
            for line in wrap(value, WIDTH - TITLES) {
                let _ = writeln!(text, "{}", format!("{title:<TITLES$}{line}").trim_end());
                title = "";
            }
        };
        match &self.course {
            ServerTransition::Out { why, failures, since, lasts } => {
                why.iter().for_each(|why| field("Why:", why));
                match failures {
                    0 => {}
                    1 => field("Checks:", "1 failed"),
                    _ => field("Checks:", &format!("{failures} failed in a row")),
                }
                since.iter().for_each(|since| field("Since:", &moment(*since)));
                lasts.iter().for_each(|lasts| field("Down for:", &span(*lasts)));
            }
            ServerTransition::Returned { after, cause } => {
                field("Down for:", &span(*after));
                field("Cause was:", cause);
            }
            ServerTransition::Other => {}
        }
        let Servers { all, up, unchecked, any_in } = self.servers;
        let unchecked = if unchecked > 0 { format!(", {unchecked} not checked yet") } else { String::new() };
        field("Up:", &format!("{up} of {all}{unchecked}"));
        if let Some(fallback) = &self.fallback {
            field("Fallback:", &format!("{fallback} {}", if any_in { "standby" } else { "activated" }));
        }
        field("Details:", &format!("ldirectord-rs show {}", self.config));
        text
    }
}

/// A time with its zone: `2026-11-29 02:14:08 UTC+1`.
fn moment(time: DateTime<FixedOffset>) -> String {
    let seconds = time.offset().fix().local_minus_utc();
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() % 3600 / 60);
    let zone = match (hours, minutes) {
        (0, 0) => String::new(),
        (_, 0) => format!("{sign}{hours}"),
        _ => format!("{sign}{hours}:{minutes:02}"),
    };
    format!("{} UTC{zone}", time.format("%Y-%m-%d %H:%M:%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(servers: Servers, course: ServerTransition) -> Details {
        Details {
            service: "tcp:192.0.2.21:443".to_owned(),
            servers,
            fallback: Some("10.9.0.1:8443".to_owned()),
            course,
            config: "web.cf".to_owned(),
        }
    }

    fn out() -> ServerTransition {
        ServerTransition::Out {
            why: Some("connect: no answer within 5 s".to_owned()),
            failures: 3,
            since: Some("2026-11-29T02:14:08+01:00".parse().unwrap()),
            lasts: None,
        }
    }

    #[test]
    fn r97_an_alert_says_why_since_when_and_what_is_left() {
        let three_of_six = Servers { all: 6, up: 3, unchecked: 0, any_in: true };
        assert_eq!(
            details(three_of_six, out()).text(),
            "Why:         connect: no answer within 5 s\n\
             Checks:      3 failed in a row\n\
             Since:       2026-11-29 02:14:08 UTC+1\n\
             Up:          3 of 6\n\
             Fallback:    10.9.0.1:8443 standby\n\
             Details:     ldirectord-rs show web.cf\n"
        );
    }

    /// R97
    #[test]
    fn r97_the_loss_of_the_last_server_comes_first() {
        let none = Servers { all: 6, up: 0, unchecked: 0, any_in: false };
        let mut details = details(none, ServerTransition::Other);
        assert_eq!(
            details.text(),
            "NO SERVER LEFT in tcp:192.0.2.21:443. Fallback 10.9.0.1:8443 activated.\n\n\
             Up:          0 of 6\n\
             Fallback:    10.9.0.1:8443 activated\n\
             Details:     ldirectord-rs show web.cf\n"
        );
        details.fallback = None;
        let text = details.text();
        assert!(text.starts_with("NO SERVER LEFT in tcp:192.0.2.21:443. No fallback.\n\nUp: "), "{text}");
        details.servers.unchecked = 2;
        assert_eq!(
            details.text(),
            "Up:          0 of 6, 2 not checked yet\nDetails:     ldirectord-rs show web.cf\n"
        );
    }

    #[test]
    fn r97_a_reminder_and_a_return_say_for_how_long() {
        let three_of_six = Servers { all: 6, up: 3, unchecked: 0, any_in: true };
        let lasting = match out() {
            ServerTransition::Out { why, since, .. } => {
                ServerTransition::Out { why, failures: 1, since, lasts: Some(Duration::from_secs(11_640)) }
            }
            other => other,
        };
        let text = details(three_of_six, lasting).text();
        assert!(text.contains("Checks:      1 failed\n"), "{text}");
        assert!(text.contains("UTC+1\nDown for:    3 h 14 min\nUp: "), "{text}");
        let returned =
            ServerTransition::Returned { after: Duration::from_secs(42), cause: "refused".to_owned() };
        let text = details(three_of_six, returned).text();
        assert!(text.starts_with("Down for:    42 s\nCause was:   refused\nUp:          3 of 6\n"), "{text}");
    }

    #[test]
    fn r97_lines_have_78_columns_at_most() {
        let why = format!("{} {}", "word ".repeat(40), "x".repeat(200));
        let course = ServerTransition::Out { why: Some(why.clone()), failures: 0, since: None, lasts: None };
        let mut details = details(Servers { all: 1, ..Servers::default() }, course);
        details.service = "tcp:[2001:db8:1234:5678:9abc:def0:1234:5678]:65535".to_owned();
        details.fallback = Some("[2001:db8:1234:5678:9abc:def0:1234:5679]:65535".to_owned());
        let text = details.text();
        assert!(text.lines().all(|line| line.chars().count() <= 78), "{text}");
        assert!(text.lines().any(|line| line.chars().count() == 78), "{text}");
        assert!(text.contains(&format!("\n{}word", " ".repeat(13))), "{text}");
        let letters = |text: &str| text.matches(['w', 'x']).count();
        assert_eq!(letters(&text) - letters("show web.cf"), letters(&why), "{text}");
    }

    #[test]
    fn times_name_their_zone() {
        for (time, expected) in [
            ("2026-11-29T02:14:08Z", "2026-11-29 02:14:08 UTC"),
            ("2026-11-29T02:14:08+05:30", "2026-11-29 02:14:08 UTC+5:30"),
            ("2026-11-29T02:14:08-03:00", "2026-11-29 02:14:08 UTC-3"),
        ] {
            assert_eq!(moment(time.parse().unwrap()), expected);
        }
    }
}
