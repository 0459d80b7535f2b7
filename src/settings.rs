//! The daemon's own settings: `ldirectord-rs.toml`, and over it the environment. What they say is not about servers.
//!
//! Every key is also a variable: `[table] backend` is `LDIRECTORD_RS_TABLE__BACKEND`.

pub mod credential;

use std::path::{Path, PathBuf};
use std::time::Duration;

use config::builder::DefaultState;
use config::{Config, ConfigBuilder, Environment, File, FileFormat};
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
        Paths { run: PathBuf::from("/var/run"), ha: PathBuf::from("/etc/ha.d") }
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

impl Settings {
    /// Reads the file at `path`, which must be there, or at [`PATH`], which need not; then the environment.
    ///
    /// # Errors
    /// When the file cannot be read, or a setting is unknown or has no possible value. The error names file and key, and the
    /// possible values.
    pub fn load(path: Option<&Path>) -> Result<Settings, SettingsError> {
        let file = File::new(&path.unwrap_or(Path::new(PATH)).to_string_lossy(), FileFormat::Toml);
        let settings = Config::builder()
            .add_source(file.required(path.is_some()))
            .add_source(environment())
            .build()
            .and_then(Config::try_deserialize::<Settings>)
            .map_err(|error| error.to_string())
            .and_then(|settings| settings.impossible().map_or(Ok(settings), Err));
        let place = || match path {
            Some(path) => path.display().to_string(),
            None => format!("{PATH} and the variables LDIRECTORD_RS_…"),
        };
        settings.map_err(|error| SettingsError { place: place(), error })
    }

    /// Names the first setting whose value cannot be used, with the values it may have. No number may be so large that
    /// computing with it or with the clock overflows, and the daemon, which lives in `/`, needs absolute paths.
    fn impossible(&self) -> Option<String> {
        let size = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let numbers = [
            ("table.verify_interval", self.table.verify_interval, 0..=366 * 24 * 3600, "seconds"),
            ("checks.limit", size(self.checks.limit), 1..=1_000_000, "checks"),
            ("commands.timeout", self.commands.timeout, 1..=24 * 3600, "seconds"),
            ("stop.grace", self.stop.grace, 0..=3600, "seconds"),
            ("mail.port", self.mail.port.into(), 1..=65535, "as a port"),
            ("mail.timeout", self.mail.timeout, 1..=3600, "seconds"),
            ("mail.queue", size(self.mail.queue), 1..=1_000_000, "messages"),
        ];
        let number = numbers.into_iter().find(|(_, number, range, _)| !range.contains(number));
        let number = number.map(|(key, number, range, unit)| {
            format!("{number} for key `{key}`: must be {} to {} {unit}", range.start(), range.end())
        });
        let paths = [("paths.run", &self.paths.run), ("paths.ha", &self.paths.ha)];
        let path = || paths.into_iter().find(|(_, path)| !path.is_absolute());
        number.or_else(|| {
            path().map(|(key, path)| {
                format!("\"{}\" for key `{key}`: must be an absolute path", path.display())
            })
        })
    }

    /// The defaults, with as much of `[paths]` as can be made out where [`Settings::load`] fails: whoever ends a daemon, or asks
    /// for it, needs no more, and must not depend on the rest.
    #[must_use]
    pub fn places(path: Option<&Path>) -> Settings {
        let bytes = std::fs::read(path.unwrap_or(Path::new(PATH))).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let mut paths = Paths::default();
        // Each line by itself, below the head of its section, so that one that is wrong spoils no other.
        let mut head = "";
        for line in text.lines() {
            if line.trim_start().starts_with('[') {
                head = line;
                continue;
            }
            let lines = format!("{head}\n{line}\n");
            paths.take(Config::builder().add_source(File::from_str(&lines, FileFormat::Toml)));
        }
        paths.take(Config::builder().add_source(environment()));
        Settings { paths, ..Settings::default() }
    }
}

impl Paths {
    /// Takes what a source says of the directories; what it cannot say stays as it is.
    fn take(&mut self, source: ConfigBuilder<DefaultState>) {
        let Ok(built) = source.build() else { return };
        if let Ok(run) = built.get("paths.run") {
            self.run = run;
        }
        if let Ok(ha) = built.get("paths.ha") {
            self.ha = ha;
        }
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

fn environment() -> Environment {
    Environment::with_prefix("LDIRECTORD_RS").prefix_separator("_").separator("__").try_parsing(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file that is installed says what holds without it.
    #[test]
    fn the_sample_says_the_defaults() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/etc/ldirectord-rs.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let bare: String = text
            .lines()
            .map(|line| line.strip_prefix('#').filter(|l| !l.starts_with(' ')).unwrap_or(line))
            .map(|line| format!("{line}\n"))
            .collect();
        let built = Config::builder().add_source(File::from_str(&bare, FileFormat::Toml)).build().unwrap();
        assert_eq!(built.try_deserialize::<Settings>().unwrap(), Settings::default());
        for section in
            ["[table]", "[checks]", "[commands]", "[log]", "[stop]", "[mail]", "[privileges]", "[paths]"]
        {
            assert!(bare.contains(section), "{section}");
        }
    }

    /// The names that a file with one name too many is told of, in a section or, without one, of the sections.
    fn expected(section: &str) -> Vec<String> {
        let text = format!("{section}\nno-such-setting = {{}}\n");
        let built = Config::builder().add_source(File::from_str(&text, FileFormat::Toml)).build().unwrap();
        let error = built.try_deserialize::<Settings>().unwrap_err().to_string();
        let (_, names) = error.split_once("expected").unwrap_or_else(|| panic!("{error}"));
        // Behind the names may stand where they belong.
        let names = names.split(" for key").next().unwrap_or(names);
        names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// From the sample the manual has its settings, so that none may be missing there.
    #[test]
    fn the_sample_has_every_setting() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/etc/ldirectord-rs.toml");
        let sample = std::fs::read_to_string(path).unwrap();
        let sections = expected("");
        assert!(sections.contains(&"table".to_owned()), "{sections:?}");
        for section in sections {
            let head = format!("\n[{section}]\n");
            let (_, rest) = sample.split_once(&head).unwrap_or_else(|| panic!("no [{section}] in {path}"));
            let part = rest.split("\n[").next().unwrap_or_default();
            let keys = expected(&format!("[{section}]"));
            assert!(!keys.is_empty(), "{section}");
            for key in keys {
                assert!(part.contains(&format!("\n#{key} = ")), "{key} of [{section}] is not in {path}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings.toml");
        for (text, words) in [
            ("[table]\nbackend = \"kernal\"\n", "kernal"),
            ("[table]\nbakend = \"kernel\"\n", "bakend"),
            ("[tabel]\n", "tabel"),
            ("[stop]\ngrace = -1\n", "grace"),
            ("[stop\n", "settings.toml"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Settings::load(Some(&path)).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("settings.toml"), "{text}: {error}");
        }
        assert!(Settings::load(Some(&directory.path().join("missing"))).is_err());
    }

    fn loaded(text: &str) -> Result<Settings, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        Settings::load(Some(file.path())).map_err(|error| error.to_string())
    }

    #[test]
    fn b6_words_that_do_not_exist_are_refused() {
        for (word, level) in
            [("warning", LogLevel::Warn), ("warn", LogLevel::Warn), ("ERROR", LogLevel::Error)]
        {
            assert_eq!(loaded(&format!("[log]\nlevel = \"{word}\"\n")).unwrap().log.level, level, "{word}");
        }
        for (section, key, words) in [
            ("log", "level", "`error`, `warn`"),
            ("log", "format", "`text` or `json`"),
            ("table", "backend", "`kernel` or `memory`"),
            ("mail", "security", "`opportunistic`, `starttls`"),
        ] {
            for wrong in ["loud", "", "off", "ldirectord_rs=debug"] {
                let error = loaded(&format!("[{section}]\n{key} = \"{wrong}\"\n")).unwrap_err();
                let key = format!("`{section}.{key}`");
                assert!(error.contains(&key) && error.contains(words), "{wrong}: {error}");
            }
        }
    }

    #[test]
    fn c3_a_mode_of_monitor_files_is_octal_and_safe() {
        let mode = |value: &str| loaded(&format!("[log]\nmonitor_mode = {value}\n"));
        for (value, wanted) in [("\"0600\"", 0o600), ("\"640\"", 0o640), ("640", 0o640), ("\"0664\"", 0o664)]
        {
            assert_eq!(mode(value).unwrap().log.monitor_mode, wanted, "{value}");
        }
        for wrong in
            ["\"0666\"", "\"0755\"", "\"0444\"", "\"4644\"", "\"0689\"", "\"rw-r--r--\"", "\"\"", "0o640"]
        {
            let error = mode(wrong).unwrap_err();
            assert!(
                error.contains("`log.monitor_mode`") && error.contains("must be octal"),
                "{wrong}: {error}"
            );
        }
    }

    /// Every number of the sample, so that a new setting is tried too.
    #[test]
    fn b6_numbers_that_overflow_are_refused_with_range() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/etc/ldirectord-rs.toml");
        let (mut section, mut tried) = (String::new(), 0);
        for line in std::fs::read_to_string(path).unwrap().lines() {
            if line.starts_with('[') {
                line.clone_into(&mut section);
            }
            let Some((key, value)) = line.strip_prefix('#').and_then(|line| line.split_once(" = ")) else {
                continue;
            };
            if value.parse::<u64>().is_ok() {
                tried += 1;
                for wrong in ["9223372036854775807", "-1"] {
                    let error = loaded(&format!("{section}\n{key} = {wrong}\n")).unwrap_err();
                    assert!(error.contains(key), "{error}");
                }
            }
        }
        assert!(tried >= 7, "{tried}");
        let error = loaded("[stop]\ngrace = 9223372036854775807\n").unwrap_err();
        assert!(
            error.contains("9223372036854775807 for key `stop.grace`: must be 0 to 3600 seconds"),
            "{error}"
        );
        for zero in ["[checks]\nlimit = 0\n", "[commands]\ntimeout = 0\n", "[mail]\nqueue = 0\n"] {
            assert!(loaded(zero).unwrap_err().contains("must be 1 to"), "{zero}");
        }
        for path in ["", "run"] {
            let error = loaded(&format!("[paths]\nrun = \"{path}\"\n")).unwrap_err();
            assert!(error.contains("`paths.run`: must be an absolute path"), "{error}");
        }
    }

    #[test]
    fn the_directories_are_found_in_wrong_settings() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings.toml");
        for text in [
            "[tabel]\n[paths]\nrun = \"/r\" # here\n",
            "[paths]\nbroken = \nrun = \"/r\"\n[stop\ngrace = 1\n",
            "[stop\n[paths]\nrnu = \"/x\"\nrun = \"/r\"\n[log]\nrun = \"/x\"\n",
            "paths.run = \"/r\"\n[stop]\ngrace = -1\n",
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(Settings::load(Some(&path)).is_err(), "{text}");
            let paths = Paths { run: PathBuf::from("/r"), ..Paths::default() };
            assert_eq!(Settings::places(Some(&path)), Settings { paths, ..Settings::default() }, "{text}");
        }
        assert_eq!(Settings::places(Some(&directory.path().join("missing"))), Settings::default());
    }
}
