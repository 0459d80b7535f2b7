//! A client that sends requests to the virtual address again and again and records the results.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::netns::NetNs;
use crate::wait::until;

/// The source ports of a network's client, each used once. The kernel would reuse a port within seconds when several
/// worlds ask at once (they share its position in the range). IPVS sends a connection that it knows, ended or not, to
/// its former server: to a server out of rotation, or nowhere if that server is gone from the table.
pub struct Ports(AtomicU16);

impl Default for Ports {
    fn default() -> Self {
        Self(AtomicU16::new(20_000))
    }
}

impl Ports {
    /// The next port.
    pub fn next(&self) -> u16 {
        let port = self.0.fetch_add(1, Ordering::Relaxed);
        assert_ne!(port, u16::MAX, "the client has used all its ports");
        port
    }
}

/// One request and its result.
#[derive(Debug, Clone)]
pub struct Record {
    /// When it began.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
    /// The answer, or why there is none.
    pub answer: Result<Answer, String>,
}

impl Record {
    /// The actor that answered, if the request succeeded.
    fn answered_by(&self) -> Option<&str> {
        self.answer.as_ref().ok().filter(|answer| answer.status == 200).map(|answer| answer.by.as_str())
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The actor that answered.
    pub by: String,
    /// The HTTP status.
    pub status: u16,
    /// The page.
    pub body: String,
}

/// A thread that makes requests until it is dropped.
pub struct Client {
    records: Arc<Mutex<Vec<Record>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Starts it: a request for `path` at `address` every `pause`. Each fails after `limit` without data.
    pub fn start(
        netns: &Arc<NetNs>,
        ports: &Arc<Ports>,
        address: SocketAddr,
        path: &str,
        pause: Duration,
        limit: Duration,
    ) -> Self {
        let records = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let (netns, ports, path) = (netns.clone(), ports.clone(), path.to_owned());
        let (kept, end) = (records.clone(), ended.clone());
        let thread = thread::spawn(move || {
            netns.enter();
            while !end.load(Ordering::Relaxed) {
                let at = Instant::now();
                let answer = request(ports.next(), address, &path, limit);
                let took = at.elapsed();
                kept.lock().unwrap().push(Record { at, took, answer });
                thread::sleep(pause);
            }
        });
        Self { records, ended, thread: Some(thread) }
    }

    /// The results of the requests begun at or after `begin`.
    pub fn since(&self, begin: Instant) -> Vec<Record> {
        self.records.lock().unwrap().iter().filter(|record| record.at >= begin).cloned().collect()
    }

    /// Waits for the next `count` requests, none of which may fail. Returns the number of answers per actor.
    #[track_caller]
    pub fn answers(&self, count: usize) -> BTreeMap<String, usize> {
        let begin = Instant::now();
        let records = until("requests made", Duration::from_secs(60), || {
            let records = self.since(begin);
            if records.len() < count { Err(format!("{} of {count}", records.len())) } else { Ok(records) }
        });
        shares(&records[..count])
    }

    /// The next `count` requests must all be answered by these actors, and each of them must answer.
    #[track_caller]
    pub fn answered_by(&self, actors: &[&str], count: usize) {
        let shares = self.answers(count);
        let names: Vec<&str> = shares.keys().map(String::as_str).collect();
        assert_eq!(names, actors, "who answered: {shares:?}");
    }

    /// Waits until `count` requests in a row were answered by these actors and no other.
    #[track_caller]
    pub fn comes_to_be_answered_by(&self, actors: &[&str], count: usize) {
        let begin = Instant::now();
        until("answers by others, or none", Duration::from_secs(30), || {
            let records = self.since(begin);
            let last = &records[records.len().saturating_sub(count)..];
            let names: Option<BTreeSet<&str>> = last.iter().map(Record::answered_by).collect();
            if last.len() == count && names.is_some_and(|names| names.iter().eq(actors)) {
                Ok(())
            } else {
                Err(list(last))
            }
        });
    }

    /// The page of the last request, which must have succeeded.
    #[track_caller]
    pub fn last_page(&self) -> String {
        let last = self.records.lock().unwrap().last().cloned();
        last.expect("a request").answer.unwrap().body
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The number of answers per actor. A request without an answer is a failure.
#[track_caller]
pub fn shares(records: &[Record]) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for record in records {
        let Some(actor) = record.answered_by() else {
            panic!("a request failed in a healthy phase: {:?}\n{}", record.answer, list(records));
        };
        *shares.entry(actor.to_owned()).or_default() += 1;
    }
    shares
}

/// One line per request, for messages.
fn list(records: &[Record]) -> String {
    let begin = records.first().map(|record| record.at);
    let lines = records.iter().map(|record| {
        let answer = match &record.answer {
            Ok(answer) => format!("{} {}", answer.status, answer.by),
            Err(reason) => reason.clone(),
        };
        format!("  {:?} {answer}, after {:?}\n", record.at - begin.unwrap(), record.took)
    });
    lines.collect()
}

/// Sends one request from the calling thread's network and this source port (0: any). No step takes longer than
/// `limit`.
pub fn request(port: u16, address: SocketAddr, path: &str, limit: Duration) -> Result<Answer, String> {
    let mut stream = connect(port, address, limit).map_err(|e| format!("connect: {e}"))?;
    stream.set_read_timeout(Some(limit)).map_err(|e| e.to_string())?;
    let text = format!("GET {path} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).map_err(|e| format!("write: {e}"))?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).map_err(|e| format!("read: {e}"))?;
    parse(&reply).ok_or_else(|| format!("not an answer: {reply:?}"))
}

fn connect(port: u16, address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(any, port).into())?;
    socket.connect_timeout(&address.into(), limit)?;
    Ok(socket.into())
}

fn parse(reply: &str) -> Option<Answer> {
    let (head, body) = reply.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let by = head.lines().find_map(|line| line.strip_prefix("Server: "))?.to_owned();
    Some(Answer { by, status, body: body.to_owned() })
}
