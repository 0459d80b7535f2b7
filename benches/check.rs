//! CPU time of one check of each kind, beside what others need for the same in the same run: `cargo bench --bench
//! check`.
//!
//! One thread makes the checks, 200 in flight, a new connection for each. The servers are a process of their own on
//! loopback, so that only the checks' CPU time counts; what the kernel does for a connection is in it. Of several
//! rounds the cheapest counts: the others measure what else the machine did.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark ends by panic and lives by the clock"
)]

use std::future::Future;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use ldirectord_rs::check::Checker;
use ldirectord_rs::config::HttpMethod;
use ldirectord_rs::spec::{ExternalProbe, HttpProbe, Probe, ProbeAction, Redirects, Scheme, SimpleTcpProbe};
use ldirectord_rs::value::{Outcome, Pattern, Tls};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Checks of one kind in one round.
const CHECKS: usize = 4000;
/// The same where each check is a process.
const COMMANDS: usize = 200;
/// Checks in flight.
const IN_FLIGHT: usize = 200;
/// Rounds over all kinds.
const ROUNDS: usize = 4;
/// Addresses of each server: one alone would run out of ports, since closed connections keep theirs for a minute.
const ADDRESSES: usize = 16;
/// What the HTTP servers answer.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nI am fine";

fn main() {
    if std::env::args().any(|argument| argument == "serve") {
        return runtime().block_on(serve());
    }
    let servers = Servers::start();
    runtime().block_on(measure(&servers));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// One kind of work, with its cheapest round so far.
struct Row {
    name: &'static str,
    count: usize,
    cpu: Duration,
    wall: Duration,
}

/// The rows in the order in which they were first measured.
#[derive(Default)]
struct Rows(Vec<Row>);

impl Rows {
    /// Runs `work` repeatedly, some runs at the same time, and keeps the best times.
    async fn round<F: Future<Output = ()>>(
        &mut self,
        name: &'static str,
        count: usize,
        work: impl Fn(usize) -> F,
    ) {
        let (cpu, start) = (cpu_time(), Instant::now());
        futures_util::stream::iter(0..count)
            .map(work)
            .buffer_unordered(IN_FLIGHT)
            .for_each(|()| async {})
            .await;
        let (cpu, wall) = (cpu_time() - cpu, start.elapsed());
        match self.0.iter_mut().find(|row| row.name == name) {
            Some(row) => (row.cpu, row.wall) = (row.cpu.min(cpu), row.wall.min(wall)),
            None => self.0.push(Row { name, count, cpu, wall }),
        }
    }

    fn print(&self) {
        let each = |total: Duration, row: &Row| total.as_secs_f64() * 1e6 / row.count as f64;
        let base = each(self.0[0].cpu, &self.0[0]);
        println!("{:<34} {:>6} {:>10} {:>10} {:>8}", "kind", "count", "CPU µs", "wall µs", "ratio");
        for row in &self.0 {
            let (cpu, wall) = (each(row.cpu, row), each(row.wall, row));
            println!("{:<34} {:>6} {cpu:>10.1} {wall:>10.1} {:>7.2}x", row.name, row.count, cpu / base);
        }
    }
}

async fn measure(servers: &Servers) {
    let checker = Checker::new().unwrap();
    let client = || reqwest::Client::builder().pool_max_idle_per_host(0).no_proxy();
    let plain_client = client().build().unwrap();
    let tls_client = client().tls_danger_accept_invalid_certs(true).build().unwrap();
    let (plain, tls) = (|n: usize| servers.plain[n % ADDRESSES], |n: usize| servers.tls[n % ADDRESSES]);
    let pings = checker.run(&ping(plain(0))).await.outcome == Outcome::Up;
    let mut rows = Rows::default();
    for _ in 0..ROUNDS {
        rows.round("bare connect (tokio)", CHECKS, |n| async move {
            drop(TcpStream::connect(plain(n)).await.unwrap());
        })
        .await;
        rows.round("check: connect", CHECKS, |n| up(&checker, probe(plain(n), ProbeAction::Connect))).await;
        rows.round("check: simpletcp", CHECKS, |n| up(&checker, simple_tcp(plain(n)))).await;
        rows.round("check: http", CHECKS, |n| up(&checker, http(plain(n), Scheme::Http))).await;
        rows.round("reqwest, shared client: http", CHECKS, |n| fetch(&plain_client, "http", plain(n))).await;
        rows.round("check: https", CHECKS, |n| up(&checker, http(tls(n), Scheme::Https))).await;
        rows.round("reqwest, shared client: https", CHECKS, |n| fetch(&tls_client, "https", tls(n))).await;
        if pings {
            rows.round("check: ping", CHECKS, |n| up(&checker, ping(plain(n)))).await;
        }
        rows.round("bare process (tokio): true", COMMANDS, |_| bare_process()).await;
        rows.round("check: external: true", COMMANDS, |n| up(&checker, external(plain(n)))).await;
    }
    rows.print();
    if !pings {
        println!("check: ping is left out: this process is not permitted to send pings");
    }
}

/// User and system time of this process and of the commands that it has waited for. The servers still run.
fn cpu_time() -> Duration {
    let micros: i64 = [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN]
        .into_iter()
        .map(|who| getrusage(who).unwrap())
        .map(|usage| usage.user_time().num_microseconds() + usage.system_time().num_microseconds())
        .sum();
    Duration::from_micros(micros.try_into().unwrap())
}

fn probe(target: SocketAddr, action: ProbeAction) -> Probe {
    Probe { target, deadline: Duration::from_secs(10), action }
}

fn ping(target: SocketAddr) -> Probe {
    probe(target, ProbeAction::Ping { attempts: 1 })
}

fn simple_tcp(target: SocketAddr) -> Probe {
    let (request, receive) = ("status\n".to_owned(), Some(Pattern::parse("fine").unwrap()));
    probe(target, ProbeAction::SimpleTcp(SimpleTcpProbe { request, receive, udp: false }))
}

fn http(target: SocketAddr, scheme: Scheme) -> Probe {
    let http = HttpProbe {
        scheme,
        method: HttpMethod::Get,
        request: "/status".to_owned(),
        host: Some("www.example.net".to_owned()),
        tls: Tls { server_name: Some("www.example.net".to_owned()), ..Tls::default() },
        receive: Some(Pattern::parse("I am fine").unwrap()),
        redirects: Redirects::Any,
        proxy: false,
    };
    probe(target, ProbeAction::Http(http))
}

fn external(target: SocketAddr) -> Probe {
    let arguments = ["10.0.0.1", "80", "10.0.0.2", "80"].map(str::to_owned);
    probe(target, ProbeAction::External(ExternalProbe { command: "true".to_owned(), perl: false, arguments }))
}

async fn up(checker: &Checker, probe: Probe) {
    let verdict = checker.run(&probe).await;
    assert_eq!(verdict.outcome, Outcome::Up, "{verdict:?}");
}

async fn fetch(client: &reqwest::Client, scheme: &str, target: SocketAddr) {
    let response = client.get(format!("{scheme}://{target}/status")).header("Host", "www.example.net").send();
    let body = response.await.unwrap().bytes().await.unwrap();
    assert!(body.ends_with(b"I am fine"));
}

async fn bare_process() {
    let status = tokio::process::Command::new("true").stdin(Stdio::null()).stdout(Stdio::null()).status();
    assert!(status.await.unwrap().success());
}

/// The server process as seen from the benchmark.
struct Servers {
    child: Child,
    plain: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
}

impl Servers {
    fn start() -> Servers {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.arg("serve").stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().take(2 * ADDRESSES);
        let mut plain: Vec<SocketAddr> = lines.map(|line| line.unwrap().parse().unwrap()).collect();
        let tls = plain.split_off(ADDRESSES);
        Servers { child, plain, tls }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server process: plain servers, then those with TLS. Says where each of them is.
async fn serve() {
    let acceptor = acceptor();
    let mut tasks = Vec::new();
    for index in 0..2 * ADDRESSES {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        let acceptor = (index >= ADDRESSES).then(|| acceptor.clone());
        tasks.push(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    match acceptor {
                        Some(acceptor) => answer(acceptor.accept(stream).await?).await,
                        None => answer(stream).await,
                    }
                });
            }
        }));
    }
    futures_util::future::join_all(tasks).await;
}

async fn answer(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) -> std::io::Result<()> {
    if stream.read(&mut [0; 1024]).await? > 0 {
        stream.write_all(ANSWER).await?;
    }
    stream.shutdown().await
}

fn acceptor() -> TlsAcceptor {
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
