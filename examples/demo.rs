//! Demonstration on one machine, without privileges. Starts two web servers and the daemon on an in-memory table, stops
//! and restarts the servers, and prints the table after each step. `make demo` builds and runs it.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a demonstration ends with a panic when a step fails"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The time limit of a step.
const STEP_LIMIT: Duration = Duration::from_secs(10);
/// The time limit from the start of the demonstration to its first table.
const FIRST_TABLE_LIMIT: Duration = Duration::from_secs(5);

fn main() {
    let start = Instant::now();
    let directory = tempfile::tempdir().unwrap();
    let mut one = WebServer::start("127.0.0.2:0".parse().unwrap());
    let mut two = WebServer::start("127.0.0.3:0".parse().unwrap());
    let config = directory.path().join("demo.cf");
    std::fs::write(&config, configuration(one.address, two.address)).unwrap();
    println!("The configuration:\n\n{}", std::fs::read_to_string(&config).unwrap());

    let daemon = Daemon::start(directory.path(), &config);
    let both = [(one.address, 1), (two.address, 3)];
    daemon.step("Both servers answer: each has its weight.", &both);
    let first = start.elapsed();
    assert!(first < FIRST_TABLE_LIMIT, "the first table came after {:.1} s", first.as_secs_f64());
    one.stop();
    daemon.step(
        "The first server fails: it gets weight 0, and its connections continue.",
        &[(one.address, 0), (two.address, 3)],
    );
    two.stop();
    let fallback = (FALLBACK.parse().unwrap(), 1);
    daemon.step(
        "Both servers are down: the fallback is activated.",
        &[(one.address, 0), (two.address, 0), fallback],
    );
    two.start_again();
    daemon.step(
        "The second server is up again: the fallback is deactivated.",
        &[(one.address, 0), (two.address, 3)],
    );
    one.start_again();
    daemon.step("Both servers are up again.", &both);
    daemon.stop();
    println!("The daemon has stopped and cleaned up its table.");
}

const FALLBACK: &str = "127.0.0.1:8099";

fn configuration(one: SocketAddr, two: SocketAddr) -> String {
    format!(
        "checkinterval=1\nchecktimeout=1\nquiescent=yes\n\nvirtual=192.0.2.1:80\n\treal={one} masq 1\n\treal={two} masq 3\n\t\
         fallback={FALLBACK} masq\n\tservice=http\n\trequest=\"health\"\n\treceive=\"fine\"\n\tscheduler=wrr\n"
    )
}

/// A web server that answers every request with "I am fine" until it is stopped.
struct WebServer {
    address: SocketAddr,
    running: Option<(Arc<AtomicBool>, thread::JoinHandle<()>)>,
}

impl WebServer {
    fn start(address: SocketAddr) -> WebServer {
        let listener = TcpListener::bind(address).unwrap();
        let mut server = WebServer { address: listener.local_addr().unwrap(), running: None };
        server.serve(listener);
        server
    }

    fn serve(&mut self, listener: TcpListener) {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let _ = stream.and_then(answer);
            }
        });
        self.running = Some((stop, thread));
    }

    fn stop(&mut self) {
        let (stop, thread) = self.running.take().unwrap();
        stop.store(true, Ordering::SeqCst);
        // A last connection wakes the thread, which then closes its socket.
        let _ = TcpStream::connect(self.address);
        thread.join().unwrap();
    }

    fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).unwrap();
        self.serve(listener);
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let _ = stream.read(&mut [0; 1024])?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nI am fine")
}

/// The daemon in the foreground, with a table in memory and its own directory for files.
struct Daemon {
    child: Child,
    program: PathBuf,
    directory: PathBuf,
    config: PathBuf,
}

impl Daemon {
    fn start(directory: &Path, config: &Path) -> Daemon {
        // target/debug/examples/demo → target/debug/ldirectord-rs
        let program = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("ldirectord-rs");
        let mut command = Daemon::command(&program, directory);
        command.args(["-d", "--table", "memory"]).arg(config).arg("start").stdin(Stdio::null());
        println!("$ ldirectord-rs -d --table memory demo.cf start\n");
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        Daemon { child, program, directory: directory.to_owned(), config: config.to_owned() }
    }

    fn command(program: &Path, directory: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("LDIRECTORD_RS_PATHS__RUN", directory);
        command
    }

    fn show(&self, arguments: &[&str]) -> Option<String> {
        let output = Daemon::command(&self.program, &self.directory)
            .arg("show")
            .arg(&self.config)
            .args(arguments)
            .output()
            .unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// What the table holds, sorted.
    fn destinations(&self) -> Option<Vec<(SocketAddr, u64)>> {
        let snapshot: Value = serde_json::from_str(&self.show(&["--json"])?).ok()?;
        let mut found: Vec<(SocketAddr, u64)> = snapshot["virtuals"][0]["destinations"]
            .as_array()?
            .iter()
            .filter_map(|d| Some((d["address"].as_str()?.parse().ok()?, d["weight"].as_u64()?)))
            .collect();
        found.sort();
        Some(found)
    }

    fn step(&self, title: &str, expected: &[(SocketAddr, u64)]) {
        let mut expected = expected.to_vec();
        expected.sort();
        let start = Instant::now();
        loop {
            let found = self.destinations();
            if found.as_ref() == Some(&expected) {
                break;
            }
            assert!(start.elapsed() < STEP_LIMIT, "{title}\nexpected {expected:?}\nfound {found:?}");
            thread::sleep(Duration::from_millis(20));
        }
        println!("\n── {title} ({:.1} s)\n$ ldirectord-rs show demo.cf", start.elapsed().as_secs_f64());
        println!("{}", self.show(&[]).unwrap());
    }

    fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the daemon ended with {status}");
    }
}

/// Ends the daemon, also after a failed step.
impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
