//! Many simultaneous commands for one daemon, and a process that kills it: there is never more than one daemon, and
//! no other process is harmed. `ORDERS` is the number of commands of each of the four processes (default 25).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proptest::prelude::{Strategy as _, any};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::sandbox::{Foreground, Sandbox};

const PROCESSES: usize = 4;

/// The pids of all daemons of a site: they run in `/`, the commands that start them in the directory of the site.
fn daemons(sandbox: &Sandbox) -> Vec<i32> {
    let settings = sandbox.path("settings-of-none.toml").display().to_string();
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(&settings))
            && fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|path| path.as_os_str() == "/")
    })
    .collect()
}

/// Whether a process has released everything. Its command line disappears earlier, while it still holds its lock.
fn has_ended(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

/// How often each command ended with each exit code. A kill has none.
type Counts = Mutex<BTreeMap<(&'static str, Option<i32>), usize>>;

/// One of the commands, and the exit codes that it may return here.
fn order(sandbox: &Sandbox, choice: u8, bystander: i32, counts: &Counts) {
    let count = |what, code| *counts.lock().unwrap().entry((what, code)).or_default() += 1;
    let (action, codes): (&'static str, &[i32]) = match choice % 8 {
        0 | 1 => ("start", &[0, 1]),
        2 => ("stop", &[0]),
        3 | 4 => ("restart", &[0, 1]),
        5 => ("reload", &[0, 1]),
        6 => {
            // The pid of a crashed daemon is reused by another process in the end.
            if let Some(pid) = sandbox.pid().filter(|pid| daemons(sandbox).contains(pid)) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                count("kill -9", None);
                sandbox.wait_for("its end", || has_ended(pid), &String::new);
                if sandbox.pid() == Some(pid) {
                    let _ = fs::write(sandbox.pid_file(), format!("{bystander}\n"));
                }
            }
            return;
        }
        _ => ("status", &[0, 1, 3]),
    };
    let (code, _, said) = sandbox.told(action);
    count(action, Some(code));
    assert!(codes.contains(&code), "{action}: {code}: {said}\n{}", sandbox.log());
}

/// R82
#[test]
fn commands_at_the_same_time_leave_one_daemon_and_hurt_nobody() {
    let sandbox = Sandbox::new("virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n");
    let editor =
        Command::new("sleep").arg0("vi /etc/ha.d/ldirectord.cf").arg("600").stdin(Stdio::null()).spawn();
    let mut bystander = Foreground(editor.unwrap());
    let pid = i32::try_from(bystander.0.id()).unwrap();
    let each: usize = std::env::var("ORDERS").ok().and_then(|count| count.parse().ok()).unwrap_or(25);
    let mut chance = TestRunner::default();
    let counts = Counts::default();
    for round in 0..each.div_ceil(5) {
        let choices: Vec<Vec<u8>> = (0..PROCESSES)
            .map(|_| proptest::collection::vec(any::<u8>(), 5).new_tree(&mut chance).unwrap().current())
            .collect();
        thread::scope(|scope| {
            for choices in &choices {
                scope.spawn(|| choices.iter().for_each(|choice| order(&sandbox, *choice, pid, &counts)));
            }
        });
        let running = daemons(&sandbox);
        assert!(running.len() <= 1, "round {round}, {choices:?}: {running:?}\n{}", sandbox.log());
        let told = sandbox.told("status");
        assert_eq!(
            told.0 == 0,
            running.len() == 1,
            "round {round}, {choices:?}: {running:?}, now {:?}: {told:?}\n{}",
            daemons(&sandbox),
            sandbox.log().lines().rev().take(14).collect::<Vec<_>>().join("\n")
        );
        assert!(bystander.0.try_wait().unwrap().is_none(), "round {round}, {choices:?}\n{}", sandbox.log());
    }
    assert_eq!(sandbox.act("stop"), 0);
    assert_eq!(daemons(&sandbox), [0; 0]);
    println!("{each} commands by each of {PROCESSES} processes: {:?}", counts.lock().unwrap());
}

#[test]
fn two_starts_at_once_leave_one_daemon() {
    let sandbox = Sandbox::new("virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n");
    let starts: Vec<_> = (0..6).map(|_| sandbox.command(&["web.cf", "start"]).spawn().unwrap()).collect();
    for mut start in starts {
        assert!(start.wait().unwrap().success());
    }
    sandbox.wait_for("a pid", || sandbox.pid().is_some(), &String::new);
    assert_eq!(sandbox.act("stop"), 0);
    // The log is complete when the daemon has ended.
    assert_eq!(sandbox.log().matches(" as daemon").count(), 1, "{}", sandbox.log());
}

#[test]
fn whoever_starts_it_finds_it_running_however_many_start_it() {
    let sandbox = Sandbox::new("virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n");
    for round in 1..=20 {
        thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| {
                    assert_eq!(sandbox.act("start"), 0);
                    let (code, _, err) = sandbox.told("status");
                    assert_eq!(code, 0, "the moment after a start, round {round}: {err}");
                });
            }
        });
        assert_eq!(sandbox.act("stop"), 0);
        assert_eq!(sandbox.log().matches(" as daemon").count(), round, "{}", sandbox.log());
        assert_eq!(sandbox.told("status").0, 3);
    }
}

#[test]
fn a_stop_during_a_start_ends_its_daemon() {
    let sandbox = Sandbox::new("virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n");
    for _ in 0..20 {
        let mut start = sandbox
            .command(&["web.cf", "start"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // As soon as the start holds the lock, in whatever phase it is then.
        sandbox.wait_for("the lock", || sandbox.path("run/ldirectord-rs/web.cf.lock").exists(), &String::new);
        assert_eq!(sandbox.act("stop"), 0);
        assert_eq!(start.wait().unwrap().code(), Some(0), "{}", sandbox.log());
        assert_eq!(daemons(&sandbox), [0; 0], "{}", sandbox.log());
    }
}

/// R84: a stopped process takes no signal but KILL.
#[test]
fn a_daemon_that_hangs_is_killed() {
    let (stopped, restarted) = (frozen(), frozen());
    thread::scope(|scope| {
        scope.spawn(|| {
            let begin = Instant::now();
            let (code, _, said) = stopped.told("stop");
            assert_eq!(code, 0, "{said}");
            assert!(said.contains("did not end within 10 s") && said.contains("was killed"), "{said}");
            assert!(begin.elapsed() < Duration::from_secs(13) + SLACK, "{:?}", begin.elapsed());
            assert_eq!(daemons(&stopped), [0; 0]);
            assert!(!stopped.pid_file().exists(), "status would report a stale pid file");
        });
        scope.spawn(|| {
            let before = restarted.pid();
            let (code, _, said) = restarted.told("restart");
            assert_eq!(code, 0, "{said}");
            assert_eq!(restarted.told("status").0, 0);
            assert!(restarted.pid() != before && daemons(&restarted).len() == 1, "{said}");
            assert_eq!(restarted.act("stop"), 0);
        });
    });
}

/// The extra time of a busy machine.
const SLACK: Duration = Duration::from_secs(10);

fn frozen() -> Sandbox {
    let sandbox = Sandbox::new("virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n");
    assert_eq!(sandbox.act("start"), 0);
    sandbox.signal(Signal::SIGSTOP);
    sandbox
}

/// The pid of a crashed daemon belongs to the daemon of another configuration, and a third process locks the file
/// that names it.
#[test]
fn the_daemon_of_another_configuration_is_left_alone() {
    let text = "virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n";
    let sandbox = Sandbox::new(text);
    fs::write(sandbox.path("other.cf"), text).unwrap();
    let other = |action: &str| sandbox.run(&["other.cf", action]).status.code();
    assert_eq!(other("start"), Some(0));
    let pid = fs::read_to_string(sandbox.path("run/ldirectord.other.cf.pid")).unwrap();
    fs::write(sandbox.pid_file(), &pid).unwrap();
    let stranger = Flock::lock(File::open(sandbox.pid_file()).unwrap(), FlockArg::LockExclusive).unwrap();
    assert_eq!(sandbox.told("status").0, 1, "stale");
    assert_eq!(sandbox.act("stop"), 0);
    assert_eq!(sandbox.act("start"), 0);
    assert_eq!(sandbox.told("status").0, 0);
    assert_ne!(sandbox.pid(), pid.trim().parse().ok());
    assert_eq!(sandbox.act("restart"), 0);
    assert_eq!(sandbox.act("stop"), 0);
    drop(stranger);
    assert_eq!((other("status"), other("stop")), (Some(0), Some(0)), "{}", sandbox.log());
}
