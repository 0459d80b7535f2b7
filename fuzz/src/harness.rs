//! Runs checks on arbitrary replies of servers: the list of protocols, and the server that sends the bytes.
//!
//! A complete check runs, through the public interface, against a server on loopback that sends the bytes, reads to
//! the end, and closes. It sends them at once, since most checks accept early data; for a check that does not,
//! [`PAUSE`] in the bytes makes the server wait for the client. The stored inputs are in `corpus/NAME`; those named
//! `good…` are the replies of a working server. `tests/it/replies.rs` runs all of them, and variations of them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ldirectord_rs::check::Checker;
use ldirectord_rs::config::{self, Answers};
use ldirectord_rs::spec::{Probe, Spec};
use ldirectord_rs::value::Verdict;
use md5::{Digest, Md5};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::time::timeout;

/// The place in a reply where the server waits for data from the client.
const PAUSE: &[u8] = b"\0<>\0";
/// How long the server waits.
const PATIENCE: Duration = Duration::from_millis(10);
/// How long after its deadline a check may end on a busy machine. Other tests measure the punctuality.
const SLACK: Duration = Duration::from_secs(1);
/// The password of all checks. No reason may show it.
const PASSWORD: &str = "sesame";
/// The shared secret of RADIUS.
const SECRET: &str = "shared";

/// A protocol and its directives.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    /// The directory of its inputs.
    pub name: &'static str,
    /// Whether it uses UDP.
    pub udp: bool,
    /// The directives of the virtual service, one per line.
    pub directives: &'static str,
}

const fn tcp(name: &'static str, directives: &'static str) -> Protocol {
    Protocol { name, udp: false, directives }
}

const fn udp(name: &'static str, directives: &'static str) -> Protocol {
    Protocol { name, udp: true, directives }
}

/// All protocols whose replies are read.
#[rustfmt::skip]
pub const PROTOCOLS: &[Protocol] = &[
    tcp("http", "service=http\nrequest=\"/\"\nreceive=\"fine\""),
    tcp("http_proxy", "service=http_proxy\nrequest=\"http://a.test/\"\nreceive=\"fine\""),
    tcp("https", "service=https\nrequest=\"/\"\nreceive=\"fine\""),
    tcp("simpletcp", "service=simpletcp\nrequest=\"ask\"\nreceive=\"^f(i)ne\""),
    tcp("smtp", "service=smtp"),
    tcp("nntp", "service=nntp"),
    tcp("imap", "service=imap\nlogin=\"joe\"\npasswd=\"sesame\""),
    tcp("pop", "service=pop\nlogin=\"joe\"\npasswd=\"sesame\""),
    tcp("ftp", "service=ftp\nlogin=\"joe\"\npasswd=\"sesame\"\nrequest=\"file\"\nreceive=\"x\""),
    tcp("sip", "service=sip\nlogin=\"joe@a.test\""),
    tcp("ldap", "service=ldap\nlogin=\"cn=joe\"\npasswd=\"sesame\"\nrequest=\"dc=x\""),
    tcp("mysql", "service=mysql\nlogin=\"joe\"\npasswd=\"sesame\"\nrequest=\"SELECT 1\""),
    tcp("pgsql", "service=pgsql\nlogin=\"joe\"\npasswd=\"sesame\"\nrequest=\"SELECT 1\""),
    tcp("oracle", "service=oracle\nlogin=\"joe\"\npasswd=\"sesame\"\ndatabase=\"XE\"\nrequest=\"SELECT 1\""),
    udp("dns", "service=dns\nrequest=\"a.b\""),
    udp("radius", "service=radius\nlogin=\"joe\"\npasswd=\"sesame\"\nsecret=\"shared\""),
];

impl Protocol {
    fn probe(self, address: SocketAddr, deadline: Duration) -> Probe {
        let transport = if self.udp { "udp" } else { "tcp" };
        let directives = self.directives.replace('\n', "\n\t");
        let text =
            format!("virtual=192.0.2.1:9\n\treal={address} masq\n\tprotocol={transport}\n\t{directives}\n");
        let config = config::load(text.as_bytes(), &Answers::new("a.test")).config.unwrap();
        let spec = Spec::new(Arc::new(config));
        Probe { deadline, ..Probe::clone(&spec.checks()[0].key.probe) }
    }
}

/// A server that sends given bytes, and a check of this server.
pub struct Harness {
    protocol: Protocol,
    probe: Probe,
    checker: Checker,
    reply: watch::Sender<Vec<u8>>,
    runs: AtomicU32,
}

impl Harness {
    /// Starts the server in the current runtime. Most checks end long before their deadline, because the server
    /// closes the connection. After a datagram that is not an answer, a check waits until the deadline.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn open(protocol: Protocol, deadline: Duration) -> io::Result<Harness> {
        let (reply, heard) = watch::channel(Vec::new());
        let any = (Ipv4Addr::UNSPECIFIED, 0);
        let port = if protocol.udp {
            let socket = UdpSocket::bind(any).await?;
            let port = socket.local_addr()?.port();
            tokio::spawn(answer_datagrams(protocol, socket, heard));
            port
        } else {
            let listener = TcpListener::bind(any).await?;
            let port = listener.local_addr()?.port();
            tokio::spawn(answer_connections(listener, heard));
            port
        };
        let probe = protocol.probe((Ipv4Addr::LOCALHOST, port).into(), deadline);
        Ok(Harness { protocol, probe, checker: Checker::new().unwrap(), reply, runs: AtomicU32::new(0) })
    }

    /// Runs the check on this reply.
    pub async fn run(&self, reply: &[u8]) -> Verdict {
        self.reply.send_replace(reply.to_vec());
        if self.protocol.udp {
            return self.checker.run(&self.probe).await;
        }
        // A closed connection keeps its port to the server for a while, so there are many server addresses.
        let [_, _, high, low] = self.runs.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let address = IpAddr::V4(Ipv4Addr::new(127, 1, high & 15, low.max(1)));
        let target = SocketAddr::new(address, self.probe.target.port());
        self.checker.run(&Probe { target, ..self.probe.clone() }).await
    }

    /// Checks what must be true for every verdict, independent of the reply. The error says what is wrong.
    ///
    /// # Errors
    /// When the check is late, blames this machine, or reveals a secret.
    pub fn judge(&self, reply: &[u8], verdict: &Verdict) -> Result<(), String> {
        // Text from the server itself is not a secret.
        let said = String::from_utf8_lossy(reply);
        let given_away = |secret: &&str| verdict.reason.contains(*secret) && !said.contains(*secret);
        let wrong = if verdict.is_unknown() {
            "unknown, but the server is at fault"
        } else if verdict.reason.contains('\n') {
            "the reason has more than one line"
        } else if [PASSWORD, SECRET].iter().any(given_away) {
            "the reason contains a secret"
        } else if verdict.took > self.probe.deadline + SLACK {
            "late"
        } else {
            return Ok(());
        };
        Err(format!("{}: {wrong}: {verdict:?}", self.protocol.name))
    }
}

async fn answer_connections(listener: TcpListener, reply: watch::Receiver<Vec<u8>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let reply = reply.borrow().clone();
        tokio::spawn(async move {
            let mut buffer = [0; 1024];
            let mut rest = reply.as_slice();
            while let Some(end) = rest.windows(PAUSE.len()).position(|bytes| bytes == PAUSE) {
                drop(stream.write_all(&rest[..end]).await);
                drop(timeout(PATIENCE, stream.read(&mut buffer)).await);
                rest = &rest[end + PAUSE.len()..];
            }
            drop(stream.write_all(rest).await);
            drop(stream.shutdown().await);
            while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
        });
    }
}

async fn answer_datagrams(protocol: Protocol, socket: UdpSocket, reply: watch::Receiver<Vec<u8>>) {
    let mut question = [0; 4096];
    while let Ok((length, peer)) = socket.recv_from(&mut question).await {
        let mut reply = reply.borrow().clone();
        match protocol.name {
            "dns" => belong_to_dns(&mut reply, &question[..length]),
            _ => belong_to_radius(&mut reply, &question[..length]),
        }
        drop(socket.send_to(&reply, peer).await);
    }
}

/// Copies the id of the question, without which the check ignores an answer.
fn belong_to_dns(reply: &mut [u8], question: &[u8]) {
    if let (Some(own), Some(asked)) = (reply.get_mut(..2), question.get(..2)) {
        own.copy_from_slice(asked);
    }
}

/// Sets the id of the request, and the authenticator computed with the secret (RFC 2865 3).
fn belong_to_radius(reply: &mut [u8], request: &[u8]) {
    if reply.len() < 20 || request.len() < 20 {
        return;
    }
    reply[1] = request[1];
    let mut hash = Md5::new();
    hash.update(&reply[..4]);
    hash.update(&request[4..20]);
    hash.update(&reply[20..]);
    hash.update(SECRET);
    reply[4..20].copy_from_slice(&hash.finalize());
}
