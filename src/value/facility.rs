//! Syslog facilities.

/// The facility `daemon`, which is used if the configured facility is not valid.
pub const SYSLOG_DAEMON: u8 = 3;

/// The number of a facility by its name (RFC 5424, table 1. The names are those of syslog.conf, in any case, also
/// as `LOG_LOCAL0`).
#[must_use]
pub fn syslog_facility(name: &str) -> Option<u8> {
    const NAMES: [&str; 12] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    ];
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix("log_").unwrap_or(&name);
    let local = name.strip_prefix("local").and_then(|digit| digit.parse::<u8>().ok()).filter(|n| *n < 8);
    let position = NAMES.iter().position(|known| *known == name).and_then(|n| u8::try_from(n).ok());
    local.map(|n| 16 + n).or(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_have_the_numbers_of_syslog() {
        let check = |name: &str, expected: Option<u8>| assert_eq!(syslog_facility(name), expected, "{name}");
        check("daemon", Some(3));
        check("LOCAL0", Some(16));
        check("LOG_LOCAL0", Some(16));
        check("local7", Some(23));
        check("local8", None);
        check("nosuch", None);
    }
}
