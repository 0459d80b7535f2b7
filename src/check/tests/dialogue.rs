//! The line protocols against servers that follow a script: what is sent, and the verdict on each answer.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UdpSocket;

use super::servers::Server;
use super::*;

/// The steps of a server, in order: it waits for a line that begins with the first text (none if empty), then sends the
/// second text. Any other line ends the dialogue.
type Script = &'static [(&'static str, &'static str)];

/// A server with a script. `requests` has the lines that it received.
async fn scripted(bind: &str, script: Script) -> Server {
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&heard);
    let mut server = Server::start(bind, move |stream| {
        let seen = Arc::clone(&seen);
        async move { follow(stream, script, &seen).await }
    })
    .await;
    server.requests = heard;
    server
}

async fn follow(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    script: Script,
    seen: &std::sync::Mutex<Vec<String>>,
) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    for (expected, answer) in script {
        if !expected.is_empty() {
            line.clear();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let said = line.trim_end().to_owned();
            let fits = said.starts_with(expected);
            seen.lock().unwrap().push(said);
            if !fits {
                return;
            }
        }
        if stream.get_mut().write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
    // Lines after the end of the script are recorded, but not answered.
    line.clear();
    while stream.read_line(&mut line).await.is_ok_and(|length| length > 0) {
        seen.lock().unwrap().push(std::mem::take(&mut line).trim_end().to_owned());
    }
}

fn as_user(protocol: Dialogue) -> DialogueProbe {
    DialogueProbe {
        login: "joe \"x".to_owned(),
        passwd: Secret::new("pass\\word"),
        ..dialogue_with(protocol)
    }
}

/// Runs a probe against a script on both loopback addresses. Returns the lines that the second server received.
async fn check(dialogue: DialogueProbe, script: Script, outcome: Outcome, words: &str) -> Vec<String> {
    let mut heard = Vec::new();
    for loopback in LOOPBACKS {
        let server = scripted(loopback, script).await;
        let verdict = run(&probe(server.address, PATIENCE, ProbeAction::Dialogue(dialogue.clone()))).await;
        assert_says(&verdict, outcome, words);
        assert!(!verdict.reason.contains("word"), "a secret in {verdict:?}");
        if outcome == Outcome::Up || words.contains("answered") || words.contains("greeting") {
            assert!(verdict.reason.contains("connected in "), "{verdict:?}");
        }
        heard = server.requests.lock().unwrap().clone();
    }
    heard
}

#[tokio::test]
async fn c4_a_password_that_a_server_repeats_is_not_logged() {
    let echo: Script = &[
        ("", "+OK hi\r\n"),
        ("CAPA", "-ERR what?\r\n"),
        ("USER ", "+OK\r\n"),
        ("PASS ", "-ERR unknown command: PASS pass\\word\r\n"),
    ];
    let heard = check(as_user(Dialogue::Pop), echo, Outcome::Down, "unknown command: PASS ***\"").await;
    assert_eq!(heard.last().unwrap(), "PASS pass\\word");
}

#[tokio::test]
async fn smtp() {
    use Outcome::{Down, Up};
    let smtp = || dialogue_with(Dialogue::Smtp);
    let heard = check(
        smtp(),
        &[("", "220-one\r\n220 two\r\n"), ("EHLO ", "250-mx\r\n250-SIZE 1\r\n250 HELP\r\n")],
        Up,
        "EHLO 250 in ",
    )
    .await;
    assert_eq!(heard[0], "EHLO localhost.localdomain");
    let old: Script = &[("", "220 mx\r\n"), ("EHLO ", "500 what?\r\n"), ("HELO ", "250 hello\r\n")];
    check(smtp(), old, Up, "HELO 250 in ").await;
    check(smtp(), &[("", "554 go away\r\n")], Down, "greeting \"554 go away\"").await;
    let busy: Script = &[("", "220 mx\r\n"), ("EHLO ", "421 too many connections\r\n")];
    check(smtp(), busy, Down, "greeting 220 in ").await;
    check(smtp(), busy, Down, "EHLO answered \"421 too many connections\"").await;
    check(smtp(), &[("", "hello\r\n")], Down, "the greeting is not a numbered reply: \"hello\"").await;
    let server = scripted("127.0.0.1:0", &[("", "220 ")]).await;
    let verdict = run(&probe(server.address, IMPATIENCE, ProbeAction::Dialogue(smtp()))).await;
    assert_says(&verdict, Down, "4 bytes received, waiting for the greeting)");
}

#[tokio::test]
async fn nntp() {
    use Outcome::{Down, Up};
    check(dialogue_with(Dialogue::Nntp), &[("", "201 news\r\n")], Up, "greeting 201 in ").await;
    check(dialogue_with(Dialogue::Nntp), &[("", "400 full\r\n")], Down, "greeting \"400 full\"").await;
}

/// R31: only LOGOUT follows the login. B14: a refusing greeting decides the verdict and is not retried.
#[tokio::test]
async fn imap() {
    use Outcome::{Down, Up};
    let heard = check(dialogue_with(Dialogue::Imap), &[("", "* OK ready\r\n")], Up, "greeting OK in ").await;
    assert!(heard.iter().all(|line| line == "a2 LOGOUT"), "{heard:?}");
    check(dialogue_with(Dialogue::Imap), &[("", "* BYE full\r\n")], Down, "greeting \"* BYE full\"").await;
    let good: Script = &[("", "* OK hi\r\n"), ("a1 LOGIN ", "* CAPABILITY IMAP4rev1\r\na1 OK in\r\n")];
    let heard = check(as_user(Dialogue::Imap), good, Up, "LOGIN OK in ").await;
    assert_eq!(heard[0], r#"a1 LOGIN "joe \"x" "pass\\word""#);
    // R31: nothing is deleted.
    assert!(heard[1..].iter().all(|line| line == "a2 LOGOUT"), "{heard:?}");
    let bad: Script = &[("", "* OK hi\r\n"), ("a1 LOGIN ", "a1 NO [AUTHENTICATIONFAILED] no\r\n")];
    check(as_user(Dialogue::Imap), bad, Down, "LOGIN answered \"a1 NO [AUTHENTICATIONFAILED] no\"").await;
    check(as_user(Dialogue::Imap), &[("", "* PREAUTH hi\r\n")], Up, "greeting PREAUTH in ").await;
    // The server decides about non-ASCII characters, as with the original.
    let umlaut = DialogueProbe {
        login: "jörg\t".to_owned(),
        passwd: Secret::new("pässword"),
        ..as_user(Dialogue::Imap)
    };
    let heard = check(umlaut, good, Up, "LOGIN OK in ").await;
    assert_eq!(heard[0], "a1 LOGIN \"jörg\t\" \"pässword\"");
    for end in ["\r", "\n", "\0"] {
        let wrong =
            DialogueProbe { passwd: Secret::new(format!("pass{end}word")), ..as_user(Dialogue::Imap) };
        check(wrong, &[("", "* OK hi\r\n")], Down, "must not contain line ends or NUL").await;
    }
}

/// B06
#[tokio::test]
async fn pop() {
    use Outcome::{Down, Up};
    let pop = |login: &str| DialogueProbe {
        login: login.to_owned(),
        passwd: Secret::new("tanstaaf"),
        ..dialogue_with(Dialogue::Pop)
    };
    check(pop(""), &[("", "+OK ready\r\n")], Up, "greeting +OK in ").await;
    check(pop(""), &[("", "-ERR busy\r\n")], Down, "greeting \"-ERR busy\"").await;
    let apop: Script = &[
        ("", "+OK POP3 server ready <1896.697170952@dbc.mtview.ca.us>\r\n"),
        ("APOP mrose c4c9", "+OK in\r\n"),
    ];
    check(pop("mrose"), apop, Up, "APOP +OK in ").await;
    let plain: Script = &[
        ("", "+OK hi\r\n"),
        ("CAPA", "-ERR what\r\n"),
        ("USER joe", "+OK\r\n"),
        ("PASS tanstaaf", "+OK\r\n"),
    ];
    check(pop("joe"), plain, Up, "PASS +OK in ").await;
    let wrong: Script = &[
        ("", "+OK hi\r\n"),
        ("CAPA", "+OK\r\nUSER\r\n.\r\n"),
        ("USER", "+OK\r\n"),
        ("PASS", "-ERR wrong\r\n"),
    ];
    check(pop("joe"), wrong, Down, "PASS answered \"-ERR wrong\"").await;
    let cram: Script = &[
        ("", "+OK hi\r\n"),
        ("CAPA", "+OK\r\nSASL PLAIN CRAM-MD5\r\n.\r\n"),
        ("AUTH CRAM-MD5", "+ PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\r\n"),
        ("", "+OK in\r\n"),
    ];
    check(pop("joe"), cram, Up, "AUTH CRAM-MD5 +OK in ").await;
}

/// As in the original's library, USER and PASS follow a CRAM-MD5 that the server refuses at its beginning or its end.
#[tokio::test]
async fn pop_goes_on_after_cram_md5_is_refused() {
    use Outcome::{Down, Up};
    let pop = || DialogueProbe {
        login: "joe".to_owned(),
        passwd: Secret::new("tanstaaf"),
        ..dialogue_with(Dialogue::Pop)
    };
    let late: Script = &[
        ("", "+OK hi\r\n"),
        ("CAPA", "+OK\r\nSASL CRAM-MD5\r\n.\r\n"),
        ("AUTH CRAM-MD5", "+ PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\r\n"),
        ("am9lI", "-ERR no\r\n"),
        ("USER joe", "+OK\r\n"),
        ("PASS tanstaaf", "+OK\r\n"),
    ];
    let heard = check(pop(), late, Up, "AUTH CRAM-MD5 answered \"-ERR no\" in ").await;
    assert_eq!(heard[3..5], ["USER joe", "PASS tanstaaf"]);
    check(pop(), late, Up, "PASS +OK in ").await;
    let early: Script = &[
        ("", "+OK hi\r\n"),
        ("CAPA", "+OK\r\nSASL CRAM-MD5\r\n.\r\n"),
        ("AUTH CRAM-MD5", "-ERR not here\r\n"),
        ("USER joe", "+OK\r\n"),
        ("PASS tanstaaf", "-ERR wrong\r\n"),
    ];
    check(pop(), early, Down, "AUTH CRAM-MD5 answered \"-ERR not here\" in ").await;
    check(pop(), early, Down, "PASS answered \"-ERR wrong\"").await;
    // A line that the script does not expect ends the dialogue.
    let gone: Script = &[
        ("", "+OK hi\r\n"),
        ("CAPA", "+OK\r\nSASL CRAM-MD5\r\n.\r\n"),
        ("AUTH CRAM-MD5", "-ERR not here\r\n"),
        ("nothing", ""),
    ];
    check(pop(), gone, Down, "the server closed the connection before the answer to USER").await;
}

/// As observed with the original's library: APOP, CRAM-MD5 if offered, USER and PASS.
#[tokio::test]
async fn a8_pop_goes_on_after_apop_is_refused() {
    use Outcome::{Down, Up};
    const GREETING: (&str, &str) = ("", "+OK ready <1896.697170952@dbc.mtview.ca.us>\r\n");
    let pop = || DialogueProbe {
        login: "mrose".to_owned(),
        passwd: Secret::new("tanstaaf"),
        ..dialogue_with(Dialogue::Pop)
    };
    let plain: Script = &[
        GREETING,
        ("APOP mrose c4c9", "-ERR no APOP for you\r\n"),
        ("CAPA", "-ERR what\r\n"),
        ("USER mrose", "+OK\r\n"),
        ("PASS tanstaaf", "+OK\r\n"),
    ];
    check(pop(), plain, Up, "APOP answered \"-ERR no APOP for you\" in ").await;
    let all: Script = &[
        GREETING,
        ("APOP", "-ERR no\r\n"),
        ("CAPA", "+OK\r\nSASL CRAM-MD5\r\n.\r\n"),
        ("AUTH CRAM-MD5", "+ PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\r\n"),
        ("bXJvc2Ug", "-ERR bad digest\r\n"),
        ("USER mrose", "+OK\r\n"),
        ("PASS tanstaaf", "-ERR wrong\r\n"),
    ];
    check(pop(), all, Down, "PASS answered \"-ERR wrong\"").await;
    // After a refusal that closes the connection no other method is possible.
    let gone: Script = &[GREETING, ("APOP", "-ERR no\r\n"), ("nothing", "")];
    check(pop(), gone, Down, "the server closed the connection before the answer to CAPA").await;
}

/// R34: the certificate is not verified.
#[tokio::test]
async fn pops_and_imaps_begin_with_tls() {
    for (protocol, script) in
        [(Dialogue::Pop, &[("", "+OK ready\r\n")] as Script), (Dialogue::Imap, &[("", "* OK ready\r\n")])]
    {
        let dialogue = DialogueProbe { transport: Transport::Tls(Tls::default()), ..dialogue_with(protocol) };
        for loopback in LOOPBACKS {
            let server = Server::tls(loopback, move |stream| async move {
                follow(stream, script, &std::sync::Mutex::default()).await;
            })
            .await;
            let verdict =
                run(&probe(server.address, PATIENCE, ProbeAction::Dialogue(dialogue.clone()))).await;
            assert_says(&verdict, Outcome::Up, "TLS in ");
            let plain = scripted(loopback, script).await;
            let verdict = run(&probe(plain.address, PATIENCE, ProbeAction::Dialogue(dialogue.clone()))).await;
            assert_says(&verdict, Outcome::Down, "the server does not speak TLS on this port");
        }
    }
}

const OPTIONS_ANSWERED: &str = "SIP/2.0 100 Trying\r\n\r\nSIP/2.0 200 OK\r\nVia: x\r\n\r\n";

/// R32: `Via` has the real address.
#[tokio::test]
async fn sip_over_tcp() {
    use Outcome::{Down, Up};
    let sip =
        DialogueProbe { login: "ping@director".to_owned(), ..dialogue_with(Dialogue::Sip { udp: false }) };
    let heard = check(sip.clone(), &[("OPTIONS", OPTIONS_ANSWERED)], Up, "OPTIONS 200 in ").await;
    assert_eq!(heard[0], "OPTIONS sip:ping@director SIP/2.0");
    // R32
    assert!(heard[1].starts_with("Via: SIP/2.0/TCP [::1]:"), "{heard:?}");
    let busy: Script = &[("OPTIONS", "SIP/2.0 503 Service Unavailable\r\n\r\n")];
    check(sip.clone(), busy, Down, "OPTIONS answered \"SIP/2.0 503 Service Unavailable\"").await;
    let cut: Script = &[("OPTIONS", "SIP/2.0 200 OK\r\nVia: x\r\n")];
    let server = scripted("127.0.0.1:0", cut).await;
    let verdict = run(&probe(server.address, IMPATIENCE, ProbeAction::Dialogue(sip))).await;
    assert_says(&verdict, Down, "no complete answer");
}

/// R32 of `docs/compat.md` as well: a datagram that may be lost is sent again.
#[tokio::test]
async fn sip_over_udp() {
    for loopback in LOOPBACKS {
        for (answer, outcome, words) in [
            ("SIP/2.0 200 OK\r\nVia: x\r\n\r\n", Outcome::Up, "OPTIONS answered \"SIP/2.0 200 OK\""),
            ("SIP/2.0 404 Not here\r\n\r\n", Outcome::Down, "OPTIONS answered \"SIP/2.0 404 Not here\""),
            ("SIP/2.0 200 OK\r\nVia: x\r\n", Outcome::Down, "but the headers are incomplete"),
        ] {
            let server = UdpSocket::bind(loopback).await.unwrap();
            let address = server.local_addr().unwrap();
            let task = tokio::spawn(async move {
                let mut buffer = [0; 2048];
                // The first datagram is lost.
                let (length, _) = server.recv_from(&mut buffer).await.unwrap();
                let first = buffer[..length].to_vec();
                let (length, peer) = server.recv_from(&mut buffer).await.unwrap();
                assert_eq!(buffer[..length], first, "what is sent again is the same request");
                server.send_to(b"SIP/2.0 100 Trying\r\n\r\n", peer).await.unwrap();
                server.send_to(answer.as_bytes(), peer).await.unwrap();
                String::from_utf8_lossy(&buffer[..length]).into_owned()
            });
            let sip = dialogue_with(Dialogue::Sip { udp: true });
            assert_says(&run(&probe(address, PATIENCE, ProbeAction::Dialogue(sip))).await, outcome, words);
            let heard = task.await.unwrap();
            assert!(heard.starts_with("OPTIONS sip: SIP/2.0\r\nVia: SIP/2.0/UDP "), "{heard}");
            assert!(heard.ends_with("\r\nContent-Length: 0\r\n\r\n"), "{heard}");
        }
        // No server: the kernel reports the refusal.
        let unused = UdpSocket::bind(loopback).await.unwrap().local_addr().unwrap();
        let sip = dialogue_with(Dialogue::Sip { udp: true });
        let verdict = run(&probe(unused, PATIENCE, ProbeAction::Dialogue(sip))).await;
        assert_says(&verdict, Outcome::Down, "connection refused");
    }
}

/// A server with one file, and a new data connection for each transfer.
async fn ftp_server(bind: &'static str, content: &'static [u8]) -> Server {
    Server::start(bind, move |stream| async move {
        let mut stream = BufReader::new(stream);
        let (mut data, mut known) = (None, false);
        let mut line = String::new();
        stream.write_all(b"220-welcome\r\n to us\r\n230 days a year\r\n220 ready\r\n").await.unwrap();
        while stream.read_line(&mut line).await.is_ok_and(|length| length > 0) {
            known |= matches!(line.trim_end(), "PASS good" | "USER anonymous");
            let answer = match line.trim_end() {
                "USER anonymous" => "230 in".to_owned(),
                "USER joe" => "331 password?".to_owned(),
                "PASS good" => "230-in\r\n free text\r\n230 in".to_owned(),
                "TYPE I" if known => "200 binary".to_owned(),
                "PASV" | "EPSV" => {
                    let listener = tokio::net::TcpListener::bind(bind).await.unwrap();
                    let port = listener.local_addr().unwrap().port();
                    data = Some(listener);
                    if line.starts_with('P') {
                        // An address from behind NAT, which the check cannot reach.
                        format!("227 Entering Passive Mode (192,0,2,1,{},{})", port / 256, port % 256)
                    } else {
                        format!("229 Entering Extended Passive Mode (|||{port}|)")
                    }
                }
                name @ ("RETR /health" | "RETR /broken") => {
                    let (mut transfer, _) = data.take().unwrap().accept().await.unwrap();
                    stream.write_all(b"150 here it comes\r\n").await.unwrap();
                    transfer.write_all(content).await.unwrap();
                    drop(transfer);
                    if name.ends_with("health") { "226 done" } else { "426 aborted" }.to_owned()
                }
                "QUIT" => "221 bye".to_owned(),
                _ => "550 no".to_owned(),
            };
            if stream.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
                return;
            }
            line.clear();
        }
    })
    .await
}

/// B06
#[tokio::test]
async fn ftp() {
    let ftp = |login: &str, passwd: &str, request: &str, receive: Option<&str>| DialogueProbe {
        login: login.to_owned(),
        passwd: Secret::new(passwd),
        request: request.to_owned(),
        receive: receive.map(|pattern| Pattern::parse(pattern).unwrap()),
        ..dialogue_with(Dialogue::Ftp)
    };
    for loopback in LOOPBACKS {
        let server = ftp_server(loopback, b"I am fine.\n").await;
        for (dialogue, outcome, words) in [
            (ftp("", "", "/", None), Outcome::Up, "greeting 220 in "),
            // P76: without a line `service=ftp` no login is set.
            (ftp("", "", "/health", Some("fine\\.$")), Outcome::Up, "11 bytes in "),
            (ftp("joe", "good", "/", None), Outcome::Up, "login 230 in "),
            (ftp("joe", "bad", "/", None), Outcome::Down, "login answered \"550 no\""),
            (ftp("joe", "good", "/health", Some("fine\\.$")), Outcome::Up, "11 bytes in "),
            (ftp("joe", "good", "/health", None), Outcome::Up, "RETR 150 in "),
            (ftp("joe", "good", "/health", Some("ill")), Outcome::Down, "does not match /ill/"),
            // R78
            (ftp("joe", "good", "/broken", Some("fine\\.$")), Outcome::Down, "426 aborted"),
            (ftp("joe", "good", "/gone", Some("fine")), Outcome::Down, "RETR answered \"550 no\""),
            (ftp("joe", "good", "/", Some("fine")), Outcome::Down, "RETR answered \"550 no\""),
        ] {
            let verdict = run(&probe(server.address, PATIENCE, ProbeAction::Dialogue(dialogue))).await;
            assert_says(&verdict, outcome, words);
            assert!(!verdict.reason.contains("good"), "{verdict:?}");
        }
    }
}
