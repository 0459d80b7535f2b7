//! The contents of the packages, as far as they can be checked without building them: completions know the whole
//! command line, every packed file exists, scripts are valid for their shell, and the versions agree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const MANIFEST: &str = include_str!("../../Cargo.toml");

/// The actions: those that the help lists one per line, and those that it mentions in passing.
const ACTIONS: [&str; 14] = [
    "start",
    "stop",
    "restart",
    "try-restart",
    "reload",
    "force-reload",
    "status",
    "check",
    "show",
    "is-up",
    "plugin",
    "events",
    "plan",
    "alert-test",
];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether a text contains a word.
fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !(c.is_alphanumeric() || c == '-')).any(|found| found == word)
}

#[test]
fn completions_know_the_command_line() {
    let command = ldirectord_rs::cli::command();
    let help = command.clone().render_help().to_string();
    for shell in ["bash", "zsh", "fish"] {
        let text = read(&format!("packaging/completions/ldirectord-rs.{shell}"));
        for action in ACTIONS {
            assert!(has_word(&help, action), "the help does not know {action} any more");
            assert!(has_word(&text, action), "{shell} does not know {action}");
        }
        let options: Vec<&clap::Arg> = command.get_arguments().filter(|a| !a.is_hide_set()).collect();
        assert!(options.len() > 3);
        for long in options.iter().filter_map(|option| option.get_long()) {
            let spelt = if shell == "fish" { format!("-l {long}") } else { format!("--{long}") };
            assert!(text.contains(&spelt), "{shell} does not know {spelt}");
        }
        for value in options
            .iter()
            .filter(|option| option.get_action().takes_values())
            .flat_map(|option| option.get_possible_values())
        {
            assert!(has_word(&text, value.get_name()), "{shell} does not know {}", value.get_name());
        }
        assert!(text.contains("/etc/ha.d"), "{shell} does not look where configurations are");
    }
}

/// The sources of both lists of assets.
fn assets() -> Vec<String> {
    let quoted = |line: &str| line.split('"').nth(1).map(str::to_owned);
    let lines = MANIFEST.lines().map(str::trim);
    let assets = lines.filter(|line| line.starts_with("[\"") || line.starts_with("{ source = "));
    assets.filter_map(quoted).collect()
}

#[test]
fn what_is_packed_is_there() {
    let assets = assets();
    assert!(assets.len() > 30, "{assets:?}");
    // The program and the manual are built.
    for asset in assets.iter().filter(|asset| !asset.starts_with("target/")) {
        let path = Path::new(ROOT).join(asset);
        let folder = path.parent().unwrap();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap();
        let (begin, end) = name.split_once('*').unwrap_or((name, ""));
        let mut files = fs::read_dir(folder).unwrap_or_else(|error| panic!("{asset}: {error}"));
        let found = files.any(|file| {
            let file = file.unwrap().file_name();
            file.to_str().is_some_and(|file| file.starts_with(begin) && file.ends_with(end))
        });
        assert!(found, "Cargo.toml packs {asset}, which is not there");
    }
}

#[test]
fn the_shells_can_read_the_scripts() {
    let scripts = |folder: &str| -> Vec<PathBuf> {
        let files = fs::read_dir(Path::new(ROOT).join(folder)).unwrap();
        files.map(|file| file.unwrap().path()).filter(|path| path.is_file()).collect()
    };
    let mut count = 0;
    for path in [
        "packaging",
        "packaging/debian",
        "packaging/rpm",
        "packaging/sysv",
        "packaging/heartbeat",
        "packaging/ocf",
    ]
    .into_iter()
    .flat_map(scripts)
    {
        let text = fs::read_to_string(&path).unwrap();
        let shell = match text.lines().next().unwrap_or_default() {
            "#!/bin/bash" => "bash",
            "#!/bin/sh" => "sh",
            _ if path.parent().is_some_and(|folder| folder.ends_with("rpm")) => "sh",
            _ => continue,
        };
        let output = Command::new(shell).arg("-n").arg(&path).output().unwrap();
        assert!(output.status.success(), "{}: {output:?}", path.display());
        count += 1;
    }
    assert!(count >= 10, "{count}");
}

#[test]
fn the_changelog_of_the_package_is_of_this_version() {
    let expected = format!("ldirectord-rs ({}-1) ", env!("CARGO_PKG_VERSION"));
    assert!(read("packaging/debian/changelog").starts_with(&expected), "{expected}");
}

/// Packages of every target contain the licences of all crates in the program of that target.
#[test]
fn licences_cover_every_target_of_a_release() {
    let (release, licences) = (read("packaging/release"), read("packaging/licences/about.toml"));
    let targets =
        release.lines().find_map(|line| line.trim().strip_prefix("for triple in ")?.strip_suffix("; do"));
    let targets: Vec<&str> = targets.unwrap().split(' ').collect();
    assert!(targets.len() > 1, "{targets:?}");
    for target in targets {
        assert!(licences.contains(&format!("\"{target}\"")), "{target}");
    }
}

/// The limits of the unit hold for everything that it runs, including what creates the pid file.
#[test]
fn the_pid_file_of_a_unit_can_be_read_by_all() {
    for name in ["ldirectord-rs.service", "ldirectord-rs@.service"] {
        let unit = read(&format!("packaging/systemd/{name}"));
        let file = unit.split_whitespace().find(|word| word.starts_with("/run/")).unwrap();
        assert!(unit.contains(&format!("ExecStartPre=+/usr/bin/chmod 644 {file}\n")), "{name}");
    }
}

/// A folder with only these programs of the machine.
fn only(programs: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for program in programs {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|place| place.join(program))
            .find(|path| path.is_file());
        let found = found.unwrap_or_else(|| panic!("this machine has no {program}"));
        std::os::unix::fs::symlink(found, folder.path().join(program)).unwrap();
    }
    folder
}

#[test]
fn the_demo_needs_rust_and_a_c_compiler() {
    let setup = |programs: &[&str]| {
        let path = only(programs);
        Command::new("/bin/bash")
            .args(["tests/install-prerequisites", "demo"])
            .current_dir(ROOT)
            .env("PATH", path.path())
            .output()
            .unwrap()
    };
    let output = setup(&["cargo", "cc"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    for (there, absent, named) in [("cargo", "cc", "gcc"), ("cc", "cargo", "Rust 1.88")] {
        // Without apt-get nothing is installed.
        let output = setup(&[there]);
        assert!(!output.status.success(), "without {absent}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(named), "without {absent}: {output:?}");
    }
    let make = read("Makefile");
    let (_, demo) = make.split_once("\ndemo:").unwrap();
    let (demo, _) = demo.split_once("\n\n").unwrap();
    assert!(demo.contains("tests/install-prerequisites demo\n"), "{demo}");
    assert!(demo.trim_start().starts_with("##"), "make demo depends on another target: {demo}");
}

/// Scripts that root runs read pid files that may belong to an unprivileged user.
#[test]
fn c1_a_pid_file_of_a_user_gives_root_no_command() {
    let namespaces = ["--mount", "--pid", "--fork", "--mount-proc"];
    let may = Command::new("unshare").args(namespaces).arg("true").output();
    if !nix::unistd::geteuid().is_root() || !may.is_ok_and(|output| output.status.success()) {
        println!("skipped: needs root and namespaces");
        return;
    }
    let script = Path::new(ROOT).join("tests/packages/hostile-pid-files.sh");
    let output = Command::new("unshare").args(namespaces).arg(script).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && out.ends_with("hostile: passed\n"), "{output:?}");
}

/// `systemctl reload` fails with the reason if the file cannot be used, before the daemon is asked to read it.
#[test]
fn a_reload_of_a_unit_judges_the_file_first() {
    for (name, config) in [("ldirectord-rs.service", ""), ("ldirectord-rs@.service", " %i.cf")] {
        let unit = read(&format!("packaging/systemd/{name}"));
        let reloads: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("ExecReload=")).collect();
        let judge = format!("/usr/sbin/ldirectord-rs check --config-only{config}");
        assert_eq!(reloads, [judge.as_str(), "/bin/kill -HUP $MAINPID"], "{name}");
    }
}

#[test]
fn the_agent_starts_no_program_that_is_not_ours() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("web.cf");
    fs::write(&config, "virtual=192.0.2.1:80\n").unwrap();
    let agent = |program: &str, action: &str| {
        Command::new("/bin/sh")
            .args(["packaging/ocf/ldirectord-rs", action])
            .current_dir(ROOT)
            .env("OCF_RESKEY_configfile", &config)
            .env("OCF_RESKEY_ldirectord", program)
            .output()
            .unwrap()
    };
    for action in ["start", "reload", "validate-all"] {
        let output = agent("/bin/true", action);
        assert_eq!(output.status.code(), Some(6), "{action}: {output:?}");
        let reason = String::from_utf8(output.stderr).unwrap();
        assert!(reason.starts_with("ocf-exit-reason:/bin/true is not ldirectord-rs"), "{action}: {reason}");
    }
    let output = agent(env!("CARGO_BIN_EXE_ldirectord-rs"), "validate-all");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// Without the program the pid file shows whether the daemon runs: the agent looks for it in `[paths] run`.
#[test]
fn the_agent_finds_the_pid_file_without_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let stop = || {
        Command::new("/bin/sh")
            .args(["packaging/ocf/ldirectord-rs", "stop"])
            .current_dir(ROOT)
            .env("OCF_RESKEY_configfile", "/etc/ha.d/web.cf")
            .env("OCF_RESKEY_ldirectord", "/nowhere")
            .env("LDIRECTORD_RS_PATHS__RUN", folder.path())
            .output()
            .unwrap()
    };
    let output = stop();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let file = folder.path().join("ldirectord.web.cf.pid");
    fs::write(&file, "1\n").unwrap();
    let output = stop();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains(file.to_str().unwrap()), "{output:?}");
}

/// The drop-in lifts each limit of the unit that a command of root may meet.
#[test]
fn the_drop_in_takes_back_the_limits_of_the_unit() {
    let unit = read("packaging/systemd/ldirectord-rs.service");
    let drop_in = read("packaging/drop-in/root-commands.conf");
    let (_, limits) = unit.split_once("\nCapabilityBoundingSet=").unwrap();
    let (limits, _) = limits.split_once("[Install]").unwrap();
    let lines = limits.lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    let stay = ["ReadWritePaths", "RemoveIPC", "SystemCallErrorNumber", "LimitNOFILE", ""];
    for name in names.filter(|name| !stay.contains(name)) {
        assert!(drop_in.contains(&format!("\n{name}=")), "{name}");
    }
    assert!(drop_in.contains("\nUser=root\n") && drop_in.contains("\nCapabilityBoundingSet=~\n"));
}

/// The unit for the default configuration and the template differ only in the name.
#[test]
fn both_units_have_the_same_directives() {
    let keys = |unit: &str| -> Vec<String> {
        let text = read(&format!("packaging/systemd/{unit}"));
        text.lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect()
    };
    assert_eq!(keys("ldirectord-rs.service"), keys("ldirectord-rs@.service"));
    assert!(keys("ldirectord-rs.service").contains(&"StateDirectory".to_owned()));
}
