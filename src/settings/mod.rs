//! The daemon's own settings: `ldirectord-rs.toml`, overridden by the environment. They do not contain servers.
//!
//! Every key is also a variable: `[table] backend` is `LDIRECTORD_RS_TABLE__BACKEND`.

pub mod credential;
mod duration;
mod http;
mod names;
mod number;
mod read;

use std::path::PathBuf;
use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _, IntoDeserializer};
use serde::{Deserialize, Deserializer};
use thiserror::Error;

pub use http::{HttpAddress, HttpSettings};

/// Default path of the settings file.
pub const PATH: &str = "/etc/ldirectord-rs.toml";

/// Settings that cannot be used.
#[derive(Debug, Error)]
#[error("{place}: {error} (man ldirectord-rs lists all settings)")]
pub struct SettingsError {
    place: String,
    error: String,
}

impl SettingsError {
    fn of(place: &str, error: &str) -> SettingsError {
        let error = error.trim_end_matches(&format!(" in {place}"));
        SettingsError { place: place.to_owned(), error: without_passwords(error) }
    }
}

/// An error of the parser without the values of passwords in its excerpt of the file: a password may be where the path
/// of its file belongs.
fn without_passwords(error: &str) -> String {
    let hidden = |line: &str| match line.split_once('=') {
        Some((name, _))
            if line.contains(" | ") && ["pass", "secret"].iter().any(|part| name.contains(part)) =>
        {
            format!("{name}= ***")
        }
        _ => line.to_owned(),
    };
    error.split('\n').map(hidden).collect::<Vec<_>>().join("\n")
}

/// All settings, with their defaults.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The kernel's table.
    pub table: TableSettings,
    /// The checks.
    pub checks: CheckSettings,
    /// Operator commands.
    pub commands: CommandSettings,
    /// The log.
    pub log: LogSettings,
    /// Stopping.
    pub stop: StopSettings,
    /// Alerts by mail.
    pub mail: MailSettings,
    /// Privileges of the daemon.
    pub privileges: PrivilegeSettings,
    /// The control socket.
    pub control: ControlSettings,
    /// Metrics.
    pub metrics: MetricsSettings,
    /// The HTTP listener.
    pub http: HttpSettings,
    /// The directories.
    pub paths: PathSettings,
}

/// `[table]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TableSettings {
    /// Location of the table.
    #[serde(deserialize_with = "word")]
    pub backend: Backend,
    /// Whether mail is sent and commands are run with a table in memory. With the kernel's table they always are.
    pub act: bool,
    /// Time between two reconciliations of the kernel's table, 1 s to a year. 0: only after changes.
    #[serde(deserialize_with = "duration::within_or_never::<_, 1, 31_622_400>")]
    pub verify_interval: Duration,
}

/// Location of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// In the kernel.
    Kernel,
    /// In this process: for a dry run, and for machines without IPVS.
    Memory,
}

/// Effects of the daemon outside its table. In a dry run it only logs them.
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
pub struct CheckSettings {
    /// Maximum number of checks that run at the same time, 1 to 1,000,000. The limit of descriptors may be lower.
    #[serde(deserialize_with = "number::within::<_, _, 1, 1_000_000>")]
    pub max_concurrent: usize,
    /// State of a server without a verdict because no check was possible for three intervals and a time-out, and
    /// for a minute.
    pub unchecked: UncheckedPolicy,
}

/// State of a server that cannot be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UncheckedPolicy {
    /// Unchanged.
    Keep,
    /// Down.
    Down,
}

/// `[commands]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CommandSettings {
    /// Time limit of a `fallbackcommand`, `callback` or `execute`, 1 s to a day. After that it is killed with its
    /// child processes.
    #[serde(deserialize_with = "duration::within::<_, 1, 86_400>")]
    pub timeout: Duration,
    /// Whether `fallbackcommand` is run with `stop` when the daemon stops while no server is up.
    pub fallbackcommand_at_stop: bool,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// Least important level that is logged.
    #[serde(deserialize_with = "word")]
    pub level: LogLevel,
    /// Format of lines in files and on standard output and error.
    #[serde(deserialize_with = "word")]
    pub format: LogFormat,
    /// Whether lines also go to the systemd journal.
    pub journald: bool,
    /// Mode of a monitor file that the daemon creates, in octal digits.
    #[serde(deserialize_with = "file_mode")]
    pub monitor_mode: u32,
}

/// Level of a log line, the most important first.
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

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// The original's format.
    Text,
    /// A JSON object for each line.
    Json,
}

/// `[stop]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StopSettings {
    /// Maximum time that `stop` waits for the daemon to finish its work, at most an hour.
    #[serde(deserialize_with = "duration::within::<_, 0, 3600>")]
    pub grace: Duration,
}

/// `[control]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlSettings {
    /// Group whose members may read the state. Empty: none.
    pub read_group: String,
    /// Group whose members may also make changes. Empty: none.
    pub write_group: String,
}

/// `[metrics]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsSettings {
    /// Whether each real server has metrics, not only each virtual service.
    pub per_server: bool,
}

/// `[mail]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailSettings {
    /// Port of the relay (`smtp=`), 1 to 65,535.
    #[serde(deserialize_with = "number::within::<_, _, 1, 65_535>")]
    pub port: u16,
    /// How the connection to the relay is protected.
    #[serde(deserialize_with = "word")]
    pub security: Security,
    /// Whether the relay's certificate must be valid for its name.
    pub verify: bool,
    /// User name at the relay. Empty: none.
    pub username: String,
    /// File whose first line is the password of that user.
    pub password_file: PathBuf,
    /// Time limit for one message, 1 s to an hour.
    #[serde(deserialize_with = "duration::within::<_, 1, 3600>")]
    pub timeout: Duration,
    /// The program that sends messages if no relay is configured.
    pub sendmail: PathBuf,
    /// Maximum number of messages kept for each relay while it is down, 1 to 1,000,000.
    #[serde(deserialize_with = "number::within::<_, _, 1, 1_000_000>")]
    pub queue_limit: usize,
    /// Name of the director in the SMTP greeting. Empty: that of this machine.
    pub helo_name: String,
}

/// How the connection to the relay is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// No protection, as in the original.
    None,
    /// STARTTLS if the relay offers it.
    Opportunistic,
    /// STARTTLS required. Otherwise nothing is sent.
    Starttls,
    /// TLS from the first byte (port 465).
    Tls,
}

/// `[privileges]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrivilegeSettings {
    /// User that the daemon changes to after it has opened all that needs root. Empty: no change.
    pub user: String,
    /// Whether the daemon and all its child processes may write only where it needs to (Landlock).
    pub sandbox: bool,
}

/// `[paths]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PathSettings {
    /// Pid files, control sockets, and data that must survive a crash.
    pub run: PathBuf,
    /// Overrides, which survive a reboot: in the directory `ldirectord-rs` below this one.
    pub state: PathBuf,
    /// The directory of files for keepalived's `track_file`, one for each virtual service. Empty: no files.
    pub track: PathBuf,
    /// First directory in which a configuration is searched, as in heartbeat.
    pub config_dir: PathBuf,
}

impl Default for TableSettings {
    fn default() -> TableSettings {
        TableSettings { backend: Backend::Kernel, act: false, verify_interval: Duration::from_secs(60) }
    }
}

impl Default for CheckSettings {
    fn default() -> CheckSettings {
        CheckSettings { max_concurrent: 4096, unchecked: UncheckedPolicy::Keep }
    }
}

impl Default for CommandSettings {
    fn default() -> CommandSettings {
        CommandSettings { timeout: Duration::from_secs(60), fallbackcommand_at_stop: false }
    }
}

impl Default for LogSettings {
    fn default() -> LogSettings {
        LogSettings { level: LogLevel::Info, format: LogFormat::Text, journald: false, monitor_mode: 0o644 }
    }
}

impl Default for StopSettings {
    fn default() -> StopSettings {
        StopSettings { grace: Duration::from_secs(4) }
    }
}

impl Default for MailSettings {
    fn default() -> MailSettings {
        MailSettings {
            port: 25,
            security: Security::None,
            verify: true,
            username: String::new(),
            password_file: PathBuf::new(),
            timeout: Duration::from_secs(30),
            sendmail: PathBuf::from("/usr/sbin/sendmail"),
            queue_limit: 10_000,
            helo_name: String::new(),
        }
    }
}

impl Default for PathSettings {
    fn default() -> PathSettings {
        PathSettings {
            run: PathBuf::from("/var/run"),
            state: PathBuf::from("/var/lib"),
            track: PathBuf::new(),
            config_dir: PathBuf::from("/etc/ha.d"),
        }
    }
}

impl TableSettings {
    /// Effects of a run. A table in memory is a dry run, in which `run_commands` of the command line allows
    /// commands, but not mail.
    #[must_use]
    pub fn acts(&self, run_commands: bool) -> Acts {
        let all = self.backend == Backend::Kernel || self.act;
        Acts { mail: all, commands: all || run_commands }
    }

    /// Time between two reconciliations. None: no periodic ones.
    #[must_use]
    pub fn verify_interval(&self) -> Option<Duration> {
        Some(self.verify_interval).filter(|interval| !interval.is_zero())
    }
}

/// Reads one of several words, in upper or lower case. It reads a string first so that the error lists the words.
fn word<'de, D: Deserializer<'de>, T: DeserializeOwned>(value: D) -> Result<T, D::Error> {
    let text = String::deserialize(value)?.to_lowercase();
    T::deserialize(text.into_deserializer())
}

/// Reads the mode of a file that the daemon writes. The digits of a number without quotes are octal, because the
/// environment has no quotes.
fn file_mode<'de, D: Deserializer<'de>>(value: D) -> Result<u32, D::Error> {
    let text = String::deserialize(value)?;
    let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| mode & 0o600 == 0o600 && mode & !0o664 == 0);
    mode.ok_or_else(|| {
        let wanted = "must be octal, \"0600\" to \"0664\": read and write for the owner, no write for others";
        D::Error::custom(format!("\"{text}\" is not a file mode: {wanted}"))
    })
}

#[cfg(test)]
mod tests;
