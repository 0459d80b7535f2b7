//! Nothing secret is in any output: a marked secret in every directive and setting that can hold one, and a search for
//! the mark in all that the program prints, logs, saves, sends and hands to the commands that it runs.

mod servers;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use self::servers::Answer;
use crate::mail::{Mood, Relay};
use crate::sandbox::{Foreground, Sandbox};

/// The begin of all secrets of these tests. The rest of a secret names its place.
const MARK: &str = "tr0ub4dor";

/// The parts of the base64 form of the mark that are the same whatever precedes and follows it.
fn base64_forms() -> Vec<String> {
    let form = |offset: usize| {
        let encoded = STANDARD.encode(format!("{}{MARK}", "\0".repeat(offset)));
        let first = (offset * 8).div_ceil(6);
        let last = (offset + MARK.len()) * 8 / 6;
        encoded[first..last].to_owned()
    };
    (0..3).map(form).collect()
}

/// The places of the mark in these bytes, each with its surroundings.
fn leaks(what: &str, bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lower = text.to_ascii_lowercase();
    let mut places: Vec<usize> = lower.match_indices(MARK).map(|(at, _)| at).collect();
    for form in base64_forms() {
        places.extend(text.match_indices(&form).map(|(at, _)| at));
    }
    let around = |at: usize| {
        let begin = (0..=at.saturating_sub(100)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let end = (at..=text.len()).find(|end| *end >= at + 40 && text.is_char_boundary(*end));
        format!("{what}: …{}…", text[begin..end.unwrap_or(text.len())].escape_debug())
    };
    places.into_iter().map(around).collect()
}

#[test]
fn the_search_finds_each_form_of_a_secret() {
    for secret in [format!("{MARK}-x"), MARK.to_uppercase()] {
        assert_eq!(leaks("x", format!("a {secret} b").as_bytes()).len(), 1, "{secret}");
    }
    for user in ["", "u", "us", "use", "user"] {
        let sent = STANDARD.encode(format!("{user}:{MARK}-url"));
        assert_eq!(leaks("x", sent.as_bytes()).len(), 1, "{user}");
    }
    assert!(leaks("x", b"nothing here").is_empty());
}

/// All outputs of a test, and the leaks found in them.
#[derive(Default)]
struct Search {
    looked: usize,
    found: Vec<String>,
}

impl Search {
    fn look(&mut self, what: &str, bytes: &[u8]) {
        self.looked += 1;
        self.found.extend(leaks(what, bytes));
    }

    fn output(&mut self, what: &str, output: &Output) {
        self.look(&format!("{what}: standard output"), &output.stdout);
        self.look(&format!("{what}: standard error"), &output.stderr);
    }

    /// Every file of the sandbox but its input: pid file, state, socket, log, monitor file, what commands saved.
    fn files(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            self.look(&format!("name of {}", path.display()), name.as_bytes());
            if path.is_dir() && name != "input" {
                self.files(&path);
            } else if path.is_file() && path.extension().is_none_or(|extension| extension != "cf") {
                self.look(&path.display().to_string(), &fs::read(&path).unwrap());
            }
        }
    }

    /// What other users may see of a process.
    fn process(&mut self, pid: i32) {
        for name in ["cmdline", "environ", "comm"] {
            let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap();
            assert!(!bytes.is_empty(), "{name}");
            self.look(&format!("/proc/{pid}/{name}"), &bytes);
        }
    }

    #[track_caller]
    fn end(self, least: usize) {
        assert!(self.found.is_empty(), "{} leaks:\n{}", self.found.len(), self.found.join("\n"));
        assert!(self.looked >= least, "only {} outputs were searched", self.looked);
    }
}

/// A command that saves its environment and fails with its arguments in its output, as many do that print how they are
/// used. Its arguments are in `/proc/PID/cmdline` while it runs, as with the original: a command gets them in no other
/// way. The manual tells operators to give it a file with its password.
fn command(sandbox: &Sandbox, name: &str) -> PathBuf {
    let path = sandbox.path("input").join(name);
    let saved = sandbox.path(name).display().to_string();
    let text = format!(
        "#!/bin/sh\ncat /proc/$$/environ >{saved}.environ.$$\nmv {saved}.environ.$$ {saved}.environ\n\
         echo \"usage: $0 wrong arguments: $*\"\nexit 1\n"
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The same in Perl.
fn perl_command(sandbox: &Sandbox, name: &str) -> PathBuf {
    let path = sandbox.path("input").join(name);
    let saved = sandbox.path(name).display().to_string();
    let text = format!(
        "use strict; my %env = %ENV;\nopen my $file, '>', '{saved}.environ.new' or die;\n\
         print $file \"$_=$env{{$_}}\\n\" for keys %env;\nclose $file;\nrename '{saved}.environ.new', '{saved}.environ';\n\
         print \"usage: wrong arguments: @ARGV\\n\";\nexit 1;\n"
    );
    fs::write(&path, text).unwrap();
    path
}

/// A sandbox with all files that contain secrets, and a configuration that uses each.
fn sandbox(relay: SocketAddr, more_settings: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::new("");
    fs::create_dir(sandbox.path("input")).unwrap();
    fs::create_dir(sandbox.path("state")).unwrap();
    for name in ["passwdfile", "secretfile", "credential", "key", "certificate", "relay"] {
        let path = sandbox.path("input").join(name);
        fs::write(&path, format!("{MARK}-{name}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let settings = format!(
        "[paths]\nstate = \"{}\"\n[log]\nlevel = \"trace\"\n[metrics]\nper_server = true\n\
         [mail]\nport = {}\ntimeout = 2\n{more_settings}",
        sandbox.path("state").display(),
        relay.port()
    );
    fs::write(sandbox.path("input/settings.toml"), settings).unwrap();
    let config = configuration(&sandbox);
    sandbox.write(&config);
    (sandbox, config)
}

/// Runs the program with the settings and the credentials of the sandbox.
fn run(sandbox: &Sandbox, words: &[&str]) -> Output {
    start(sandbox, words).output().unwrap()
}

fn start(sandbox: &Sandbox, words: &[&str]) -> std::process::Command {
    let settings = sandbox.path("input/settings.toml");
    let mut command = sandbox.command(&[&["--settings", settings.to_str().unwrap()], words].concat());
    command.env("CREDENTIALS_DIRECTORY", sandbox.path("input"));
    command
}

/// Each protocol that can log in, at a server that repeats what it is told, and each directive that can hold a secret.
fn configuration(sandbox: &Sandbox) -> String {
    let input = sandbox.path("input").display().to_string();
    let fallback = command(sandbox, "fallback");
    // A callback is a path. With arguments it is not run, as with the original, and a warning says so.
    let callback = command(sandbox, "callback");
    let mut text = format!(
        "autoreload=yes\ncheckinterval=1\nchecktimeout=2\nnegotiatetimeout=2\nquiescent=yes\nsmtp=127.0.0.1\n\
         emailalert=a@one.example\nfallback=127.0.0.9:80\nfallbackcommand={} --password {MARK}-fallbackcommand\n\
         callback=\"{} --password {MARK}-callback\"\n",
        fallback.display(),
        callback.display()
    );
    let mut services = 0;
    let mut service = |real: &str, lines: &str| {
        services += 1;
        text.push_str(&format!(
            "virtual=192.0.2.{services}:80\n\treal={real}\n\tmonitorfile=\"{}\"\n{lines}",
            sandbox.path("monitor").display()
        ));
    };
    for answer in Answer::ALL {
        let name = answer.service();
        let login = format!(
            "\tservice={name}\n\tlogin=\"joe\"\n\tdatabase=\"base\"\n\trequest=\"x\"\n\treceive=\"y\"\n"
        );
        service(&format!("{} masq", answer.serve()), &format!("{login}\tpasswd=\"{MARK}-{name}\"\n"));
        for file in [format!("{input}/passwdfile"), "credential:credential".to_owned()] {
            let lines = format!("{login}\t#rs: passwdfile=\"{file}\"\n");
            service(&format!("{} masq", answer.serve()), &lines);
        }
    }
    let refused = "127.0.0.1:1 masq";
    for (name, file) in [("passwd", "secret"), ("secret", "passwd")] {
        let lines = format!(
            "\tservice=radius\n\tlogin=\"joe\"\n\t{name}=\"{MARK}-radius\"\n\t#rs: {file}file=\"{input}/{file}file\"\n"
        );
        service(refused, &lines);
    }
    for name in ["oracle", "sip", "smtp", "nntp"] {
        service(refused, &format!("\tservice={name}\n\tlogin=\"joe\"\n\tpasswd=\"{MARK}-{name}\"\n"));
    }
    let url = format!("http://joe:{MARK}-url@127.0.0.1:1/x");
    let web = servers::web();
    for (kind, lines) in [("http", ""), ("http_proxy", ""), ("https", "\tvirtualhost=www.example.net\n")] {
        let more = format!("\tservice={kind}\n\trequest=\"{url}\"\n\treceive=\"fine\"\n{lines}");
        service(&format!("{web} masq"), &more);
        let token = format!("\tservice={kind}\n\trequest=\"/x?page=1&access_token={MARK}-token\"\n{lines}");
        service(&format!("{web} masq"), &token);
        service(&format!("{web} masq 1 \"{url}\", \"fine\""), &format!("\tservice={kind}\n{lines}"));
    }
    let (check, perl) = (command(sandbox, "check"), perl_command(sandbox, "check.pl"));
    for (kind, path) in [("external", check), ("external-perl", perl)] {
        let line = format!("{} -H x --password={MARK}-{kind} -p {MARK}-{kind}", path.display());
        service(refused, &format!("\tchecktype={kind}\n\tcheckcommand=\"{line}\"\n"));
        service(
            refused,
            &format!("\tchecktype={kind}\n\tcheckcommand=\"/missing --password={MARK}-missing\"\n"),
        );
    }
    text
}

/// Commands that work with and without a daemon.
const COMMANDS: [&[&str]; 15] = [
    &["web.cf", "status"],
    &["status", "--all"],
    &["show", "web.cf"],
    &["show", "web.cf", "--json"],
    &["show", "web.cf", "--all", "--stats"],
    &["show", "web.cf", "127.0.0.1:1"],
    &["show", "web.cf", "127.0.0.1:1", "--json"],
    &["-t", "web.cf"],
    &["-t", "web.cf", "--json"],
    &["plan", "-c", "web.cf"],
    &["plan", "-c", "web.cf", "--diff"],
    &["metrics", "-c", "web.cf"],
    &["plugin", "--config", "web.cf"],
    &["is-up", "tcp:192.0.2.1:80", "-c", "web.cf"],
    &["alert-test", "web.cf"],
];

fn commands(search: &mut Search, sandbox: &Sandbox, when: &str) {
    for words in COMMANDS {
        search.output(&format!("{when}: {words:?}"), &run(sandbox, words));
    }
}

/// `events` in both forms, into files of the sandbox, until the end of the test.
fn follow(sandbox: &Sandbox) -> [Foreground; 2] {
    [("events", None), ("events.json", Some("--json"))].map(|(name, form)| {
        let words = [&["events", "-c", "web.cf"], form.as_slice()].concat();
        let (out, err) =
            (File::create(sandbox.path(name)), File::create(sandbox.path(&format!("{name}.errors"))));
        let mut follower = start(sandbox, &words);
        follower.stdout(out.unwrap()).stderr(err.unwrap()).stdin(Stdio::null());
        Foreground(follower.spawn().unwrap())
    })
}

/// The daemon in the foreground, with its log on standard error, until it has checked its servers.
fn debug(sandbox: &Sandbox) {
    let mut command = start(sandbox, &["-d", "web.cf", "start"]);
    let file = File::create(sandbox.path("debug")).unwrap();
    command.stdout(file.try_clone().unwrap()).stderr(file);
    let _daemon = Foreground(command.spawn().unwrap());
    let told = || fs::read_to_string(sandbox.path("debug")).unwrap();
    sandbox.wait_for("checks", || told().matches("Real server is down: ").count() > 10, &told);
}

fn wait_for_file(sandbox: &Sandbox, name: &str) {
    sandbox.wait_for(name, || sandbox.path(name).exists(), &String::new);
}

/// Neither with right nor with wrong files (R76).
#[test]
fn r76_a_good_file_gives_no_secret_away() {
    let relay = Relay::start(Mood::Good);
    let (sandbox, config) = sandbox(relay.address, "");
    let mut search = Search::default();
    commands(&mut search, &sandbox, "stopped");
    for words in [&["check", "web.cf"][..], &["check", "web.cf", "--json"]] {
        let output = run(&sandbox, words);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        search.output("check", &output);
    }
    let started = run(&sandbox, &["web.cf", "start"]);
    assert!(started.status.success(), "{started:?}");
    search.output("start", &started);
    let followers = follow(&sandbox);
    for name in ["fallback.environ", "check.environ", "check.pl.environ"] {
        wait_for_file(&sandbox, name);
    }
    sandbox.wait_for("mail", || relay.has("Added fallback server: "), &String::new);
    search.process(sandbox.pid().unwrap());
    commands(&mut search, &sandbox, "running");
    let steer = ["drain", "127.0.0.1:1", "-c", "web.cf", "--force", "--note", "new kernel"];
    let drained = run(&sandbox, &steer);
    assert!(drained.status.success(), "{drained:?}");
    search.output("drain", &drained);

    // Other secrets: what the file would change, and the reload.
    sandbox.write(&config.replace(MARK, &format!("{MARK}-new")));
    search.output("plan --diff", &run(&sandbox, &["plan", "-c", "web.cf", "--diff"]));
    sandbox.expect_log("is not run: it is not an executable file");
    search.output("reload", &run(&sandbox, &["web.cf", "reload"]));
    sandbox.expect_log("Reloading Linux Director Daemon config");
    sandbox.wait_for("events", || fs::metadata(sandbox.path("events.json")).unwrap().len() > 0, &String::new);
    wrong_files(&mut search, &sandbox, &config);
    for name in ["log", "monitor", "run/ldirectord.web.cf.pid", "run/ldirectord-rs", "events", "events.json"]
    {
        assert!(sandbox.path(name).exists(), "{name}");
    }
    search.files(&sandbox.path("."));
    search.output("stop", &run(&sandbox, &["web.cf", "stop"]));
    drop(followers);
    debug(&sandbox);
    for (_, text) in relay.taken() {
        search.look("mail", text.as_bytes());
    }
    search.files(&sandbox.path("."));
    search.end(150);
}

/// Lines that are wrong in one way or another, each with a secret.
fn wrong_lines() -> Vec<String> {
    let mut lines: Vec<String> = [
        "passwd=\"MARK",
        "passwd MARK",
        "pasword=\"MARK\"",
        "passwd:MARK",
        "passwd=MARK\tpasswd=\"MARK\"",
        "secret=",
        "secret MARK",
        "secert=\"MARK\"",
        "secret=\"MARK\" MARK",
        "#rs: passwd=\"MARK\"",
        "fallbackcommand=",
        "fallbackcomand=/x -p MARK",
        "checkcomand=\"/x -p MARK\"",
        "chekcommand=/x -p MARK",
        "callbak=\"/x --password MARK\"",
        "checkcommand=\"/x -p MARK\" MARK",
        "checktype=external /x --password MARK",
        "request=\"http://joe:MARK@127.0.0.1/x",
        "requst=\"http://joe:MARK@127.0.0.1/x\"",
        "virtualhost=http://joe:MARK@127.0.0.1/x",
        "real=127.0.0.1:2 masq 1 \"http://joe:MARK@127.0.0.1/x\", \"(\"",
        "real=127.0.0.1:2 mask 1 \"http://joe:MARK@h/x\", \"x\"",
        "request=\"/x?token=MARK",
        "smtp=smtp://joe:MARK@relay.example.net",
        "emailalertfrom=smtp://joe:MARK@relay.example.net",
        "login=\"joe\" passwd=\"MARK\"",
    ]
    .map(|line| line.replace("MARK", &format!("{MARK}-wrong")))
    .into();
    // Twice: the second is another diagnostic.
    lines.push(format!("passwd=\"{MARK}-1\"\n\tpasswd=\"{MARK}-2\"\n\tnonsense"));
    lines
}

/// Wrong files, while the daemon runs: what each command says of them.
fn wrong_files(search: &mut Search, sandbox: &Sandbox, config: &str) {
    for line in wrong_lines() {
        for indent in ["\t", ""] {
            let text = format!("{indent}{line}\n");
            let text = if indent.is_empty() { format!("{text}{config}") } else { format!("{config}{text}") };
            sandbox.write(&text);
            for words in
                [&["-t", "web.cf"][..], &["-t", "web.cf", "--json"], &["plan", "-c", "web.cf", "--diff"]]
            {
                search.output(&format!("{line:?} {words:?}"), &run(sandbox, words));
            }
        }
        search.output(&format!("{line:?} reload"), &run(sandbox, &["web.cf", "reload"]));
    }
    // Files that hold a secret where a certificate, a key or a password is expected.
    let input = sandbox.path("input").display().to_string();
    for lines in [
        format!("#rs: tlscert=\"{input}/certificate\"\n#rs: tlskey=\"{input}/key\"\n"),
        format!("#rs: tlsca=\"{input}/certificate\"\n"),
    ] {
        sandbox.write(&format!("{lines}{config}"));
        for words in
            [&["check", "web.cf", "--config-only"][..], &["web.cf", "reload"], &["alert-test", "web.cf"]]
        {
            search.output(&format!("{lines:?} {words:?}"), &run(sandbox, words));
        }
    }
    sandbox.write(config);
}

/// Wrong settings, and passwords where a setting has none.
#[test]
fn wrong_settings_give_no_secret_away() {
    let sandbox = Sandbox::new("virtual=192.0.2.1:80\n\treal=127.0.0.1:1 masq\n\tchecktype=on\n");
    fs::create_dir(sandbox.path("input")).unwrap();
    let mut search = Search::default();
    for text in [
        "[mail]\npassword = \"MARK\"\n",
        "[mail]\nusername = \"joe\"\npasswd = \"MARK\"\n",
        "[mail]\npassword_file = \"MARK\n",
        "password = \"MARK\"\n",
        "[smtp]\npassword = \"MARK\"\n",
        "[mail]\npassword = MARK\n",
        "[mail]\npassword_file = [\"MARK\"]\n",
        "[mail]\npassword = \"MARK\" MARK\n",
    ] {
        fs::write(sandbox.path("input/settings.toml"), text.replace("MARK", MARK)).unwrap();
        for words in [&["web.cf", "start"][..], &["check", "web.cf"], &["alert-test", "web.cf"]] {
            let output = run(&sandbox, words);
            assert!(!output.status.success(), "{text} {words:?} {output:?}");
            search.output(&format!("{text:?} {words:?}"), &output);
        }
    }
    search.files(&sandbox.path("."));
    search.end(40);
}

/// A relay that refuses the login repeats it in its reply.
#[test]
fn a_relay_gives_no_secret_away() {
    let login = "username = \"joe\"\npassword_file = \"credential:relay\"\n";
    let (sandbox, _) = sandbox(Answer::Relay.serve(), login);
    let mut search = Search::default();
    search.output("start", &run(&sandbox, &["web.cf", "start"]));
    sandbox.expect_log("failed to send SMTP email message");
    commands(&mut search, &sandbox, "running");
    let output = run(&sandbox, &["alert-test", "web.cf"]);
    let told = String::from_utf8(output.stderr.clone()).unwrap() + &String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("535"), "{told}");
    search.output("alert-test", &output);
    search.process(sandbox.pid().unwrap());
    search.output("stop", &run(&sandbox, &["web.cf", "stop"]));
    search.files(&sandbox.path("."));
    search.end(40);
}
