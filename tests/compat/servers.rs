//! The real servers of a scenario: listeners in its network, each with a behaviour of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// All servers of a scenario by address.
#[derive(Default)]
pub struct Servers(BTreeMap<SocketAddr, Server>);

#[derive(Default)]
struct Server {
    site: Arc<Site>,
    listening: Option<(TcpListener, JoinHandle<()>)>,
}

#[derive(Default)]
struct Site {
    manner: Mutex<Manner>,
    /// By path: the status line without its version, and the body.
    pages: Mutex<BTreeMap<String, (String, String)>>,
    asked: Mutex<Vec<String>>,
    /// It speaks TLS with an untrusted certificate.
    tls: Mutex<Option<Arc<ServerConfig>>>,
}

/// How a server treats a connection.
#[derive(Default, Clone)]
enum Manner {
    /// Serves pages. An unknown path gives `200 OK` with the body `ok`.
    #[default]
    Http,
    /// Reads, and then sends this.
    Reply(Vec<u8>),
    /// Sends this at once, and then reads.
    Banner(Vec<u8>),
    /// Never sends anything.
    Silent,
}

impl Servers {
    /// Listens at an address (again).
    pub fn up(&mut self, address: SocketAddr) {
        let server = self.0.entry(address).or_default();
        if server.listening.is_some() {
            return;
        }
        let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("listen at {address}: {e}"));
        let (own, site) = (listener.try_clone().unwrap(), server.site.clone());
        let thread = thread::spawn(move || {
            // The shutdown of the listener makes `accept` fail.
            while let Ok((stream, _)) = own.accept() {
                let site = site.clone();
                thread::spawn(move || site.answer(stream));
            }
        });
        server.listening = Some((listener, thread));
    }

    /// Refuses connections.
    pub fn down(&mut self, address: SocketAddr) {
        if let Some((listener, thread)) = self.0.entry(address).or_default().listening.take() {
            shutdown(listener.as_raw_fd(), Shutdown::Both).unwrap();
            thread.join().unwrap();
        }
    }

    /// Sets the behaviour of a server: `http`, `silent`, `reply TEXT`, `banner TEXT`.
    pub fn answer(&mut self, address: SocketAddr, manner: &str) {
        let (word, text) = manner.split_once(' ').unwrap_or((manner, ""));
        let text = text.replace("\\r", "\r").replace("\\n", "\n").into_bytes();
        *self.0.entry(address).or_default().site.manner.lock().unwrap() = match word {
            "http" => Manner::Http,
            "silent" => Manner::Silent,
            "reply" => Manner::Reply(text),
            "banner" => Manner::Banner(text),
            _ => panic!("unknown behaviour: {manner}"),
        };
    }

    /// Adds TLS below all other behaviour from now on.
    pub fn tls(&mut self, address: SocketAddr) {
        let own = rcgen::generate_simple_self_signed(vec!["www.example.com".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        *self.0.entry(address).or_default().site.tls.lock().unwrap() = Some(Arc::new(config));
    }

    /// Adds a page: `PATH STATUS BODY`, the status with `_` for blanks.
    pub fn page(&mut self, address: SocketAddr, words: &str) {
        let mut words = words.splitn(3, ' ');
        let mut next = || words.next().unwrap_or_default().to_owned();
        let (path, status, body) = (next(), next().replace('_', " "), next());
        self.0.entry(address).or_default().site.pages.lock().unwrap().insert(path, (status, body));
    }

    /// The requests so far, each with the address that received it.
    pub fn asked(&self) -> Vec<String> {
        let each = self.0.iter().flat_map(|(address, server)| {
            let asked = server.site.asked.lock().unwrap().clone();
            asked.into_iter().map(move |line| format!("{address} {line}"))
        });
        each.collect()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let addresses: Vec<_> = self.0.keys().copied().collect();
        addresses.into_iter().for_each(|address| self.down(address));
    }
}

impl Site {
    /// Serves one connection. Errors are ignored: the client notices them.
    fn answer(&self, mut stream: TcpStream) {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
        let tls = self.tls.lock().unwrap().clone();
        let Some(config) = tls else { return self.converse(stream, "") };
        let mut connection = ServerConnection::new(config).unwrap();
        while connection.is_handshaking() {
            if connection.complete_io(&mut stream).is_err() {
                return;
            }
        }
        let name = format!(" SNI: {}", connection.server_name().unwrap_or("(none)"));
        let mut stream = StreamOwned::new(connection, stream);
        self.converse(&mut stream, &name);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }

    fn converse(&self, mut stream: impl Read + Write, name: &str) {
        let manner = self.manner.lock().unwrap().clone();
        match manner {
            Manner::Http => self.serve_page(&mut stream, name),
            Manner::Silent => drain(&mut stream),
            Manner::Reply(text) => {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(&text);
            }
            Manner::Banner(text) => {
                let _ = stream.write_all(&text);
                drain(&mut stream);
            }
        }
    }

    fn serve_page(&self, stream: &mut (impl Read + Write), name: &str) {
        let Some((line, host)) = read_request(stream) else { return };
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        self.asked.lock().unwrap().push(format!("{line} Host: {host}{name}"));
        let page = self.pages.lock().unwrap().get(&path).cloned();
        let (status, body) = page.unwrap_or_else(|| ("200 OK".to_owned(), "ok".to_owned()));
        let (status, header) = status.split_once('|').unwrap_or((&status, "X-Lab: 1"));
        let head = format!(
            "HTTP/1.1 {status}\r\n{header}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let body = if line.starts_with("HEAD ") { "" } else { &body };
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
    }
}

fn drain(stream: &mut impl Read) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
}

/// The request line and the `Host` header.
fn read_request(stream: &mut impl Read) -> Option<(String, String)> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut host = "(none)".to_owned();
    loop {
        let line = lines.next()?.ok()?;
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("host") => value.trim().clone_into(&mut host),
            None if line.is_empty() => return Some((first, host)),
            _ => {}
        }
    }
}
