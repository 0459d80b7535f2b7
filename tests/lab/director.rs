//! A director with its daemon: the binary under test as a process in the director's network, with its own /etc/ha.d,
//! /var/run, /var/log and /var/lib/ldirectord-rs, so that many run at the same time.

use std::env;
use std::fs::{self, File};
use std::path::{Path as FilePath, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::netns::NetNs;
use crate::network::{Network, Spec};
use crate::table::Table;
use crate::wait::until;
use crate::web::Web;

/// The folders of each director, and where it sees them.
const FOLDERS: [(&str, &str); 4] =
    [("ha.d", "/etc/ha.d"), ("run", "/run"), ("log", "/var/log"), ("state", "/var/lib/ldirectord-rs")];

/// A director.
pub struct Director {
    /// Its own web server, the usual fallback.
    pub web: Web,
    /// The daemon's settings as environment variables.
    pub settings: Vec<(&'static str, String)>,
    netns: Arc<NetNs>,
    root: PathBuf,
    binary: PathBuf,
}

/// The result of a command of the daemon's command line.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub status: ExitStatus,
    /// Both streams.
    pub text: String,
}

/// A network with its directors. Its folder is deleted when it is dropped.
pub struct Scene {
    /// The directors.
    pub directors: Vec<Director>,
    /// All other actors.
    pub network: Network,
    /// Holds all files of the directors.
    _files: TempDir,
}

impl Scene {
    /// Creates the network of a spec. `LDIRECTORD_RS` may name another daemon than this package's own.
    pub fn new(spec: &Spec) -> Self {
        let own = || env!("CARGO_BIN_EXE_ldirectord-rs").into();
        let binary: PathBuf = env::var_os("LDIRECTORD_RS").unwrap_or_else(own).into();
        assert!(binary.exists(), "no daemon at {}", binary.display());
        // On a machine of the lab the folder may be missing, but mounts need it.
        fs::create_dir_all("/etc/ha.d").unwrap();
        fs::create_dir_all("/var/lib/ldirectord-rs").unwrap();
        let files = tempfile::tempdir().unwrap();
        let root = |number: u8| files.path().join(format!("d{number}"));
        let network = Network::new(spec, |number| {
            let folder = |(name, target)| {
                let source = root(number).join(name);
                fs::create_dir_all(&source).unwrap();
                (source, target)
            };
            FOLDERS.into_iter().map(folder).collect()
        });
        let directors = (1..).zip(&network.directors).map(|(number, netns)| Director {
            web: Web::start_in(netns),
            settings: Vec::new(),
            netns: netns.clone(),
            root: root(number),
            binary: binary.clone(),
        });
        Self { directors: directors.collect(), network, _files: files }
    }
}

impl Director {
    /// The path at which the test sees a folder of the director: `ha.d`, `run`, `log` or `state`.
    pub fn file(&self, folder: &str) -> PathBuf {
        self.root.join(folder)
    }

    /// Replaces its configuration file atomically, as an editor does.
    pub fn configure(&self, text: &str) {
        let folder = self.root.join("ha.d");
        fs::write(folder.join("new"), text).unwrap();
        fs::rename(folder.join("new"), folder.join("lab.cf")).unwrap();
    }

    /// Runs `ldirectord-rs /etc/ha.d/lab.cf VERB` to its end.
    #[track_caller]
    pub fn say(&self, verb: &str) -> Said {
        self.run(&["/etc/ha.d/lab.cf", verb])
    }

    /// Runs `ldirectord-rs` with these words to its end.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Said {
        // A file, not a pipe: a pipe would also wait for a daemon that keeps it open.
        let path = self.root.join("said");
        let file = File::create(&path).unwrap();
        let mut child = self.spawn(words, file.try_clone().unwrap().into(), file.into());
        let status = until(&format!("end of the command {words:?}"), Duration::from_secs(60), || {
            child.try_wait().unwrap().ok_or_else(|| self.story())
        });
        Said { status, text: fs::read_to_string(path).unwrap() }
    }

    /// Starts `ldirectord-rs` with these words.
    pub fn spawn(&self, words: &[&str], out: Stdio, err: Stdio) -> Child {
        self.netns.run(|| {
            Command::new(&self.binary)
                .args(words)
                .envs(self.settings.iter().cloned())
                .stdin(Stdio::null())
                .stdout(out)
                .stderr(err)
                .spawn()
                .unwrap_or_else(|e| panic!("{}: {e}", self.binary.display()))
        })
    }

    /// Like [`Director::say`], and it must succeed.
    #[track_caller]
    pub fn must(&self, verb: &str) -> String {
        let said = self.say(verb);
        assert!(said.status.success(), "{verb}: {said:?}\n{}", self.story());
        said.text
    }

    /// The pid of the daemon, if its pid file names a running process.
    pub fn pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.root.join("run/ldirectord.lab.cf.pid")).ok()?;
        let pid = Pid::from_raw(text.trim().parse().ok()?);
        kill(pid, None).ok().map(|()| pid)
    }

    /// Kills the daemon, which cannot clean up.
    #[track_caller]
    pub fn kill(&self) {
        let pid = self.pid().unwrap_or_else(|| panic!("no daemon to kill\n{}", self.story()));
        kill(pid, Signal::SIGKILL).unwrap();
        let gone =
            || if FilePath::new(&format!("/proc/{pid}/exe")).exists() { Err(String::new()) } else { Ok(()) };
        until("end of a killed daemon", Duration::from_secs(10), gone);
    }

    /// Waits until the kernel has exactly this table.
    #[track_caller]
    pub fn comes_to(&self, expected: &Table, limit: Duration) {
        until("table", limit, || {
            let found = self.table();
            if found == *expected {
                return Ok(());
            }
            Err(format!("expected:\n{expected:?}found:\n{found:?}{}", self.story()))
        });
    }

    /// The kernel's table now.
    pub fn table(&self) -> Table {
        Table::read(&self.netns)
    }

    /// The kernel's connection counters now.
    pub fn connections(&self) -> std::collections::BTreeMap<String, u64> {
        crate::table::connections(&self.netns)
    }

    /// The daemon's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.root.join("log/ldirectord.log")).unwrap_or_default()
    }

    /// What the message of a failed test needs.
    fn story(&self) -> String {
        let said = fs::read_to_string(self.root.join("said")).unwrap_or_default();
        format!("daemon: {:?}\noutput of the last command:\n{said}log:\n{}", self.pid(), self.log())
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}
