//! A daemon that does not run for a while does not blame the servers for it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::sandbox::Sandbox;

/// How often a server is checked, and how long it may take.
const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);
/// The delay of each answer of a server, and how long the server waits for the client.
const ANSWER: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_millis(800);

/// A mail server that answers slowly and disconnects silent clients.
struct MailServer {
    address: SocketAddr,
    dead: Arc<AtomicBool>,
    silent: Arc<AtomicBool>,
}

impl MailServer {
    fn start() -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let dead = Arc::new(AtomicBool::new(false));
        let silent = Arc::new(AtomicBool::new(false));
        let (told, hangs) = (Arc::clone(&dead), Arc::clone(&silent));
        thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                if told.load(Ordering::SeqCst) {
                    return;
                }
                if hangs.load(Ordering::SeqCst) {
                    held.push(stream);
                    continue;
                }
                thread::spawn(move || stream.and_then(talk));
            }
        });
        MailServer { address, dead, silent }
    }

    /// Accepts connections and stays silent from now on.
    fn hang(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn talk(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    thread::sleep(ANSWER);
    stream.write_all(b"220 ready\r\n")?;
    for line in BufReader::new(stream.try_clone()?).lines() {
        let answer = if line?.starts_with("QUIT") { "221 bye\r\n" } else { "250 fine\r\n" };
        thread::sleep(ANSWER);
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

fn lines(sandbox: &Sandbox, words: &str) -> Vec<String> {
    sandbox.log().lines().filter(|line| line.contains(words)).map(ToOwned::to_owned).collect()
}

fn configuration(servers: &[MailServer]) -> String {
    let reals: String = servers.iter().map(|server| format!("\treal={} masq\n", server.address)).collect();
    format!(
        "checkinterval={}\nchecktimeout={2}\nnegotiatetimeout={2}\nquiescent=yes\nvirtual=192.0.2.1:25\n{}\tservice=smtp\n",
        INTERVAL.as_secs(),
        reals,
        TIMEOUT.as_secs(),
    )
}

/// Twenty servers stay in rotation over three pauses. A server that fails in the last pause is out of rotation in
/// time.
#[test]
fn a1_a_stopped_daemon_takes_only_the_dead_out() {
    let servers: Vec<MailServer> = (0..21).map(|_| MailServer::start()).collect();
    let sandbox = Sandbox::new(&configuration(&servers));
    assert_eq!(sandbox.act("start"), 0);
    let up = || lines(&sandbox, "Real server is up").len() == servers.len();
    sandbox.wait_for("all are up", up, &String::new);
    let dead = &servers[20];
    for pause in 0..3 {
        // After the first pause all checks begin, so the next pauses find them half done.
        thread::sleep(ANSWER / 2);
        sandbox.signal(Signal::SIGSTOP);
        if pause == 2 {
            dead.die();
        }
        thread::sleep(TIMEOUT + INTERVAL);
        sandbox.signal(Signal::SIGCONT);
    }
    let resumed = Instant::now();
    sandbox.expect_log(&format!("Real server is down: {}", dead.address));
    assert!(resumed.elapsed() < INTERVAL * 3 + TIMEOUT * 2, "{:?}", resumed.elapsed());
    sandbox.expect_log("The daemon did not run for ");
    // Every check has run since.
    thread::sleep(INTERVAL * 2 + TIMEOUT);
    let down = lines(&sandbox, "Real server is down");
    assert_eq!(down.len(), 1, "{down:#?}");
    assert_eq!(sandbox.act("stop"), 0);
}

/// A control group whose processes together get a twentieth of a core.
struct Slow(PathBuf);

impl Slow {
    /// Creates it in version 1 or 2 of control groups, whichever is permitted. An error if neither is.
    fn make(pid: i32) -> std::io::Result<Slow> {
        let name = format!("ldirectord-rs-test-{}", std::process::id());
        let in_one = |(root, file, value): (&str, &str, &str)| {
            let group = Slow(Path::new(root).join(&name));
            fs::create_dir(&group.0)?;
            fs::write(group.0.join(file), value)?;
            fs::write(group.0.join("cgroup.procs"), pid.to_string())?;
            Ok(group)
        };
        in_one(("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "5000"))
            .or_else(|_: std::io::Error| in_one(("/sys/fs/cgroup", "cpu.max", "5000 100000")))
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        let processes = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        for process in processes.lines() {
            let _ = self.0.parent().map(|parent| fs::write(parent.join("cgroup.procs"), process));
        }
        let _ = fs::remove_dir(&self.0);
    }
}

/// A director with far too little CPU time still finds failed servers: a server that refuses connections, and a
/// server that accepts them and is silent.
#[test]
fn a1_at_a_twentieth_of_a_core_the_dead_go_out() {
    let servers: Vec<MailServer> = (0..22).map(|_| MailServer::start()).collect();
    let sandbox = Sandbox::new(&configuration(&servers));
    assert_eq!(sandbox.act("start"), 0);
    let up = || lines(&sandbox, "Real server is up").len() == servers.len();
    sandbox.wait_for("all are up", up, &String::new);
    let slow = match Slow::make(sandbox.pid().unwrap()) {
        Ok(slow) => slow,
        Err(error) => return println!("skipped: no control group for CPU time can be made here: {error}"),
    };
    // The daemon runs with it for a while.
    thread::sleep(INTERVAL * 4);
    let died = Instant::now();
    servers[20].die();
    servers[21].hang();
    for dead in &servers[20..] {
        sandbox.expect_log(&format!("Real server is down: {}", dead.address));
        println!("{} is out after {:?}", dead.address, died.elapsed());
        assert!(died.elapsed() < INTERVAL * 3 + TIMEOUT * 2, "{:?}\n{}", died.elapsed(), sandbox.log());
    }
    thread::sleep(INTERVAL * 4);
    let time = fs::read_to_string(slow.0.join("cpu.stat")).unwrap_or_default();
    println!("{} servers went down; CPU time: {time}", lines(&sandbox, "Real server is down").len());
    drop(slow);
    assert_eq!(sandbox.act("stop"), 0);
}
