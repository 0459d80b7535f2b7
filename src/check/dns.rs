//! `service=dns` (RFC 1035): asks one name server over UDP or TCP for the addresses of a name, the name of an
//! address, or another record.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::failure::unreachable;
use super::progress::{CheckStep, Progress};
use super::{format, matching};
use crate::net::{dial, resolve};
use crate::spec::{DnsProbe, Probe};
use crate::sys::command::aside;
use crate::value::{DnsType, Verdict};

/// The largest datagram.
const DATAGRAM: usize = 65_536;
/// A datagram may be lost: the question is sent again after this time.
const AGAIN: Duration = Duration::from_secs(1);
/// The most records that are shown.
const SHOWN: usize = 3;

/// The original's words for every failure to get a record.
pub(super) const NO_ANSWER: &str = "Connection timed out";
/// The original's words for records that do not match.
const MISMATCH: &str = "Response mismatch";

/// Asks, and judges the answer.
pub(super) async fn run(probe: &Probe, dns: &DnsProbe, progress: &Progress) -> Verdict {
    ask_all(probe, dns, progress).await.unwrap_or_else(|verdict| verdict)
}

/// `Err` is a verdict as well.
async fn ask_all(probe: &Probe, dns: &DnsProbe, progress: &Progress) -> Result<Verdict, Verdict> {
    if dns.name.is_empty() {
        let reason = "dns: no request set: it must name the host or the address to look up";
        return Err(Verdict::down(reason).with_monitor(NO_ANSWER));
    }
    let mut last = Verdict::down("dns: nothing was asked");
    for (name, kinds) in questions(dns, progress).await? {
        for kind in kinds {
            let answer = ask(probe, dns, &name, kind, progress).await?;
            match judge(probe, dns, &name, kind, &answer, progress).await {
                Ok(up) => return Ok(up),
                // A mismatch says more than a missing record.
                Err(_) if last.monitor.as_deref() == Some(MISMATCH) && answer.answers.is_empty() => {}
                Err(down) => last = down,
            }
            if answer.metadata.response_code != ResponseCode::NoError {
                // The name does not exist, so it has no addresses of the other family either.
                break;
            }
        }
    }
    Err(last)
}

/// The names to look up, each with its record types. A name without a dot is completed from the system's search list.
async fn questions(dns: &DnsProbe, progress: &Progress) -> Result<Vec<(Name, Vec<RecordType>)>, Verdict> {
    let kinds = |unless_said: &[RecordType]| dns.kind.map_or(unless_said.to_vec(), |kind| vec![wire(kind)]);
    if let Ok(address) = dns.name.parse::<IpAddr>() {
        return Ok(vec![(Name::from(address), kinds(&[RecordType::PTR]))]);
    }
    let mut names = vec![dns.name.clone()];
    if !dns.name.contains('.') {
        // Reading resolv.conf may hang with the file system.
        let search = progress.queued(aside(resolve::search_list)).await;
        if !search.is_empty() {
            names = search.iter().map(|domain| format!("{}.{domain}", dns.name)).collect();
        }
    }
    let parse = |name: &String| {
        let mut parsed = Name::from_ascii(name).map_err(|error| {
            Verdict::down(format!("dns: {name} is not a valid name: {error}")).with_monitor(NO_ANSWER)
        })?;
        parsed.set_fqdn(true);
        Ok((parsed, kinds(&[RecordType::A, RecordType::AAAA])))
    };
    names.iter().map(parse).collect()
}

/// Sends one question to the server and reads the answer.
async fn ask(
    probe: &Probe,
    dns: &DnsProbe,
    name: &Name,
    kind: RecordType,
    progress: &Progress,
) -> Result<Message, Verdict> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), kind));
    let bytes = question.to_vec().map_err(|error| Verdict::down(format!("dns: {name}: {error}")))?;
    let failed =
        |error: io::Error| unreachable(&format!("dns {}", probe.target), &error).with_monitor(NO_ANSWER);
    if !dns.tcp {
        let answer = over_udp(probe.target, &question, &bytes, progress).await.map_err(failed)?;
        // An answer too large for a datagram is requested over TCP (RFC 7766 5).
        if !answer.metadata.truncation {
            return Ok(answer);
        }
    }
    over_tcp(probe.target, &question, &bytes, progress).await.map_err(failed)
}

async fn over_udp(
    server: SocketAddr,
    question: &Message,
    bytes: &[u8],
    progress: &Progress,
) -> io::Result<Message> {
    let socket = dial::datagrams(server).await?;
    progress.connected(CheckStep::Answer("the answer"));
    let mut buffer = vec![0; DATAGRAM];
    loop {
        socket.send(bytes).await?;
        let answer = async {
            loop {
                let length = socket.recv(&mut buffer).await?;
                progress.received(&buffer[..length]);
                if let Ok(answer) = Message::from_vec(&buffer[..length])
                    && belongs(&answer, question)
                {
                    return Ok(answer);
                }
            }
        };
        if let Ok(answer) = timeout(AGAIN, answer).await {
            return answer;
        }
    }
}

async fn over_tcp(
    server: SocketAddr,
    question: &Message,
    bytes: &[u8],
    progress: &Progress,
) -> io::Result<Message> {
    progress.connecting(server);
    let mut stream = dial::connect(server).await?;
    progress.connected(CheckStep::Answer("the answer"));
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    progress.received(&buffer);
    let answer = Message::from_vec(&buffer)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("not a DNS answer: {error}")))?;
    if belongs(&answer, question) {
        Ok(answer)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the answer belongs to another question"))
    }
}

/// Whether an answer belongs to this question.
fn belongs(answer: &Message, question: &Message) -> bool {
    let same_name = |(a, q): (&Query, &Query)| a.name() == q.name() && a.query_type() == q.query_type();
    answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == hickory_proto::op::MessageType::Response
        && answer.queries.len() == question.queries.len()
        && answer.queries.iter().zip(&question.queries).all(same_name)
}

/// `Ok` is up, `Err` down.
async fn judge(
    probe: &Probe,
    dns: &DnsProbe,
    name: &Name,
    kind: RecordType,
    answer: &Message,
    progress: &Progress,
) -> Result<Verdict, Verdict> {
    let asked = format!("dns {}: {kind} {}", probe.target, text(name));
    let code = answer.metadata.response_code;
    if code != ResponseCode::NoError {
        return Err(Verdict::down(format!("{asked}: {code}")).with_monitor(NO_ANSWER));
    }
    // Without `dnstype` the question is for an address, and the names that lead to it (CNAME) count as well.
    let counts = |data: &RData| dns.kind.is_none() || data.record_type() == kind;
    let records = answer.answers.iter().map(|record| &record.data).filter(|data| counts(data));
    let found: Vec<String> = records.filter_map(content).collect();
    if found.is_empty() {
        let reason = format!("{asked}: no such record");
        return Err(Verdict::down(reason).with_monitor(NO_ANSWER));
    }
    let shown = shown(&found);
    let Some(pattern) = &dns.receive else {
        return Ok(Verdict::up(format!("{asked}: {shown}")).with_monitor("Success"));
    };
    let source = pattern.source();
    for record in &found {
        match matching::is_match(pattern, record.as_bytes(), progress).await {
            Ok(true) => {
                let reason = format!("{asked}: {} matches /{source}/", one(record));
                return Ok(Verdict::up(reason).with_monitor("Success"));
            }
            Ok(false) => {}
            Err(limit) => {
                return Err(Verdict::down(format!("{asked}: {}, but /{source}/: {limit}", one(record))));
            }
        }
    }
    let reason = format!("{asked}: {shown}; none matches /{source}/");
    Err(Verdict::down(reason).with_monitor(MISMATCH))
}

/// The text that `receive` is matched against: the record as in zone files (RFC 1035 5.1), names without the last dot,
/// TXT without quotes.
fn content(data: &RData) -> Option<String> {
    Some(match data {
        RData::A(address) => address.to_string(),
        RData::AAAA(address) => address.to_string(),
        RData::CAA(caa) => caa.to_string(),
        RData::CNAME(name) => text(&name.0),
        RData::MX(mx) => format!("{} {}", mx.preference, text(&mx.exchange)),
        RData::NAPTR(naptr) => naptr.to_string(),
        RData::NS(name) => text(&name.0),
        RData::PTR(name) => text(&name.0),
        RData::SOA(soa) => {
            let (server, mailbox) = (text(&soa.mname), text(&soa.rname));
            let times = [soa.refresh, soa.retry, soa.expire].map(|seconds| seconds.to_string()).join(" ");
            format!("{server} {mailbox} {} {times} {}", soa.serial, soa.minimum)
        }
        RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, text(&srv.target)),
        RData::TXT(txt) => txt.to_string(),
        _ => return None,
    })
}

/// The record type of a `dnstype`.
fn wire(kind: DnsType) -> RecordType {
    match kind {
        DnsType::A => RecordType::A,
        DnsType::Aaaa => RecordType::AAAA,
        DnsType::Caa => RecordType::CAA,
        DnsType::Cname => RecordType::CNAME,
        DnsType::Mx => RecordType::MX,
        DnsType::Naptr => RecordType::NAPTR,
        DnsType::Ns => RecordType::NS,
        DnsType::Ptr => RecordType::PTR,
        DnsType::Soa => RecordType::SOA,
        DnsType::Srv => RecordType::SRV,
        DnsType::Txt => RecordType::TXT,
    }
}

fn text(name: &Name) -> String {
    let text = name.to_ascii();
    text.strip_suffix('.').map_or(text.clone(), str::to_owned)
}

fn shown(found: &[String]) -> String {
    let mut text = found.iter().take(SHOWN).map(|record| one(record)).collect::<Vec<_>>().join(", ");
    if found.len() > SHOWN {
        text.push_str(&format!(" and {} more", found.len() - SHOWN));
    }
    text
}

/// A record as shown in a reason, without quotes.
fn one(record: &str) -> String {
    let quoted = format::beginning(record.as_bytes(), 100);
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).map(str::to_owned).unwrap_or(quoted)
}
