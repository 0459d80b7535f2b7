//! The environment of one scenario: namespaces, folders, scripts, servers, and the program under test.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::mail_server::MailServer;
use super::observe::{FOREGROUND, Watch, daemons, is_ldirectord, running};
use super::scenario::{Command, Scenario};
use super::servers::Servers;
use crate::netns::NetNs;
use crate::wait::until;

/// The longest time that a command of the program under test may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// The pause between two signals, long enough for the daemon to handle the first one separately.
const BETWEEN_SIGNALS: Duration = Duration::from_millis(50);
/// The folders of each scenario, and where it sees them.
const FOLDERS: [(&str, &str); 3] = [("ha.d", "/etc/ha.d"), ("run", "/run"), ("log", "/var/log")];
/// Scripts that every scenario finds in /etc/ha.d.
const SCRIPTS: [(&str, &str); 4] = [
    // An external check: down while a flag exists for the server.
    ("check", "[ ! -e \"/etc/ha.d/flags/$3:$4\" ]"),
    // The same, and it records its arguments, each set once.
    (
        "note",
        "grep -qsxF \"note $*\" /etc/ha.d/calls || echo \"note $*\" >>/etc/ha.d/calls\n[ ! -e \"/etc/ha.d/flags/$3:$4\" ]",
    ),
    // A command that records its call.
    ("call", "echo \"call $*\" >>/etc/ha.d/calls"),
    // A command that records its arguments and its whole environment.
    (
        "environment",
        "a=$(env | grep -v '^_=' | sort)\nprintf 'call %s\\n%s\\n' \"$*\" \"$a\" >>/etc/ha.d/calls",
    ),
];
const SENDMAIL: &str =
    "f=/etc/ha.d/mails/$$\n{ echo \"sendmail $*\"; sed 's/^/  /'; } >$f && mv $f $f.complete";

/// The environment. Everything in it ends when it is dropped.
pub struct Harness {
    /// Observes all of it.
    pub watch: Watch,
    /// Receives mails.
    pub post: MailServer,
    /// The real servers.
    pub servers: Servers,
    /// The results of the group's commands so far.
    pub said: Vec<String>,
    binary: PathBuf,
    environment: Vec<(String, String)>,
    foreground: Option<Child>,
    /// Kept until all else has ended.
    _files: TempDir,
}

impl Harness {
    /// Moves the calling thread into new namespaces for good, and sets up the environment there.
    pub fn enter(scenario: &Scenario, binary: &Path) -> Self {
        fs::create_dir_all("/etc/ha.d").unwrap();
        let files = tempfile::tempdir().unwrap();
        let sources = FOLDERS.map(|(name, target)| (files.path().join(name), Path::new(target)));
        sources.iter().for_each(|(source, _)| fs::create_dir(source).unwrap());
        let binds: Vec<_> = sources.iter().map(|(source, target)| (source.as_path(), *target)).collect();
        let netns = NetNs::with_mounts(&scenario.name, &binds);
        // On a loopback device, all addresses of a network are local.
        netns.ip("addr add 10.0.0.254/24 dev lo\nroute add local fd00::/64 dev lo");
        netns.set("ipv6/ip_nonlocal_bind", 1);
        netns.enter();
        for folder in ["flags", "mails", "maintenance"] {
            fs::create_dir(Path::new("/etc/ha.d").join(folder)).unwrap();
        }
        SCRIPTS.iter().for_each(|(name, text)| write_script(name, text));
        let fixed =
            [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("HOSTNAME", "director.example"), ("LC_ALL", "C")];
        let mut environment: Vec<_> = fixed.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        for setting in scenario.settings.iter().filter(|setting| setting.name == "env") {
            let (key, value) = setting.rest.split_once('=').expect("%env KEY=VALUE");
            environment.push((key.to_owned(), value.to_owned()));
        }
        Self {
            watch: Watch::new(scenario, &binary.to_string_lossy()),
            post: MailServer::open(),
            servers: Servers::default(),
            said: Vec::new(),
            binary: binary.to_owned(),
            environment,
            foreground: None,
            _files: files,
        }
    }

    /// Runs a command.
    pub fn obey(&mut self, command: &Command) {
        let rest = command.rest.as_str();
        match command.name.as_str() {
            "config" => write_file(if rest.is_empty() { "lab.cf" } else { rest }, &command.text()),
            "write" => write_file(rest, &command.text()),
            "touch" => command.words().for_each(|path| drop(File::create(inside(path)).unwrap())),
            "mkdir" => command.words().for_each(|path| make_directory(&inside(path))),
            "remove" => command.words().for_each(|path| fs::remove_file(inside(path)).unwrap()),
            "up" => command.words().for_each(|word| self.servers.up(word.parse().unwrap())),
            "down" => command.words().for_each(|word| self.servers.down(word.parse().unwrap())),
            "answer" => {
                let (address, manner) = rest.split_once(' ').unwrap();
                self.servers.answer(address.parse().unwrap(), manner);
            }
            "tls" => command.words().for_each(|word| self.servers.tls(word.parse().unwrap())),
            "page" => {
                let (address, page) = rest.split_once(' ').unwrap();
                self.servers.page(address.parse().unwrap(), page);
            }
            "run" => self.run(&command.words().collect::<Vec<_>>()),
            "start" | "stop" | "restart" | "try-restart" | "reload" | "force-reload" | "status" => {
                self.run(&["lab.cf", &command.name]);
            }
            "spawn" => self.spawn(&command.words().collect::<Vec<_>>()),
            "signal" | "twice" => self.signal(command),
            "kill-children" => self.pids().into_iter().for_each(kill_children),
            "ipvsadm" => tool("ipvsadm", &command.words().collect::<Vec<_>>(), ""),
            "table" => tool("ipvsadm", &["-R"], &command.text()),
            "ip" => tool("ip", &command.words().collect::<Vec<_>>(), ""),
            "sendmail" => install_sendmail(),
            "look" => {
                let state = running();
                self.said.push(format!(
                    "at once: {}",
                    if state.is_empty() { "nothing runs".to_owned() } else { state.join(", ") }
                ));
            }
            "pause" => thread::sleep(Duration::from_secs(rest.parse().unwrap())),
            "wait" => {}
            name => panic!("unknown command: %{name}"),
        }
    }

    /// The running daemons, including the one in the foreground.
    pub fn pids(&mut self) -> Vec<Pid> {
        let mut pids: Vec<Pid> = daemons().into_iter().filter_map(|(_, pid)| pid).collect();
        pids.retain(|pid| is_ldirectord(*pid));
        if let Some(child) = &mut self.foreground
            && child.try_wait().unwrap().is_none()
        {
            pids.push(pid_of(child));
        }
        pids
    }

    /// What can be observed now.
    pub fn look(&mut self) -> Vec<String> {
        let mut said = self.said.clone();
        if let Some(child) = &mut self.foreground {
            said.push(match child.try_wait().unwrap() {
                None => "the foreground runs".to_owned(),
                Some(status) => format!("the foreground ended: {status}"),
            });
        }
        self.watch.look(&said, &self.post, &self.servers)
    }

    /// Begins a new group of commands.
    pub fn mark(&mut self) {
        self.said.clear();
        self.watch.mark(&self.post, &self.servers);
    }

    fn process(&self, arguments: &[&str]) -> Process {
        let mut process = Process::new(&self.binary);
        process.args(arguments).env_clear().envs(self.environment.iter().cloned());
        process.current_dir("/etc/ha.d").stdin(Stdio::null());
        process
    }

    /// Runs the program under test to its end.
    fn run(&mut self, arguments: &[&str]) {
        // Files, not pipes: a pipe would also wait for a daemon that keeps it open.
        let (out, err) = ("/etc/ha.d/out", "/etc/ha.d/err");
        let mut process = self.process(arguments);
        let mut child =
            process.stdout(File::create(out).unwrap()).stderr(File::create(err).unwrap()).spawn().unwrap();
        let status = until(&format!("end of {arguments:?}"), COMMAND_LIMIT, || {
            child.try_wait().unwrap().ok_or_else(String::new)
        });
        self.said.push(format!("exit {}", status.code().unwrap_or(-1)));
        for (word, path) in [("out", out), ("err", err)] {
            let text = fs::read(path).unwrap();
            let text = String::from_utf8_lossy(&text);
            // After an empty line ours shows the place in the file.
            let lines = text.lines().take_while(|line| !line.trim().is_empty());
            self.said.extend(lines.map(|line| format!("{word} {line}")));
        }
    }

    /// Starts the program under test in the foreground.
    fn spawn(&mut self, arguments: &[&str]) {
        let file = File::create(FOREGROUND).unwrap();
        let mut process = self.process(arguments);
        self.foreground = Some(process.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap());
    }

    /// `%signal NAME [CONFIG]`: signals the daemon of the pid file, or the one in the foreground. `%twice` signals it
    /// twice.
    fn signal(&self, command: &Command) {
        let mut words = command.words();
        let signal = Signal::from_str(&format!("SIG{}", words.next().unwrap())).unwrap();
        let name = words.next().unwrap_or("lab.cf");
        let pid = match &self.foreground {
            Some(child) => pid_of(child),
            None => {
                let find = || daemons().into_iter().find(|(known, _)| known == name).and_then(|(_, pid)| pid);
                until("a pid to send a signal to", COMMAND_LIMIT, || find().ok_or_else(String::new))
            }
        };
        // The process may be gone; then the observation shows it.
        let _ = kill(pid, signal);
        if command.name == "twice" {
            thread::sleep(BETWEEN_SIGNALS);
            let _ = kill(pid, signal);
        }
    }
}

impl Drop for Harness {
    /// Ends every process in this network.
    fn drop(&mut self) {
        let Ok(own) = fs::read_link("/proc/thread-self/ns/net") else { return };
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            let left: Vec<Pid> = processes()
                .filter(|pid| fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|net| net == own))
                .collect();
            if let Some(child) = &mut self.foreground {
                let _ = child.try_wait();
            }
            if left.is_empty() {
                return;
            }
            left.iter().for_each(|pid| {
                let _ = kill(*pid, Signal::SIGKILL);
            });
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap())
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Pid::from_raw))
}

fn kill_children(parent: Pid) {
    let is_child = |pid: &Pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name of the process is in parentheses and may contain blanks; its state and its parent follow.
        let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        after.split_whitespace().nth(1) == Some(&parent.to_string())
    };
    processes().filter(is_child).for_each(|pid| {
        let _ = kill(pid, Signal::SIGKILL);
    });
}

/// A path in the scenario's own folder. An absolute path stays as it is.
fn inside(path: &str) -> PathBuf {
    Path::new("/etc/ha.d").join(path)
}

/// Creates a directory, even if a daemon has just recreated the file that was removed for it.
fn make_directory(path: &Path) {
    for _ in 0..100 {
        match fs::create_dir(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_file() => {
                drop(fs::remove_file(path));
            }
            made => return made.unwrap(),
        }
    }
    panic!("{} is recreated again and again", path.display());
}

/// Replaces a file atomically, as an editor does.
fn write_file(path: &str, text: &str) {
    fs::write(inside("new"), text).unwrap();
    if text.starts_with("#!") {
        fs::set_permissions(inside("new"), Permissions::from_mode(0o755)).unwrap();
    }
    fs::rename(inside("new"), inside(path)).or_else(|_| fs::copy(inside("new"), path).map(drop)).unwrap();
}

fn write_script(name: &str, text: &str) {
    write_file(name, &format!("#!/bin/sh\n{text}\n"));
}

/// Installs the scenario's own `sendmail`: /usr/sbin as it is, with this one file replaced.
fn install_sendmail() {
    fs::create_dir(inside("sbin")).unwrap();
    write_script("sbin/sendmail", SENDMAIL);
    let options = "lowerdir=/etc/ha.d/sbin:/usr/sbin";
    mount(Some("overlay"), "/usr/sbin", Some("overlay"), MsFlags::empty(), Some(options)).unwrap();
}

fn tool(name: &str, arguments: &[&str], input: &str) {
    let mut child = Process::new(name)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
