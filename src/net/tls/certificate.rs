//! Reads a certificate: its subject and its validity.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;
use x509_parser::asn1_rs::nom::Parser as _;
use x509_parser::certificate::X509CertificateParser;
use x509_parser::x509::X509Name;

use crate::value::shown::escaped;

const DAY: i64 = 24 * 60 * 60;
/// The most characters of a name that are shown.
const SHOWN: usize = 80;

/// The parts of a certificate that are used here. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// `CN=www.example.net`
    subject: String,
    not_before: i64,
    not_after: i64,
    signed_itself: bool,
}

impl Certificate {
    /// Reads a certificate. None if it is not X.509.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Certificate> {
        let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
        let (_, found) = parser.parse(der).ok()?;
        let validity = found.validity();
        Some(Certificate {
            subject: name(found.subject()),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            signed_itself: found.subject().as_raw() == found.issuer().as_raw(),
        })
    }

    /// When it expires, in seconds since 1970.
    #[must_use]
    pub fn expires(&self) -> i64 {
        self.not_after
    }

    /// Whether its issuer is its subject.
    #[must_use]
    pub fn signed_itself(&self) -> bool {
        self.signed_itself
    }

    /// The warning about a certificate that expires in fewer days than `warn_days`, or has expired. The text
    /// changes once a day.
    #[must_use]
    pub fn warning(&self, now: SystemTime, warn_days: u32) -> Option<String> {
        let left = self.not_after.saturating_sub(seconds(now));
        if warn_days == 0 || left >= i64::from(warn_days) * DAY {
            return None;
        }
        let (subject, end) = (&self.subject, day(self.not_after));
        Some(match left.div_euclid(DAY) {
            past if past < 0 => match -past - 1 {
                0 => format!("the certificate of {subject} has expired, on {end}"),
                days => format!("the certificate of {subject} expired {} ago, on {end}", days_spoken(days)),
            },
            0 => format!("the certificate of {subject} expires in less than a day, on {end}"),
            days => format!("the certificate of {subject} expires in {}, on {end}", days_spoken(days)),
        })
    }

    /// Checks that the certificate is valid at a time.
    ///
    /// # Errors
    /// When it is not yet valid, or has expired.
    pub fn holds_at(&self, time: UnixTime) -> Result<(), CertificateError> {
        let at = time.as_secs().cast_signed();
        let unix = |seconds: i64| {
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds.max(0).unsigned_abs()))
        };
        if at < self.not_before {
            return Err(CertificateError::NotValidYetContext { time, not_before: unix(self.not_before) });
        }
        if at > self.not_after {
            return Err(CertificateError::ExpiredContext { time, not_after: unix(self.not_after) });
        }
        Ok(())
    }
}

/// A date in the form `2026-12-03`, UTC.
#[must_use]
pub fn day(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0)
        .map_or_else(|| "an unknown day".to_owned(), |time| time.format("%Y-%m-%d").to_string())
}

fn days_spoken(days: i64) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed())
}

/// The common name, else the whole name. The server chooses the text, so it is escaped and cut.
fn name(subject: &X509Name<'_>) -> String {
    let common = subject.iter_common_name().find_map(|part| part.as_str().ok());
    let text = common.map_or_else(|| subject.to_string(), |name| format!("CN={name}"));
    let shown: String = text.chars().take(SHOWN).collect();
    if shown.trim().is_empty() { "a server without a name".to_owned() } else { escaped(&shown).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn warned(left: i64, warn_days: u32) -> Option<String> {
        let certificate = Certificate {
            subject: "CN=www".to_owned(),
            not_before: 0,
            not_after: 1_796_256_000,
            signed_itself: true,
        };
        let now = UNIX_EPOCH + Duration::from_secs((1_796_256_000 - left).unsigned_abs());
        certificate.warning(now, warn_days)
    }

    #[test]
    fn fewer_days_are_warned_of_in_words_that_change_once_a_day() {
        for (left, said) in [
            (14 * DAY, None),
            (14 * DAY - 1, Some("expires in 13 days, on 2026-12-03")),
            (13 * DAY, Some("expires in 13 days, on 2026-12-03")),
            (13 * DAY - 1, Some("expires in 12 days, on 2026-12-03")),
            (DAY, Some("expires in 1 day, on 2026-12-03")),
            (0, Some("expires in less than a day, on 2026-12-03")),
            (-1, Some("has expired, on 2026-12-03")),
            (-DAY, Some("has expired, on 2026-12-03")),
            (-DAY - 1, Some("expired 1 day ago, on 2026-12-03")),
            (-3 * DAY, Some("expired 2 days ago, on 2026-12-03")),
        ] {
            let expected = said.map(|said| format!("the certificate of CN=www {said}"));
            assert_eq!(warned(left, 14), expected, "{left}");
        }
        assert_eq!(warned(1, 0), None);
        assert_eq!(warned(-DAY, 0), None);
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        assert_eq!(Certificate::read(b""), None);
        assert_eq!(Certificate::read(b"\x30\x82\x01\x00nonsense"), None);
        let own = rcgen::generate_simple_self_signed(["www.example.net".to_owned()]).unwrap();
        let der = own.cert.der().to_vec();
        assert_eq!(Certificate::read(&der).unwrap().subject, "CN=rcgen self signed cert");
        // No input from a server may cause a panic.
        for at in 0..der.len() {
            let mut changed = der.clone();
            changed[at] ^= 0x81;
            drop(Certificate::read(&changed));
            drop(Certificate::read(&der[..at]));
        }
    }
}
