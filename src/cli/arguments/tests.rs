//! Parsing of command lines.

use super::*;
use crate::control::{OverrideRequest, ServerTarget};
use crate::health::What;

fn run(line: &str) -> Parsed {
    let words: Vec<String> =
        std::iter::once("ldirectord-rs").chain(line.split_whitespace()).map(str::to_owned).collect();
    parse(&words)
}

/// `check` of every server.
fn probing(judging: Judging) -> Command {
    Command::Check(judging, Only::default())
}

fn show_json() -> Command {
    Command::Show(ShowOptions { json: true, ..ShowOptions::default() })
}

#[test]
fn words_mean_what_they_mean_to_the_original() {
    let check = |line: &str, config: Option<&str>, debug: bool, command: Command| {
        let foreground = line.contains("--foreground");
        let config = config.map(str::to_owned);
        let expected = CliOptions { debug, foreground, config, ..CliOptions::default() };
        let found = match run(line) {
            Parsed::Run(found, command) => Parsed::Run(CliOptions { ignored: Vec::new(), ..found }, command),
            answer => answer,
        };
        assert_eq!(found, Parsed::Run(expected, command), "{line}");
    };
    check("start", None, false, Command::Action(Action::Start));
    check("x.cf start", Some("x.cf"), false, Command::Action(Action::Start));
    check("-d x.cf force-reload", Some("x.cf"), true, Command::Action(Action::Reload));
    check("--foreground x.cf start", Some("x.cf"), false, Command::Action(Action::Start));
    // The original's options are accepted only before the words, and words after the second are ignored.
    check("x.cf status -d", Some("x.cf"), false, Command::Action(Action::Status));
    check("x.cf stop start", Some("x.cf"), false, Command::Action(Action::Stop));
    check("-- x.cf stop", Some("x.cf"), false, Command::Action(Action::Stop));
    check("start start", Some("start"), false, Command::Action(Action::Start));
    for name in ["plan", "check", "show", "alert-test", "stop"] {
        check(&format!("{name} start"), Some(name), false, Command::Action(Action::Start));
        check(&format!("{name} --foreground stop"), Some(name), false, Command::Action(Action::Stop));
    }
    let judging = |json, strict| Judging { json, strict };
    check("check", None, false, probing(judging(false, false)));
    check("check x.cf --json", Some("x.cf"), false, probing(judging(true, false)));
    check("--json check --strict x.cf", Some("x.cf"), false, probing(judging(true, true)));
    let judge = |named, json, strict| Command::Judge { judging: judging(json, strict), named };
    check("check --config-only x.cf --strict", Some("x.cf"), false, judge(false, false, true));
    check("-t /x.cf", Some("/x.cf"), false, judge(true, false, false));
    check("--strict -t start --json", Some("start"), false, judge(true, true, true));
    check("-dt x.cf", Some("x.cf"), true, judge(true, false, false));
    check("alert-test x.cf", Some("x.cf"), false, Command::AlertTest);
    // A file may still have the name of a command.
    check("down start", Some("down"), false, Command::Action(Action::Start));
    check("show --json x.cf", Some("x.cf"), false, show_json());
}

#[test]
fn overrides_name_a_server_and_what_it_does() {
    let check = |line: &str, config: Option<&str>, command: Command| {
        let options = CliOptions { config: config.map(str::to_owned), ..CliOptions::default() };
        assert_eq!(run(line), Parsed::Run(options, command), "{line}");
    };
    let target = |service: Option<&str>| ServerTarget {
        server: "10.0.0.2:80".parse().unwrap(),
        service: service.map(str::to_owned),
    };
    let undo = Command::Steer(ControlRequest::Undo(target(Some("fwm:5"))), None);
    check("undo 10.0.0.2:80 --service fwm:5 -c x.cf", Some("x.cf"), undo);
    let waiting = |what, seconds, wait: Option<Option<u64>>| {
        let (note, force) = (String::new(), false);
        Command::Steer(
            ControlRequest::Override(OverrideRequest {
                server: target(None).server,
                service: None,
                what,
                note,
                seconds,
                force,
            }),
            wait.map(|seconds| WaitOptions { seconds }),
        )
    };
    let decision = |what, seconds| waiting(what, seconds, None);
    check("drain 10.0.0.2:80 --wait", None, waiting(What::Drain, None, Some(None)));
    check("down --wait 10.0.0.2:80 --timeout 5m", None, waiting(What::Down, None, Some(Some(300))));
    check("drain --for 30m 10.0.0.2:80", None, decision(What::Drain, Some(1800)));
    check("up 10.0.0.2:80 --for=90s", None, decision(What::Up, Some(90)));
    check("x.cf down 10.0.0.2:80", Some("x.cf"), decision(What::Down, None));
    let weight = |text: &str| What::Weight(text.parse().unwrap());
    check("weight 10.0.0.2:80 50% --for 2h", None, decision(weight("50%"), Some(7200)));
    check("x.cf weight 10.0.0.2:80 65535", Some("x.cf"), decision(weight("65535"), None));
    let import = |file: &str, force| Command::Import { file: file.to_owned(), force };
    check("override import x.json", None, import("x.json", false));
    check("x.cf override import - --force", Some("x.cf"), import("-", true));
    check("override import x.json -c x.cf", Some("x.cf"), import("x.json", false));
    for (line, words) in [
        ("override", "override import FILE"),
        ("override export", "override import FILE"),
        ("override import", "override: FILE is missing"),
        ("drain", "drain: SERVER is missing"),
        ("drain web1:80", "not an address and port"),
        ("drain 10.0.0.2:80 --for 30", "needs a number and a unit"),
        ("drain 10.0.0.2:80 --for -5m", "needs a number and a unit"),
        ("drain 10.0.0.2:80 --for 9999d", "must be 1 s to 3660 days"),
        ("weight 10.0.0.2:80", "weight: SERVER or its weight is missing"),
        ("weight 10.0.0.2:80 0", "use drain"),
        ("weight 10.0.0.2:80 -5", "needs a weight of 1 to 65535"),
        ("weight 10.0.0.2:80 1001%", "or 1% to 1000% of the configured weight"),
        ("drain 10.0.0.2:80 50%", "unexpected argument '50%'"),
        ("drain 10.0.0.2:80 --timeout 5m", "drain: --timeout needs --wait"),
        ("up 10.0.0.2:80 --wait", "up: --wait and --timeout apply to drain and down"),
        ("drain 10.0.0.2:80 --wait --timeout 5", "needs a number and a unit"),
        ("undo 10.0.0.2:80 --force", "undo: --for, --note and --force do not apply"),
    ] {
        let Parsed::Wrong(wrong) = run(line) else { panic!("{line}") };
        let (text, error) = (wrong.usage(), wrong.to_string());
        assert!(
            error.contains(words) && text.starts_with("Usage: ldirectord-rs ") && text.lines().count() == 3,
            "{error}: {text}"
        );
    }
}

#[test]
fn commands_that_ask_name_their_configuration() {
    let check = |line: &str, config: Option<&str>, command: Command| {
        let options = CliOptions { config: config.map(str::to_owned), ..CliOptions::default() };
        assert_eq!(run(line), Parsed::Run(options, command), "{line}");
    };
    for line in ["events -c x.cf --json", "--json events --config x.cf", "x.cf events --json"] {
        check(line, Some("x.cf"), Command::Events { json: true });
    }
    check("events", None, Command::Events { json: false });
    check("plan", None, Command::Plan { diff: false });
    check("x.cf plan --diff", Some("x.cf"), Command::Plan { diff: true });
}

#[test]
fn a_number_after_c_is_the_limit_of_a_plug_in() {
    let limits = |warning: &str, critical: &str| PluginLimits {
        warning: warning.parse().ok(),
        critical: critical.parse().ok(),
    };
    for (line, config, limits) in [
        ("plugin", None, limits("", "")),
        ("plugin -w 1 -c 50%", None, limits("1", "50%")),
        ("plugin -c web.cf -w 10%", Some("web.cf"), limits("10%", "")),
        ("plugin --critical 2 -c web.cf", Some("web.cf"), limits("", "2")),
        ("plugin -c 2 --config 3", Some("3"), limits("", "2")),
        ("web.cf plugin -c2 -w=3", Some("web.cf"), limits("3", "2")),
    ] {
        let Parsed::Run(options, command) = run(line) else { panic!("{line}") };
        assert_eq!(options.config.as_deref(), config, "{line}");
        assert_eq!(command, Command::Plugin { services: Vec::new(), limits }, "{line}");
    }
    for line in ["plugin -c 1 -c 2", "plugin --critical 1 -c 2", "plugin -w web.cf", "plugin --json"] {
        assert!(matches!(run(line), Parsed::Wrong(wrong) if wrong.is_of_plugin()), "{line}");
    }
}

#[test]
fn some_options_count_wherever_they_stand() {
    let expected = CliOptions {
        settings: Some(PathBuf::from("/s.toml")),
        table: Some(Backend::Memory),
        foreground: true,
        run_commands: true,
        config: Some("x.cf".to_owned()),
        ..CliOptions::default()
    };
    let start = Command::Action(Action::Start);
    for line in [
        "--table memory --settings /s.toml --foreground --run-commands x.cf start",
        "x.cf --table memory --settings /s.toml --foreground --run-commands start",
        "x.cf start --table memory --settings /s.toml --foreground --run-commands",
        "--run-commands x.cf --settings=/s.toml start --foreground --table=memory",
    ] {
        assert_eq!(run(line), Parsed::Run(expected.clone(), start.clone()), "{line}");
    }
    let memory = |config: &str, ignored: &[&str]| CliOptions {
        table: Some(Backend::Memory),
        config: Some(config.to_owned()),
        ignored: ignored.iter().map(|word| (*word).to_owned()).collect(),
        ..CliOptions::default()
    };
    let judging = Judging { json: true, strict: false };
    for line in ["check x.cf --table memory --json", "x.cf --table memory check --json"] {
        assert_eq!(run(line), Parsed::Run(memory("x.cf", &[]), probing(judging)), "{line}");
    }
    let ignoring = memory("x.cf", &["-d", "stop"]);
    assert_eq!(run("x.cf start -d --table memory stop"), Parsed::Run(ignoring, start.clone()));
    // After `--` there are no options.
    let config = Some("--table".to_owned());
    assert_eq!(run("-- --table start"), Parsed::Run(CliOptions { config, ..CliOptions::default() }, start));
}

/// An operator who asks for the table in memory must not get the kernel's table.
#[test]
fn a_wrong_option_after_the_action_is_255() {
    for line in [
        "x.cf start --table",
        "x.cf start --table memroy",
        "x.cf --table start",
        "--table memory x.cf start --table kernel",
    ] {
        assert!(matches!(run(line), Parsed::Wrong(_)), "{line}");
    }
}

#[test]
fn the_configuration_may_stand_before_our_commands() {
    let check = |line: &str, config: &str, command: Command| {
        let expected = CliOptions { config: Some(config.to_owned()), ..CliOptions::default() };
        assert_eq!(run(line), Parsed::Run(expected, command), "{line}");
    };
    let judging = Judging { json: false, strict: true };
    check("x.cf check --strict", "x.cf", probing(judging));
    check("x.cf check --config-only --strict", "x.cf", Command::Judge { judging, named: false });
    check("x.cf show --json", "x.cf", show_json());
    check("x.cf alert-test", "x.cf", Command::AlertTest);
    check("check show", "show", probing(Judging::default()));
}

#[test]
fn a_wrong_line_gets_the_usage_on_standard_output_and_255() {
    for line in [
        "",
        "x.cf",
        "nonsense start-it",
        "--nosuch start",
        "check a b",
        "check --bogus",
        "-t",
        "-t x.cf start",
        "--strict x.cf start",
        "--json x.cf start",
        "--strict show",
        "show --strict",
        "--json alert-test",
    ] {
        match run(line) {
            Parsed::Wrong(wrong) => assert!(wrong.usage().contains("Usage:"), "{line}: {}", wrong.usage()),
            _ => panic!("{line} was accepted"),
        }
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for line in ["-h", "-?", "--help", "-v", "--version", "-dv"] {
        assert!(matches!(run(line), Parsed::Answer(_)), "{line}");
    }
}

/// The words of a wrong command line: error and usage.
fn refused(line: &str) -> (String, String) {
    match run(line) {
        Parsed::Wrong(wrong) => (wrong.to_string(), wrong.usage()),
        found => panic!("{line}: {found:?}"),
    }
}

#[test]
fn the_wrong_word_is_named() {
    for (line, word, hint) in [
        ("drian 10.0.0.2:80", "drian", Some("drain")),
        ("drian 10.0.0.2:80 --for 30m", "drian", Some("drain")),
        ("drian [2001:db8::1]:80", "drian", Some("drain")),
        ("frobnicate 10.0.0.2:80", "frobnicate", None),
        ("shwo --json", "shwo", Some("show")),
        ("web.cf sotp", "sotp", Some("stop")),
        ("sotp drian", "drian", Some("drain")),
        ("web.cf frobnicate", "frobnicate", None),
    ] {
        let (error, usage) = refused(line);
        assert_eq!(error, format!("{word}: no such action"), "{line}");
        let hint = hint.map(|hint| format!("Did you mean `{hint}`?"));
        assert_eq!(usage.lines().last().filter(|line| line.starts_with("Did")), hint.as_deref(), "{line}");
    }
}

#[test]
fn wrong_use_of_our_own_commands_prints_their_usage_only() {
    for (line, error, hint) in [
        ("check a b", "check: b: a second configuration", None),
        ("check --jsno", "check: --jsno: no such option", Some("--json")),
        ("x.cf check --strct", "check: --strct: no such option", Some("--strict")),
        ("show --strict", "show: unexpected argument '--strict' found", None),
        ("--strict show", "show: --strict does not apply", None),
        ("--json alert-test", "alert-test: --json does not apply", None),
        ("drain 10.0.0.2:80 --forse", "drain: unexpected argument '--forse' found", Some("--force")),
        (
            "drain 10.0.0.2:80 --servcie=tcp:x",
            "drain: unexpected argument '--servcie' found",
            Some("--service"),
        ),
        ("undo", "undo: SERVER is missing: an address and port as `show` prints it", None),
    ] {
        let (found, usage) = refused(line);
        assert_eq!(found, error, "{line}");
        let command = error.split(':').next().unwrap();
        assert!(usage.starts_with(&format!("Usage: ldirectord-rs [OPTIONS] {command} ")), "{line}: {usage}");
        let hint = hint.map(|hint| format!("\nDid you mean `{hint}`?\n")).unwrap_or_default();
        assert!(usage.lines().count() <= 5 && usage.ends_with(&hint), "{line}: {usage}");
        assert_eq!(usage.contains("Did you"), !hint.is_empty(), "{line}: {usage}");
    }
    let (error, usage) = refused("-t x.cf start");
    assert_eq!(error, "start: -t takes one file and no action");
    assert_eq!(usage, "Usage: ldirectord-rs -t FILE [--strict] [--json]\n");
}

#[test]
fn help_and_manual_have_every_option() {
    let (help, manual) = (help(), include_str!("../../../docs/man/ldirectord-rs.md"));
    // Where the terminal is not known, clap breaks longer lines.
    assert_eq!(AFTER_HELP.lines().find(|line| line.len() > 100), None);
    let synopsis = manual.split("# Synopsis").nth(1).unwrap().split("\n# ").next().unwrap();
    for own in &own::OWN {
        assert!(help.contains(&own.synopsis()), "{}", own.name);
        for flag in own.flags {
            assert!(help.contains(&format!("{flag} ")), "{flag} of {} is not in the help", own.name);
            assert!(synopsis.contains(flag), "{flag} of {} is not in the synopsis", own.name);
        }
    }
    let commands = [("drain", steer::options())].into_iter();
    for (name, mut read) in
        commands.chain(["show", "is-up", "plugin", "events", "plan"].map(|name| (name, ask::options(name))))
    {
        let mut known = own::find(name).unwrap().flags.to_vec();
        known.sort_unstable();
        read.sort_unstable();
        assert_eq!(known, read, "{name}");
    }
}
