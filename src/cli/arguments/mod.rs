//! The command line, as the original reads it.

mod ask;
mod help;
mod own;
mod show;
mod steer;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::slice;

use clap::{CommandFactory, Parser};

use crate::config::nearest_word;
use crate::control::ControlRequest;
use crate::report::Threshold;
use crate::settings::Backend;
use crate::value::VirtualId;
use help::AFTER_HELP;
pub(super) use show::{ShowOptions, TrafficKind};
pub(super) use steer::WaitOptions;

/// The health checker for Linux Virtual Server.
#[derive(Debug, Parser)]
#[command(
    name = "ldirectord-rs",
    version,
    disable_help_flag = true,
    disable_version_flag = true,
    disable_help_subcommand = true,
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
    /// The table to work on: the kernel's, or one in memory for a dry run, in which mail and commands are only logged.
    #[arg(long, value_enum, value_name = "BACKEND")]
    table: Option<Backend>,
    /// In a dry run: run commands and external checks. Mail is still only logged.
    #[arg(long)]
    run_commands: bool,
    /// Validate only this file and exit: 0 usable, 2 not. No server is probed and no name server is asked.
    #[arg(short = 't', long, value_name = "FILE")]
    test: Option<String>,
    /// With -t and check: treat warnings as errors (exit 2).
    #[arg(long)]
    strict: bool,
    /// With -t, check, show and events: print JSON.
    #[arg(long)]
    json: bool,
    /// CONFIG and action.
    #[arg(trailing_var_arg = true, hide = true)]
    words: Vec<String>,
}

/// The options of a command line, and its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CliOptions {
    pub debug: bool,
    pub foreground: bool,
    pub settings: Option<PathBuf>,
    pub table: Option<Backend>,
    pub run_commands: bool,
    /// `None`: the default configuration under its default name.
    pub config: Option<String>,
    /// The words after an action of the original, which ignores them (R81).
    pub ignored: Vec<String>,
}

/// What the program is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Action(Action),
    /// Validate the file, judge the machine and probe the servers.
    Check(Judging, Only),
    /// Only validate the file: `named`: exactly that path, otherwise where configurations are searched for.
    Judge {
        judging: Judging,
        named: bool,
    },
    /// Print for every daemon whether it runs.
    List,
    Show(ShowOptions),
    AlertTest,
    Metrics,
    /// Whether services have enough servers in rotation.
    IsUp {
        services: Vec<String>,
        min: Threshold,
    },
    /// The state of services for a monitoring system. Without services: of all.
    Plugin {
        services: Vec<String>,
        limits: PluginLimits,
    },
    /// Print the operations of a reload or a start.
    Plan {
        /// The change of the configuration instead.
        diff: bool,
    },
    /// Follow the events of the daemon.
    Events {
        json: bool,
    },
    /// Set or end an override.
    /// Set or end an override, and wait until the server has no connections.
    Steer(ControlRequest, Option<WaitOptions>),
    /// Restore the overrides of a saved `show --json`.
    Import {
        /// `-`: standard input.
        file: String,
        force: bool,
    },
}

/// How a file is validated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Judging {
    /// Print the findings as JSON.
    pub json: bool,
    /// Treat warnings as errors.
    pub strict: bool,
}

/// When a service is a warning, and when it is critical. `None`: the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PluginLimits {
    /// Fewer servers in rotation are a warning. By default any failed server is.
    pub warning: Option<Threshold>,
    /// Fewer servers in rotation are critical. By default a service without a server in rotation is.
    pub critical: Option<Threshold>,
}

/// What `check` probes. By default every server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Only {
    /// Only the servers of this virtual service.
    pub service: Option<VirtualId>,
    /// Only this server.
    pub server: Option<SocketAddr>,
}

impl Command {
    /// Whether the command needs no settings but `[paths]`: it asks or stops a running daemon, or only validates a
    /// file.
    pub fn needs_only_paths(&self) -> bool {
        matches!(
            self,
            Command::Action(Action::Stop | Action::Status)
                | Command::List
                | Command::Show(_)
                | Command::Judge { .. }
                | Command::IsUp { .. }
                | Command::Plugin { .. }
                | Command::Events { .. }
                | Command::Metrics
                | Command::Steer(..)
                | Command::Import { .. }
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
    /// Print a text.
    Answer(String),
    /// Run a command.
    Run(CliOptions, Command),
    /// Refuse the command line.
    Wrong(Wrong),
}

/// Reads the arguments, the program's name first.
pub(super) fn parse(arguments: &[String]) -> Parsed {
    let arguments = match read(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return Parsed::Wrong(error.into()),
    };
    if arguments.help {
        return Parsed::Answer(help());
    }
    if arguments.version {
        return Parsed::Answer(format!("ldirectord-rs {}\n", env!("CARGO_PKG_VERSION")));
    }
    let mut options = CliOptions {
        debug: arguments.debug,
        foreground: arguments.foreground,
        settings: arguments.settings,
        table: arguments.table,
        run_commands: arguments.run_commands,
        ..CliOptions::default()
    };
    let judging = Judging { json: arguments.json, strict: arguments.strict };
    let parsed = match &arguments.test {
        Some(file) => test(file, judging, &arguments.words),
        None => words(&arguments.words, judging),
    };
    match parsed {
        Ok(asked) => {
            options.config = asked.config;
            options.ignored = asked.ignored;
            Parsed::Run(options, asked.command)
        }
        Err(wrong) => Parsed::Wrong(wrong),
    }
}

/// Parses the options and the words. Some options are accepted at any position: they are moved to the front first.
fn read(line: &[String]) -> Result<Arguments, String> {
    let read =
        |line: &[String]| Arguments::try_parse_from(line).map_err(|error| first_line(&error.to_string()));
    let arguments = read(line)?;
    let (before, words) = line.split_at(line.len() - arguments.words.len());
    if before.last().is_some_and(|word| word == "--") {
        return Ok(arguments);
    }
    let (options, words) = take_options(words)?;
    if options.is_empty() { Ok(arguments) } else { read(&[before, &options, &words].concat()) }
}

/// Splits the words into the options that are accepted at any position and the rest.
fn take_options(words: &[String]) -> Result<(Vec<String>, Vec<String>), String> {
    let (mut options, mut others) = (Vec::new(), Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(n, v)| (n, Some(v)));
        match name {
            "--table" | "--settings" if value.is_none() => {
                let value = words.next().ok_or_else(|| format!("{word}: its value is missing"))?;
                options.push(format!("{word}={value}"));
            }
            "--table" | "--settings" | "--foreground" | "--run-commands" => options.push(word.clone()),
            _ => others.push(word.clone()),
        }
    }
    Ok((options, others))
}

/// The meaning of the words.
struct ParsedWords {
    config: Option<String>,
    command: Command,
    ignored: Vec<String>,
}

impl ParsedWords {
    fn new(config: Option<String>, command: Command) -> ParsedWords {
        ParsedWords { config, command, ignored: Vec::new() }
    }
}

/// Why a command line is refused. `Display` is the error, if there is one in addition to the usage.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wrong {
    error: Option<String>,
    /// What the operator probably meant.
    hint: Option<String>,
    /// The usage of one command, instead of that of the program.
    usage: Option<String>,
    is_of_plugin: bool,
}

impl Wrong {
    /// Whether these are words of `plugin`, whose exit codes and output are those of a monitoring plug-in.
    pub fn is_of_plugin(&self) -> bool {
        self.is_of_plugin
    }

    /// The usage, with what the operator probably meant as its last line.
    pub fn usage(&self) -> String {
        let hint = self.hint.as_ref().map(|hint| format!("\nDid you mean `{hint}`?\n")).unwrap_or_default();
        self.usage.clone().unwrap_or_else(help) + &hint
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.error.as_deref().unwrap_or_default())
    }
}

impl From<String> for Wrong {
    fn from(error: String) -> Wrong {
        Wrong { error: Some(error), ..Wrong::default() }
    }
}

type Words = Result<ParsedWords, Wrong>;

/// Handles `-t FILE`, which takes no action.
fn test(file: &str, judging: Judging, words: &[String]) -> Words {
    match words {
        [] => Ok(ParsedWords::new(Some(file.to_owned()), Command::Judge { judging, named: true })),
        [word, ..] => Err(Wrong {
            error: Some(format!("{word}: -t takes one file and no action")),
            hint: None,
            usage: Some(format!("Usage: {TEST}\n")),
            ..Wrong::default()
        }),
    }
}

/// Interprets the words as the original does: one word is the action. Of two, the first is the configuration, whatever
/// its name. More are ignored. Our own commands accept their configuration before or after them.
fn words(words: &[String], judging: Judging) -> Words {
    let action = |index: usize| words.get(index).and_then(|word| Action::from_word(word));
    match (words, action(0), action(1)) {
        ([], ..) => Err(Wrong::default()),
        ([_], Some(action), _) => action_alone(None, action, &[], judging),
        ([_, rest @ ..], Some(Action::Status), None) if rest[0] == "--all" => {
            action_alone(None, Action::Status, rest, judging)
        }
        ([config, _, ignored @ ..], _, Some(action)) => action_alone(Some(config), action, ignored, judging),
        ([first, rest @ ..], ..) => own_command(first, rest, judging),
    }
}

/// Interprets words without an action of the original.
fn own_command(first: &String, rest: &[String], judging: Judging) -> Words {
    if let Some(command) = own::find(first) {
        return read_own(command, None, rest, judging);
    }
    let words = &[slice::from_ref(first), rest].concat();
    let Some((second, after)) = rest.split_first() else { return Err(no_such_action(first, words)) };
    if let Some(command) = own::find(second) {
        return read_own(command, Some(first), after, judging);
    }
    Err(no_such_action(if is_first_wrong(first, second) { first } else { second }, words))
}

/// `before` is the word before the command.
fn read_own(command: &own::Own, before: Option<&String>, after: &[String], judging: Judging) -> Words {
    let words = &[before.map(slice::from_ref).unwrap_or_default(), after].concat();
    command.check_options(words, judging)?;
    match command.name {
        "show" | "is-up" | "plugin" | "events" | "plan" => ask::read(command, before, after, judging),
        "drain" | "down" | "up" | "weight" | "undo" => steer::read(command, words),
        "override" => steer::read_import(command, before, after),
        _ => command.read(words, judging),
    }
}

/// Whether the first of two words is the misspelt one: in `drian SERVER` and `shwo --json` it is, in `web.cf sotp` it
/// is not.
fn is_first_wrong(first: &str, second: &str) -> bool {
    let is_argument = second.starts_with('-') || second.parse::<SocketAddr>().is_ok();
    let is_near = |word| nearest_command(word).is_some();
    Action::from_word(first).is_none() && (is_argument || (is_near(first) && !is_near(second)))
}

const ACTIONS: [&str; 7] = ["start", "stop", "restart", "try-restart", "reload", "force-reload", "status"];

fn no_such_action(word: &str, words: &[String]) -> Wrong {
    let hint = match words {
        [action, config, ..] if Action::from_word(action).is_some() && !config.starts_with('-') => {
            Some(format!("ldirectord-rs {config} {action}"))
        }
        _ => nearest_command(word).map(str::to_owned),
    };
    Wrong { error: Some(format!("{word}: no such action")), hint, ..Wrong::default() }
}

/// The action or command that a misspelt word resembles.
fn nearest_command(word: &str) -> Option<&'static str> {
    nearest_word(word, ACTIONS.into_iter().chain(own::OWN.iter().map(|own| own.name)))
}

/// One of the original's actions.
fn action_alone(config: Option<&String>, action: Action, ignored: &[String], judging: Judging) -> Words {
    if judging.strict {
        return Err("--strict: only with -t and check".to_owned().into());
    }
    if judging.json {
        return Err("--json: only with -t, check, show and events".to_owned().into());
    }
    let (all, ignored): (Vec<_>, Vec<_>) =
        ignored.iter().cloned().partition(|word| action == Action::Status && word == "--all");
    let command = if all.is_empty() { Command::Action(action) } else { Command::List };
    Ok(ParsedWords { config: config.cloned(), command, ignored })
}

/// The options, for the manual.
pub(super) fn command() -> clap::Command {
    let original =
        "ldirectord-rs [OPTIONS] [CONFIG] start|stop|restart|try-restart|reload|force-reload|status";
    let all = "ldirectord-rs [OPTIONS] status --all";
    let mut lines = vec![original.to_owned(), all.to_owned(), TEST.to_owned()];
    lines.extend(own::OWN.iter().map(own::Own::synopsis));
    Arguments::command().override_usage(lines.join("\n       "))
}

/// The command line of `-t`.
const TEST: &str = "ldirectord-rs -t FILE [--strict] [--json]";

fn help() -> String {
    command().render_help().to_string()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
