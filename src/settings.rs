//! The daemon's own settings: `ldirectord-rs.toml`, and over it the environment. What they say is not about servers.
//!
//! Every key is also a variable: `[table] backend` is `LDIRECTORD_RS_TABLE__BACKEND`.

pub mod credential;
mod read;

use std::path::PathBuf;
use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _, IntoDeserializer};
use serde::{Deserialize, Deserializer};
use thiserror::Error;

/// Where the settings are when no other place is named.
pub const PATH: &str = "/etc/ldirectord-rs.toml";

/// Settings that cannot be used.
#[derive(Debug, Error)]
#[error("{place}: {error}; etc/ldirectord-rs.toml of the distribution lists all settings")]
pub struct SettingsError {
    place: String,
    error: String,
}

/// All settings, with their defaults.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The kernel's table.
    pub table: Table,
    /// The checks.
    pub checks: Checks,
    /// The commands of the operator.
    pub commands: Commands,
    /// The log.
    pub log: Log,
    /// The end.
    pub stop: Stop,
    /// Alerts by mail.
    pub mail: Mail,
    /// What the daemon may do.
    pub privileges: Privileges,
    /// The control socket.
    pub control: Control,
    /// The directories.
    pub paths: Paths,
}

/// `[table]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Table {
    /// Where the table is.
    #[serde(deserialize_with = "word")]
    pub backend: Backend,
    /// Whether mail is sent and commands are run although the table is in memory. With the kernel's table they always are.
    pub act: bool,
    /// Seconds between two reconciliations of the kernel's table, at most a year; 0: only when something changes.
    pub verify_interval: u64,
}

/// Where the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// In the kernel.
    Kernel,
    /// In this process: for a dry run, and for machines without IPVS.
    Memory,
}

/// What the daemon does outside of its table. In a dry run it logs instead what it would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acts {
    /// Sends mail.
    pub mail: bool,
    /// Runs `fallbackcommand`, `callback`, `execute` and external checks.
    pub commands: bool,
}

/// `[checks]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Checks {
    /// At most this many checks run at the same time, 1 to 1,000,000. Descriptors may be a narrower limit.
    pub limit: usize,
    /// What a server is of which nothing is known because no check was possible for three intervals and a time-out, and for a minute.
    pub unchecked: Unchecked,
}

/// What becomes of a server that cannot be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unchecked {
    /// It stays what it was.
    Keep,
    /// It counts as down.
    Down,
}

/// `[commands]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Commands {
    /// Time limit of a `fallbackcommand`, `callback` or `execute` in seconds, 1 to 86,400. Then it is killed with all that it has
    /// started.
    pub timeout: u64,
    /// Whether `fallbackcommand` is run with `stop` when the daemon stops while no server is up.
    pub fallbackcommand_at_stop: bool,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least important lines that are logged.
    #[serde(deserialize_with = "word")]
    pub level: LogLevel,
    /// The form of lines in files and on standard output and error.
    #[serde(deserialize_with = "word")]
    pub format: LogFormat,
    /// Whether lines go to the journal of systemd too.
    pub journald: bool,
    /// The mode of a monitor file that the daemon creates; written in octal digits.
    #[serde(deserialize_with = "file_mode")]
    pub monitor_mode: u32,
}

/// How important a log line is, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is the level of its name")]
pub enum LogLevel {
    Error,
    #[serde(alias = "warning")]
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> tracing::Level {
        match level {
            LogLevel::Error => tracing::Level::ERROR,
            LogLevel::Warn => tracing::Level::WARN,
            LogLevel::Info => tracing::Level::INFO,
            LogLevel::Debug => tracing::Level::DEBUG,
            LogLevel::Trace => tracing::Level::TRACE,
        }
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// The original's.
    Text,
    /// A JSON object for each line.
    Json,
}

/// `[stop]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stop {
    /// How long `stop` waits at most for the last work of the daemon, in seconds, 0 to 3,600.
    pub grace: u64,
}

/// `[control]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// The group whose members may see the state; empty: none.
    pub read_group: String,
    /// The group whose members may also change something; empty: none.
    pub write_group: String,
}

/// `[mail]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// The port of the relay (`smtp=`), 1 to 65,535.
    pub port: u16,
    /// How the connection to the relay is protected.
    #[serde(deserialize_with = "word")]
    pub security: Security,
    /// Whether the relay's certificate must be valid for its name.
    pub verify: bool,
    /// The user at the relay; empty: none.
    pub login: String,
    /// A file with the password of that user in its first line.
    pub password_file: PathBuf,
    /// Seconds that one letter may take, 1 to 3,600.
    pub timeout: u64,
    /// What brings letters on their way where no relay is named.
    pub sendmail: PathBuf,
    /// How many messages are kept for each relay while it is down, 1 to 1,000,000.
    pub queue: usize,
    /// The name to say to the relay; empty: that of this machine.
    pub hello: String,
}

/// How the connection to the relay is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// Not at all, as the original does it.
    None,
    /// By STARTTLS if the relay offers it.
    Opportunistic,
    /// By STARTTLS, or nothing is sent.
    Starttls,
    /// By TLS from the first byte (port 465).
    Tls,
}

/// `[privileges]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Privileges {
    /// The user that the daemon becomes once all that needs root is open; empty: it stays who it is.
    pub user: String,
    /// Whether the daemon, and all that it starts, may write only where it has to (Landlock).
    pub sandbox: bool,
}

/// `[paths]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Paths {
    /// Pid files, control sockets, and what must outlive a crash.
    pub run: PathBuf,
    /// Overrides, which survive a reboot: in the directory `ldirectord-rs` below this one.
    pub state: PathBuf,
    /// Where a configuration is looked for first, as heartbeat has it.
    pub ha: PathBuf,
}

impl Default for Table {
    fn default() -> Table {
        Table { backend: Backend::Kernel, act: false, verify_interval: 60 }
    }
}

impl Default for Checks {
    fn default() -> Checks {
        Checks { limit: 4096, unchecked: Unchecked::Keep }
    }
}

impl Default for Commands {
    fn default() -> Commands {
        Commands { timeout: 60, fallbackcommand_at_stop: false }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log { level: LogLevel::Info, format: LogFormat::Text, journald: false, monitor_mode: 0o644 }
    }
}

impl Default for Stop {
    fn default() -> Stop {
        Stop { grace: 4 }
    }
}

impl Default for Mail {
    fn default() -> Mail {
        Mail {
            port: 25,
            security: Security::None,
            verify: true,
            login: String::new(),
            password_file: PathBuf::new(),
            timeout: 30,
            sendmail: PathBuf::from("/usr/sbin/sendmail"),
            queue: 10_000,
            hello: String::new(),
        }
    }
}

impl Mail {
    /// What one letter may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

impl Default for Paths {
    fn default() -> Paths {
        Paths {
            run: PathBuf::from("/var/run"),
            state: PathBuf::from("/var/lib"),
            ha: PathBuf::from("/etc/ha.d"),
        }
    }
}

impl Table {
    /// A table in memory makes a dry run. In it `run_commands`, of the command line, allows commands, but not mail.
    #[must_use]
    pub fn acts(&self, run_commands: bool) -> Acts {
        let all = self.backend == Backend::Kernel || self.act;
        Acts { mail: all, commands: all || run_commands }
    }

    /// From one look at the table to the next; none: it is not looked at by the clock.
    #[must_use]
    pub fn verify_interval(&self) -> Option<Duration> {
        (self.verify_interval > 0).then(|| Duration::from_secs(self.verify_interval))
    }
}

impl Commands {
    /// For how long a command may run.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

impl Stop {
    /// For how long the last work is waited for.
    #[must_use]
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace)
    }
}

/// Reads one of some words, in upper or lower case. It reads a string first, because then the error lists the words.
fn word<'de, D: Deserializer<'de>, T: DeserializeOwned>(value: D) -> Result<T, D::Error> {
    let text = String::deserialize(value)?.to_lowercase();
    T::deserialize(text.into_deserializer())
}

/// Reads the mode of a file that the daemon writes. A number without quotes is read by its digits, because the environment has no quotes.
fn file_mode<'de, D: Deserializer<'de>>(value: D) -> Result<u32, D::Error> {
    let text = String::deserialize(value)?;
    let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| mode & 0o600 == 0o600 && mode & !0o664 == 0);
    mode.ok_or_else(|| {
        let wanted = "must be octal, \"0600\" to \"0664\": its owner reads and writes, others do not write";
        D::Error::custom(format!("\"{text}\" is not a mode of a file: {wanted}"))
    })
}

#[cfg(test)]
mod tests;
