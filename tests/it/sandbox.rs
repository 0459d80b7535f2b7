//! A directory in which the program runs, with its files, and web servers that can be stopped.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The limit for anything that must happen.
const LIMIT: Duration = Duration::from_secs(20);

/// The id of a virtual service, and its destinations with their weights.
pub type VirtualRow = (String, Vec<(SocketAddr, u64)>);

/// A directory in which the program has its configuration, pid file, socket and log.
pub struct Sandbox {
    directory: TempDir,
}

impl Sandbox {
    /// A site with this configuration, in which `LOG` is replaced by the log file.
    pub fn new(config: &str) -> Sandbox {
        let sandbox = Sandbox { directory: TempDir::new().unwrap() };
        fs::create_dir(sandbox.path("run")).unwrap();
        fs::create_dir(sandbox.path("ha.d")).unwrap();
        fs::write(sandbox.path("settings-of-none.toml"), "").unwrap();
        sandbox.write(config);
        sandbox
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The text with its placeholders filled in.
    pub fn text(&self, config: &str) -> String {
        format!("logfile=\"{}\"\n{config}", self.path("log").display())
    }

    /// Writes the configuration in place.
    pub fn write(&self, config: &str) {
        fs::write(self.path("web.cf"), self.text(config)).unwrap();
    }

    pub fn pid_file(&self) -> PathBuf {
        self.path("run/ldirectord.web.cf.pid")
    }

    pub fn pid(&self) -> Option<i32> {
        fs::read_to_string(self.pid_file()).ok()?.trim().parse().ok()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The program with these words, on an in-memory table.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ldirectord-rs"));
        // Neither the settings of this machine nor those of the user who runs the tests count.
        for (name, _) in
            env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"LDIRECTORD_RS_"))
        {
            command.env_remove(name);
        }
        if !words.contains(&"--settings") {
            command.arg("--settings").arg(self.path("settings-of-none.toml"));
        }
        command
            .args(words)
            .env("LDIRECTORD_RS_TABLE__BACKEND", "memory")
            // Many tests need commands and mail.
            .env("LDIRECTORD_RS_TABLE__ACT", "true")
            .env("LDIRECTORD_RS_PATHS__RUN", self.path("run"))
            .env("LDIRECTORD_RS_PATHS__CONFIG_DIR", self.path("ha.d"))
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    /// Copies the program in a process of its own. Otherwise a process that another test starts meanwhile would have
    /// the new file open for writing, and the file could not be run.
    pub fn copy_program(&self, to: &Path) {
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_ldirectord-rs")).arg(to).status().unwrap();
        assert!(copied.success());
    }

    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs an action on the configuration and gives its exit code.
    pub fn act(&self, action: &str) -> i32 {
        let output = self.run(&["web.cf", action]);
        output.status.code().unwrap()
    }

    /// The exit code, standard output and standard error of an action.
    pub fn told(&self, action: &str) -> (i32, String, String) {
        let output = self.run(&["web.cf", action]);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// The table of the running daemon: address and weight of each destination of each virtual service.
    pub fn table(&self) -> Option<Vec<VirtualRow>> {
        let output = self.run(&["show", "web.cf", "--json"]);
        let snapshot: Value = serde_json::from_slice(&output.stdout).ok()?;
        let rows = snapshot["virtuals"].as_array()?.iter().map(|v| {
            let mut destinations: Vec<(SocketAddr, u64)> = v["destinations"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|d| Some((d["address"].as_str()?.parse().ok()?, d["weight"].as_u64()?)))
                .collect();
            destinations.sort();
            (v["id"].as_str().unwrap_or_default().to_owned(), destinations)
        });
        Some(rows.collect())
    }

    /// Waits until the only virtual service has exactly these destinations.
    pub fn expect(&self, what: &str, expected: &[(SocketAddr, u64)]) {
        let mut expected = expected.to_vec();
        expected.sort();
        let first = || self.table().and_then(|table| table.into_iter().next()).map(|(_, d)| d);
        self.wait_for(what, || first().as_ref() == Some(&expected), &|| format!("{:?}", first()));
    }

    /// Waits for a line of the log.
    pub fn expect_log(&self, words: &str) {
        self.wait_for(words, || self.log().contains(words), &String::new);
    }

    pub fn wait_for(&self, what: &str, mut done: impl FnMut() -> bool, found: &dyn Fn() -> String) {
        let limit = Instant::now() + LIMIT;
        while !done() {
            assert!(Instant::now() < limit, "{what}\nfound {}\nlog:\n{}", found(), self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.pid().unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }
}

/// Ends the daemon with the test.
impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(pid) = self.pid()
            && fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
        {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// A child process that ends with the test.
pub struct Foreground(pub Child);

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A web server that answers every request with the same body.
pub struct WebServer {
    pub address: SocketAddr,
    stop: Option<(Arc<AtomicBool>, thread::JoinHandle<()>)>,
}

impl WebServer {
    pub fn start(body: &'static str) -> WebServer {
        let mut server = WebServer { address: "127.0.0.1:0".parse().unwrap(), stop: None };
        server.serve(body);
        server
    }

    /// Starts, or starts again at the same address.
    pub fn serve(&mut self, body: &'static str) {
        let listener = TcpListener::bind(self.address).unwrap();
        self.address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let _ = stream.and_then(|stream| answer(stream, body));
            }
        });
        self.stop = Some((stop, thread));
    }

    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.stop.take() {
            stop.store(true, Ordering::SeqCst);
            let _ = TcpStream::connect(self.address);
            thread.join().unwrap();
            // A process that another test is just starting may hold the port open until it is started.
            let limit = Instant::now() + LIMIT;
            while TcpStream::connect(self.address).is_ok() {
                assert!(Instant::now() < limit, "{} is still open", self.address);
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn answer(mut stream: TcpStream, body: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let _ = stream.read(&mut [0; 2048])?;
    let length = body.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// A virtual service with two web servers, quiescent, checked every second.
pub fn two_servers(one: &WebServer, two: &WebServer, more: &str) -> String {
    format!(
        "checkinterval=1\nchecktimeout=2\nquiescent=yes\n{more}\nvirtual=192.0.2.1:80\n\treal={} masq 1\n\treal={} masq 3\n\t\
         fallback=127.0.0.9:80 masq\n\tservice=http\n\trequest=\"health\"\n\treceive=\"fine\"\n",
        one.address, two.address
    )
}

pub const FALLBACK: &str = "127.0.0.9:80";
