//! Fake name servers, and the verdicts on their answers.

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CAA, CNAME, MX, NAPTR, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

use super::*;
use crate::spec::DnsProbe;
use crate::value::DnsType;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// The records of the servers.
fn answer(question: &Message, tcp: bool) -> Message {
    let query = question.queries[0].clone();
    let mut answer = question.clone();
    answer.metadata.message_type = MessageType::Response;
    let mut add = |data: RData| {
        answer.add_answer(Record::from_rdata(query.name().clone(), 60, data));
    };
    match (query.name().to_ascii().as_str(), query.query_type()) {
        ("www.example.net.", RecordType::A) => {
            add(RData::CNAME(CNAME(name("host.example.net."))));
            add(RData::A(A::new(10, 1, 2, 3)));
        }
        ("six.example.net.", RecordType::AAAA) => add(RData::AAAA(AAAA::new(0xfd00, 0, 0, 0, 0, 0, 0, 5))),
        ("zone.example.net.", RecordType::MX) => {
            add(RData::CNAME(CNAME(name("host.example.net."))));
            add(RData::MX(MX::new(10, name("mail.example.net."))));
        }
        ("zone.example.net.", RecordType::NS) => add(RData::NS(NS(name("ns.example.net.")))),
        ("zone.example.net.", RecordType::SOA) => {
            let (server, mailbox) = (name("ns.example.net."), name("admin.example.net."));
            add(RData::SOA(SOA::new(server, mailbox, 2026, 1, 2, 3, 4)));
        }
        ("zone.example.net.", RecordType::TXT) => {
            add(RData::TXT(TXT::new(vec!["v=spf1 ".to_owned(), "a\n\"b\"".to_owned()])));
        }
        ("zone.example.net.", RecordType::CAA) => {
            let issuer = name("ca.example.net.");
            add(RData::CAA(CAA::new_issue(false, Some(issuer), Vec::new())));
        }
        ("zone.example.net.", RecordType::NAPTR) => {
            let (flags, service) = ((*b"u").into(), (*b"E2U+sip").into());
            add(RData::NAPTR(NAPTR::new(1, 2, flags, service, (*b"!x!y!").into(), name("sip.example.net."))));
        }
        ("_sip._tcp.example.net.", RecordType::SRV) => {
            add(RData::SRV(SRV::new(1, 2, 5060, name("sip.example.net."))));
        }
        ("3.2.1.10.in-addr.arpa.", RecordType::TXT) => add(RData::TXT(TXT::new(vec!["reverse".to_owned()]))),
        ("3.2.1.10.in-addr.arpa.", RecordType::PTR) => add(RData::PTR(PTR(name("host.example.net.")))),
        ("six.example.net." | "empty.example.net.", _) => {}
        ("big.example.net.", RecordType::A) if tcp => add(RData::A(A::new(10, 9, 9, 9))),
        ("big.example.net.", _) => answer.metadata.truncation = true,
        ("broken.example.net.", _) => answer.metadata.response_code = ResponseCode::ServFail,
        _ => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    answer
}

struct NameServer {
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Loses the first datagram. Sends noise and an answer with another ID before each answer.
async fn name_server(loopback: &str) -> NameServer {
    let (listener, socket) = loop {
        let listener = TcpListener::bind(loopback).await.unwrap();
        // The port may be in use on UDP; then try another one.
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()).await {
            break (listener, socket);
        }
    };
    let address = listener.local_addr().unwrap();
    let udp = tokio::spawn(async move {
        let mut buffer = [0; 2048];
        drop(socket.recv_from(&mut buffer).await);
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            let answer = answer(&Message::from_vec(&buffer[..length]).unwrap(), false);
            socket.send_to(b"noise", peer).await.unwrap();
            let mut other = answer.clone();
            other.metadata.id ^= 1;
            socket.send_to(&other.to_vec().unwrap(), peer).await.unwrap();
            socket.send_to(&answer.to_vec().unwrap(), peer).await.unwrap();
        }
    });
    let tcp = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let length = stream.read_u16().await.unwrap();
            let mut question = vec![0; usize::from(length)];
            stream.read_exact(&mut question).await.unwrap();
            let answer = answer(&Message::from_vec(&question).unwrap(), true).to_vec().unwrap();
            stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    NameServer { address, tasks: [udp, tcp] }
}

fn question(name: &str, receive: Option<&str>, tcp: bool) -> ProbeAction {
    let receive = receive.map(|pattern| Pattern::parse(pattern).unwrap());
    ProbeAction::Dns(DnsProbe { name: name.to_owned(), kind: None, receive, tcp })
}

fn question_of(kind: DnsType, name: &str, receive: Option<&str>) -> ProbeAction {
    let receive = receive.map(|pattern| Pattern::parse(pattern).unwrap());
    ProbeAction::Dns(DnsProbe { name: name.to_owned(), kind: Some(kind), receive, tcp: false })
}

/// Records are matched as in zone files, without last dots.
#[tokio::test]
async fn every_kind_of_record_is_asked_for_and_matched() {
    use Outcome::{Down, Up};
    for loopback in LOOPBACKS {
        let server = name_server(loopback).await;
        for (kind, name, receive, outcome, words) in [
            (
                DnsType::Mx,
                "zone.example.net",
                Some("^10 mail.example.net$"),
                Up,
                "MX zone.example.net: 10 mail",
            ),
            (DnsType::Mx, "zone.example.net", Some("host"), Down, ": 10 mail.example.net; none matches"),
            (DnsType::Ns, "zone.example.net", Some("^ns.example.net$"), Up, "NS zone"),
            (
                DnsType::Soa,
                "zone.example.net",
                Some("^ns.example.net admin.example.net 2026 1 2 3 4$"),
                Up,
                "SOA zone",
            ),
            (
                DnsType::Txt,
                "zone.example.net",
                Some("^v=spf1 a\\n\"b\"$"),
                Up,
                "v=spf1 a\\n\\\"b\\\" matches",
            ),
            (DnsType::Caa, "zone.example.net", Some("^0 issue \"ca.example.net.\"$"), Up, "CAA zone"),
            (
                DnsType::Naptr,
                "zone.example.net",
                Some("^1 2 \"u\" \"E2U\\+sip\" \"!x!y!\" sip.example.net\\.$"),
                Up,
                "NAPTR zone",
            ),
            (DnsType::Srv, "_sip._tcp.example.net", Some("^1 2 5060 sip.example.net$"), Up, "SRV _sip._tcp"),
            (DnsType::Aaaa, "six.example.net", None, Up, "AAAA six.example.net: fd00::5"),
            (DnsType::A, "six.example.net", None, Down, "A six.example.net: no such record"),
            (DnsType::A, "www.example.net", Some("^host"), Down, "10.1.2.3; none matches"),
            (DnsType::Cname, "www.example.net", None, Down, "Non-Existent Domain"),
            (DnsType::Txt, "10.1.2.3", None, Up, "TXT 3.2.1.10.in-addr.arpa: reverse"),
        ] {
            let verdict = run(&probe(server.address, PATIENCE, question_of(kind, name, receive))).await;
            assert_says(&verdict, outcome, words);
        }
    }
}

/// B16
#[tokio::test]
async fn answers_are_judged_over_both_transports() {
    use Outcome::{Down, Up};
    for loopback in LOOPBACKS {
        let server = name_server(loopback).await;
        let at = |action: ProbeAction| probe(server.address, PATIENCE, action);
        for tcp in [false, true] {
            for (name, receive, outcome, words) in [
                ("www.example.net", Some("^10\\.1"), Up, "A www.example.net: 10.1.2.3 matches /^10\\.1/"),
                ("www.example.net", Some("^host"), Up, "host.example.net matches"),
                ("www.example.net", None, Up, "host.example.net, 10.1.2.3"),
                ("www.example.net", Some("^11"), Down, "; none matches /^11/"),
                ("six.example.net", Some("^fd00::5$"), Up, "AAAA six.example.net: fd00::5 matches"),
                ("10.1.2.3", Some("example.net$"), Up, "host.example.net matches"),
                ("big.example.net", Some("9$"), Up, "10.9.9.9 matches"),
                ("empty.example.net", None, Down, "AAAA empty.example.net: no such record"),
                ("missing.example.net", None, Down, "Non-Existent Domain"),
                ("broken.example.net", None, Down, "Server Failure"),
                ("", None, Down, "no request set"),
                ("a..b", None, Down, "is not a valid name"),
            ] {
                assert_says(&run(&at(question(name, receive, tcp))).await, outcome, words);
            }
        }
    }
}

#[tokio::test]
async fn nobody_and_silence_are_down() {
    // The original's words for the monitor file.
    let down = |verdict: &Verdict, words: &str| {
        assert_says(verdict, Outcome::Down, words);
        assert_eq!(verdict.monitor.as_deref(), Some("Connection timed out"), "{verdict:?}");
    };
    for loopback in LOOPBACKS {
        let socket = UdpSocket::bind(loopback).await.unwrap();
        let address = socket.local_addr().unwrap();
        let silent = probe(address, IMPATIENCE, question("www.example.net", None, false));
        down(&run(&silent).await, "no answer from ");
        drop(socket);
        let gone = probe(address, PATIENCE, question("www.example.net", None, false));
        down(&run(&gone).await, "connection refused");
        let (_held, address) = nobody(loopback);
        let gone = probe(address, PATIENCE, question("www.example.net", None, true));
        down(&run(&gone).await, "connection refused");
    }
}
