//! Every check against the real servers of Debian, compared with the original: right and wrong answers, refused,
//! frozen, restarted. The cases are in `verdicts`. Run by `make peers`; `make verdicts` records the original again.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail by panic, and waits by the clock"
)]

mod crowd;
mod lifecycle;
mod monitoring;
mod original;
mod ours;
mod recipes;
mod server;
mod table;

/// A test for each server, with its tables.
macro_rules! servers {
    ($($server:ident: $($table:literal)+;)+) => {
        $(#[test] fn $server() { lifecycle::live(&[$($table),+]); })+

        #[test]
        fn every_table_has_a_server() {
            let named = std::collections::BTreeSet::from([$($($table.to_owned()),+),+]);
            let files = std::fs::read_dir(table::folder()).unwrap().map(|entry| entry.unwrap().file_name());
            let files = files.filter_map(|file| Some(file.to_str()?.strip_suffix(".txt")?.to_owned()));
            assert_eq!(files.collect::<std::collections::BTreeSet<_>>(), named);
        }
    };
}

servers! {
    bind: "dns-bind";
    commands: "external" "external-perl";
    dnsmasq: "dns-dnsmasq";
    dovecot: "imap" "imaps" "pop" "pops";
    dovecot_with_apop: "pop-apop";
    dovecot_with_cram_md5: "pop-cram-md5";
    exim: "smtp-exim";
    freeradius: "radius";
    inn: "nntp";
    kamailio: "sip";
    mariadb: "mysql";
    nginx: "http" "https";
    nginx_asked_otherwise: "connect" "none" "oracle" "simpletcp";
    no_server: "ping";
    openldap: "ldap" "ldaps";
    opensmtpd: "smtp-opensmtpd";
    postfix: "smtp-postfix";
    postgresql: "pgsql";
    proftpd: "ftp-proftpd";
    squid: "http_proxy-squid";
    tinyproxy: "http_proxy-tinyproxy";
    vsftpd: "ftp-vsftpd";
}
