//! Alerts by mail: what is sent, to whom, and what a bad relay does not delay.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

mod many;

use crate::sandbox::{Foreground, Sandbox, WebServer, two_servers};

/// The behaviour of a relay in the next connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Good,
    /// Accepts the connection and stays silent.
    Silent,
    /// 451 to the sender.
    Busy,
    /// 452 to the sender: its disk is full.
    Full,
    /// 550 to recipients at `bad.example`, 452 to those at `full.example`.
    Picky,
    /// Closes the connection after the sender.
    Rude,
}

/// The recipients and the text of a message.
pub type Taken = (Vec<String>, String);

/// A relay that keeps what it accepted: recipients and text of each message.
pub struct Relay {
    pub address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    taken: Arc<Mutex<Vec<Taken>>>,
    sessions: Arc<AtomicUsize>,
    /// The MAIL commands.
    senders: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    pub fn start(mood: Mood) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay {
            address: listener.local_addr().unwrap(),
            mood: Arc::new(Mutex::new(mood)),
            taken: Arc::default(),
            sessions: Arc::default(),
            senders: Arc::default(),
        };
        let (mood, taken) = (Arc::clone(&relay.mood), Arc::clone(&relay.taken));
        let (sessions, senders) = (Arc::clone(&relay.sessions), Arc::clone(&relay.senders));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                sessions.fetch_add(1, Ordering::Relaxed);
                let (mood, taken, senders) =
                    (*mood.lock().unwrap(), Arc::clone(&taken), Arc::clone(&senders));
                thread::spawn(move || drop(converse(stream, mood, &taken, &senders)));
            }
        });
        relay
    }

    fn turn(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    pub fn has(&self, words: &str) -> bool {
        self.taken().iter().any(|(_, text)| text.contains(words))
    }

    /// A sandbox whose alerts go to this relay.
    fn sandbox(&self, config: &str) -> Sandbox {
        let sandbox = Sandbox::new(config);
        let settings = format!("[mail]\nport = {}\ntimeout = 1\n", self.address.port());
        fs::write(sandbox.path("settings.toml"), settings).unwrap();
        sandbox
    }
}

fn converse(
    stream: TcpStream,
    mood: Mood,
    taken: &Mutex<Vec<Taken>>,
    senders: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let (mut writer, mut recipients, mut text) = (stream.try_clone()?, Vec::new(), None);
    if mood != Mood::Silent {
        writer.write_all(b"220 relay\r\n")?;
    }
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let body: &mut Option<String> = &mut text;
        if let Some(so_far) = body {
            if line == "." {
                taken.lock().unwrap().push((std::mem::take(&mut recipients), so_far.clone()));
                *body = None;
                writer.write_all(b"250 taken\r\n")?;
            } else {
                so_far.push_str(&line);
                so_far.push('\n');
            }
            continue;
        }
        if line.starts_with("MAIL") {
            senders.lock().unwrap().push(line.clone());
        }
        let answer: &[u8] = match line.get(..4).unwrap_or_default() {
            _ if mood == Mood::Silent => continue,
            "MAIL" if mood == Mood::Busy => b"451 not now\r\n",
            "MAIL" if mood == Mood::Full => b"452 insufficient system storage\r\n",
            "RCPT" if mood == Mood::Rude => return Ok(()),
            "RCPT" if mood == Mood::Picky && line.contains("bad.example") => b"550 no such user\r\n",
            "RCPT" if mood == Mood::Picky && line.contains("full.example") => b"452 mailbox full\r\n",
            "RCPT" => {
                recipients.push(line);
                b"250 fine\r\n"
            }
            "DATA" => {
                *body = Some(String::new());
                b"354 go on\r\n"
            }
            "QUIT" => return writer.write_all(b"221 bye\r\n"),
            _ => b"250 fine\r\n",
        };
        writer.write_all(answer)?;
    }
    Ok(())
}

fn act(sandbox: &Sandbox, words: &[&str]) -> std::process::Output {
    let settings = sandbox.path("settings.toml");
    let mut all = vec!["--settings", settings.to_str().unwrap()];
    all.extend(words);
    sandbox.run(&all)
}

/// 452 to the sender describes the relay (RFC 5321, 4.2.3), so the session ends, and no other message is tried in it.
#[test]
fn a_relay_with_a_full_disk_gets_one_message_a_session() {
    let relay = Relay::start(Mood::Full);
    let (mut one, mut two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = relay.sandbox(&two_servers(&one, &two, "smtp=127.0.0.1\nemailalert=\"a@one.example\""));
    assert!(act(&sandbox, &["web.cf", "start"]).status.success());
    one.stop();
    two.stop();
    sandbox.expect_log("failed to send SMTP email message");
    relay.turn(Mood::Good);
    sandbox.wait_for("both messages", || relay.taken().len() >= 2, &|| format!("{:?}", relay.taken()));
    let refused = relay.senders.lock().unwrap().len() - relay.taken().len();
    let sessions = relay.sessions.load(Ordering::Relaxed);
    assert!(refused < sessions, "{refused} refused messages in {sessions} sessions");
    assert!(act(&sandbox, &["web.cf", "stop"]).status.success());
}

/// L05
#[test]
fn a_bad_relay_delays_nothing_and_is_said_once() {
    for mood in [Mood::Silent, Mood::Busy, Mood::Rude] {
        let relay = Relay::start(mood);
        let (mut one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
        let sandbox = relay.sandbox(&two_servers(
            &one,
            &two,
            "smtp=127.0.0.1\nemailalert=\"a@one.example, b@two.example\"",
        ));
        assert!(act(&sandbox, &["web.cf", "start"]).status.success());
        one.stop();
        sandbox.expect("the checks go on", &[(one.address, 0), (two.address, 3)]);
        sandbox.expect_log("failed to send SMTP email message");
        relay.turn(Mood::Good);
        let subject = format!("Quiescent real server: {} (192.0.2.1:80) (Weight set to 0)", one.address);
        sandbox.wait_for("the message", || relay.has(&format!("Log-Message: {subject}\n")), &|| {
            format!("{:?}", relay.taken())
        });
        sandbox.expect_log("mail delivery recovered");
        assert_eq!(
            sandbox.log().matches("failed to send SMTP email message").count(),
            1,
            "{}",
            sandbox.log()
        );
        // B17: one message, all recipients.
        assert!(relay.taken().iter().all(|(to, _)| to.len() == 2), "{:?}", relay.taken());
        let (_, text) = relay.taken().into_iter().find(|(_, text)| text.contains(&subject)).unwrap();
        for words in ["Date: ", "Message-ID: ", "ldirectord host: ", "Daemon-Status: running\n"] {
            assert!(text.contains(words), "{words} is missing in\n{text}");
        }
        assert!(act(&sandbox, &["web.cf", "stop"]).status.success());
        assert!(relay.has("Daemon-Status: stopping") || !sandbox.log().contains("Purged real server"));
    }
}

#[test]
fn one_bad_recipient_does_not_keep_a_message_from_others() {
    let relay = Relay::start(Mood::Picky);
    let sandbox = relay.sandbox(
        "smtp=127.0.0.1\nemailalert=\"f@full.example, a@one.example, x@bad.example, no address\"\nemailalertfrom=ld@here.example\n\
         virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n\tservicename=Web shop\n\tcomment=Call Bob\n",
    );
    let started = act(&sandbox, &["web.cf", "start"]);
    let errors = String::from_utf8(started.stderr).unwrap();
    assert!(started.status.success() && errors.contains("no address is not a mail address"), "{errors}");
    let body = "Service name: Web shop\nComment: Call Bob\n\n";
    sandbox.wait_for("the message", || relay.has(body), &|| format!("{:?}", relay.taken()));
    assert!(
        relay.has("Log-Message: [Web shop] Added real server: 127.0.0.1:1 (192.0.2.1:80) (Weight set to 1)")
    );
    assert!(relay.has("From: ld@here.example\n"));
    sandbox.expect_log("no such user");
    sandbox.expect_log("emailalert: Added real server: 127.0.0.1:1 (192.0.2.1:80)");
    assert!(act(&sandbox, &["web.cf", "stop"]).status.success());
}

/// B33: the sender is the user of the process. The environment has no influence.
#[test]
fn d5_the_senders_user_is_that_of_the_uid() {
    let relay = Relay::start(Mood::Good);
    let sandbox = relay.sandbox(
        "smtp=127.0.0.1\nemailalert=a@one.example\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n",
    );
    let settings = sandbox.path("settings.toml");
    let mut command = sandbox.command(&["--settings", settings.to_str().unwrap(), "alert-test", "web.cf"]);
    for name in ["USER", "LOGNAME", "USERNAME", "EMAIL"] {
        command.env(name, "mallory");
    }
    assert!(command.status().unwrap().success());
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
    assert!(relay.has(&format!("From: {user}@")), "{:?}", relay.taken());
    assert!(!relay.has("mallory"), "{:?}", relay.taken());
}

#[test]
fn a_dead_server_is_called_to_mind() {
    let relay = Relay::start(Mood::Good);
    let (one, mut two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox =
        relay.sandbox(&two_servers(&one, &two, "smtp=127.0.0.1\nemailalert=a@one.example\nemailalertfreq=1"));
    assert!(act(&sandbox, &["web.cf", "start"]).status.success());
    two.stop();
    let words = format!("Log-Message: Inaccessible real server: {} (192.0.2.1:80)", two.address);
    let count = || relay.taken().iter().filter(|(_, text)| text.contains(&words)).count();
    sandbox.wait_for("two reminders", || count() >= 2, &String::new);
    two.serve("I am fine");
    sandbox.wait_for("it is back", || relay.has("Restored real server: "), &String::new);
    assert!(act(&sandbox, &["web.cf", "stop"]).status.success());
}

/// Below the original's lines an alert says why, since when, and what is left (R97).
#[test]
fn r97_an_alert_says_what_is_known() {
    let relay = Relay::start(Mood::Good);
    let (mut one, mut two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox =
        relay.sandbox(&two_servers(&one, &two, "smtp=127.0.0.1\nemailalert=a@one.example\nemailalertfreq=1"));
    assert!(act(&sandbox, &["web.cf", "start"]).status.success());
    // The lines below the original's in the first message of this kind.
    let added = |subject: &str| {
        let taken = relay.taken();
        let words = format!("Log-Message: {subject}");
        let of_kind = taken.iter().filter(|(_, text)| text.contains(&words));
        let mut below = of_kind.filter_map(|(_, text)| text.split_once("\nDaemon-Status: running\n\n"));
        let (_, below) = below.next()?;
        assert!(below.lines().all(|line| line.chars().count() <= 78), "{below}");
        Some(below.to_owned())
    };
    let wait = |subject: &str| {
        sandbox.wait_for(subject, || added(subject).is_some(), &|| format!("{:?}", relay.taken()));
        added(subject).unwrap()
    };
    one.stop();
    let text = wait(&format!("Quiescent real server: {}", one.address));
    assert!(text.starts_with("Why:         connect to "), "{text}");
    for words in ["\nChecks:      1 failed\n", "\nSince:       20", " UTC", "\nUp:          1 of 2\n"] {
        assert!(text.contains(words), "{words} is missing in\n{text}");
    }
    assert!(text.trim_end().ends_with("\nDetails:     ldirectord-rs show web.cf"), "{text}");
    two.stop();
    let text = wait(&format!("Quiescent real server: {}", two.address));
    assert!(
        text.starts_with("NO SERVER LEFT in tcp:192.0.2.1:80. Fallback 127.0.0.9:80 activated.\n\nWhy: "),
        "{text}"
    );
    // R98
    sandbox.expect_log(
        "No server left: tcp:192.0.2.1:80: 0 of 2 real servers in rotation, fallback 127.0.0.9:80 activated",
    );
    let text = wait(&format!("Inaccessible real server: {}", two.address));
    assert!(text.contains("\nDown for:    ") && text.contains("\nUp:          0 of 2\n"), "{text}");
    one.serve("I am fine");
    let text = wait(&format!("Restored real server: {}", one.address));
    assert!(text.starts_with("Down for:    ") && text.contains("\nCause was:   connect to "), "{text}");
    assert!(text.contains("\nUp:          1 of 2\n"), "{text}");
    sandbox.expect_log("A server is left again: tcp:192.0.2.1:80");
    assert!(act(&sandbox, &["web.cf", "stop"]).status.success());
}

#[test]
fn without_a_relay_sendmail_gets_it() {
    let sandbox = Sandbox::new(
        "emailalert=root@localhost\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n",
    );
    let (script, mail) = (sandbox.path("sendmail"), sandbox.path("mail"));
    fs::write(&script, format!("#!/bin/sh\n{{ echo \"args: $*\"; cat; }} >> {}\n", mail.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut start: Command = sandbox.command(&["web.cf", "start"]);
    assert!(start.env("LDIRECTORD_RS_MAIL__SENDMAIL", &script).status().unwrap().success());
    let text = || fs::read_to_string(&mail).unwrap_or_default();
    sandbox.wait_for("a message", || text().contains("Log-Message: Added real server: "), &text);
    assert!(text().contains("root@localhost") && text().contains("Daemon-Status: starting"), "{}", text());
    assert_eq!(sandbox.act("stop"), 0);
}

#[test]
fn alert_test_says_what_happened() {
    let relay = Relay::start(Mood::Good);
    let sandbox = relay.sandbox(
        "smtp=127.0.0.1\nemailalert=a@one.example\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n",
    );
    let output = act(&sandbox, &["alert-test", "web.cf"]);
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{out}");
    assert!(out.contains("accepted") && out.contains("a@one.example") && relay.has("test"), "{out}");
    relay.turn(Mood::Busy);
    let output = act(&sandbox, &["alert-test", "web.cf"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("not now"));
}

/// A third-party mail server accepts the messages, too: aiosmtpd, which prints each.
#[test]
fn a_real_mail_server_takes_it() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sandbox = Sandbox::new(
        "smtp=127.0.0.1\nemailalert=a@one.example, b@two.example\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n",
    );
    fs::write(sandbox.path("settings.toml"), format!("[mail]\nport = {port}\n")).unwrap();
    let printed = sandbox.path("printed");
    let server = Command::new("/usr/bin/python3")
        .args(["-u", "-m", "aiosmtpd", "-n", "-c", "aiosmtpd.handlers.Debugging", "stdout", "-l"])
        .arg(format!("127.0.0.1:{port}"))
        .stdout(fs::File::create(&printed).unwrap())
        .stderr(fs::File::create(sandbox.path("errors")).unwrap())
        .spawn()
        .unwrap();
    let _server = Foreground(server);
    let errors = || fs::read_to_string(sandbox.path("errors")).unwrap();
    sandbox.wait_for(
        "python3-aiosmtpd (tests/install-prerequisites installs it)",
        || TcpStream::connect(("127.0.0.1", port)).is_ok(),
        &errors,
    );
    let output = act(&sandbox, &["alert-test", "web.cf"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(act(&sandbox, &["web.cf", "start"]).status.success());
    let text = || fs::read_to_string(&printed).unwrap();
    sandbox.wait_for(
        "the message",
        || text().contains("Log-Message: Added real server: 127.0.0.1:1 "),
        &text,
    );
    assert!(text().contains("To: a@one.example, b@two.example"), "{}", text());
    assert!(act(&sandbox, &["web.cf", "stop"]).status.success());
}

#[test]
fn who_is_dead_at_the_start_is_told() {
    // L01: it was never in the table, so nothing is deleted.
    let relay = Relay::start(Mood::Good);
    let (mut one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    one.stop();
    let sandbox = relay.sandbox(&two_servers(&one, &two, "smtp=127.0.0.1\nemailalert=a@one.example"));
    assert!(act(&sandbox, &["web.cf", "start"]).status.success());
    let words = format!("Log-Message: Inaccessible real server: {} (192.0.2.1:80)", one.address);
    sandbox.wait_for("the message", || relay.has(&words), &|| format!("{:?}", relay.taken()));
    assert!(act(&sandbox, &["web.cf", "stop"]).status.success());
}

#[test]
fn a_silent_relay_does_not_keep_the_daemon_from_ending() {
    let relay = Relay::start(Mood::Silent);
    let sandbox = relay.sandbox(
        "smtp=127.0.0.1\nemailalert=a@one.example\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n",
    );
    fs::write(sandbox.path("settings.toml"), format!("[mail]\nport = {}\n", relay.address.port())).unwrap();
    assert!(act(&sandbox, &["web.cf", "start"]).status.success());
    let start = std::time::Instant::now();
    assert!(act(&sandbox, &["web.cf", "stop"]).status.success());
    assert!(start.elapsed() < std::time::Duration::from_secs(8), "{:?}", start.elapsed());
    assert!(
        sandbox.log().contains("messages dropped, not sent before the daemon stopped"),
        "{}",
        sandbox.log()
    );
}
