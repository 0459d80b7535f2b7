//! Answers with control characters that act on a terminal: no reason contains one unescaped.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::servers::Server;
use super::starttls::sql;
use super::*;
use crate::spec::{DatagramProbe, ExternalProbe, LdapProbe, SimpleTcpProbe, SqlProbe};

/// ESC, BEL, a bare CR, a C1 control and bidirectional marks, in UTF-8.
const NASTY: &str = "a\x1b[2J\x07\r\u{9b}2J\u{202e}\u{2066}\u{200f}b";

#[track_caller]
fn assert_harmless(name: &str, verdict: &Verdict) {
    let texts = [Some(&verdict.reason), verdict.warning.as_ref(), verdict.monitor.as_ref()];
    for text in texts.into_iter().flatten() {
        let raw = |sign: char| {
            sign.is_control() && !matches!(sign, '\r' | '\n')
                || matches!(sign, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        assert!(!text.contains(raw), "{name}: {text:?}");
    }
    assert!(!verdict.reason.contains(['\r', '\n']), "{name}: {verdict:?}");
    // The server's text is shown, not left out.
    assert!(verdict.reason.contains("\\u{1b}"), "{name}: {verdict:?}");
}

/// Runs a probe against a server that sends these answers: the first at once, then one per message.
async fn says(name: &str, action: ProbeAction, replies: Vec<Vec<u8>>) -> Verdict {
    let server = Server::start(LOOPBACKS[0], move |mut stream| {
        let replies = replies.clone();
        async move {
            for (index, reply) in replies.iter().enumerate() {
                if index > 0 && stream.read(&mut [0; 4096]).await.unwrap_or(0) == 0 {
                    return;
                }
                drop(stream.write_all(reply).await);
            }
            while stream.read(&mut [0; 4096]).await.is_ok_and(|length| length > 0) {}
        }
    })
    .await;
    let verdict = run(&probe(server.address, PATIENCE, action)).await;
    assert_harmless(name, &verdict);
    verdict
}

fn line(prefix: &str) -> Vec<u8> {
    format!("{prefix}{NASTY}\r\n").into_bytes()
}

#[tokio::test]
async fn c4_dialogues_show_no_raw_control_characters() {
    let as_joe = |protocol| DialogueProbe {
        login: "joe".to_owned(),
        passwd: Secret::new("pw"),
        ..dialogue_with(protocol)
    };
    for (protocol, greeting) in [
        (Dialogue::Smtp, "554 "),
        (Dialogue::Pop, "-ERR "),
        (Dialogue::Imap, "* BYE "),
        (Dialogue::Ftp, "421 "),
    ] {
        let action = ProbeAction::Dialogue(dialogue_with(protocol));
        says(greeting, action, vec![line(greeting)]).await;
    }
    // The number of the greeting is shown as well: here it has two control characters.
    let greeting = b"2\x1b\x07 news\r\n".to_vec();
    let verdict = says("nntp", ProbeAction::Dialogue(dialogue_with(Dialogue::Nntp)), vec![greeting]).await;
    assert_eq!(verdict.outcome, Outcome::Up);
    let sip = ProbeAction::Dialogue(dialogue_with(Dialogue::Sip { udp: false }));
    says("sip", sip, vec![Vec::new(), line("SIP/2.0 500 ")]).await;
    let login = vec![line("+OK hi"), line("-ERR "), line("+OK"), line("-ERR ")];
    says("pop login", ProbeAction::Dialogue(as_joe(Dialogue::Pop)), login).await;
    let login = vec![line("* OK hi"), line("a1 NO ")];
    says("imap login", ProbeAction::Dialogue(as_joe(Dialogue::Imap)), login).await;
    let login = vec![line("220 hi"), line("331 "), line("530 ")];
    says("ftp login", ProbeAction::Dialogue(as_joe(Dialogue::Ftp)), login).await;
}

#[tokio::test]
async fn c4_http_shows_no_raw_control_characters() {
    let http = |receive| ProbeAction::Http(get("/", receive));
    // The library accepts only phrases of printable ASCII.
    for phrase in ["a\tb", "\u{9b}2J\u{202e}"] {
        let answer = format!("HTTP/1.1 500 {phrase}\r\n\r\n").into_bytes();
        let server = Server::answering(LOOPBACKS[0], move |_| answer.clone()).await;
        let verdict = run(&probe(server.address, PATIENCE, http(None))).await;
        let raw = |sign: char| sign.is_control() || sign == '\u{202e}';
        assert!(!verdict.reason.contains(raw) && verdict.reason.contains("500"), "{verdict:?}");
    }
    let body = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{NASTY}\n", NASTY.len() + 1);
    let verdict = says("body", http(Some("x")), vec![Vec::new(), body.into_bytes()]).await;
    assert!(verdict.monitor.is_some());
    says("no http", http(None), vec![Vec::new(), line("")]).await;
    // A URL that cannot be checked is escaped like other URLs.
    let moved = "HTTP/1.1 302 Found\r\nLocation: x\u{202e}://\u{202e}\t/\r\n\r\n";
    let server = Server::answering(LOOPBACKS[0], |_| moved.as_bytes().to_vec()).await;
    let verdict = run(&probe(server.address, PATIENCE, http(None))).await;
    assert!(!verdict.reason.contains(|sign: char| sign.is_control() || sign == '\u{202e}'), "{verdict:?}");
}

#[tokio::test]
async fn c4_lines_and_datagrams_show_no_raw_control_chars() {
    let receive = Some(Pattern::parse("well").unwrap());
    let lines = SimpleTcpProbe { request: "x".to_owned(), receive: None, udp: false };
    says("simpletcp", ProbeAction::SimpleTcp(lines), vec![line("")]).await;
    let socket = UdpSocket::bind(LOOPBACKS[0]).await.unwrap();
    let address = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer).await {
            drop(socket.send_to(format!("SIP/2.0 500 {NASTY}\r\n\r\n").as_bytes(), peer).await);
        }
    });
    let datagram = DatagramProbe { payload: b"x".to_vec(), reply: receive };
    for action in
        [ProbeAction::Datagram(datagram), ProbeAction::Dialogue(dialogue_with(Dialogue::Sip { udp: true }))]
    {
        assert_harmless("udp", &run(&probe(address, PATIENCE, action)).await);
    }
    task.abort();
}

#[tokio::test]
async fn c4_databases_show_no_raw_control_characters() {
    let plain = || SqlProbe { starttls: false, ..sql(Tls::default()) };
    let refusal = format!("\u{0}\u{0}#28000{NASTY}\n");
    let packet = [&[u8::try_from(refusal.len() + 1).unwrap(), 0, 0, 0, 0xff], refusal.as_bytes()].concat();
    says("mysql", ProbeAction::Mysql(plain()), vec![packet]).await;
    // The server chooses the severity and the code as well.
    let fields = format!("S{NASTY}\0C{NASTY}\0M{NASTY}\n\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
    let error = [b"E", &length[..], fields.as_bytes()].concat();
    says("pgsql", ProbeAction::Pgsql(plain()), vec![Vec::new(), b"N".to_vec(), error]).await;
    let text = format!("(ERR=0){NASTY}\n");
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    let body = [&[34, 0, length[0], length[1]], text.as_bytes()].concat();
    let packet = [&[0, u8::try_from(body.len() + 8).unwrap(), 0, 0, 4, 0, 0, 0], &body[..]].concat();
    let oracle = SqlProbe { database: "XE".to_owned(), ..plain() };
    says("oracle", ProbeAction::Oracle(oracle), vec![Vec::new(), packet]).await;
}

#[tokio::test]
async fn c4_ldap_shows_no_raw_control_characters() {
    let message = NASTY.as_bytes();
    let result = [&[0x0a, 1, 49, 4, 0, 4, message.len() as u8], message].concat();
    let bind = [&[2, 1, 1, 0x61, result.len() as u8], &result[..]].concat();
    let answer = [&[0x30, bind.len() as u8], &bind[..]].concat();
    let ldap = LdapProbe {
        transport: Transport::Plain,
        login: String::new(),
        passwd: Secret::default(),
        base: "dc=x".to_owned(),
        receive: None,
    };
    says("ldap", ProbeAction::Ldap(ldap), vec![Vec::new(), answer]).await;
}

#[tokio::test]
async fn c4_commands_show_no_raw_control_characters() {
    let external = ExternalProbe {
        command: "sh -c 'printf \"\\033[2J\\007\\342\\200\\256x\"; exit 3' secret".to_owned(),
        perl: false,
        arguments: ["1", "2", "3", "4"].map(str::to_owned),
    };
    let verdict =
        run(&probe("127.0.0.1:1".parse().unwrap(), PATIENCE, ProbeAction::External(external))).await;
    assert_harmless("external", &verdict);
    assert!(verdict.reason.contains("run sh …: exit code 3"), "{verdict:?}");
}

#[tokio::test]
async fn c4_certificates_show_no_raw_control_characters() {
    let mut params = rcgen::CertificateParams::new(vec!["www.example.net".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, NASTY);
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let read = crate::net::tls::certificate::Certificate::read(certificate.der()).unwrap();
    let warning = read.warning(std::time::SystemTime::now(), 30);
    let verdict = Verdict::up("fine").with_warning(warning);
    assert_harmless("certificate", &verdict);
}
