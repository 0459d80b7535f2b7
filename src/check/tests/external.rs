//! Operator commands, correct and faulty ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::spec::ExternalProbe;
use crate::sys::process::{self, Signal};
use crate::value::UnknownCause;

/// A directory for scripts.
struct Scripts(tempfile::TempDir);

impl Scripts {
    fn new() -> Scripts {
        Scripts(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes an executable file. Returns its path.
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn shell(&self, name: &str, text: &str) -> String {
        self.write(name, &format!("#!/bin/sh\n{text}\n"))
    }
}

fn command(command: impl Into<String>, deadline: Duration) -> Probe {
    let arguments = ["10.0.0.1", "80", "[fd00::2]", "8080"].map(str::to_owned);
    let external = ExternalProbe { command: command.into(), perl: false, arguments };
    probe("[fd00::2]:8080".parse().unwrap(), deadline, ProbeAction::External(external))
}

fn perl(script: impl Into<String>) -> Probe {
    let mut probe = command(script, PATIENCE);
    if let ProbeAction::External(external) = &mut probe.action {
        external.perl = true;
    }
    probe
}

/// Waits until a condition holds. Fails the test if it does not.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Duration::from_secs(20);
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(patience, waiting).await.is_ok(), "timed out: {what}");
}

/// The pids in a file, once it has this many.
fn pids(path: &Path, count: usize) -> Option<Vec<i32>> {
    let text = fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'))?;
    let pids: Vec<i32> = text.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    (pids.len() == count).then_some(pids)
}

/// Whether a process is gone. Unless `reaped`, a zombie counts as gone.
fn is_dead(pid: i32, reaped: bool) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(_) => true,
        Ok(stat) => !reaped && stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")),
    }
}

#[tokio::test]
async fn exit_code_0_is_up_and_the_arguments_are_the_servers() {
    let scripts = Scripts::new();
    let path = scripts.shell("chk", r#"printf '%s|' "$@" >"$0.args"; printf '%s' "$PERLIO" >"$0.env""#);
    let verdict = run(&command(&path, PATIENCE)).await;
    assert_says(&verdict, Outcome::Up, &format!("run {path}: exit code 0"));
    assert_eq!(verdict.monitor, None);
    assert_eq!(fs::read_to_string(scripts.path("chk.args")).unwrap(), "10.0.0.1|80|[fd00::2]|8080|");
    assert!(!fs::read_to_string(scripts.path("chk.env")).unwrap().is_empty());
}

#[tokio::test]
async fn other_ends_are_down_and_say_why() {
    let scripts = Scripts::new();
    for (text, words) in [
        ("echo no database; echo more; exit 3", "exit code 3; it printed \"no database\""),
        ("printf '\\n\\n  to stderr\\r\\n' >&2; exit 1", "exit code 1; it printed \"to stderr\""),
        ("exit 255", "exit code 255"),
        ("kill -KILL $$", "killed by SIGKILL"),
        ("echo bye; kill -TERM $$", "killed by SIGTERM; it printed \"bye\""),
        // Output after its beginning is discarded, and the command never blocks on it.
        ("yes | head -c 3000000; exit 4", "exit code 4; it printed \"y\""),
        ("read line && exit 0; exit 5", "exit code 5"),
    ] {
        let path = scripts.shell("chk", text);
        let verdict = run(&command(&path, PATIENCE)).await;
        assert_says(&verdict, Outcome::Down, &format!("run {path}: {words}"));
        assert!(!verdict.reason.contains("more"), "{verdict:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_run_is_down() {
    let scripts = Scripts::new();
    let missing = scripts.path("missing").to_str().unwrap().to_owned();
    let verdict = run(&command(&missing, PATIENCE)).await;
    assert_says(&verdict, Outcome::Down, "cannot be run: no such file or directory");
    let plain = scripts.shell("plain", "exit 0");
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).unwrap();
    assert_says(&run(&command(&plain, PATIENCE)).await, Outcome::Down, "cannot be run: permission denied");
    let folder = scripts.0.path().to_str().unwrap().to_owned();
    assert_says(&run(&command(&folder, PATIENCE)).await, Outcome::Down, "cannot be run: permission denied");
    let orphan = scripts.write("orphan", "#!/nowhere/sh\nexit 0\n");
    let verdict = run(&command(&orphan, PATIENCE)).await;
    assert_says(&verdict, Outcome::Down, "the interpreter in its first line (#!) does not exist");
    assert_says(&run(&command("'open", PATIENCE)).await, Outcome::Down, "an unmatched quote");
    assert_says(&run(&command(" ", PATIENCE)).await, Outcome::Down, "the command is empty");
}

/// B12
#[tokio::test]
async fn a_command_may_have_blanks_or_arguments_and_no_shell_reads_it() {
    let scripts = Scripts::new();
    let path = scripts.shell("with blank", r#"[ "$1" = 10.0.0.1 ]"#);
    assert_says(&run(&command(&path, PATIENCE)).await, Outcome::Up, "exit code 0");
    let path = scripts.shell("chk", r#"printf '%s|' "$@" >"$0.args""#);
    let line = format!("{path} --to 'two words' $HOME *");
    assert_says(&run(&command(line, PATIENCE)).await, Outcome::Up, "exit code 0");
    assert_eq!(
        fs::read_to_string(scripts.path("chk.args")).unwrap(),
        "--to|two words|$HOME|*|10.0.0.1|80|[fd00::2]|8080|"
    );
    // A name without a slash is searched in PATH.
    assert_says(&run(&command("true", PATIENCE)).await, Outcome::Up, "exit code 0");
    assert_says(&run(&command("false", PATIENCE)).await, Outcome::Down, "exit code 1");
    // The original's execvp runs a script without `#!` with sh.
    let path = scripts.write("bare", "[ \"$4\" = 8080 ]\n");
    assert_says(&run(&command(&path, PATIENCE)).await, Outcome::Up, "exit code 0");
}

#[tokio::test]
async fn the_deadline_kills_all_that_was_started() {
    let scripts = Scripts::new();
    let path = scripts.shell("chk", r#"echo waiting; sleep 300 & echo $$ $! >"$0.pids"; wait"#);
    let checker = Checker::new().unwrap();
    // On a busy machine the script may not get far enough by the deadline.
    for deadline in [500, 5000].map(Duration::from_millis) {
        let verdict = checker.run(&command(&path, deadline)).await;
        assert_says(&verdict, Outcome::Down, &format!("run {path}: timed out after "));
        assert!(verdict.took <= deadline + MARGIN, "{verdict:?}");
        if let Some(pids) = pids(&scripts.path("chk.pids"), 2) {
            assert_says(&verdict, Outcome::Down, "killed its process group; its output: \"waiting\\n\"");
            until("the command is reaped", || is_dead(pids[0], true)).await;
            until("its child has exited", || is_dead(pids[1], false)).await;
            return;
        }
    }
    panic!("the script did not start within 5 s");
}

#[tokio::test]
async fn letting_go_of_a_check_kills_all_that_was_started() {
    let scripts = Scripts::new();
    let path = scripts.shell("chk", r#"trap '' TERM; sleep 300 & echo $$ $! >"$0.pids"; wait"#);
    let checker = Arc::new(Checker::new().unwrap());
    let task = tokio::spawn(async move { checker.run(&command(path, Duration::from_secs(300))).await });
    let file = scripts.path("chk.pids");
    until("the script runs", || pids(&file, 2).is_some()).await;
    let pids = pids(&file, 2).unwrap();
    task.abort();
    until("the command is reaped", || is_dead(pids[0], true)).await;
    until("its child has exited", || is_dead(pids[1], false)).await;
}

#[tokio::test]
async fn a_child_that_keeps_the_output_open_does_not_delay() {
    let scripts = Scripts::new();
    let path = scripts.shell("chk", r#"sleep 300 & echo $! >"$0.pids"; echo last words; exit 2"#);
    let verdict = run(&command(&path, Duration::from_secs(60))).await;
    assert_says(&verdict, Outcome::Down, "exit code 2; it printed \"last words\"");
    assert!(verdict.took < Duration::from_secs(30), "{verdict:?}");
    let left = pids(&scripts.path("chk.pids"), 1).unwrap()[0];
    assert!(
        !is_dead(left, false),
        "background processes of a command that has ended stay, as with the original"
    );
    process::send(left, Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn endless_output_ends_at_the_deadline() {
    let scripts = Scripts::new();
    let path = scripts.shell("chk", "exec yes");
    let verdict = run(&command(&path, Duration::from_millis(500))).await;
    assert_says(&verdict, Outcome::Down, "timed out after 500 ms");
}

/// Replacing a script during a check must not mark the server down.
#[tokio::test]
async fn a_script_that_is_being_written_is_waited_for() {
    let scripts = Scripts::new();
    let path = scripts.shell("chk", "exit 0");
    let writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let probe = command(&path, PATIENCE);
    let finish = async {
        tokio::task::yield_now().await;
        drop(writer);
    };
    let (verdict, ()) = tokio::join!(run(&probe), finish);
    assert_says(&verdict, Outcome::Up, "exit code 0");
    let _writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let verdict = run(&command(&path, IMPATIENCE)).await;
    // A4: a command that was not started says nothing about the server.
    assert_says(
        &verdict,
        Outcome::Unknown(UnknownCause::NotStarted),
        "not started within 200 ms: a program has the file open for writing",
    );
}

/// No thread is free to start the command, as when a hung file system blocks them.
#[test]
fn a4_a_command_that_finds_no_thread_says_nothing() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    let (free, wait) = std::sync::mpsc::channel::<()>();
    let verdict = runtime.block_on(async {
        tokio::task::spawn_blocking(move || {
            let _ = wait.recv();
        });
        run(&command("/bin/true", IMPATIENCE)).await
    });
    assert_says(
        &verdict,
        Outcome::Unknown(UnknownCause::NotStarted),
        "run /bin/true: not started within 200 ms",
    );
    drop(free);
}

#[tokio::test]
async fn perl_scripts() {
    if std::process::Command::new("perl").arg("-v").output().is_err() {
        println!("skipped: no perl here");
        return;
    }
    let scripts = Scripts::new();
    for (text, outcome, words) in [
        ("exit 0", Outcome::Up, "exit code 0"),
        ("exit 2", Outcome::Down, "exit code 2"),
        ("exit 9 if \"@ARGV\" ne '10.0.0.1 80 [fd00::2] 8080'; 1;", Outcome::Up, "exit code 0"),
        ("die \"no answer\\n\";", Outcome::Down, "exit code 255; it printed \"no answer\""),
        ("not perl (", Outcome::Down, "exit code 255; it printed "),
    ] {
        // Neither executable nor with a `#!` line: perl only reads it.
        let path = scripts.path("chk.pl");
        fs::write(&path, text).unwrap();
        assert_says(&run(&perl(path.to_str().unwrap())).await, outcome, words);
    }
    let missing = scripts.path("missing.pl");
    let verdict = run(&perl(missing.to_str().unwrap())).await;
    assert_says(&verdict, Outcome::Down, "exit code 2; it printed \"Can't open perl script");
}
