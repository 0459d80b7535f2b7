//! Reads the settings from the file, and then from the environment, which overrides the file.

use std::path::{Path, PathBuf};

use config_file::builder::DefaultState;
use config_file::{Config, ConfigBuilder, File, FileFormat};

use super::names::{Values, environment, variable, written};
use super::{PATH, PathSettings, Settings, SettingsError};

impl Settings {
    /// Reads the file at `path`, which must exist, or at [`PATH`], which need not exist, and then the environment.
    /// Also returns a warning for each setting with an earlier name.
    ///
    /// # Errors
    /// When the file cannot be read, or a setting is unknown or has an invalid value. The error names file or variable,
    /// key and the valid values.
    pub fn load(path: Option<&Path>) -> Result<(Settings, Vec<String>), SettingsError> {
        let (mut warnings, place) = (Vec::new(), path.unwrap_or(Path::new(PATH)).display().to_string());
        let file = File::new(&place, FileFormat::Toml).required(path.is_some());
        let file = Values::read(&file, |[section, old, new]| {
            warnings.push(format!("{place}: [{section}] {old} is now {new}; the old name still works"));
        });
        let variables = Values::read(&environment(), |[section, old, new]| {
            let [old, new] = [old, new].map(|name| variable(&format!("{section}.{name}")));
            warnings.push(format!("{old} is now {new}; the old name still works"));
        });
        let file = file.map_err(|error| SettingsError::of(&place, &error.to_string()))?;
        let variables = variables.map_err(|error| SettingsError::of("environment", &error.to_string()))?;
        match read(&[&file, &variables]) {
            Ok(settings) => Ok((settings, warnings)),
            Err(error) => {
                Err(wrong_variable(&variables).unwrap_or_else(|| SettingsError::of(&place, &error)))
            }
        }
    }

    /// Describes the first path that is not absolute: the daemon runs in `/`.
    fn relative(&self) -> Option<String> {
        let PathSettings { run, state, track, config_dir } = &self.paths;
        let paths = [
            ("paths.run", run),
            ("paths.state", state),
            ("paths.track", track),
            ("paths.config_dir", config_dir),
        ];
        let is_relative = |(key, path): &(&str, &PathBuf)| {
            !path.is_absolute() && (*key != "paths.track" || !path.as_os_str().is_empty())
        };
        let (key, path) = paths.into_iter().find(is_relative)?;
        Some(format!("\"{}\" for key `{key}`: must be an absolute path", path.display()))
    }

    /// The defaults, with as much of `[paths]` as can be read if [`Settings::load`] fails: `stop` and `status` need
    /// only these, and must not depend on the rest.
    #[must_use]
    pub fn places(path: Option<&Path>) -> Settings {
        let bytes = std::fs::read(path.unwrap_or(Path::new(PATH))).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let mut paths = PathSettings::default();
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

impl PathSettings {
    /// Takes the directories from a source. Directories that it does not set are unchanged.
    fn take(&mut self, source: ConfigBuilder<DefaultState>) {
        let Ok(built) = source.build() else { return };
        if let Ok(run) = built.get("paths.run") {
            self.run = run;
        }
        if let Ok(state) = built.get("paths.state") {
            self.state = state;
        }
        // The second is an earlier name.
        if let Ok(config_dir) = built.get("paths.config_dir").or_else(|_| built.get("paths.ha")) {
            self.config_dir = config_dir;
        }
    }
}

/// Reads the sources, the last one first.
fn read(sources: &[&Values]) -> Result<Settings, String> {
    let add = |builder: ConfigBuilder<DefaultState>, source: &&Values| builder.add_source((*source).clone());
    let settings = sources
        .iter()
        .fold(Config::builder(), add)
        .build()
        .and_then(Config::try_deserialize::<Settings>)
        .map_err(|error| error.to_string())?;
    settings.relative().map_or(Ok(settings), Err)
}

/// The error for the first variable of the environment that alone is already wrong.
fn wrong_variable(variables: &Values) -> Option<SettingsError> {
    let wrong = |(key, value): (String, Values)| {
        let error = read(&[&value]).err()?;
        Some(SettingsError::of(&written(&key), error.trim_end_matches(" in the environment")))
    };
    variables.each().into_iter().find_map(wrong)
}
