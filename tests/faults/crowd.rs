//! Many web servers with one listener: every address of 127.0.0.0/8, or of a namespace, answers at its port.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;

/// The answer of all servers of a crowd.
pub type Reply = Arc<Vec<u8>>;

/// The time between two bytes of an endless answer.
const DRIP: Duration = Duration::from_millis(100);

/// How the servers of a crowd answer.
#[derive(Clone, Copy)]
enum Manner {
    AnswerAfter(Duration),
    Drip,
}

/// The servers. They stop when this is dropped.
pub struct Crowd {
    port: u16,
    reply: Arc<Mutex<Reply>>,
    answered: Arc<AtomicUsize>,
    runtime: Option<Runtime>,
}

impl Crowd {
    /// Servers that speak HTTP.
    pub fn http(reply: Vec<u8>) -> Crowd {
        Crowd::start(Manner::AnswerAfter(Duration::ZERO), reply, None)
    }

    /// The same, with a delay before each answer.
    pub fn http_after(delay: Duration, reply: Vec<u8>) -> Crowd {
        Crowd::start(Manner::AnswerAfter(delay), reply, None)
    }

    /// Servers whose answers begin with this text and never end: one byte at intervals, while the client is
    /// connected.
    pub fn http_dripping(beginning: Vec<u8>) -> Crowd {
        Crowd::start(Manner::Drip, beginning, None)
    }

    /// Servers that speak HTTP over TLS, with a certificate of their own.
    pub fn https(reply: Vec<u8>) -> Crowd {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
        let config =
            rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certified.cert.der().clone()], key)
                .unwrap();
        Crowd::start(Manner::AnswerAfter(Duration::ZERO), reply, Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn start(manner: Manner, reply: Vec<u8>, tls: Option<TlsAcceptor>) -> Crowd {
        // With the standard library's short queue, bursts would lose connections.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).unwrap();
        socket.listen(4096).unwrap();
        socket.set_nonblocking(true).unwrap();
        let listener = std::net::TcpListener::from(socket);
        let port = listener.local_addr().unwrap().port();
        let (reply, answered) = (Arc::new(Mutex::new(Arc::new(reply))), Arc::new(AtomicUsize::new(0)));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (shared, count) = (Arc::clone(&reply), Arc::clone(&answered));
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (reply, tls, count) =
                    (Arc::clone(&shared.lock().unwrap()), tls.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    match tls {
                        None => answer(stream, manner, &reply).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => answer(stream, manner, &reply).await,
                            Err(_) => return,
                        },
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Crowd { port, reply, answered, runtime: Some(runtime) }
    }

    /// The port at which all servers listen.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The first `count` servers on loopback.
    pub fn on_loopback(&self, count: u16) -> Vec<SocketAddr> {
        (1..=count)
            .map(|number| {
                let [high, low] = number.to_be_bytes();
                SocketAddrV4::new(Ipv4Addr::new(127, 1, high, low), self.port).into()
            })
            .collect()
    }

    /// Sets the answer for all later connections.
    pub fn reply(&self, reply: Vec<u8>) {
        *self.reply.lock().unwrap() = Arc::new(reply);
    }

    /// The number of answered requests.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Stops all servers: connections are refused from now on.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Answers one request. A client that leaves early is ignored.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, manner: Manner, reply: &[u8]) {
    let mut request = [0; 2048];
    if !stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {
        return;
    }
    match manner {
        Manner::AnswerAfter(delay) => {
            tokio::time::sleep(delay).await;
            drop(stream.write_all(reply).await);
            drop(stream.shutdown().await);
        }
        Manner::Drip => {
            let mut sent = stream.write_all(reply).await;
            while sent.is_ok() {
                tokio::time::sleep(DRIP).await;
                sent = stream.write_all(b".").await;
            }
        }
    }
}

/// A page with this body.
pub fn page(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A redirect to this location.
pub fn redirect(location: &str) -> Vec<u8> {
    let head = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\nLocation: ";
    format!("{head}{location}\r\n\r\n").into_bytes()
}

/// The beginning of an answer whose body has no length.
pub fn endless(body: &[u8]) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", body].concat()
}
