//! The whole daemon under load, as a process with a table in memory: `cargo bench --bench daemon`.
//!
//! - 5,000 servers at an interval of 1 s on loopback: checks per second and CPU time per check, compared with bare
//!   connects in the same run;
//! - 200 servers of which 20 drop packets: are the others still checked every second, and how soon is a failed server
//!   out of rotation?
//!
//! The servers are a separate process, so that only the daemon's CPU time counts.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark ends by panic and lives by the clock"
)]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use socket2::{Domain, Socket, Type};

const SERVERS: usize = 5000;
const SETTLE: Duration = Duration::from_secs(3);
const MEASURE: Duration = Duration::from_secs(10);

fn main() {
    if std::env::args().any(|argument| argument == "serve") {
        return serve();
    }
    println!("kind      servers  checks/s   CPU µs/check   of one core   RSS MB");
    for kind in ["connect", "http"] {
        full_rate(kind);
    }
    bare_connects();
    println!();
    silent_crowd();
}

/// A listener for 5,000 servers: with the short queue of the standard library, bursts would lose connections.
fn listener() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).unwrap();
    socket.listen(4096).unwrap();
    socket.into()
}

/// The server process: answers on every loopback address, and prints the number of connections after each line of
/// input.
fn serve() {
    let listener = listener();
    println!("{}", listener.local_addr().unwrap().port());
    let count = Arc::new(AtomicU64::new(0));
    for _ in 0..4 {
        let (listener, count) = (listener.try_clone().unwrap(), Arc::clone(&count));
        thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::Relaxed);
                let _ = stream.and_then(answer);
            }
        });
    }
    for _ in std::io::stdin().lines() {
        println!("{}", count.load(Ordering::Relaxed));
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    if stream.read(&mut [0; 1024])? > 0 {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nI am fine")?;
    }
    Ok(())
}

/// The server process, for the benchmark.
struct Servers {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
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
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let port = line(&mut answers).parse().unwrap();
        Servers { child, answers, port }
    }

    fn connections(&mut self) -> u64 {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        line(&mut self.answers).parse().unwrap()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line(reader: &mut impl BufRead) -> String {
    let mut text = String::new();
    reader.read_line(&mut text).unwrap();
    text.trim().to_owned()
}

/// The daemon in the foreground.
struct Daemon(Child);

impl Daemon {
    fn start(directory: &Path, config: &str, stderr: Stdio) -> Daemon {
        let path = directory.join("bench.cf");
        fs::write(&path, config).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_ldirectord-rs"))
            .args(["-d", "--table", "memory"])
            .arg(&path)
            .arg("start")
            .env("LDIRECTORD_RS_PATHS__RUN", directory)
            .stdin(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Daemon(child)
    }

    /// User and system time so far.
    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        let hertz = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap();
        Duration::from_secs_f64(ticks as f64 / hertz as f64)
    }

    fn resident_megabytes(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn loopback(network: u8, index: usize, port: u16) -> SocketAddr {
    let [_, _, high, low] = u32::try_from(index + 1).unwrap().to_be_bytes();
    SocketAddrV4::new(Ipv4Addr::new(127, network, high, low), port).into()
}

fn full_rate(kind: &str) {
    let mut servers = Servers::start();
    let check = match kind {
        "connect" => "checktype=connect",
        _ => "checktype=negotiate\n\trequest=\"health\"\n\treceive=\"fine\"",
    };
    let mut config = String::from("checkinterval=1\nchecktimeout=3\nquiescent=yes\n");
    for first in (0..SERVERS).step_by(500) {
        let _ = writeln!(config, "virtual=192.0.2.1:{}\n\tservice=http\n\t{check}", 1000 + first);
        for index in first..(first + 500).min(SERVERS) {
            let _ = writeln!(config, "\treal={} masq", loopback(1, index, servers.port));
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path(), &config, Stdio::null());
    thread::sleep(SETTLE);
    let (start, cpu, connections) = (Instant::now(), daemon.cpu(), servers.connections());
    thread::sleep(MEASURE);
    let (elapsed, cpu, connections) =
        (start.elapsed(), daemon.cpu() - cpu, servers.connections() - connections);
    println!(
        "{kind:8} {SERVERS:8} {:9.0} {:14.1} {:12.0}% {:8.1}",
        connections as f64 / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / connections as f64,
        cpu.as_secs_f64() / elapsed.as_secs_f64() * 100.0,
        daemon.resident_megabytes()
    );
}

/// The comparison: one thread that only connects and closes.
fn bare_connects() {
    let servers = Servers::start();
    let cpu = || {
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
    };
    let before = cpu();
    for index in 0..SERVERS {
        drop(TcpStream::connect(loopback(1, index, servers.port)).unwrap());
    }
    println!("bare connect and close, blocking: {:.1} CPU µs each", (cpu() - before) as f64 / SERVERS as f64);
}

const CROWD: usize = 200;
const SILENT: usize = 20;
const DEATHS: usize = 20;

/// A server of the crowd that answers.
struct Alive {
    address: SocketAddr,
    listener: TcpListener,
}

fn silent_crowd() {
    let silent: Vec<SilentServer> =
        (0..SILENT).map(|index| SilentServer::start(loopback(3, index, 0))).collect();
    let mut alive: Vec<Alive> = (0..CROWD - SILENT)
        .map(|index| {
            let listener = TcpListener::bind(loopback(2, index, 0)).unwrap();
            listener.set_nonblocking(true).unwrap();
            Alive { address: listener.local_addr().unwrap(), listener }
        })
        .collect();
    let mut config = String::from(
        "checkinterval=1\nchecktimeout=3\nquiescent=yes\nvirtual=192.0.2.1:80\n\tservice=http\n\tchecktype=connect\n",
    );
    for address in alive.iter().map(|server| server.address).chain(silent.iter().map(|server| server.address))
    {
        let _ = writeln!(config, "\treal={address} masq");
    }
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(directory.path(), &config, Stdio::piped());
    let log = watch(daemon.0.stderr.take().unwrap());
    drain(&alive, SETTLE);
    let checked = drain(&alive, MEASURE);
    let least = checked.iter().min().unwrap();
    println!(
        "{CROWD} servers, {SILENT} of them silent: the others were checked {least} to {} times in {} s",
        checked.iter().max().unwrap(),
        MEASURE.as_secs()
    );
    let mut delays: Vec<Duration> = Vec::new();
    for death in 0..DEATHS {
        // Servers fail at different times between two checks.
        drain(&alive, Duration::from_millis(500 + 37 * death as u64));
        let dead = alive.remove(death * 7 % alive.len());
        let words = format!("Quiescent real server: {} ", dead.address);
        let died = Instant::now();
        drop(dead);
        let told = loop {
            if let Ok((line, at)) = log.try_recv() {
                if line.contains(&words) {
                    break at;
                }
            } else {
                drain(&alive, Duration::from_millis(5));
            }
            assert!(died.elapsed() < Duration::from_secs(10), "no log line within 10 s: {words}");
        };
        delays.push(told.duration_since(died));
    }
    delays.sort();
    println!(
        "{DEATHS} failed servers were out of rotation after {:.2} s (median), {:.2} s (worst); interval 1 s",
        delays[DEATHS / 2].as_secs_f64(),
        delays[DEATHS - 1].as_secs_f64()
    );
}

/// Collects each line of the daemon's log with its arrival time.
fn watch(stderr: ChildStderr) -> std::sync::mpsc::Receiver<(String, Instant)> {
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if sender.send((line, Instant::now())).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Accepts connections for a while and counts them per server.
fn drain(alive: &[Alive], time: Duration) -> Vec<usize> {
    let mut counts = vec![0; alive.len()];
    let end = Instant::now() + time;
    while Instant::now() < end {
        for (server, count) in alive.iter().zip(&mut counts) {
            while server.listener.accept().is_ok() {
                *count += 1;
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
    counts
}

/// A server that does not answer connection requests: its queue is full, so the kernel drops them silently.
struct SilentServer {
    address: SocketAddr,
    _listener: Socket,
    _queue: Vec<Socket>,
}

impl SilentServer {
    fn start(address: SocketAddr) -> SilentServer {
        let new = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let listener = new();
        listener.bind(&address.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let queue = (0..4)
            .map(|_| {
                let socket = new();
                socket.set_nonblocking(true).unwrap();
                let _ = socket.connect(&address.into());
                socket
            })
            .collect();
        SilentServer { address, _listener: listener, _queue: queue }
    }
}
