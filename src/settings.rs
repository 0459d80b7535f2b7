//! The daemon's own settings: `ldirectord-rs.toml`, and over it the environment. What they say is not about servers.
//!
//! Every key is also a variable: `[table] backend` is `LDIRECTORD_RS_TABLE__BACKEND`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use config::builder::DefaultState;
use config::{Config, ConfigBuilder, Environment, File, FileFormat};
use serde::Deserialize;
use thiserror::Error;

use crate::value::Secret;

/// Where the settings are when no other place is named.
pub const PATH: &str = "/etc/ldirectord-rs.toml";

/// Settings that cannot be used.
#[derive(Debug, Error)]
#[error("{place}: {error}; etc/ldirectord-rs.toml of the distribution lists all settings")]
pub struct SettingsError {
    place: String,
    error: Box<config::ConfigError>,
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
    /// The directories.
    pub paths: Paths,
}

/// `[table]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Table {
    /// Where the table is.
    pub backend: Backend,
    /// Every so many seconds the table is read and drift repaired; 0: only when something changes.
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

/// `[checks]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Checks {
    /// So many checks run at the same time at most; at least 1.
    pub limit: usize,
}

/// `[commands]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Commands {
    /// After so many seconds, at least 1, a `fallbackcommand`, `callback` or `execute` is killed with all that it has started.
    pub timeout: u64,
    /// Whether `fallbackcommand` is run with `stop` when the daemon stops while no server is up.
    pub fallbackcommand_at_stop: bool,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`, or a list of filters as `tracing` writes them.
    pub level: String,
    /// The form of lines in files and on standard output and error.
    pub format: LogFormat,
    /// Whether lines go to the journal of systemd too.
    pub journald: bool,
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
    /// For so many seconds at most the last work is waited for.
    pub grace: u64,
}

/// `[mail]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// The port of the relay (`smtp=`).
    pub port: u16,
    /// How the connection to the relay is protected.
    pub security: Security,
    /// Whether the relay's certificate must be valid for its name.
    pub verify: bool,
    /// The user at the relay; empty: none.
    pub login: String,
    /// A file with the password of that user in its first line.
    pub password_file: PathBuf,
    /// Seconds that one letter may take, 1 to 3600.
    pub timeout: u64,
    /// What brings letters on their way where no relay is named.
    pub sendmail: PathBuf,
    /// So many letters are kept for each relay while it is dead; at least 1.
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
        Table { backend: Backend::Kernel, verify_interval: 60 }
    }
}

impl Default for Checks {
    fn default() -> Checks {
        Checks { limit: 4096 }
    }
}

impl Default for Commands {
    fn default() -> Commands {
        Commands { timeout: 60, fallbackcommand_at_stop: false }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log { level: "info".to_owned(), format: LogFormat::Text, journald: false }
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
            queue: 1000,
            hello: String::new(),
        }
    }
}

impl Mail {
    /// What one letter may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.clamp(1, 3600))
    }

    /// The password, read anew each time so that it can be changed.
    ///
    /// # Errors
    /// When its file cannot be read; names the file, never its content.
    pub fn password(&self) -> Result<Secret, String> {
        let text = std::fs::read_to_string(&self.password_file)
            .map_err(|error| format!("[mail] password_file {}: {error}", self.password_file.display()))?;
        Ok(Secret::new(text.lines().next().unwrap_or_default()))
    }
}

impl Default for Paths {
    fn default() -> Paths {
        Paths { run: PathBuf::from("/var/run"), ha: PathBuf::from("/etc/ha.d") }
    }
}

impl Table {
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
        Duration::from_secs(self.timeout.max(1))
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
    /// When the file cannot be read, or a setting is unknown or has no possible value. The error names file and key.
    pub fn load(path: Option<&Path>) -> Result<Settings, SettingsError> {
        let file = File::new(&path.unwrap_or(Path::new(PATH)).to_string_lossy(), FileFormat::Toml);
        let settings = Config::builder()
            .add_source(file.required(path.is_some()))
            .add_source(environment())
            .build()
            .and_then(Config::try_deserialize::<Settings>);
        let place = || match path {
            Some(path) => path.display().to_string(),
            None => format!("{PATH} and the variables LDIRECTORD_RS_…"),
        };
        let mut settings =
            settings.map_err(|error| SettingsError { place: place(), error: Box::new(error) })?;
        settings.checks.limit = settings.checks.limit.max(1);
        Ok(settings)
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
