//! `service=mysql` (MySQL and MariaDB): a login, and a query that must return at least one row.
//!
//! Without a client library: none accepts an existing connection with TLS already set up.

use std::io;

use mysql_common::constants::CapabilityFlags;
use mysql_common::crypto;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse, SslRequest};
use mysql_common::proto::MySerialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};

use super::clients::Clients;
use super::failure::{injected, unreachable};
use super::format;
use super::progress::{CheckStep, Progress};
use super::sql::{INCOMPLETE, name};
use crate::net::stream::Stream;
use crate::net::{cause, dial, local_cause};
use crate::spec::{Probe, SqlProbe};
use crate::value::{UnknownCause, Verdict};

/// Larger packets are rejected.
const MAX_PACKET: usize = 1024 * 1024;
/// The largest RSA key in PEM form, in bytes (a 4096-bit key has 800). Encryption with a larger key takes too long.
const MAX_KEY: usize = 1024;
/// The most columns of a table.
const MAX_COLUMNS: u64 = 4096;
/// The most packets that a server may send during a login.
const MAX_QUESTIONS: usize = 8;
/// `utf8_general_ci`, which every version knows.
const COLLATION: u8 = 33;

/// Logs in and runs the query.
pub(super) async fn run(clients: &Clients, probe: &Probe, sql: &SqlProbe, progress: &Progress) -> Verdict {
    let name = name("mysql", probe, sql);
    if sql.is_incomplete() {
        return Verdict::down(format!("{name}: {INCOMPLETE}"));
    }
    progress.connecting(probe.target);
    let stream = match dial::connect(probe.target).await {
        Ok(stream) => stream,
        Err(error) => return unreachable(&format!("connect to {}", probe.target), &error),
    };
    progress.connected(CheckStep::Greeting);
    let packets = Packets { stream: BufReader::new(Stream::Plain(stream)), next: 0, progress };
    let answer = async {
        let mut packets = packets.log_in(clients, probe, sql).await.map_err(|why| why.at("login"))?;
        packets.rows(&sql.query).await.map_err(|why| why.at("query"))
    };
    match answer.await {
        Ok(true) => Verdict::up(format!("{name}: the query returns rows")),
        Ok(false) => Verdict::down(format!("{name}: the query returns no rows")),
        Err(Why::Local(cause, why)) => Verdict::unknown(cause, format!("{name}: {why}")),
        Err(Why::Server(why)) => Verdict::down(format!("{name}: {why}")),
    }
}

/// Why there is no result.
enum Why {
    /// A limit of this machine.
    Local(UnknownCause, String),
    /// The server or the network failed.
    Server(String),
}

impl Why {
    fn at(self, step: &str) -> Why {
        match self {
            Why::Local(cause, why) => Why::Local(cause, format!("{step}: {why}")),
            Why::Server(why) => Why::Server(format!("{step}: {why}")),
        }
    }
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Why {
        match (local_cause(&error), error.kind()) {
            (Some(local), _) => Why::Local(local, cause(&error)),
            (None, io::ErrorKind::UnexpectedEof) => {
                Why::Server("the server closed the connection".to_owned())
            }
            (None, _) => Why::Server(cause(&error)),
        }
    }
}

fn server(why: impl Into<String>) -> Why {
    Why::Server(why.into())
}

/// A connection that sends and receives numbered packets.
struct Packets<'a> {
    stream: BufReader<Stream>,
    /// The number of the next packet.
    next: u8,
    progress: &'a Progress,
}

impl<'a> Packets<'a> {
    async fn read(&mut self) -> Result<Vec<u8>, Why> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).await?;
        let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
        if length > MAX_PACKET {
            let limit = format::number(MAX_PACKET as u64);
            return Err(server(format!(
                "the answer is not MySQL, or its packet is larger than {limit} bytes"
            )));
        }
        self.next = head[3].wrapping_add(1);
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await?;
        match payload.first() {
            Some(0xff) => Err(server(refusal(&payload))),
            _ => Ok(payload),
        }
    }

    async fn write(&mut self, payload: &[u8]) -> Result<(), Why> {
        let [low, middle, high, ..] = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
        let mut packet = vec![low, middle, high, self.next];
        packet.extend_from_slice(payload);
        self.next = self.next.wrapping_add(1);
        self.stream.write_all(&packet).await?;
        Ok(self.stream.flush().await?)
    }

    async fn log_in(mut self, clients: &Clients, probe: &Probe, sql: &SqlProbe) -> Result<Packets<'a>, Why> {
        let greeting = self.read().await?;
        let greeting = ParseBuf(&greeting)
            .parse::<HandshakePacket<'_>>(())
            .map_err(|_| server(format!("the greeting is not MySQL: {}", format::beginning(&greeting, 40))))?
            .into_owned();
        let capabilities = greeting.capabilities() & wanted(sql);
        if sql.starttls {
            if !greeting.capabilities().contains(CapabilityFlags::CLIENT_SSL) {
                return Err(server("the server does not offer TLS here"));
            }
            self = self.seal(clients, probe, sql, capabilities | CapabilityFlags::CLIENT_SSL).await?;
        }
        self.progress.step(CheckStep::Answer("the answer to the login"));
        let plugin = match greeting.auth_plugin() {
            Some(AuthPlugin::CachingSha2Password) => AuthPlugin::CachingSha2Password,
            _ => AuthPlugin::MysqlNativePassword,
        };
        let nonce = greeting.nonce();
        let proof = plugin.gen_data(Some(sql.passwd.reveal()), &nonce);
        let sealed = if sql.starttls { CapabilityFlags::CLIENT_SSL } else { CapabilityFlags::empty() };
        let response = HandshakeResponse::new(
            proof.as_deref(),
            greeting.server_version_parsed().unwrap_or_default(),
            Some(sql.login.as_bytes()),
            Some(sql.database.as_bytes()).filter(|name| !name.is_empty()),
            Some(plugin.clone()),
            capabilities | sealed,
            None,
            MAX_PACKET as u32,
        );
        self.write(&bytes(&response)).await?;
        self.authenticate(sql, nonce).await?;
        Ok(self)
    }

    /// Switches to TLS. Unlike in other protocols, the server does not confirm the request.
    async fn seal(
        mut self,
        clients: &Clients,
        probe: &Probe,
        sql: &SqlProbe,
        capabilities: CapabilityFlags,
    ) -> Result<Packets<'a>, Why> {
        self.write(&bytes(&SslRequest::new(capabilities, MAX_PACKET as u32, COLLATION))).await?;
        match self.stream.buffer().len() {
            0 => {}
            more => return Err(server(injected("the greeting", more))),
        }
        self.progress.step(CheckStep::Handshake);
        let Stream::Plain(stream) = self.stream.into_inner() else {
            return Err(server("TLS is already in use"));
        };
        let stream = clients
            .handshake(&sql.tls, probe.target.ip(), stream, self.progress)
            .await
            .map_err(|error| server(error.to_string()))?;
        Ok(Packets { stream: BufReader::new(stream), ..self })
    }

    /// Answers the server's requests until it accepts the login.
    async fn authenticate(&mut self, sql: &SqlProbe, mut nonce: Vec<u8>) -> Result<(), Why> {
        let passwd = sql.passwd.reveal();
        for _ in 0..MAX_QUESTIONS {
            let packet = self.read().await?;
            match packet.as_slice() {
                [0x00, ..] => return Ok(()),
                [0xfe] => {
                    return Err(server(
                        "the server requires the password hash of MySQL 3, which is not supported",
                    ));
                }
                // The server requires another method than the first one.
                [0xfe, ..] => {
                    let wish = ParseBuf(&packet).parse::<AuthSwitchRequest<'_>>(());
                    let wish = wish.map_err(|_| server("the answer is not MySQL"))?;
                    nonce = wish.plugin_data().to_vec();
                    let plugin = wish.auth_plugin();
                    if !matches!(plugin, AuthPlugin::CachingSha2Password | AuthPlugin::MysqlNativePassword) {
                        let plugin = format::beginning(plugin.as_bytes(), 40);
                        return Err(server(format!(
                            "the server requires the login method {plugin}, which is not supported"
                        )));
                    }
                    let proof = plugin.gen_data(Some(passwd), &nonce);
                    self.write(proof.as_deref().unwrap_or_default()).await?;
                }
                // caching_sha2_password: the server has the user in its cache and sends OK next.
                [0x01, 0x03] => {}
                [0x01, 0x04] => self.send_passwd(passwd, &nonce).await?,
                _ => return Err(server("the answer is not MySQL")),
            }
        }
        Err(server(format!("no result after {MAX_QUESTIONS} packets of the server")))
    }

    /// Sends the password itself: unchanged in TLS, else encrypted with the server's RSA key.
    async fn send_passwd(&mut self, passwd: &str, nonce: &[u8]) -> Result<(), Why> {
        let mut text: Vec<u8> = passwd.bytes().chain([0]).collect();
        if !matches!(self.stream.get_ref(), Stream::Plain(_)) {
            return self.write(&text).await;
        }
        self.write(&[0x02]).await?;
        let answer = self.read().await?;
        let [0x01, key @ ..] = answer.as_slice() else { return Err(server("the answer is not MySQL")) };
        if key.len() > MAX_KEY {
            return Err(server(format!(
                "the server's RSA key has {} bytes, at most {MAX_KEY} are accepted",
                key.len()
            )));
        }
        for (byte, salt) in text.iter_mut().zip(nonce.iter().cycle()) {
            *byte ^= salt;
        }
        self.write(&crypto::encrypt(&text, key)).await
    }

    /// Runs the query. Returns whether it has a row.
    async fn rows(&mut self, query: &str) -> Result<bool, Why> {
        const COM_QUERY: u8 = 3;
        const COM_QUIT: u8 = 1;
        self.progress.step(CheckStep::Answer("the answer to the query"));
        self.next = 0;
        self.write(&[&[COM_QUERY], query.as_bytes()].concat()).await?;
        let head = self.read().await?;
        let columns = match head.as_slice() {
            // A statement without a result set.
            [0x00, ..] => return Ok(false),
            [0xfb, ..] => {
                return Err(server(
                    "the server requests a file of this machine (LOCAL INFILE), which is refused",
                ));
            }
            counted => column_count(counted).ok_or_else(|| server("the answer is not MySQL"))?,
        };
        for _ in 0..=columns {
            let column = self.read().await?;
            self.progress.received(&column);
        }
        let row = self.read().await?;
        let found = !(row.first() == Some(&0xfe) && row.len() < 9);
        // Quit without waiting. The remaining rows are not read.
        self.next = 0;
        drop(self.write(&[COM_QUIT]).await);
        Ok(found)
    }
}

/// The capabilities of this client. LOCAL INFILE is not among them: the server must not request files of this machine.
fn wanted(sql: &SqlProbe) -> CapabilityFlags {
    let mut flags = CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_MULTI_STATEMENTS
        | CapabilityFlags::CLIENT_MULTI_RESULTS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH;
    flags.set(CapabilityFlags::CLIENT_CONNECT_WITH_DB, !sql.database.is_empty());
    flags
}

fn bytes(packet: &impl MySerialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.serialize(&mut bytes);
    bytes
}

/// The number of columns. It must be the whole packet.
fn column_count(packet: &[u8]) -> Option<u64> {
    let count = match *packet {
        [small] => u64::from(small),
        [0xfc, low, high] => u64::from(u16::from_le_bytes([low, high])),
        _ => return None,
    };
    (1..=MAX_COLUMNS).contains(&count).then_some(count)
}

/// `error 1045 "Access denied for user …"`
fn refusal(packet: &[u8]) -> String {
    let code = packet.get(1..3).map_or(0, |code| u16::from_le_bytes([code[0], code[1]]));
    let text = packet.get(3..).unwrap_or_default();
    // `#` begins the SQL state. A server that refuses the connection sends none.
    let text = if text.first() == Some(&b'#') { text.get(6..).unwrap_or_default() } else { text };
    format!("error {code} {}", format::beginning(text, 200))
}
