//! A namespace for an actor of a scenario: a network of its own, for directors also mounts of their own. A thread
//! enters it; forks are five times slower in the emulated machine.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace, optionally with mounts of its own. It ends with its last holder.
pub struct NetNs {
    name: String,
    net: File,
    mounts: Option<File>,
}

impl NetNs {
    /// A new network namespace whose loopback is up.
    pub fn new(name: &str) -> Self {
        Self::build(name, &[])
    }

    /// The same, with each folder of `binds` (source, target) mounted at its target.
    pub fn with_mounts(name: &str, binds: &[(&Path, &Path)]) -> Self {
        Self::build(name, binds)
    }

    fn build(name: &str, binds: &[(&Path, &Path)]) -> Self {
        let (net, mounts) = on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace (are we root?)");
            let net = File::open("/proc/thread-self/ns/net").unwrap();
            if binds.is_empty() {
                return (net, None);
            }
            unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            for (source, target) in binds {
                mount(Some(*source), *target, none, MsFlags::MS_BIND, none)
                    .unwrap_or_else(|e| panic!("bind {} on {}: {e}", source.display(), target.display()));
            }
            (net, Some(File::open("/proc/thread-self/ns/mnt").unwrap()))
        });
        let netns = Self { name: name.to_owned(), net, mounts };
        netns.ip("link set lo up");
        netns
    }

    /// The actor's name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path by which another process of this machine can name this network.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.net.as_raw_fd())
    }

    /// Moves the calling thread into this network namespace for good. Its child processes inherit it.
    pub fn enter(&self) {
        if let Some(mounts) = &self.mounts {
            unshare(CloneFlags::CLONE_FS).unwrap();
            setns(mounts, CloneFlags::CLONE_NEWNS).unwrap();
        }
        setns(&self.net, CloneFlags::CLONE_NEWNET).unwrap();
    }

    /// Runs `work` in this network namespace, on a thread of its own.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        on_thread(|| {
            self.enter();
            work()
        })
    }

    /// Runs several `ip` commands, one a line, in one process.
    #[track_caller]
    pub fn ip(&self, lines: &str) {
        self.feed(&["ip", "-batch", "-"], lines);
    }

    /// Runs a command with `input`. It must succeed. Returns its output.
    #[track_caller]
    pub fn feed(&self, command: &[&str], input: &str) -> String {
        let output = self.run(|| {
            let mut child = Command::new(command[0])
                .args(&command[1..])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap_or_else(|e| panic!("{}: {e}", command[0]));
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        });
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {command:?} of\n{input}\nfailed: {errors}", self.name);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Sets a network parameter, `ipv4/ip_forward` for example.
    pub fn set(&self, key: &str, value: u32) {
        self.run(|| fs::write(format!("/proc/sys/net/{key}"), value.to_string()))
            .unwrap_or_else(|e| panic!("{}: {key}={value}: {e}", self.name));
    }
}

/// Namespaces belong to a thread, so they are changed on a thread that then ends.
fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
}
