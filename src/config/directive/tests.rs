//! Tests of the table of directives, the code that reads it, and the search for a misspelt name.

use super::*;
use crate::config::{Answers, Config, Negotiate, Virtual, load, write};
use crate::value::{Protocol, Roots, VirtualId};

#[test]
fn every_row_stands_once_and_is_found() {
    for row in DIRECTIVES {
        assert_eq!(find(row.name).map(|found| found.key), Some(row.key), "{}", row.name);
        assert!(!row.help.is_empty() && !row.help.ends_with('.'), "{}", row.name);
        assert_eq!(DIRECTIVES.iter().filter(|other| other.key == row.key).count(), 1, "{}", row.name);
    }
}

#[test]
fn misspelt_names_find_their_neighbour() {
    for (wrong, inside, right) in [
        ("checkintervall", false, Some("checkinterval")),
        ("CheckInterval", false, Some("checkinterval")),
        ("shceduler", true, Some("scheduler")),
        ("scheduler", false, None),
        ("reel", true, Some("real")),
        ("bogus", true, None),
        ("", true, None),
    ] {
        assert_eq!(nearest(wrong, inside).map(|row| row.name), right, "{wrong}");
    }
}

#[test]
fn a_misspelt_password_is_still_one() {
    for name in ["passwd", "passwrd", "password", "pasword", "Passwd", "secrets", "secert", "db_pwd"] {
        assert!(may_name_secret(name), "{name}");
    }
    for name in ["", "request", "receive", "service", "database"] {
        assert!(!may_name_secret(name), "{name}");
    }
}

/// The configuration of a text, if it has no error. Every file contains a password.
fn config(text: &str) -> Option<Config> {
    let mut answers = Answers::new("director");
    for path in ["/one", "/two"] {
        answers.add_file(path, Ok(b"hunter2".as_slice().into()));
    }
    load(text.as_bytes(), &answers).config
}

/// A line for a directive in each place where it is allowed, in a file in which it has an effect. Without a value
/// the line is a comment, so that the lines of the file keep their numbers.
fn files(row: &Directive, value: Option<&str>) -> Vec<String> {
    let mark = if row.extension { "#rs: " } else { "" };
    let line = value.map_or("#".to_owned(), |value| format!("{mark}{}={value}", row.name));
    let six = row.name.ends_with('6');
    let head = if six { "virtual6=[2001:db8::1]:80" } else { "virtual=10.0.0.1:80" };
    let (outside, inside) = match row.key {
        Key::CheckInterval => ("fork=yes\n", ""),
        Key::StartTls => ("", "\tservice=smtp\n"),
        Key::TlsCa => ("#rs: tlsverify=yes\n", ""),
        _ => ("", ""),
    };
    // One directive of a pair without the other is an error.
    let pair = "#rs: tlscert=\"/one\"\n#rs: tlskey=\"/one\"\n";
    let pair = if [Key::TlsCert, Key::TlsKey].contains(&row.key) { pair } else { "" };
    let mut files = Vec::new();
    if row.scope.allows(false) {
        files.push(format!("{outside}{pair}{line}\n{head}\n{inside}\n"));
    }
    if row.scope.allows(true) {
        let pair = pair.replace("#rs", "\t#rs");
        files.push(format!("{outside}{head}\n{inside}{pair}\t{line}\n\n"));
    }
    files
}

/// For each kind: an accepted value that is not the default of any directive, and a refused value.
fn samples(row: &Directive) -> (Option<&'static str>, Option<&'static str>) {
    let six = row.name.ends_with('6');
    let (good, bad) = match row.kind {
        // One of them is the default.
        ValueKind::YesNo if row.default == Unwritten::Value("yes") => ("no", "No"),
        ValueKind::YesNo => ("yes", "yes "),
        ValueKind::Timeout | ValueKind::Interval => ("7", "0"),
        ValueKind::Count => ("7", "0"),
        ValueKind::Number | ValueKind::Persistence => ("7", "seven"),
        ValueKind::Frequency => ("7", "x7"),
        ValueKind::Port => ("8080", "65536"),
        ValueKind::Quoted | ValueKind::Secret => ("\"a \"b\"", "\"\""),
        ValueKind::QuotedOrEmpty => ("\"a\"", "a"),
        ValueKind::Text | ValueKind::Command | ValueKind::OutputFile => ("/bin/a b", ""),
        ValueKind::Line | ValueKind::Sender | ValueKind::Directory => ("a b", ""),
        ValueKind::LineOrEmpty | ValueKind::VirtualHost => return (Some("a b"), None),
        ValueKind::Word => ("flag-1", "sh-port"),
        ValueKind::Request => ("\"a\"", "a"),
        ValueKind::Pattern => ("\"a+\"", "\"(\""),
        ValueKind::Bytes => ("\"\\x00\"", "\"\\0\""),
        ValueKind::LogTarget => ("\"local0\"", "local0"),
        ValueKind::PemFile | ValueKind::SecretFile => ("\"/two\"", "\"/three\""),
        ValueKind::ServerName => ("\"www.example.net\"", "\"a b\""),
        ValueKind::Recipients => ("root", ""),
        ValueKind::AlertStatus => ("running, stopping", "never"),
        ValueKind::Host => ("relay.example.net:2525", ":25"),
        ValueKind::CheckType => ("external-perl", "perl"),
        ValueKind::Service => ("ldap", "LDAP"),
        ValueKind::HttpMethod => ("head", "POST"),
        ValueKind::Redirects => ("same-host", "same"),
        ValueKind::DnsType => ("mx", "AXFR"),
        ValueKind::Scheduler => ("lc", "7"),
        ValueKind::Protocol => ("udp", "fwm"),
        ValueKind::Netmask => ("255.255.255.0", "24"),
        ValueKind::Tunnel => ("gre,csum", "vxlan"),
        ValueKind::PersistEngine => ("sip", "h323"),
        ValueKind::Timeouts => ("1,2,3", "1,2"),
        ValueKind::Virtual if six => ("[2001:db8::9]:80", "[2001:db8::9]"),
        ValueKind::Virtual => ("10.0.0.9:80", "10.0.0.9"),
        ValueKind::Real if six => ("[2001:db8::9]:80 masq", "[2001:db8::9]:80"),
        ValueKind::Real => ("10.0.0.9:80 masq", "10.0.0.9:80"),
        ValueKind::Fallback if six => ("[2001:db8::9]", "[2001:db8::9] nat"),
        ValueKind::Fallback => ("10.0.0.9:8080 masq", "10.0.0.9 nat"),
        ValueKind::Ignored => ("\"a\"", "\"-\""),
        ValueKind::Refused => return (None, Some("7")),
    };
    (Some(good), Some(bad))
}

#[test]
fn each_directive_reads_and_writes_the_values_of_its_kind() {
    for row in DIRECTIVES {
        let (good, bad) = samples(row);
        for (text, without) in
            good.into_iter().flat_map(|value| files(row, Some(value)).into_iter().zip(files(row, None)))
        {
            let (with, without) = (config(&text).expect(row.name), config(&without).expect(row.name));
            // A value without a field would change nothing.
            assert_eq!(with == without, row.kind == ValueKind::Ignored, "{text}");
            // A field that is not written would be lost.
            let written = write(&with).expect(row.name);
            assert!(row.kind == ValueKind::Ignored || written.contains(row.name), "{written}");
        }
        for text in bad.into_iter().flat_map(|value| files(row, Some(value))) {
            assert!(config(&text).is_none(), "{text}");
        }
    }
}

#[test]
fn each_default_is_what_an_unwritten_directive_means() {
    let mut count = 0;
    for row in DIRECTIVES {
        let Unwritten::Value(value) = row.default else { continue };
        count += 1;
        for (with, without) in files(row, Some(value)).iter().zip(files(row, None)) {
            let with = config(with);
            assert!(with.is_some() && with == config(&without), "{}={value} is not the default", row.name);
        }
    }
    assert!(count > 20, "{count}");
}

/// The first virtual service of a text.
fn first(text: &str) -> Virtual {
    config(text).unwrap().virtuals.remove(0)
}

/// The deadlines of a check, in seconds.
fn deadlines(text: &str) -> (u64, u64) {
    let timing = first(text).timing;
    (timing.checktimeout.as_secs(), timing.negotiatetimeout.as_secs())
}

/// The login and the password of a service without `login` and `passwd`.
fn login(service: &str) -> (String, String) {
    let login = first(&format!("virtual=10.0.0.1:80\n\tservice={service}\n")).check.credentials;
    (login.login, login.passwd.reveal().to_owned())
}

/// Whether the default in words of a directive is true.
fn words_hold(key: Key) -> bool {
    let services = ["virtual=10.0.0.1:80\n", "virtual=10.0.0.1:53\n", "virtual=1\n"].map(first);
    let [plain, ..] = &services;
    let protocol = |v: &Virtual| match v.id {
        VirtualId::Address { protocol, .. } => Some(protocol),
        VirtualId::Mark { .. } => None,
    };
    let pair = |login: &str, passwd: &str| (login.to_owned(), passwd.to_owned());
    let server_name = |text: &str| first(text).tls.server_name;
    match key {
        Key::Protocol => {
            services.each_ref().map(protocol) == [Some(Protocol::Tcp), Some(Protocol::Udp), None]
        }
        Key::Service => {
            services.each_ref().map(|v| v.check.service) == [Negotiate::Http, Negotiate::Dns, Negotiate::None]
        }
        Key::CheckPort => plain.check.checkport.is_none(),
        Key::CheckTimeout | Key::NegotiateTimeout => {
            let texts = ["virtual=1\n", "checktimeout=7\nvirtual=1\n", "negotiatetimeout=7\nvirtual=1\n"];
            texts.map(deadlines) == [(5, 30), (7, 7), (7, 7)]
        }
        Key::VirtualHost => plain.check.virtualhost.is_none(),
        Key::Login | Key::Passwd => {
            let own = "ldirectord@director";
            ["ftp", "sip", "http"].map(login) == [pair("anonymous", own), pair(own, ""), pair("", "")]
        }
        Key::DnsType => plain.check.dnstype.is_none(),
        Key::UdpProbe => plain.check.udpprobe.is_none(),
        Key::UdpReply => plain.check.udpreply.is_none(),
        Key::Tunnel => plain.scheduling.tunnel.is_none(),
        Key::PersistEngine => plain.scheduling.persistengine.is_none(),
        Key::Timeouts => config("").unwrap().globals.timeouts.is_none(),
        Key::TlsCa => {
            let v = first("#rs: tlsverify=yes\nvirtual=1\n");
            v.tls.policy.verify == Some(Roots::System)
        }
        Key::TlsName => {
            let names = ["virtual=1\n", "virtual=1\n\tvirtualhost=a:8\n"].map(server_name);
            names == [None, Some("a".to_owned())]
        }
        _ => false,
    }
}

#[test]
fn each_default_in_words_holds() {
    for row in DIRECTIVES.iter().filter(|row| matches!(row.default, Unwritten::Words(_))) {
        assert!(words_hold(row.key), "{}: {}", row.name, row.default.text());
    }
}
