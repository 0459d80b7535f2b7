//! Programs that ask a busy daemon: `cargo bench --bench readers`.
//!
//! 10,000 servers of 1,000 virtual services on loopback, of which 1,000 change their state each second, with a table
//! in memory. Measured: how long a program waits for an answer on the control socket (the first byte, and the whole),
//! `is-up` as a process, `plan`, how much later the loop answers while clients read, and the memory that 100 clients
//! cost which never read their answer.
//!
//! The servers are a separate process.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark ends by panic and lives by the clock"
)]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use socket2::{Domain, Socket, Type};

const SERVICES: usize = 1000;
const SERVERS: usize = 10;
/// Each server is up for this time, and then down for this time.
const PERIOD: Duration = Duration::from_secs(10);
const SETTLE: Duration = Duration::from_secs(20);
/// The socket of the HTTP listener.
const HTTP: &str = "http.sock";
/// Clients that never read.
const SILENT: usize = 100;

fn main() {
    if std::env::args().any(|argument| argument == "serve") {
        return serve();
    }
    let servers = Servers::start();
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path(), &config(servers.port));
    thread::sleep(SETTLE);
    println!("{} servers, {:.0} changes/s", SERVICES * SERVERS, daemon.changes_per_second());
    println!("question                      first byte ms        whole ms             bytes");
    println!("                              median     p99       median     p99");
    daemon.report("is-up's question", r#"{"v":1,"request":"show","service":"tcp:192.0.2.1:1007"}"#, 500);
    daemon.report(
        "show-server",
        &format!(r#"{{"v":1,"request":"show-server","server":"127.1.0.8:{}"}}"#, servers.port),
        100,
    );
    daemon.report("show (all)", r#"{"v":1,"request":"show"}"#, 20);
    daemon.report("metrics", r#"{"v":1,"request":"metrics"}"#, 20);
    daemon.report("plan", r#"{"v":1,"request":"plan"}"#, 5);
    daemon.report("GET /healthz", &get("/healthz"), 500);
    daemon.report("GET /metrics", &get("/metrics"), 20);
    daemon.report("GET /api/v1/state", &get("/api/v1/state"), 20);
    processes(&daemon);
    delay_of_the_loop(&daemon);
    silent_clients(&daemon);
}

/// A request to the HTTP listener.
fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r")
}

/// A virtual service for each ten servers.
fn config(port: u16) -> String {
    let mut config = String::from("checkinterval=5\nchecktimeout=3\nquiescent=yes\nfailurecount=1\n");
    for service in 0..SERVICES {
        let _ =
            writeln!(config, "virtual=192.0.2.1:{}\n\tservice=http\n\trequest=\"health\"", 1000 + service);
        for server in 0..SERVERS {
            let index = service * SERVERS + server;
            let [_, _, high, low] = u32::try_from(index + 1).unwrap().to_be_bytes();
            let _ = writeln!(config, "\treal=127.1.{high}.{low}:{port} masq");
        }
    }
    config
}

/// The server process: answers on every loopback address.
fn serve() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).unwrap();
    socket.listen(4096).unwrap();
    let listener = TcpListener::from(socket);
    println!("{}", listener.local_addr().unwrap().port());
    for _ in 0..4 {
        let listener = listener.try_clone().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = stream.and_then(answer);
            }
        });
    }
    // Until the benchmark ends.
    let _ = std::io::stdin().lines().count();
}

/// Whether a server is up depends on its address and the time, so that each second the same number changes.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let SocketAddr::V4(address) = stream.local_addr()? else { return Ok(()) };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let period = PERIOD.as_millis();
    let phase = u128::from(address.ip().to_bits().wrapping_mul(2_654_435_761)) % (2 * period);
    let status = if (now + phase) % (2 * period) < period { "200 OK" } else { "503 Busy" };
    if stream.read(&mut [0; 1024])? > 0 {
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    }
    Ok(())
}

/// The server process, for the benchmark.
struct Servers {
    child: Child,
    port: u16,
}

impl Servers {
    fn start() -> Servers {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Servers { child, port: line.trim().parse().unwrap() }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The daemon in the foreground.
struct Daemon {
    child: Child,
    directory: PathBuf,
}

impl Daemon {
    fn start(directory: &Path, config: &str) -> Daemon {
        let path = directory.join("bench.cf");
        fs::write(&path, config).unwrap();
        let settings = directory.join("settings.toml");
        fs::write(&settings, format!("[http]\nlisten = \"unix:{}\"\n", directory.join(HTTP).display()))
            .unwrap();
        let mut command = program(directory);
        command.arg("--settings").arg(&settings).args(["-d", "--table", "memory"]).arg(&path).arg("start");
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Daemon { child, directory: directory.to_owned() }
    }

    fn ask(&self, question: &str) -> Asked {
        let begin = Instant::now();
        let socket = if question.starts_with("GET ") { HTTP } else { "ldirectord-rs/bench.cf.sock" };
        let mut stream = UnixStream::connect(self.directory.join(socket)).unwrap();
        writeln!(stream, "{question}").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        let first = begin.elapsed();
        let bytes = 1 + std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
        Asked { first, whole: begin.elapsed(), bytes }
    }

    /// Asks a number of times, and prints the medians and the slowest of a hundred.
    fn report(&self, name: &str, question: &str, times: usize) {
        let asked: Vec<Asked> = (0..times).map(|_| self.ask(question)).collect();
        let (first, whole) = (asked.iter().map(|asked| asked.first), asked.iter().map(|asked| asked.whole));
        let ((a, b), (c, d)) = (median_and_p99(first), median_and_p99(whole));
        println!("{name:26} {a:9.1} {b:9.1}    {c:9.1} {d:9.1}  {:9}", asked[0].bytes);
    }

    fn changes_per_second(&self) -> f64 {
        let text = || {
            let output = program(&self.directory).args(["metrics", "-c", "bench.cf"]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let lines = text.lines().filter(|line| line.starts_with("ldirectord_kernel_operations_total"));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
        };
        let (begin, before) = (Instant::now(), text());
        thread::sleep(PERIOD);
        (text() - before) / begin.elapsed().as_secs_f64()
    }

    fn resident_megabytes(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Asked {
    first: Duration,
    whole: Duration,
    bytes: u64,
}

fn program(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ldirectord-rs"));
    command.env("LDIRECTORD_RS_PATHS__RUN", directory).env("LDIRECTORD_RS_PATHS__STATE", directory);
    command.current_dir(directory);
    command
}

/// In milliseconds.
fn median_and_p99(times: impl Iterator<Item = Duration>) -> (f64, f64) {
    let mut times: Vec<f64> = times.map(|time| time.as_secs_f64() * 1000.0).collect();
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[(times.len() * 99 / 100).min(times.len() - 1)])
}

/// The commands as a cluster manager runs them, with the start of their process.
fn processes(daemon: &Daemon) {
    for words in [
        &["is-up", "tcp:192.0.2.1:1007", "-c", "bench.cf"][..],
        &["show", "bench.cf"],
        &["plan", "-c", "bench.cf"],
    ] {
        let times = if words[0] == "is-up" { 200 } else { 5 };
        let run = |_| {
            let begin = Instant::now();
            let status =
                program(&daemon.directory).args(words).stdout(Stdio::null()).stderr(Stdio::null()).status();
            assert!(status.unwrap().code().is_some_and(|code| code < 3));
            begin.elapsed()
        };
        let (median, p99) = median_and_p99((0..times).map(run));
        println!("process {:18} {:>9} {:>9}    {median:9.1} {p99:9.1}", words[0], "", "");
    }
}

/// How long the loop takes to answer, without clients and while clients read everything again and again.
fn delay_of_the_loop(daemon: &Daemon) {
    let delay = || {
        let ask = |_| {
            thread::sleep(Duration::from_millis(10));
            daemon.ask(r#"{"v":1,"request":"status"}"#).whole
        };
        median_and_p99((0..1000).map(ask))
    };
    let (median, p99) = delay();
    println!("answer of the loop, alone: median {median:.1} ms, p99 {p99:.1} ms");
    let ends = std::sync::atomic::AtomicBool::new(false);
    let (median, p99) = thread::scope(|scope| {
        for question in [r#"{"v":1,"request":"show"}"#, r#"{"v":1,"request":"metrics"}"#] {
            let ends = &ends;
            scope.spawn(move || {
                while !ends.load(std::sync::atomic::Ordering::Relaxed) {
                    daemon.ask(question);
                    // A scraper and a page, faster than any would be.
                    thread::sleep(Duration::from_millis(500));
                }
            });
        }
        let found = delay();
        ends.store(true, std::sync::atomic::Ordering::Relaxed);
        found
    });
    println!("answer of the loop, with clients: median {median:.1} ms, p99 {p99:.1} ms");
}

fn silent_clients(daemon: &Daemon) {
    let before = daemon.resident_megabytes();
    let clients: Vec<UnixStream> = (0..SILENT)
        .map(|_| {
            let mut stream =
                UnixStream::connect(daemon.directory.join("ldirectord-rs/bench.cf.sock")).unwrap();
            writeln!(stream, r#"{{"v":1,"request":"show"}}"#).unwrap();
            stream
        })
        .collect();
    let mut most = before;
    for _ in 0..40 {
        thread::sleep(Duration::from_millis(250));
        most = daemon.resident_megabytes().max(most);
    }
    let (answered, _) = median_and_p99((0..100).map(|_| daemon.ask(r#"{"v":1,"request":"status"}"#).whole));
    println!(
        "{} clients that never read: {before:.1} MB before, {most:.1} MB at most; another client waits {answered:.1} ms",
        clients.len()
    );
}
