//! Tests that a written configuration is read as the same, or refused.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;
use crate::config::{Credentials, Globals};
use crate::value::Secret;

fn read(text: &str) -> Config {
    let mut answers = Answers::new("director");
    answers.add_file("/etc/password", Ok(b"a#b\tc\"\nignored".as_slice().into()));
    for path in ["/etc/ca.pem", "/etc/ca #1.pem", "/etc/cert.pem", "/etc/cert #1.pem", "/etc/key.pem"] {
        answers.add_file(path, Ok(path.as_bytes().into()));
    }
    let loaded = load(text.as_bytes(), &answers);
    loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
}

/// Reads a text, writes it, and checks that it is read as the same.
fn rewritten(text: &str) -> String {
    let config = read(text);
    let written = write(&config).unwrap();
    let mut again = load(written.as_bytes(), &files(&config)).config.unwrap();
    adopt_line_numbers(&mut again, &config);
    assert_eq!(again, config, "{written}");
    written
}

#[test]
fn defaults_are_left_out() {
    assert_eq!(rewritten(""), "");
    let text = "checkinterval=10\nquiescent=no\nvirtual=10.0.0.1:80\n\treal=10.0.0.2->10.0.0.3:80 gate\n\tservice=http\n\tchecktype=negotiate\n";
    let expected = "virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate 1\n\treal=10.0.0.3:80 gate 1\n\n";
    assert_eq!(rewritten(text), expected);
}

#[test]
fn what_all_services_say_is_written_once() {
    let text = "quiescent=yes\nfailurecount=2\nfork=yes\n\
                virtual=10.0.0.1:80\n\tchecktimeout=3\n\tnegotiatetimeout=4\n\tcheckinterval=5\n\
                virtual6=[2001:db8::1]:80\n\tchecktimeout=3\n\tnegotiatetimeout=4\n\tquiescent=no\n\tfallback6=[::1]:80\n\
                virtual=7\n\tchecktimeout=3\n\tnegotiatetimeout=4\n\tfallback=127.0.0.1 masq\n";
    let expected = "checktimeout=3\nnegotiatetimeout=4\nfailurecount=2\nfork=yes\n\n\
                    virtual=10.0.0.1:80\n\tcheckinterval=5\n\tquiescent=yes\n\n\
                    virtual6=[2001:db8::1]:80\n\tfallback6=[::1]:80 gate\n\n\
                    virtual=7\n\tfallback=127.0.0.1 masq\n\tquiescent=yes\n\n";
    // `fallback` outside is for all services of its family: here one of the two IPv4 services has none.
    assert_eq!(rewritten(text), expected);
}

#[test]
fn extensions_follow_their_mark() {
    let text = "#rs: timeouts=1,2,3\n\n\
                virtual=10.0.0.1:5060\n\t#rs: protocol=sctp\n\tchecktype=connect\n\t#rs: tunnel=gue:5555,csum\n\n\
                virtual=10.0.0.1:80\n\t#rs: redirects=no\n\t#rs: tlsname=\"www\"\n\n\
                virtual=10.0.0.1:53\n\tchecktype=connect\n\
                \t#rs: udpprobe=\"\\x00 \\x23\\x22\\n\\\\\"\n\t#rs: udpreply=\"^a\"\n\n";
    assert_eq!(rewritten(text), text);
}

#[test]
fn special_characters_survive() {
    let text = "fallbackcommand=\"/bin/a b\" 'c' # d\nemailalert=\"A\" <a@b>, c#d\ncallback=\"a \"b\" # c\"\n\
                virtual=10.0.0.1:80\n\treal=10.0.0.2 gate 2 \"//a \"b\"\", \" 5\"c\" l:1 u:2\n\tpasswd=\"a\"b\\c $%&;|'d\"\n\tlogin=\"ö ü\"\n\
                \trequest=\"/a?b=\"c\"&d=%20\\n\"\n\treceive=\"\\x23 \"a\"|b\"\n\tvirtualhost=\"\"\n\tcomment=a \"b\" \n\
                virtual=10.0.0.2:80\n\tfallbackcommand=\"  x\"\n\temailalert=e@f\n";
    let written = rewritten(text);
    // These cannot be written in a virtual service: both inherit them, or have another value.
    for line in [
        "fallbackcommand=\"/bin/a b\" 'c' # d\n",
        "emailalert=\"A\" <a@b>, c#d\n",
        "\tfallbackcommand=\"  x\"\n",
    ] {
        assert!(written.contains(line), "{line}{written}");
    }
}

#[test]
fn secrets_of_files_stay_in_their_files() {
    let text = "#rs: tlsverify=yes\n#rs: tlsca=\"/etc/ca.pem\"\n#rs: tlscert=\"/etc/cert #1.pem\"\n#rs: tlskey=\"/etc/key.pem\"\n\
                virtual=10.0.0.1:443\n\t#rs: tlswarn=0\n\
                virtual=10.0.0.1:636\n\t#rs: tlscert=\"/etc/ca.pem\"\n\t#rs: tlskey=\"/etc/key.pem\"\n";
    let written = rewritten(text);
    assert!(written.contains("#rs: tlscert=\"/etc/cert #1.pem\"\n"), "{written}");
    // A service that does not verify certificates inherits the CA file without effect.
    rewritten(
        "#rs: tlsverify=yes\n#rs: tlsca=\"/etc/ca #1.pem\"\nvirtual=1\nvirtual=2\n\t#rs: tlsverify=no\n\n",
    );
    // The content of a file may have a character that a line of a virtual service cannot have.
    let written = rewritten("virtual=10.0.0.1:110\n\tlogin=\"a\"\n\t#rs: passwdfile=\"/etc/password\"\n");
    assert!(
        written.contains("\t#rs: passwdfile=\"/etc/password\"\n") && !written.contains("a#b"),
        "{written}"
    );
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let base = read("virtual=10.0.0.1:80\n\tlogin=\"a\"\n");
    let refused = |change: &dyn Fn(&mut Config)| {
        let mut config = base.clone();
        change(&mut config);
        write(&config).unwrap_err().to_string()
    };
    let credentials = |passwd: &str| Credentials { passwd: Secret::new(passwd), ..Credentials::default() };
    let of_password = refused(&|config| config.virtuals[0].check.credentials = credentials("hunter#2"));
    assert_eq!(of_password, "ldirectord.cf cannot hold this value: passwd=***");
    let of_comment = refused(&|config| config.virtuals[0].notes.comment = Some("a\nb".to_owned()));
    assert!(of_comment.ends_with("comment=a\\nb"), "{of_comment}");
    let of_command = refused(&|config| {
        config.virtuals[0].fallbackcommand = Some("a # b".to_owned());
        config.virtuals.push(read("virtual=1\n").virtuals.remove(0));
    });
    assert!(of_command.ends_with("fallbackcommand=a ***"), "{of_command}");
    let of_interval =
        refused(&|config| config.globals = Globals { checkinterval: Duration::ZERO, ..Globals::default() });
    assert!(of_interval.contains("checkinterval=0"), "{of_interval}");
    let of_timeout = refused(&|config| config.virtuals[0].timing.checktimeout = Duration::from_millis(500));
    assert!(of_timeout.contains("checktimeout=0"), "{of_timeout}");
}

/// Lines that virtual services inherit. Some have a value that a line of a virtual service cannot have.
const OUTSIDE: [&str; 18] = [
    "checkinterval=5",
    "checktimeout=3",
    "cleanstop=no",
    "emailalert=\"A\" <a@b>, c#d",
    "emailalertfreq=7",
    "emailalertstatus=none",
    "failurecount=2",
    "fallback6=[::1] masq",
    "fallback=127.0.0.1:80",
    "fallbackcommand=\"/bin/a b\" # c",
    "fork=yes",
    "negotiatetimeout=4",
    "quiescent=yes",
    "smtp=relay:26",
    "#rs: tlsca=\"/etc/ca #1.pem\"",
    "#rs: tlscert=\"/etc/cert #1.pem\"\n#rs: tlskey=\"/etc/key.pem\"",
    "#rs: tlsverify=yes",
    "#rs: tlswarn=0",
];

/// Lines of a virtual service.
const INSIDE: [&str; 25] = [
    "checkinterval=10",
    "checktimeout=5",
    "checktype=0",
    "cleanstop=yes",
    "emailalert=e@f",
    "emailalertfreq=0",
    "emailalertstatus=all",
    "failurecount=1",
    "fallbackcommand=x",
    "login=\"a\"",
    "negotiatetimeout=30",
    "#rs: passwdfile=\"/etc/password\"",
    "passwd=\"p\"",
    "quiescent=no",
    "service=sip",
    "service=ftp",
    "service=none",
    "service=imap\n\t#rs: starttls=yes",
    "#rs: tlsca=\"/etc/ca.pem\"",
    "#rs: tlscert=\"/etc/cert.pem\"\n\t#rs: tlskey=\"/etc/key.pem\"",
    "#rs: tlsname=\"n\"",
    "#rs: tlsverify=no",
    "#rs: tlsverify=yes",
    "#rs: tlswarn=14",
    "virtualhost=\"h:1\"",
];

const HEADS: [&str; 7] = [
    "virtual=10.0.0.1:80",
    "virtual=10.0.0.1:80\n\tprotocol=udp",
    "virtual=10.0.0.1:053",
    "virtual=10.0.0.1:21",
    "virtual6=[::1]:53",
    "virtual=7",
    "virtual6=7",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_services_inherit_stays_theirs(
        outside in subsequence(OUTSIDE.to_vec(), 0..OUTSIDE.len()),
        heads in subsequence(HEADS.to_vec(), 0..4),
        lines in proptest::collection::vec(subsequence(INSIDE.to_vec(), 0..INSIDE.len() / 2), 4),
    ) {
        let mut text = outside.iter().map(|line| format!("{line}\n")).collect::<String>();
        for (head, lines) in heads.iter().zip(&lines) {
            text.push_str(&format!("{head}\n"));
            text.extend(lines.iter().map(|line| format!("\t{line}\n")));
        }
        rewritten(&text);
    }
}
