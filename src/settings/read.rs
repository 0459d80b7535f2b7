//! Reads the settings from the file, and then from the environment, which overrides the file.

use std::path::Path;

use config::builder::DefaultState;
use config::{Config, ConfigBuilder, Environment, File, FileFormat};

use super::{PATH, Paths, Settings, SettingsError};

impl Settings {
    /// Reads the file at `path`, which must exist, or at [`PATH`], which need not exist, and then the environment.
    ///
    /// # Errors
    /// When the file cannot be read, or a setting is unknown or has an invalid value. The error names file, key and
    /// the valid values.
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

    /// Describes the first setting with an invalid value, with the valid values. Numbers are limited so that no
    /// computation with them or with the clock overflows. Paths must be absolute because the daemon runs in `/`.
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
        let Paths { run, state, ha } = &self.paths;
        let paths = [("paths.run", run), ("paths.state", state), ("paths.ha", ha)];
        let path = || paths.into_iter().find(|(_, path)| !path.is_absolute());
        number.or_else(|| {
            path().map(|(key, path)| {
                format!("\"{}\" for key `{key}`: must be an absolute path", path.display())
            })
        })
    }

    /// The defaults, with as much of `[paths]` as can be read if [`Settings::load`] fails: `stop` and `status` need
    /// only these, and must not depend on the rest.
    #[must_use]
    pub fn places(path: Option<&Path>) -> Settings {
        let bytes = std::fs::read(path.unwrap_or(Path::new(PATH))).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let mut paths = Paths::default();
        // Each line is parsed alone, after the header of its section, so that a wrong line does not affect the
        // others.
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
    /// Takes the directories from a source. Directories that it does not set are unchanged.
    fn take(&mut self, source: ConfigBuilder<DefaultState>) {
        let Ok(built) = source.build() else { return };
        if let Ok(run) = built.get("paths.run") {
            self.run = run;
        }
        if let Ok(state) = built.get("paths.state") {
            self.state = state;
        }
        if let Ok(ha) = built.get("paths.ha") {
            self.ha = ha;
        }
    }
}

fn environment() -> Environment {
    Environment::with_prefix("LDIRECTORD_RS").prefix_separator("_").separator("__").try_parsing(true)
}
