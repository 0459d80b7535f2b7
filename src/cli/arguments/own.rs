//! Our own commands, which the original does not have: their words, their usage, and how `check`, `metrics`
//! and `alert-test` are parsed.

use std::str::FromStr;

use clap::Parser;
use clap::error::ErrorKind;

use super::{Command, Judging, Only, ParsedWords, Words, Wrong, first_line};
use crate::config::nearest_word;

/// A command that the original does not have.
pub(super) struct Own {
    pub name: &'static str,
    /// What follows the name.
    usage: &'static str,
    /// What the words in capitals are.
    about: &'static str,
    /// Its options.
    pub flags: &'static [&'static str],
}

const SERVER: &str = "SERVER is an address and port as `show` prints it, such as 10.0.0.2:80.";
const SERVICE: &str = "SERVICE is a virtual service as `show` prints it, such as tcp:10.0.0.1:80 or fwm:5.";
const CONFIG: &str = "CONFIG is the configuration, by default ldirectord.cf.";
const DAEMON: &str =
    "CONFIG is the configuration of the daemon, by default every running one. SERVER is an address and port.";
const DRAIN: &str =
    "SERVER [-c CONFIG] [--service ID] [--for TIME] [--note TEXT] [--force] [--wait [--timeout TIME]]";
const DRAIN_FLAGS: &[&str] = &["--config", "--service", "--for", "--note", "--force", "--wait", "--timeout"];
const OVERRIDE: &str = "SERVER [-c CONFIG] [--service ID] [--for TIME] [--note TEXT] [--force]";
const WEIGHT: &str = "SERVER N|N% [-c CONFIG] [--service ID] [--for TIME] [--note TEXT] [--force]";
const WEIGHT_ABOUT: &str = "SERVER is an address and port as `show` prints it, such as 10.0.0.2:80. N is a weight of 1 to 65535, N% is 1% to \
                            1000% of the configured weight.";
const OVERRIDE_FLAGS: &[&str] = &["--config", "--service", "--for", "--note", "--force"];

/// All of them.
pub(super) const OWN: [Own; 14] = [
    Own {
        name: "check",
        usage: "[CONFIG] [--config-only] [--service ID] [--server SERVER] [--strict] [--json]",
        about: CONFIG,
        flags: &["--config-only", "--service", "--server", "--strict", "--json"],
    },
    Own {
        name: "show",
        usage: "[CONFIG] [SERVER [--connections]] [--service ID] [--down] [--all] [--stats | --rate] [--exact] [--watch] [--json]",
        about: DAEMON,
        flags: &[
            "--config",
            "--connections",
            "--service",
            "--down",
            "--all",
            "--stats",
            "--rate",
            "--exact",
            "--watch",
            "--json",
        ],
    },
    Own { name: "drain", usage: DRAIN, about: SERVER, flags: DRAIN_FLAGS },
    Own { name: "down", usage: DRAIN, about: SERVER, flags: DRAIN_FLAGS },
    Own { name: "up", usage: OVERRIDE, about: SERVER, flags: OVERRIDE_FLAGS },
    Own { name: "weight", usage: WEIGHT, about: WEIGHT_ABOUT, flags: OVERRIDE_FLAGS },
    Own {
        name: "undo",
        usage: "SERVER [-c CONFIG] [--service ID]",
        about: SERVER,
        flags: &["--config", "--service"],
    },
    Own {
        name: "override",
        usage: "import FILE [-c CONFIG] [--force]",
        about: "FILE is the output of `show --json`, or - for standard input.",
        flags: &["--config", "--force"],
    },
    Own { name: "metrics", usage: "[-c CONFIG]", about: CONFIG, flags: &[] },
    Own {
        name: "is-up",
        usage: "SERVICE... [-c CONFIG] [--min N|N%]",
        about: SERVICE,
        flags: &["--config", "--min"],
    },
    Own {
        name: "plugin",
        usage: "[SERVICE...] [--config CONFIG] [-w N|N%] [-c N|N%]",
        about: SERVICE,
        flags: &["--config", "--warning", "--critical"],
    },
    Own { name: "events", usage: "[-c CONFIG] [--json]", about: CONFIG, flags: &["--config", "--json"] },
    Own { name: "plan", usage: "[-c CONFIG] [--diff]", about: CONFIG, flags: &["--config", "--diff"] },
    Own { name: "alert-test", usage: "[CONFIG]", about: CONFIG, flags: &[] },
];

/// The command of a name.
pub(super) fn find(name: &str) -> Option<&'static Own> {
    OWN.iter().find(|own| own.name == name)
}

impl Own {
    /// The command line.
    pub fn synopsis(&self) -> String {
        format!("ldirectord-rs [OPTIONS] {} {}", self.name, self.usage)
    }

    /// Refuses its words.
    pub fn wrong(&self, error: &str, words: &[String]) -> Wrong {
        let usage = format!(
            "Usage: {}\n       {}\n       For all options: ldirectord-rs --help\n",
            self.synopsis(),
            self.about
        );
        Wrong {
            error: Some(format!("{}: {error}", self.name)),
            hint: self.nearest_flag(words),
            usage: Some(usage),
            is_of_plugin: self.name == "plugin",
        }
    }

    /// Parses its words.
    pub fn parse<T: Parser>(&self, words: &[String]) -> Result<T, Wrong> {
        T::try_parse_from(words).map_err(|error| match error.kind() {
            ErrorKind::MissingRequiredArgument => {
                self.wrong("SERVICE is missing: a virtual service as `show` prints it", words)
            }
            _ => self.wrong(first_line(&error.to_string()).trim_start_matches("error: "), words),
        })
    }

    /// The option that the first unknown one resembles.
    fn nearest_flag(&self, words: &[String]) -> Option<String> {
        let mut names = words.iter().filter_map(|word| word.split('=').next());
        let unknown = names.find(|name| name.starts_with("--") && !self.flags.contains(name))?;
        nearest_word(unknown, self.flags.iter().copied()).map(str::to_owned)
    }

    /// Refuses options before the command that are not options of the command.
    pub fn check_options(&self, words: &[String], judging: Judging) -> Result<(), Wrong> {
        let given = [("--strict", judging.strict), ("--json", judging.json)];
        match given.into_iter().find(|(option, is_given)| *is_given && !self.flags.contains(option)) {
            Some((option, _)) => Err(self.wrong(&format!("{option} does not apply"), words)),
            None => Ok(()),
        }
    }

    /// Parses the words of `check`, `metrics` or `alert-test`.
    pub fn read(&self, words: &[String], judging: Judging) -> Words {
        match self.name {
            "check" => {
                let (service, rest) = self.value(words, "--service", words)?;
                let (server, rest) = self.value(&rest, "--server", words)?;
                let flags = self.flags(&rest)?;
                let only = Only { service, server };
                if flags.has("--config-only") && only != Only::default() {
                    return Err(self.wrong("--config-only probes no server", words));
                }
                let judging = Judging {
                    json: judging.json || flags.has("--json"),
                    strict: judging.strict || flags.has("--strict"),
                };
                let command = match flags.has("--config-only") {
                    true => Command::Judge { judging, named: false },
                    false => Command::Check(judging, only),
                };
                Ok(ParsedWords::new(flags.config, command))
            }
            "metrics" => Ok(ParsedWords::new(self.flags(words)?.config, Command::Metrics)),
            _ => Ok(ParsedWords::new(self.flags(words)?.config, Command::AlertTest)),
        }
    }

    /// Takes an option with its value out of the words. `all`: the words as they were given.
    fn value<T: FromStr>(
        &self,
        words: &[String],
        name: &str,
        all: &[String],
    ) -> Result<(Option<T>, Vec<String>), Wrong> {
        let (mut value, mut others) = (None, Vec::new());
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let given = match word.strip_prefix(name) {
                Some("") => words.next().map(String::as_str),
                Some(rest) if rest.starts_with('=') => Some(&rest[1..]),
                _ => {
                    others.push(word.clone());
                    continue;
                }
            };
            let given = given.ok_or_else(|| self.wrong(&format!("{name}: its value is missing"), all))?;
            let such_as = "such as tcp:10.0.0.1:80 (service) or 10.0.0.2:80 (server)";
            let read = given.parse().map_err(|_| {
                self.wrong(&format!("{name} {given}: write it as `show` does, {such_as}"), all)
            })?;
            value = Some(read);
        }
        Ok((value, others))
    }

    /// Splits the words into options and at most one configuration.
    fn flags(&self, words: &[String]) -> Result<Flags, Wrong> {
        let is_known = |word: &String| self.flags.contains(&word.as_str());
        let (given, others): (Vec<String>, Vec<String>) = words.iter().cloned().partition(is_known);
        // `-c CONFIG` is the same as `CONFIG`.
        let others: Vec<String> =
            others.into_iter().filter(|word| !matches!(word.as_str(), "-c" | "--config")).collect();
        if let Some(option) = others.iter().find(|word| word.starts_with('-')) {
            return Err(self.wrong(&format!("{option}: no such option"), words));
        }
        match &others[..] {
            [] => Ok(Flags { given, config: None }),
            [config] => Ok(Flags { given, config: Some(config.clone()) }),
            [_, second, ..] => Err(self.wrong(&format!("{second}: a second configuration"), words)),
        }
    }
}

/// The options and the configuration of a command.
struct Flags {
    given: Vec<String>,
    config: Option<String>,
}

impl Flags {
    fn has(&self, flag: &str) -> bool {
        self.given.iter().any(|given| given == flag)
    }
}
