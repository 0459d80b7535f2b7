//! Test servers: each accepts connections until it is dropped, and runs its script on every one.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A server that stops when it is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// The first message of each client, one text per connection (only for servers that read).
    pub(super) requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Serves each connection with this function.
    pub(super) async fn start<F, W>(bind: &str, serve: F) -> Server
    where
        F: Fn(TcpStream) -> W + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(bind).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
        Server { address, requests: Arc::default(), task }
    }

    /// Reads a request, sends an answer that may depend on it, and closes.
    pub(super) async fn answering<F>(bind: &str, answer: F) -> Server
    where
        F: Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen) = (Arc::new(answer), Arc::clone(&requests));
        let mut server = Server::start(bind, move |mut stream| {
            let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
            async move {
                let request = read_request(&mut stream).await;
                let reply = answer(&request);
                seen.lock().unwrap().push(request);
                drop(stream.write_all(&reply).await);
                drop(stream.shutdown().await);
            }
        })
        .await;
        server.requests = requests;
        server
    }

    /// Serves each connection in TLS, with a self-signed certificate.
    pub(super) async fn tls<F, W>(bind: &str, serve: F) -> Server
    where
        F: Fn(TlsStream<TcpStream>) -> W + Clone + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        Server::tls_by(bind, acceptor(), serve).await
    }

    /// The same with the given acceptor.
    pub(super) async fn tls_by<F, W>(bind: &str, acceptor: TlsAcceptor, serve: F) -> Server
    where
        F: Fn(TlsStream<TcpStream>) -> W + Clone + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        Server::start(bind, move |stream| {
            let (acceptor, serve) = (acceptor.clone(), serve.clone());
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream).await;
                }
            }
        })
        .await
    }

    /// Reads and never answers.
    pub(super) async fn silent(bind: &str) -> Server {
        Server::start(bind, |mut stream| async move {
            let mut buffer = [0; 1024];
            while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
            std::future::pending::<()>().await;
        })
        .await
    }
}

pub(super) fn acceptor() -> TlsAcceptor {
    let own = rcgen::generate_simple_self_signed(["www.example.net".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Resets a connection.
pub(super) fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
}

/// Reads until the empty line of an HTTP request, or the end.
pub(super) async fn read_request(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(length) if length > 0 => request.extend_from_slice(&buffer[..length]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&request).into_owned()
}
