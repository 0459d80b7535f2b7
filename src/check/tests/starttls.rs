//! STARTTLS in every protocol that has it: accepted, refused, accepted with extra bytes, and followed by invalid data.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::authority::{Authority, NAME};
use super::servers::Server;
use super::*;
use crate::spec::{LdapProbe, SqlProbe, Transport};

/// The greeting of a server (none if empty), and its answers to the following messages.
type Says = &'static [&'static [u8]];

/// The data for one protocol.
struct Case {
    action: fn(Tls) -> ProbeAction,
    /// The answers up to the acceptance of STARTTLS.
    plain: Says,
    /// The answers in TLS.
    sealed: Says,
    /// The last answer of `plain` if the server refuses, with the expected reason.
    refusals: &'static [(&'static [u8], &'static str)],
    /// The size of the client's TLS request, in protocols where the server does not answer it.
    request: usize,
}

fn dialogue(protocol: Dialogue, tls: Tls) -> ProbeAction {
    ProbeAction::Dialogue(DialogueProbe { transport: Transport::StartTls(tls), ..dialogue_with(protocol) })
}

pub(super) fn sql(tls: Tls) -> SqlProbe {
    SqlProbe {
        login: "joe".to_owned(),
        passwd: Secret::new("word"),
        database: String::new(),
        query: "SELECT 1".to_owned(),
        starttls: true,
        tls,
    }
}

fn ldap(tls: Tls) -> ProbeAction {
    ProbeAction::Ldap(LdapProbe {
        transport: Transport::StartTls(tls),
        login: String::new(),
        passwd: Secret::default(),
        base: "dc=x".to_owned(),
        receive: None,
    })
}

/// The greeting of MySQL 8 with `caching_sha2_password`. The second byte of its second line here offers TLS.
const MYSQL_GREETING: &[u8] = b"\x49\x00\x00\x00\x0a8.0.1\x00\x01\x00\x00\x00abcdefgh\x00\
    \xff\xff\x21\x02\x00\xff\x81\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00ijklmnopqrst\x00caching_sha2_password\x00";
pub(super) const MYSQL_WITHOUT_TLS: &[u8] = b"\x49\x00\x00\x00\x0a8.0.1\x00\x01\x00\x00\x00abcdefgh\x00\
    \xff\xf7\x21\x02\x00\xff\x81\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00ijklmnopqrst\x00caching_sha2_password\x00";

const CASES: &[Case] = &[
    Case {
        action: |tls| dialogue(Dialogue::Smtp, tls),
        plain: &[b"220 mx\r\n", b"250-mx\r\n250 STARTTLS\r\n", b"220 go\r\n"],
        sealed: &[b"", b"250 mx\r\n"],
        refusals: &[
            (b"502 what?\r\n", "the server does not offer TLS here: STARTTLS answered \"502 what?\""),
            (b"454 not now\r\n", "the server does not offer TLS here: STARTTLS answered \"454 not now\""),
        ],
        request: 0,
    },
    Case {
        action: |tls| dialogue(Dialogue::Imap, tls),
        plain: &[b"* OK hi\r\n", b"* CAPABILITY x\r\na0 OK go\r\n"],
        sealed: &[],
        refusals: &[(b"a0 BAD what?\r\n", "the server does not offer TLS here: STARTTLS answered \"a0 BAD what?\"")],
        request: 0,
    },
    Case {
        action: |tls| dialogue(Dialogue::Pop, tls),
        plain: &[b"+OK hi\r\n", b"+OK go\r\n"],
        sealed: &[],
        refusals: &[(b"-ERR what?\r\n", "the server does not offer TLS here: STLS answered \"-ERR what?\"")],
        request: 0,
    },
    Case {
        action: |tls| dialogue(Dialogue::Nntp, tls),
        plain: &[b"200 hi\r\n", b"401 MODE-READER\r\n", b"200 readers\r\n", b"382 go\r\n"],
        sealed: &[],
        refusals: &[(b"580 no\r\n", "the server does not offer TLS here: STARTTLS answered \"580 no\"")],
        request: 0,
    },
    Case {
        action: |tls| dialogue(Dialogue::Ftp, tls),
        plain: &[b"220 hi\r\n", b"234 go\r\n"],
        sealed: &[],
        refusals: &[(b"534 no\r\n", "the server does not offer TLS here: AUTH TLS answered \"534 no\"")],
        request: 0,
    },
    Case {
        action: ldap,
        plain: &[b"", b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"],
        sealed: &[
            b"",
            b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00",
            b"\x30\x0d\x02\x01\x02\x64\x08\x04\x04dc=x\x30\x00\x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00",
        ],
        refusals: &[(
            b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00",
            "the server does not offer TLS here: StartTLS: result code 2 (protocolError)",
        )],
        request: 0,
    },
    Case {
        action: |tls| ProbeAction::Pgsql(sql(tls)),
        plain: &[b"", b"S"],
        sealed: &[
            b"",
            b"R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I",
            b"T\x00\x00\x00\x06\x00\x00D\x00\x00\x00\x06\x00\x00C\x00\x00\x00\x0dSELECT 1\x00Z\x00\x00\x00\x05I",
        ],
        refusals: &[(b"N", "server does not support TLS")],
        request: 0,
    },
    Case {
        action: |tls| ProbeAction::Mysql(sql(tls)),
        plain: &[MYSQL_GREETING],
        // A request for the password itself, then OK; a column, its end, a row.
        sealed: &[
            b"",
            b"\x02\x00\x00\x03\x01\x04",
            b"\x07\x00\x00\x05\x00\x00\x00\x02\x00\x00\x00",
            b"\x01\x00\x00\x01\x01\x04\x00\x00\x02\x03def\x05\x00\x00\x03\xfe\x00\x00\x02\x00\x02\x00\x00\x04\x011",
        ],
        refusals: &[(MYSQL_WITHOUT_TLS, "login: the server does not offer TLS here")],
        request: 36,
    },
];

/// Plays a part on a stream and returns the stream. None if the client is gone.
async fn say<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, says: &[Vec<u8>]) -> Option<S> {
    for (index, answer) in says.iter().enumerate() {
        if index > 0 && stream.read(&mut [0; 4096]).await.unwrap_or(0) == 0 {
            return None;
        }
        stream.write_all(answer).await.ok()?;
        stream.flush().await.ok()?;
    }
    Some(stream)
}

fn owned(says: Says) -> Vec<Vec<u8>> {
    says.iter().map(|text| text.to_vec()).collect()
}

/// A server that plays `plain`, does the handshake (or sends invalid data instead), then plays `sealed`.
async fn server(bind: &str, plain: Vec<Vec<u8>>, nonsense: bool, case: &'static Case) -> Server {
    let acceptor = Authority::new("own").good().acceptor(None);
    Server::start(bind, move |stream| {
        let (plain, acceptor) = (plain.clone(), acceptor.clone());
        async move {
            let Some(mut stream) = say(stream, &plain).await else { return };
            if stream.read_exact(&mut vec![0; case.request]).await.is_err() {
                return;
            }
            if nonsense {
                drop(stream.read(&mut [0; 4096]).await);
                drop(stream.write_all(&[0x80; 64]).await);
                // Read to the end, so that closing does not reset the connection.
                while stream.read(&mut [0; 4096]).await.is_ok_and(|length| length > 0) {}
                return;
            }
            let Ok(stream) = acceptor.accept(stream).await else { return };
            if let Some(mut stream) = say(stream, &owned(case.sealed)).await {
                while stream.read(&mut [0; 4096]).await.is_ok_and(|length| length > 0) {}
            }
        }
    })
    .await
}

async fn ask(server: &Server, action: ProbeAction) -> Verdict {
    run(&probe(server.address, PATIENCE, action)).await
}

#[test]
fn probes_say_how_they_are_sealed() {
    let policy =
        Arc::new(crate::value::TlsPolicy { verify: Some(crate::value::Roots::System), ..Default::default() });
    let tls = |name: Option<&str>| Tls {
        policy: Arc::clone(&policy),
        server_name: name.map(str::to_owned),
        ..Tls::default()
    };
    let target = "10.0.0.2:25".parse().unwrap();
    let sentence = |action| probe(target, PATIENCE, action).to_string();
    let mail = "smtp 10.0.0.2:25 with STARTTLS";
    assert_eq!(sentence(dialogue(Dialogue::Smtp, Tls::default())), mail);
    assert_eq!(
        sentence(dialogue(Dialogue::Smtp, tls(Some("mx")))),
        format!("{mail}, verifying that it is mx")
    );
    assert_eq!(
        sentence(ProbeAction::Mysql(sql(tls(None)))),
        "query mysql 10.0.0.2:25 as joe with STARTTLS, verifying that it is 10.0.0.2"
    );
}

#[tokio::test]
async fn a_dialogue_goes_over_to_tls() {
    for case in CASES {
        for loopback in LOOPBACKS {
            let server = server(loopback, owned(case.plain), false, case).await;
            let tls = Tls { server_name: Some(NAME.to_owned()), warn_days: 1000, ..Tls::default() };
            let verdict = ask(&server, (case.action)(tls)).await;
            assert_says(&verdict, Outcome::Up, "warning: the certificate of CN=www.example.net expires in ");
        }
    }
}

#[tokio::test]
async fn a_server_that_does_not_offer_it_is_down() {
    for case in CASES {
        for (answer, words) in case.refusals {
            let mut plain = owned(case.plain);
            *plain.last_mut().unwrap() = answer.to_vec();
            let server = server(LOOPBACKS[0], plain, false, case).await;
            assert_says(&ask(&server, (case.action)(Tls::default())).await, Outcome::Down, words);
        }
    }
}

/// Bytes that an attacker on the path adds after the acceptance must not count as an answer in TLS.
#[tokio::test]
async fn what_comes_before_the_handshake_is_refused() {
    for case in CASES {
        let mut plain = owned(case.plain);
        plain.last_mut().unwrap().extend_from_slice(b"250 injected\r\n");
        let server = server(LOOPBACKS[0], plain, false, case).await;
        let verdict = ask(&server, (case.action)(Tls::default())).await;
        let said = ["14 bytes in plain text between the answer to ", "does not speak TLS"]
            .iter()
            .any(|words| verdict.reason.contains(words));
        assert!(verdict.outcome == Outcome::Down && said, "{verdict:?}");
    }
}

#[tokio::test]
async fn nonsense_is_no_handshake() {
    for case in CASES {
        let server = server(LOOPBACKS[0], owned(case.plain), true, case).await;
        let words = "TLS handshake: the server does not speak TLS on this port";
        assert_says(&ask(&server, (case.action)(Tls::default())).await, Outcome::Down, words);
    }
}
