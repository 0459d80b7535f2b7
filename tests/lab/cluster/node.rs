//! A node of a cluster: a director's network with a host name, processes and files of its own. It can be powered off.

use std::io::{Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::netns::NetNs;
use crate::table::Table;
use crate::wait::until;

const FIRST_PROCESS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/cluster/node-init.sh");
/// The limit for a command, also on an emulated processor.
const COMMAND_LIMIT: &str = "120";
/// A cluster manager's log is long. Only its end is shown.
const LOG_LINES: usize = 60;

/// A machine that is switched on.
pub struct Node {
    /// Its host name.
    pub name: String,
    netns: Arc<NetNs>,
    /// Holds the namespaces. All processes of the node end with it.
    first: Child,
}

/// The result of a command.
#[derive(Debug)]
pub struct Said {
    /// Its exit status.
    pub status: ExitStatus,
    /// Both streams.
    pub text: String,
    /// How long it took.
    pub took: Duration,
}

impl Said {
    /// The exit code.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }
}

impl Node {
    /// Switches a machine on. No daemon runs on it yet.
    pub fn power_on(name: &str, netns: &Arc<NetNs>) -> Self {
        netns.ip("link set eth0 up");
        let first = netns.run(|| {
            Command::new("unshare")
                .args(["--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"])
                .args([FIRST_PROCESS, name])
                .stdin(Stdio::null())
                .spawn()
                .unwrap()
        });
        let node = Self { name: name.to_owned(), netns: netns.clone(), first };
        until("a node that is on", Duration::from_secs(180), || {
            let said = node.say("test -e /run/powered-on");
            if said.status.success() { Ok(()) } else { Err(said.text) }
        });
        node
    }

    /// Cuts the power: no process continues, nothing more is sent, and the kernel's state is lost.
    pub fn power_off(mut self, vip: &str) {
        self.netns.ip("link set eth0 down");
        self.first.kill().unwrap();
        self.first.wait().unwrap();
        self.netns.ip(&format!("addr flush to {vip}"));
        Table::default().install(&self.netns);
    }

    /// Runs a shell command to its end.
    pub fn say(&self, command: &str) -> Said {
        let first = self.first.id().to_string();
        // A file, not a pipe: a pipe would also wait for a daemon that keeps it open.
        let mut output = tempfile::tempfile().unwrap();
        let begin = Instant::now();
        let mut child = self.netns.run(|| {
            Command::new("timeout")
                .args([COMMAND_LIMIT, "nsenter", "--target", &first, "--mount", "--uts", "--ipc", "--net"])
                .arg(format!("--pid=/proc/{first}/ns/pid_for_children"))
                .args(["--", "sh", "-c", command])
                .stdin(Stdio::null())
                .stdout(output.try_clone().unwrap())
                .stderr(output.try_clone().unwrap())
                .spawn()
                .unwrap()
        });
        let status = child.wait().unwrap();
        let took = begin.elapsed();
        let mut text = String::new();
        output.rewind().unwrap();
        output.read_to_string(&mut text).unwrap();
        Said { status, text, took }
    }

    /// The same, and it must succeed.
    #[track_caller]
    pub fn must(&self, command: &str) -> Said {
        let said = self.say(command);
        assert!(said.status.success(), "{}: {command}\n{said:?}\n{}", self.name, self.story());
        said
    }

    /// Writes a file.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str) {
        assert!(!text.contains("\nEND-OF-FILE\n"));
        self.must(&format!("cat >{path} <<'END-OF-FILE'\n{text}\nEND-OF-FILE"));
    }

    /// The kernel's table now.
    pub fn table(&self) -> Table {
        Table::read(&self.netns)
    }

    /// Whether it has this address.
    pub fn has(&self, address: &str) -> bool {
        !self.netns.feed(&["ip", "-o", "address", "show", "to", address], "").is_empty()
    }

    /// The ends of all logs, for the message of a failed test.
    pub fn story(&self) -> String {
        let logs = "/var/log/ldirectord.log /var/log/ha-log /var/log/ha-debug /var/log/pacemaker/pacemaker.log /run/keepalived.log";
        let said = self.say(&format!(
            "ps ax; for f in {logs}; do test ! -e $f || {{ echo == $f; tail -n {LOG_LINES} $f; }}; done"
        ));
        format!("== {} ==\n{}", self.name, said.text)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}
