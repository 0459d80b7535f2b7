//! A real server as a process with its own folder. It can be frozen, killed and restarted, and ends with the test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The limit for anything that must happen.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A server that `tests/real_servers/servers/RECIPE ARGUMENT…` has started.
pub struct Server {
    name: String,
    command: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Starts a server. The words are the recipe and its arguments.
    pub fn start(words: &[&str]) -> Server {
        Server::start_for("", words)
    }

    /// Like [`Server::start`], in a folder whose name begins with the purpose `whom`.
    pub fn start_for(whom: &str, words: &[&str]) -> Server {
        assert!(
            std::env::var_os("PEERS_ROOT").is_some(),
            "the real servers are only in place under tests/real_servers/run: use `make peers`"
        );
        let mut server = Server {
            name: format!("{whom}{}", words.join("-")).replace(['/', ' ', ':', '[', ']', ','], "_"),
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            child: None,
        };
        server.restart();
        server
    }

    fn folder(&self) -> PathBuf {
        Path::new("/run/peers").join(&self.name)
    }

    /// Starts it again in its old folder.
    pub fn restart(&mut self) {
        assert!(self.child.is_none());
        fs::create_dir_all(self.folder()).unwrap();
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_servers/servers");
        let child = Command::new(recipes.join(&self.command[0]))
            .args(&self.command[1..])
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Whether it has ended on its own.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    fn log_path(&self) -> PathBuf {
        Path::new("/run/peers").join(format!("{}.log", self.name))
    }

    /// The end of its output.
    pub fn log(&self) -> String {
        let text = fs::read(self.log_path()).unwrap_or_default();
        let start = text.len().saturating_sub(3000);
        String::from_utf8_lossy(&text[start..]).into_owned()
    }

    /// Stops all of its processes with a signal. Their sockets stay open.
    pub fn freeze(&self) {
        self.frozen();
    }

    pub fn thaw(&self) {
        for pid in self.frozen() {
            signal(pid, Signal::SIGCONT);
        }
    }

    /// Kills all of its processes at once.
    pub fn stop(&mut self) {
        // Freeze first: an orphaned process could not be found, and a running process creates more children.
        let family = self.frozen();
        for pid in &family {
            signal(*pid, Signal::SIGKILL);
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
        // The sockets are closed when the processes are gone.
        let limit = Instant::now() + LIMIT;
        while family.iter().any(|pid| is_alive(*pid)) && Instant::now() < limit {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Freezes it and all its descendants, until a round finds no new process.
    fn frozen(&self) -> Vec<i32> {
        let mut done: Vec<i32> = Vec::new();
        let Some(child) = &self.child else { return done };
        let limit = Instant::now() + LIMIT;
        loop {
            let family = family(i32::try_from(child.id()).unwrap());
            let fresh: Vec<i32> = family.into_iter().filter(|pid| !done.contains(pid)).collect();
            if fresh.is_empty() {
                return done;
            }
            for pid in &fresh {
                signal(*pid, Signal::SIGSTOP);
            }
            // The signal is sent, but on a busy machine a thread may run on for a while.
            while fresh.iter().any(|pid| is_running(*pid)) {
                assert!(Instant::now() < limit, "{}: does not stop", self.name);
                thread::sleep(Duration::from_millis(1));
            }
            assert!(Instant::now() < limit, "{}: still creates processes", self.name);
            done.extend(fresh);
        }
    }
}

/// Signals a process, which may have ended already.
fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whether a process exists and is not a zombie.
fn is_alive(pid: i32) -> bool {
    !matches!(state(&format!("/proc/{pid}")), None | Some('Z' | 'X'))
}

/// Whether one of the threads of a process is not stopped.
fn is_running(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.into_iter().any(|thread| {
        let folder = thread.path().display().to_string();
        !matches!(state(&folder), None | Some('T' | 't' | 'Z' | 'X'))
    })
}

/// The state letter of a process or thread. None if it does not exist.
fn state(folder: &str) -> Option<char> {
    let stat = fs::read_to_string(format!("{folder}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// A process and all its descendants.
pub fn family(root: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| Some((pid, parent(pid)?)))
        .collect();
    let mut family = vec![root];
    let mut next = 0;
    while let Some(pid) = family.get(next).copied() {
        family.extend(parents.iter().filter(|(_, parent)| *parent == pid).map(|(child, _)| *child));
        next += 1;
    }
    family
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name in parentheses: the state, then the parent.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
