//! Good replies with some bytes changed, cut, doubled or put in: no check panics, answers late, or takes a reply for good that
//! lost what makes it good. `PROPTEST_CASES` says how many; a case that failed is kept by proptest.

use proptest::prelude::*;
use proptest::sample::Index;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::servers::Server;
use super::*;
use crate::plan::{DnsProbe, LdapProbe, RadiusProbe, SqlProbe};

/// Every cent of a second of a reply that never ends is waited for.
const DEADLINE: Duration = Duration::from_millis(60);

#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Cut(Index),
    Double(Index),
    Insert(Index, Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<Index>(), 1..=255u8).prop_map(|(at, mask)| Change::Flip(at, mask)),
        1 => any::<Index>().prop_map(Change::Cut),
        1 => any::<Index>().prop_map(Change::Double),
        2 => (any::<Index>(), proptest::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
    ]
}

impl Change {
    fn apply(&self, reply: &mut Vec<u8>) {
        let place = |index: &Index, length: usize| index.index(length + 1);
        match self {
            Change::Flip(at, mask) if !reply.is_empty() => {
                let at = at.index(reply.len());
                reply[at] ^= mask;
            }
            Change::Flip(..) => {}
            Change::Cut(at) => reply.truncate(place(at, reply.len())),
            Change::Double(at) => {
                let tail = reply[place(at, reply.len())..].to_vec();
                reply.extend(tail);
            }
            Change::Insert(at, bytes) => {
                let at = place(at, reply.len());
                reply.splice(at..at, bytes.iter().copied());
            }
        }
    }
}

/// The protocols, each with all that a good server says, at once: what is read before it was asked for is read all the same.
fn protocols() -> Vec<(Action, &'static [u8])> {
    let dialogue = |protocol, login: &str| {
        let passwd = Secret::new("word");
        Action::Dialogue(DialogueProbe { login: login.to_owned(), passwd, ..speaks(protocol) })
    };
    let sql = || SqlProbe {
        login: "joe".to_owned(),
        passwd: Secret::new("word"),
        database: String::new(),
        query: "SELECT 1".to_owned(),
        starttls: false,
        tls: Tls::default(),
    };
    vec![
        (Action::Http(get("/", Some("fine"))), b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nall fine"),
        (
            Action::Http(get("/", Some("fine"))),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nall fine\r\n0\r\n\r\n",
        ),
        (dialogue(Dialogue::Smtp, ""), b"220 hi\r\n250-x\r\n250 y\r\n221 bye\r\n"),
        (dialogue(Dialogue::Nntp, ""), b"200 hi\r\n"),
        (dialogue(Dialogue::Imap, "joe"), b"* OK hi\r\n* x\r\na1 OK in\r\n"),
        (dialogue(Dialogue::Pop, "joe"), b"+OK hi\r\n+OK\r\nSASL CRAM-MD5\r\n.\r\n+ PHg+\r\n+OK in\r\n"),
        (dialogue(Dialogue::Pop, "joe"), b"+OK <a@b>\r\n+OK in\r\n"),
        (dialogue(Dialogue::Sip { udp: false }, ""), b"SIP/2.0 100 x\r\n\r\nSIP/2.0 200 OK\r\na: b\r\n\r\n"),
        (dialogue(Dialogue::Ftp, "joe"), b"220-a\r\n220 hi\r\n331 x\r\n230-a\r\n b\r\n230 in\r\n"),
        (
            Action::Ldap(LdapProbe {
                transport: Transport::Plain,
                login: String::new(),
                passwd: Secret::default(),
                base: "dc=x".to_owned(),
                receive: None,
            }),
            // BindResponse, SearchResultEntry without attributes, SearchResultDone.
            b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00\x30\x0d\x02\x01\x02\x64\x08\x04\x04dc=x\x30\x00\x30\
              \x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00",
        ),
        (
            Action::Mysql(sql()),
            // The greeting of MySQL 5.7 (protocol 10), then OK.
            b"\x49\x00\x00\x00\x0a5.7.1\x00\x01\x00\x00\x00abcdefgh\x00\xff\xf7\x21\x02\x00\xff\x81\x15\x00\x00\x00\x00\x00\
              \x00\x00\x00\x00\x00ijklmnopqrst\x00mysql_native_password\x00\x07\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00",
        ),
        (
            Action::Pgsql(sql()),
            // AuthenticationOk, ReadyForQuery, RowDescription, DataRow, CommandComplete, ReadyForQuery.
            b"R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05IT\x00\x00\x00\x06\x00\x00D\x00\x00\x00\x06\x00\x00C\x00\x00\
              \x00\x0dSELECT 1\x00Z\x00\x00\x00\x05I",
        ),
    ]
}

fn datagram_protocols() -> Vec<(Action, &'static [u8])> {
    vec![
        (
            Action::Dns(DnsProbe { name: "a.b".to_owned(), receive: None, tcp: false }),
            b"\x00\x00\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x01a\x01b\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\
              \x00\x00\x3c\x00\x04\x0a\x01\x02\x03",
        ),
        (
            Action::Radius(RadiusProbe {
                login: "joe".to_owned(),
                passwd: Secret::new("word"),
                secret: Secret::new("s"),
            }),
            b"\x02\x00\x00\x16\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x12\x02",
        ),
    ]
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn survives(action: Action, address: SocketAddr) -> Result<(), TestCaseError> {
    let verdict = Checker::new().unwrap().run(&probe(address, DEADLINE, action)).await;
    prop_assert!(verdict.took <= DEADLINE + MARGIN, "{verdict:?}");
    prop_assert!(verdict.outcome != Outcome::Unknown, "{verdict:?}");
    prop_assert!(!verdict.reason.contains('\n') && !verdict.reason.contains("word"), "{verdict:?}");
    Ok(())
}

async fn answered_by(reply: Vec<u8>, action: Action) -> Result<(), TestCaseError> {
    let server = Server::start("127.0.0.1:0", move |mut stream| {
        let reply = reply.clone();
        async move {
            drop(stream.write_all(&reply).await);
            drop(stream.shutdown().await);
            let mut buffer = [0; 1024];
            while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
        }
    })
    .await;
    survives(action, server.address).await
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn a_connection_that_says_nearly_the_right_thing(
        which in any::<Index>(),
        changes in proptest::collection::vec(change(), 0..4),
    ) {
        let protocols = protocols();
        let (action, reply) = protocols[which.index(protocols.len())].clone();
        let mut reply = reply.to_vec();
        changes.iter().for_each(|change| change.apply(&mut reply));
        runtime().block_on(answered_by(reply, action))?;
    }

    #[test]
    fn a_datagram_that_says_nearly_the_right_thing(
        which in any::<Index>(),
        changes in proptest::collection::vec(change(), 0..4),
        keeps_id in any::<bool>(),
    ) {
        let protocols = datagram_protocols();
        let (action, reply) = protocols[which.index(protocols.len())].clone();
        runtime().block_on(async {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = socket.local_addr().unwrap();
            let is_dns = matches!(action, Action::Dns(_));
            let server = tokio::spawn(async move {
                let mut buffer = [0; 2048];
                while let Ok((_, peer)) = socket.recv_from(&mut buffer).await {
                    let mut reply = reply.to_vec();
                    changes.iter().for_each(|change| change.apply(&mut reply));
                    let id = if is_dns { 0..2 } else { 1..2 };
                    if keeps_id && reply.len() >= 2 {
                        reply[id.clone()].copy_from_slice(&buffer[id]);
                    }
                    drop(socket.send_to(&reply, peer).await);
                }
            });
            let result = survives(action, address).await;
            server.abort();
            result
        })?;
    }
}

/// Enough to meet each protocol some dozen times in a few seconds.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(150)
}
