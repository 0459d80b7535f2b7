//! Demonstration on one machine, without privileges. Starts three web servers, a client and the daemon on an in-memory
//! table, stops, drains and restarts the servers, and prints the table before and after each step and the requests that
//! the client lost. `make demo` builds and runs it. On a terminal it is in colour and pauses after each step;
//! `DEMO_PAUSE=0` (seconds) runs it without pauses.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a demonstration ends with a panic when a step fails"
)]

use std::io::{IsTerminal, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The time limit of a step.
const STEP_LIMIT: Duration = Duration::from_secs(10);
/// The time limit from the start of the demonstration to its first table.
const FIRST_TABLE_LIMIT: Duration = Duration::from_secs(5);
/// The client sends a request in this interval.
const REQUEST_INTERVAL: Duration = Duration::from_millis(20);

fn main() {
    let start = Instant::now();
    let directory = tempfile::tempdir().unwrap();
    let [mut one, mut two, spare] = ["127.0.0.2:0", "127.0.0.3:0", "127.0.0.1:0"].map(WebServer::start);
    let config = directory.path().join("demo.cf");
    std::fs::write(&config, configuration(&one, &two, &spare)).unwrap();
    println!("{}\n\n{}", bold("The configuration"), std::fs::read_to_string(&config).unwrap());

    let mut scene = Scene::new(Daemon::start(directory.path(), &config));
    let both = [(one.address, 1), (two.address, 3)];
    scene.step("Both servers answer: each is in rotation with its weight", &both);
    let first = start.elapsed();
    assert!(first < FIRST_TABLE_LIMIT, "the first table came after {:.1} s", first.as_secs_f64());
    println!("{}", scene.daemon.run(&["show", "demo.cf"]));
    scene.pause();

    one.stop();
    scene.step("The first server fails: it gets weight 0", &[(one.address, 0), (two.address, 3)]);
    two.stop();
    let fallback = (spare.address, 1);
    scene.step(
        "The second server fails, too: the fallback is activated",
        &[(one.address, 0), (two.address, 0), fallback],
    );
    two.start_again();
    scene.step(
        "The second server works again: the fallback is deactivated",
        &[(one.address, 0), (two.address, 3)],
    );
    one.start_again();
    scene.step("Both servers work again", &both);
    let server = two.address.to_string();
    println!("{}", scene.daemon.run(&["drain", &server, "-c", "demo.cf", "--note", "new kernel"]));
    scene.step(
        "An operator drains the second server: no request is lost",
        &[(one.address, 1), (two.address, 0)],
    );
    println!("{}", scene.daemon.run(&["undo", &server, "-c", "demo.cf"]));
    scene.step("The operator undoes it: the server is in rotation again", &both);
    scene.end();
    println!(
        "{}\n\n  ldirectord-rs -t /etc/ha.d/ldirectord.cf                  validate your own configuration; nothing is contacted\n  \
         ldirectord-rs --table memory ldirectord.cf start         a dry run beside your ldirectord\n  \
         docs/first-hour.md                                       a director from nothing\n  \
         docs/switching.md                                        from ldirectord to ldirectord-rs, and back",
        bold("What to try next")
    );
}

fn configuration(one: &WebServer, two: &WebServer, fallback: &WebServer) -> String {
    format!(
        "checkinterval=1\nchecktimeout=1\nquiescent=yes\n\nvirtual=192.0.2.1:80\n\treal={} masq 1\n\treal={} masq 3\n\t\
         fallback={} masq\n\tservice=http\n\trequest=\"health\"\n\treceive=\"fine\"\n\tscheduler=wrr\n",
        one.address, two.address, fallback.address
    )
}

/// Bold text on a terminal.
fn bold(text: &str) -> String {
    if std::io::stdout().is_terminal() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}

/// A table: addresses with their weights, sorted.
type Destinations = Vec<(SocketAddr, u64)>;

/// The daemon, a client that follows its table, and the steps so far.
struct Scene {
    daemon: Daemon,
    client: Client,
    before: Destinations,
    number: usize,
    pause: Duration,
}

impl Scene {
    fn new(daemon: Daemon) -> Scene {
        let seconds = std::env::var("DEMO_PAUSE").ok().and_then(|text| text.parse().ok());
        let default = if std::io::stdout().is_terminal() { 2.0 } else { 0.0 };
        let pause = Duration::try_from_secs_f64(seconds.unwrap_or(default)).unwrap_or_default();
        Scene { daemon, client: Client::start(), before: Vec::new(), number: 0, pause }
    }

    fn pause(&self) {
        thread::sleep(self.pause);
    }

    /// Waits for a table, then prints the change and what the client noticed of it.
    fn step(&mut self, title: &str, expected: &[(SocketAddr, u64)]) {
        let mut expected = expected.to_vec();
        expected.sort();
        let start = Instant::now();
        loop {
            let found = self.daemon.destinations();
            if let Some(found) = &found {
                self.client.follow(found);
            }
            if found.as_ref() == Some(&expected) {
                break;
            }
            assert!(start.elapsed() < STEP_LIMIT, "{title}\nexpected {expected:?}\nfound {found:?}");
            thread::sleep(Duration::from_millis(20));
        }
        let took = start.elapsed().as_secs_f64();
        // Some requests under the new table.
        thread::sleep(Duration::from_millis(300));
        self.number += 1;
        println!("{} ({took:.1} s)\n", bold(&format!("{}. {title}", self.number)));
        println!("   {:<32} after", "table before");
        let before = std::mem::replace(&mut self.before, expected);
        for row in 0..before.len().max(self.before.len()) {
            println!("   {:<32} {}", cell(&before, row), cell(&self.before, row));
        }
        let (answered, lost) = self.client.take_counts();
        println!("   client: {answered} requests answered, {lost} lost\n");
        self.pause();
    }

    fn end(self) {
        self.client.stop();
        self.daemon.stop();
        println!("The daemon has stopped and cleaned up its table.\n");
    }
}

fn cell(table: &Destinations, row: usize) -> String {
    table.get(row).map(|(address, weight)| format!("{address:<18} weight {weight}")).unwrap_or_default()
}

/// A client that sends requests to the destinations of the table in turn, as the kernel would distribute them.
struct Client {
    shared: Arc<Shared>,
    thread: thread::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    table: Mutex<Destinations>,
    /// Answered and lost requests.
    counts: Mutex<(usize, usize)>,
    stopped: AtomicBool,
}

impl Client {
    fn start() -> Client {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            for number in 0.. {
                if own.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let turns: Vec<SocketAddr> = {
                    let table = own.table.lock().unwrap();
                    let turns = |(address, weight): &(SocketAddr, u64)| {
                        std::iter::repeat_n(*address, usize::try_from(*weight).unwrap_or(1))
                    };
                    table.iter().flat_map(turns).collect()
                };
                if let Some(address) = turns.get(number % turns.len().max(1)) {
                    let is_answered = request(*address).is_ok();
                    let mut counts = own.counts.lock().unwrap();
                    if is_answered { counts.0 += 1 } else { counts.1 += 1 }
                }
                thread::sleep(REQUEST_INTERVAL);
            }
        });
        Client { shared, thread }
    }

    fn follow(&self, table: &Destinations) {
        self.shared.table.lock().unwrap().clone_from(table);
    }

    fn take_counts(&self) -> (usize, usize) {
        std::mem::take(&mut *self.shared.counts.lock().unwrap())
    }

    fn stop(self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
    }
}

fn request(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if answer.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// A web server that answers every request with "I am fine" until it is stopped.
struct WebServer {
    address: SocketAddr,
    running: Option<(Arc<AtomicBool>, thread::JoinHandle<()>)>,
}

impl WebServer {
    fn start(address: &str) -> WebServer {
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
        command.env("LDIRECTORD_RS_PATHS__RUN", directory).env("LC_ALL", "C.UTF-8");
        command
    }

    /// Prints a command as an operator would type it, and returns what it prints.
    fn run(&self, arguments: &[&str]) -> String {
        let quoted =
            |word: &&str| if word.contains(' ') { format!("\"{word}\"") } else { (*word).to_owned() };
        println!("$ ldirectord-rs {}", arguments.iter().map(quoted).collect::<Vec<_>>().join(" "));
        let config = self.config.display().to_string();
        let arguments = arguments.iter().map(|word| if *word == "demo.cf" { config.as_str() } else { word });
        let output = Daemon::command(&self.program, &self.directory).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).replace(&config, "demo.cf")
    }

    /// What the table holds, sorted.
    fn destinations(&self) -> Option<Destinations> {
        let mut show = Daemon::command(&self.program, &self.directory);
        let output = show.args(["show", "--json"]).arg(&self.config).output().unwrap();
        let snapshot: Value = serde_json::from_slice(&output.stdout).ok()?;
        let mut found: Destinations = snapshot["virtuals"][0]["destinations"]
            .as_array()?
            .iter()
            .filter_map(|d| Some((d["address"].as_str()?.parse().ok()?, d["weight"].as_u64()?)))
            .collect();
        found.sort();
        Some(found)
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
