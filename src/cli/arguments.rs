//! The command line, as the original reads it.

use std::path::PathBuf;

use clap::{CommandFactory, Parser};

use super::Exit;
use crate::settings::Backend;

/// The health checker for Linux Virtual Server.
#[derive(Debug, Parser)]
#[command(
    name = "ldirectord-rs",
    version,
    disable_help_flag = true,
    disable_version_flag = true,
    disable_help_subcommand = true,
    override_usage = "ldirectord-rs [OPTIONS] [CONFIG] start|stop|restart|try-restart|reload|force-reload|status\n       \
                      ldirectord-rs [OPTIONS] check [CONFIG] [--config-only] [--strict] [--json]\n       \
                      ldirectord-rs -t FILE [--strict] [--json]\n       \
                      ldirectord-rs [OPTIONS] show [CONFIG] [--json]\n       \
                      ldirectord-rs [OPTIONS] alert-test [CONFIG]",
    after_help = AFTER_HELP
)]
struct Arguments {
    /// Stay in the foreground and log to standard error.
    #[arg(short = 'd', long)]
    debug: bool,
    /// Stay in the foreground, with pid file and log as in the background: for systemd, runit and the like.
    #[arg(long)]
    foreground: bool,
    /// Print this help.
    #[arg(short = 'h', visible_short_alias = '?', long)]
    help: bool,
    /// Print the version.
    #[arg(short = 'v', long)]
    version: bool,
    /// The daemon's settings (default: /etc/ldirectord-rs.toml, if it exists).
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// The table to work on: the kernel's, or one in memory. That is a dry run: mail and commands are only logged.
    #[arg(long, value_enum, value_name = "BACKEND")]
    table: Option<Backend>,
    /// In a dry run: run commands and external checks. Mail is still only logged.
    #[arg(long)]
    run_commands: bool,
    /// Judge this file alone, wherever it is, and exit: 0 usable, 2 not. Nothing is probed, no name server is asked.
    #[arg(short = 't', long, value_name = "FILE")]
    test: Option<String>,
    /// With -t and check: a warning fails, too (exit 2).
    #[arg(long)]
    strict: bool,
    /// With -t, check and show: print JSON.
    #[arg(long)]
    json: bool,
    /// CONFIG and what to do.
    #[arg(trailing_var_arg = true, hide = true)]
    words: Vec<String>,
}

const AFTER_HELP: &str = "\
CONFIG is looked for in /etc/ha.d, in /etc/ha.d/conf, and as it is; without it, ldirectord.cf, last in /etc.

start         start the daemon; returns when it is ready, or says why it cannot be
stop          end it and clean the table up (see cleanstop); returns when it is gone
restart       end it, leave the table as it is, start again
try-restart   restart if it runs
reload        read the configuration again (force-reload is the same)
status        say whether it runs: exit 0 running, 3 stopped, 1 stale pid file, 4 unknown
check         judge the file and probe every server once: exit 0 all well, 1 a server is down, 2 file unusable;
              with --config-only judge the file alone, as -t does
show          what the running daemon knows of its servers, and its table
alert-test    send a test message along each way that alerts take: exit 0 all accepted, 1 not all, 2 file unusable";

/// What came before the words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub debug: bool,
    pub foreground: bool,
    pub settings: Option<PathBuf>,
    pub table: Option<Backend>,
    pub run_commands: bool,
    /// None: the default configuration under its default name.
    pub config: Option<String>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Action(Action),
    /// Judge the file and probe the servers.
    Check(Judging),
    /// Judge the file alone: where configurations are looked for, or exactly the named file.
    Judge {
        judging: Judging,
        named: bool,
    },
    Show {
        json: bool,
    },
    AlertTest,
}

/// How a file is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Judging {
    /// The findings are printed as JSON.
    pub json: bool,
    /// A warning fails, too.
    pub strict: bool,
}

impl Command {
    /// Whether it needs nothing of the settings but `[paths]`: it asks or ends a running daemon, or judges a file alone.
    pub fn needs_only_paths(self) -> bool {
        matches!(
            self,
            Command::Action(Action::Stop | Action::Status) | Command::Show { .. } | Command::Judge { .. }
        )
    }
}

/// The original's actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Start,
    Stop,
    Restart,
    TryRestart,
    Reload,
    Status,
}

impl Action {
    fn from_word(word: &str) -> Option<Action> {
        Some(match word {
            "start" => Action::Start,
            "stop" => Action::Stop,
            "restart" => Action::Restart,
            "try-restart" => Action::TryRestart,
            "reload" | "force-reload" => Action::Reload,
            "status" => Action::Status,
            _ => return None,
        })
    }
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// Only a text.
    Answer { text: String, error: Option<String>, exit: Exit },
    /// Work.
    Run(Options, Command),
}

/// Reads the arguments, the program's name first.
pub(super) fn parse(arguments: &[String]) -> Parsed {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return usage(Some(first_line(&error.to_string()))),
    };
    if arguments.help {
        return Parsed::Answer { text: help(), error: None, exit: Exit::Ok };
    }
    if arguments.version {
        let text = format!("ldirectord-rs {}\n", env!("CARGO_PKG_VERSION"));
        return Parsed::Answer { text, error: None, exit: Exit::Ok };
    }
    let mut options = Options {
        debug: arguments.debug,
        foreground: arguments.foreground,
        settings: arguments.settings,
        table: arguments.table,
        run_commands: arguments.run_commands,
        config: None,
    };
    let judging = Judging { json: arguments.json, strict: arguments.strict };
    let parsed = match &arguments.test {
        Some(file) => test(file, judging, &arguments.words),
        None => words(&arguments.words, judging),
    };
    match parsed {
        Ok((config, command)) => {
            options.config = config;
            Parsed::Run(options, command)
        }
        Err(error) => usage(error),
    }
}

/// The configuration and the command, or what is wrong with the line, if there is more to say than the usage.
type Words = Result<(Option<String>, Command), Option<String>>;

/// `-t FILE`, which stands alone.
fn test(file: &str, judging: Judging, words: &[String]) -> Words {
    match words {
        [] => Ok((Some(file.to_owned()), Command::Judge { judging, named: true })),
        [word, ..] => Err(Some(format!("{word}: -t takes one file and no action"))),
    }
}

/// One word is the action; of two the first is the configuration; more are not looked at.
fn words(words: &[String], judging: Judging) -> Words {
    match words {
        [] => Err(None),
        [action] if Action::from_word(action).is_some() => action_alone(None, action, judging),
        [config, action, ..] if Action::from_word(action).is_some() => {
            action_alone(Some(config.clone()), action, judging)
        }
        [command, rest @ ..] if command == "check" => check(rest, judging),
        [command, rest @ ..] if command == "show" => {
            let flags = Flags::read(rest, &["--json"])?;
            no_strict(judging)?;
            let json = judging.json || flags.has("--json");
            Ok((flags.config, Command::Show { json }))
        }
        [command, rest @ ..] if command == "alert-test" => {
            no_flags(judging)?;
            Ok((Flags::read(rest, &[])?.config, Command::AlertTest))
        }
        [word] | [_, word, ..] => Err(Some(format!("{word}: no such action"))),
    }
}

fn check(words: &[String], judging: Judging) -> Words {
    let flags = Flags::read(words, &["--json", "--strict", "--config-only"])?;
    let judging = Judging {
        json: judging.json || flags.has("--json"),
        strict: judging.strict || flags.has("--strict"),
    };
    let command = match flags.has("--config-only") {
        true => Command::Judge { judging, named: false },
        false => Command::Check(judging),
    };
    Ok((flags.config, command))
}

/// What stands after a command that the original does not have: some of its flags, and at most one configuration.
struct Flags {
    given: Vec<String>,
    config: Option<String>,
}

impl Flags {
    fn read(words: &[String], known: &[&str]) -> Result<Flags, Option<String>> {
        let is_known = |word: &String| known.contains(&word.as_str());
        let (given, others): (Vec<String>, Vec<String>) = words.iter().cloned().partition(is_known);
        match &others[..] {
            [] => Ok(Flags { given, config: None }),
            [config] if !config.starts_with('-') => Ok(Flags { given, config: Some(config.clone()) }),
            [word, ..] if known.is_empty() => Err(Some(format!("{word}: not the only configuration"))),
            [word, ..] => {
                Err(Some(format!("{word}: not one of {} and not the only configuration", known.join(", "))))
            }
        }
    }

    fn has(&self, flag: &str) -> bool {
        self.given.iter().any(|given| given == flag)
    }
}

fn no_strict(judging: Judging) -> Result<(), Option<String>> {
    if judging.strict { Err(Some("--strict: only with -t and check".to_owned())) } else { Ok(()) }
}

fn no_flags(judging: Judging) -> Result<(), Option<String>> {
    no_strict(judging)?;
    if judging.json { Err(Some("--json: only with -t, check and show".to_owned())) } else { Ok(()) }
}

/// One of the original's actions.
fn action_alone(config: Option<String>, word: &str, judging: Judging) -> Words {
    no_flags(judging)?;
    Ok((config, action_command(word)))
}

fn action_command(word: &str) -> Command {
    Command::Action(Action::from_word(word).unwrap_or(Action::Status))
}

fn usage(error: Option<String>) -> Parsed {
    Parsed::Answer { text: help(), error, exit: Exit::Usage }
}

/// The options, for the manual.
pub(super) fn command() -> clap::Command {
    Arguments::command()
}

fn help() -> String {
    command().render_help().to_string()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Parsed {
        let words: Vec<String> =
            std::iter::once("ldirectord-rs").chain(line.split_whitespace()).map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn words_mean_what_they_mean_to_the_original() {
        let check = |line: &str, config: Option<&str>, debug: bool, command: Command| {
            let foreground = line.contains("--foreground");
            let config = config.map(str::to_owned);
            let expected = Options { debug, foreground, config, ..Options::default() };
            assert_eq!(run(line), Parsed::Run(expected, command), "{line}");
        };
        check("start", None, false, Command::Action(Action::Start));
        check("x.cf start", Some("x.cf"), false, Command::Action(Action::Start));
        check("-d x.cf force-reload", Some("x.cf"), true, Command::Action(Action::Reload));
        check("--foreground x.cf start", Some("x.cf"), false, Command::Action(Action::Start));
        // Options count only before the words, and words after the second do not count.
        check("x.cf status -d", Some("x.cf"), false, Command::Action(Action::Status));
        check("x.cf stop start", Some("x.cf"), false, Command::Action(Action::Stop));
        check("-- x.cf stop", Some("x.cf"), false, Command::Action(Action::Stop));
        check("start start", Some("start"), false, Command::Action(Action::Start));
        check("check start", Some("check"), false, Command::Action(Action::Start));
        let judging = |json, strict| Judging { json, strict };
        check("check", None, false, Command::Check(judging(false, false)));
        check("check x.cf --json", Some("x.cf"), false, Command::Check(judging(true, false)));
        check("--json check --strict x.cf", Some("x.cf"), false, Command::Check(judging(true, true)));
        let judge = |named, json, strict| Command::Judge { judging: judging(json, strict), named };
        check("check --config-only x.cf --strict", Some("x.cf"), false, judge(false, false, true));
        check("-t /x.cf", Some("/x.cf"), false, judge(true, false, false));
        check("--strict -t start --json", Some("start"), false, judge(true, true, true));
        check("-dt x.cf", Some("x.cf"), true, judge(true, false, false));
        check("alert-test x.cf", Some("x.cf"), false, Command::AlertTest);
        check("show --json x.cf", Some("x.cf"), false, Command::Show { json: true });
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
                Parsed::Answer { text, exit, .. } => {
                    assert_eq!(exit, Exit::Usage, "{line}");
                    assert!(text.contains("Usage:"), "{line}: {text}");
                }
                Parsed::Run(..) => panic!("{line} was accepted"),
            }
        }
    }

    #[test]
    fn help_and_version_are_no_errors() {
        for line in ["-h", "-?", "--help", "-v", "--version", "-dv"] {
            assert!(matches!(run(line), Parsed::Answer { exit: Exit::Ok, .. }), "{line}");
        }
    }
}
