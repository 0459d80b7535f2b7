//! What the daemon's user, and a user who starts the daemon, cannot get from it: root's files, locks, an open umask.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::{Command, Stdio};

use crate::sandbox::Sandbox;

const CONFIG: &str = "virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n";
/// Debian's `nobody`.
const USER: u32 = 65534;

/// A link of the user in place of the log is neither given to the user nor written by root, in any action.
#[test]
fn c2_a_log_that_is_a_link_of_the_user_is_left_alone() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let sandbox = Sandbox::new("");
    fs::set_permissions(sandbox.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let folder = sandbox.path("logs");
    fs::create_dir(&folder).unwrap();
    chown(&folder, Some(USER), Some(USER)).unwrap();
    let victim = sandbox.path("victim");
    fs::write(&victim, "root's").unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&victim, folder.join("log")).unwrap();
    symlink(sandbox.path("made"), folder.join("monitor")).unwrap();
    let config = format!("logfile=\"{0}/log\"\n{CONFIG}\tmonitorfile=\"{0}/monitor\"\n", folder.display());
    fs::write(sandbox.path("web.cf"), config).unwrap();
    let act = |action: &str| {
        let mut command = sandbox.command(&["web.cf", action]);
        let output = command.env("LDIRECTORD_RS_PRIVILEGES__USER", "nobody").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(act("reload").0, Some(1));
    let (code, err) = act("start");
    assert_eq!(code, Some(0), "{err}");
    for name in ["log", "monitor"] {
        let words = format!("{}/{name} cannot be given to nobody: {name} is a link", folder.display());
        assert!(err.contains(&words), "{words} is missing in {err}");
    }
    let status = fs::read_to_string(format!("/proc/{}/status", sandbox.pid().unwrap())).unwrap();
    assert!(status.contains("Uid:\t65534\t65534\t65534\t65534\n"), "{status}");
    assert_eq!(act("stop").0, Some(0));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "root's");
    assert_eq!(fs::metadata(&victim).unwrap().uid(), 0);
    assert!(!sandbox.path("made").exists());
}

/// The state directory may have belonged to the user of an earlier daemon, who may have put anything into it.
#[test]
fn c2_a_state_directory_of_another_user_is_taken() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can give a directory away");
        return;
    }
    let sandbox = Sandbox::new(CONFIG);
    let state = sandbox.path("run/ldirectord-rs");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
    chown(&state, Some(USER), Some(USER)).unwrap();
    assert_eq!(sandbox.act("start"), 0);
    let found = fs::metadata(&state).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o755));
    assert!(sandbox.table().is_some());
    assert_eq!(sandbox.act("stop"), 0);
}

/// A daemon whose user cannot write there any more would lose its note and its socket.
#[test]
fn c2_a_state_directory_in_use_keeps_its_owner() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can give a directory away");
        return;
    }
    let sandbox = Sandbox::new(CONFIG);
    fs::set_permissions(sandbox.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let state = sandbox.path("run/ldirectord-rs");
    fs::write(sandbox.path("other.cf"), sandbox.text(CONFIG)).unwrap();
    let act = |name: &str, action: &str, user: &str| {
        let output = sandbox.command(&[name, action]).env("LDIRECTORD_RS_PRIVILEGES__USER", user).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let owner = || fs::metadata(&state).unwrap().uid();
    let (code, err) = act("other.cf", "start", "nobody");
    assert_eq!((code, owner()), (Some(0), USER), "{err}");
    let words = format!("{} belongs to uid {USER}: the daemon other.cf of that user", state.display());
    // Root works there all the same, and leaves the directory to the other user.
    let (code, err) = act("web.cf", "start", "");
    assert_eq!((code, owner()), (Some(0), USER), "{err}");
    sandbox.expect_log(&words);
    assert!(sandbox.table().is_some());
    assert_eq!(act("other.cf", "restart", "nobody").0, Some(0), "{}", sandbox.log());
    // Another user could not write there, so nothing is started, and the running daemon continues.
    let pid = sandbox.pid();
    for action in ["restart", "stop", "start"] {
        let (code, err) = act("web.cf", action, "daemon");
        let expected = if action == "stop" { (0, false) } else { (1, true) };
        assert_eq!((code, err.contains(&words)), (Some(expected.0), expected.1), "{action}: {err}");
        assert!(action != "restart" || sandbox.pid() == pid);
    }
    assert_eq!(act("other.cf", "stop", "nobody").0, Some(0));
    // No daemon is there now.
    assert_eq!(act("web.cf", "start", "").0, Some(0));
    assert_eq!(owner(), 0);
    assert_eq!(sandbox.act("stop"), 0);
}

/// R82: a user who may not open the lock of root's daemon relies on its pid file and /proc, and can stop nothing.
#[test]
fn c2_another_user_may_ask_and_ends_nothing() {
    let may = Command::new("unshare").args(["--mount", "setpriv", "--version"]).output();
    if !nix::unistd::geteuid().is_root() || !may.is_ok_and(|output| output.status.success()) {
        println!("skipped: only root can be another user, and unshare(1) must make a mount namespace");
        return;
    }
    let sandbox = Sandbox::new(CONFIG);
    fs::set_permissions(sandbox.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let ask = |action: &str, hidden: u8| {
        let user = format!("--reuid={USER} --regid={USER} --clear-groups");
        let script = format!("mount -t proc -o hidepid={hidden} proc /proc && exec setpriv {user} \"$@\"");
        let program = sandbox.command(&["web.cf", action]);
        let mut asked = Command::new("unshare");
        asked
            .args(["--mount", "sh", "-c", &script, "sh"])
            .arg(program.get_program())
            .args(program.get_args());
        asked.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = asked.current_dir(sandbox.path("")).stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    assert_eq!(ask("status", 0).0, Some(3));
    assert_eq!(sandbox.act("start"), 0);
    let pid = sandbox.pid().unwrap();
    let (code, said) = ask("status", 0);
    assert!(code == Some(0) && said.contains(&format!("is running with pid: {pid}")), "{code:?}: {said}");
    // Where /proc hides the processes of other users, the state is unknown.
    let (code, said) = ask("status", 2);
    assert!(code == Some(4) && said.contains("run this as root"), "{code:?}: {said}");
    for action in ["stop", "restart", "reload"] {
        for hidden in [0, 2] {
            let (code, said) = ask(action, hidden);
            let why = if hidden == 0 {
                format!("cannot be sent to pid {pid}")
            } else {
                "run this as root".to_owned()
            };
            assert!(code == Some(1) && said.contains(&why), "{action}, {hidden}: {code:?}: {said}");
            assert_eq!((sandbox.told("status").0, sandbox.pid()), (0, Some(pid)), "{action}");
        }
    }
    sandbox.signal(nix::sys::signal::Signal::SIGKILL);
    sandbox.wait_for("its end", || sandbox.told("status").0 == 1, &String::new);
    let (code, said) = ask("status", 0);
    assert!(code == Some(1) && said.contains("stale pid file"), "{code:?}: {said}");
    assert_eq!(sandbox.act("stop"), 0);
}

/// R90: with the original, the umask of its caller decides the modes of the files.
#[test]
fn c2_the_umask_is_set() {
    for umask in ["000", "077"] {
        let sandbox = Sandbox::new(CONFIG);
        let mut start = Command::new("sh");
        let program = sandbox.command(&["web.cf", "start"]);
        start
            .args(["-c", "umask $0; exec \"$@\"", umask])
            .arg(program.get_program())
            .args(program.get_args());
        let variables = program.get_envs().filter_map(|(name, value)| Some((name, value?)));
        start.envs(variables).current_dir(sandbox.path("")).stdin(Stdio::null());
        assert!(start.status().unwrap().success());
        for file in [sandbox.pid_file(), sandbox.path("log")] {
            assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o644, "{umask}: {}", file.display());
        }
        assert_eq!(sandbox.act("stop"), 0);
    }
}

/// R91: a lock that a caller holds, as cluster scripts do, must not live on in the daemon.
#[test]
fn c4_inherited_descriptors_are_closed() {
    for words in [&["web.cf", "start"][..], &["--foreground", "web.cf", "start"]] {
        let sandbox = Sandbox::new(CONFIG);
        let mut start = Command::new("sh");
        let program = sandbox.command(words);
        start.args(["-c", "exec 7>lock; flock 7; exec \"$@\"", "sh"]);
        start.arg(program.get_program()).args(program.get_args());
        let variables = program.get_envs().filter_map(|(name, value)| Some((name, value?)));
        start.envs(variables).current_dir(sandbox.path("")).stdin(Stdio::null());
        let mut started = start.spawn().unwrap();
        sandbox.wait_for("the daemon", || sandbox.told("status").0 == 0, &String::new);
        let lock =
            Command::new("flock").arg("--nonblock").arg(sandbox.path("lock")).arg("true").status().unwrap();
        assert!(lock.success(), "the daemon holds the lock of its caller");
        assert_eq!(sandbox.act("stop"), 0);
        started.wait().unwrap();
    }
}
