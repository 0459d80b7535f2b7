//! The context of every command: the settings, and the configuration that the command line names.

use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::arguments::{CliOptions, Command};
use super::failure::CommandFailure;
use super::terminal::eprint_line;
use crate::daemon;
use crate::settings::{self, Acts, Backend, Settings};
use crate::sys::instance::{Instance, LONGEST_NAME};
use crate::sys::lock;
use crate::sys::place::TablePlace;
use crate::value::shown::escaped;

/// The default configuration.
const DEFAULT_CONFIG: &str = "ldirectord.cf";
/// The name of the default configuration in names of pid file, lock and socket. As in the original, not the name of its
/// file.
const DEFAULT_NAME: &str = "ldirectord";
/// The last place searched for the default configuration: Debian's init script of the original reads it there.
const LAST_PLACE: &str = "/etc/ldirectord.cf";
/// The annotated sample, as the packages install it.
const SAMPLE: &str = "/usr/share/doc/ldirectord-rs/examples/ldirectord.cf";

/// Settings, options and configuration of a command.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub settings: Settings,
    /// The file of the settings. It may be missing.
    pub settings_file: PathBuf,
    pub debug: bool,
    pub foreground: bool,
    /// Whether mail is sent and commands are run.
    pub acts: Acts,
    /// The configuration as given on the command line, or the default.
    pub argument: String,
    /// Whether the command line names it.
    pub is_named: bool,
    /// The last component of the argument. It names the pid file and is part of each line of a log file.
    pub name: String,
    /// The arguments of the process, for the log.
    pub invocation: String,
    /// The directory of the command. A daemon changes to `/`.
    here: PathBuf,
    /// This program and the options to start other configurations with (`execute=`).
    pub own: Vec<String>,
}

impl Context {
    /// Loads the settings. For a command that only has to find the daemon, wrong settings are a warning.
    ///
    /// # Errors
    /// The settings are wrong and the command needs them.
    pub fn new(
        options: &CliOptions,
        command: &Command,
        arguments: &[String],
    ) -> Result<Context, CommandFailure> {
        let path = options.settings.as_deref();
        let mut settings = match Settings::load(path) {
            // The settings do not matter for `-t FILE`.
            _ if matches!(command, Command::Judge { named: true, .. }) => Settings::default(),
            Ok((settings, warnings)) => {
                // Cluster managers ask for the status every few seconds.
                if !command.needs_only_paths() {
                    warnings.iter().for_each(|warning| eprint_line!("Warning: {warning}"));
                }
                settings
            }
            Err(error) if command.needs_only_paths() => {
                let settings = Settings::places(path);
                let (run, dir) = (settings.paths.run.display(), settings.paths.config_dir.display());
                eprint_line!("Warning: {error}; only [paths] is used: run = {run}, config_dir = {dir}");
                settings
            }
            Err(error) => return Err(CommandFailure::Settings(error)),
        };
        if let Some(backend) = options.table {
            settings.table.backend = backend;
        }
        let (argument, name) = named(options.config.as_deref());
        let acts = settings.table.acts(options.run_commands);
        let invocation = arguments.join(" ");
        let own = own_command(options, arguments);
        Ok(Context {
            settings,
            settings_file: path.unwrap_or(Path::new(settings::PATH)).to_owned(),
            debug: options.debug,
            foreground: options.foreground,
            acts,
            argument,
            is_named: options.config.is_some(),
            name,
            invocation,
            here: std::env::current_dir().unwrap_or_default(),
            own,
        })
    }

    /// The same context for a daemon of another name.
    pub fn with_name(&self, name: String) -> Context {
        Context { name, ..self.clone() }
    }

    /// Whether a command line that names this configuration means the same daemon.
    pub fn is_meant_by(&self, config: Option<&str>) -> bool {
        let (argument, name) = named(config);
        let other = Context { argument, name, ..self.clone() };
        let file = |context: &Context| context.find_config()?.canonicalize().ok();
        other.name == self.name || file(self).is_some_and(|own| file(&other) == Some(own))
    }

    /// The absolute path of the configuration. None if it is not found.
    pub fn find_config(&self) -> Option<PathBuf> {
        let places = candidates(&self.settings.paths.config_dir, &self.argument);
        // The daemon changes to `/`, where a relative path would be wrong.
        let found = places.into_iter().map(|path| self.here.join(path)).find(|path| path.is_file())?;
        Some(std::path::absolute(&found).unwrap_or(found))
    }

    /// The error for a missing configuration: the original's line, an empty line, and where it was searched for.
    pub fn not_found(&self) -> String {
        let places: Vec<String> = candidates(&self.settings.paths.config_dir, &self.argument)
            .iter()
            .map(|path| place(path))
            .collect();
        format!(
            "Config file {} not found\n\nsearched: {}\nsample: {SAMPLE}; manual: man ldirectord-rs.cf",
            self.argument,
            places.join(", ")
        )
    }

    /// The configuration for messages: its path, or the argument if it is not found.
    pub fn display_config(&self) -> String {
        let shown =
            self.find_config().map_or_else(|| self.argument.clone(), |path| path.display().to_string());
        escaped(&shown).into_owned()
    }

    /// The pid file of the daemon.
    pub fn pid_file(&self) -> PathBuf {
        self.settings.paths.run.join(format!("ldirectord.{}.pid", self.name))
    }

    /// The lock that the daemon of this name holds while it runs.
    pub fn lock_file(&self) -> PathBuf {
        self.state_directory().join(lock::file_name(&self.name))
    }

    /// The identity of a daemon with this context. None if the configuration is not found.
    pub fn instance(&self) -> Option<Instance> {
        let file = self.find_config()?.canonicalize().ok()?;
        let network = match self.settings.table.backend {
            Backend::Memory => None,
            // Without /proc all daemons count as being in one network namespace.
            Backend::Kernel => Some(TablePlace::here().map(|place| place.network).unwrap_or_default()),
        };
        Some(Instance { name: self.name.clone(), network, file })
    }

    /// The lock that the daemon of this configuration holds while it runs, whatever its name.
    pub fn file_lock(&self) -> Option<PathBuf> {
        self.instance()?.file_lock(&self.state_directory())
    }

    /// Refuses a name that is too long to be part of file names.
    pub fn check_name(&self) -> Result<(), CommandFailure> {
        if self.name.len() > LONGEST_NAME {
            Err(CommandFailure::NameTooLong(self.name.clone()))
        } else {
            Ok(())
        }
    }

    /// The file of the operators' overrides.
    pub fn overrides_file(&self) -> PathBuf {
        daemon::overrides_file(&self.settings.paths.state.join("ldirectord-rs"), &self.name)
    }

    /// The directory of sockets, locks and files that must outlive a crash.
    pub fn state_directory(&self) -> PathBuf {
        self.settings.paths.run.join("ldirectord-rs")
    }

    /// Opens the table that the settings select.
    pub fn open_table(&self) -> Result<Box<dyn ipvs_rs::Ipvs>, ipvs_rs::Error> {
        Ok(match self.settings.table.backend {
            Backend::Kernel => Box::new(ipvs_rs::Kernel::open()?),
            Backend::Memory => Box::new(ipvs_rs::Memory::new()),
        })
    }
}

/// The configuration argument and the name of the daemon.
fn named(config: Option<&str>) -> (String, String) {
    match config {
        None => (DEFAULT_CONFIG.to_owned(), DEFAULT_NAME.to_owned()),
        Some(config) => (config.to_owned(), last_component(config)),
    }
}

/// The places that are searched for a configuration, in this order. As in the original the directories of heartbeat
/// come first, even for an absolute path. The last place is only for the default configuration (R52).
fn candidates(ha: &Path, argument: &str) -> Vec<PathBuf> {
    let ha = ha.display();
    let mut candidates = vec![
        PathBuf::from(format!("{ha}/{argument}")),
        PathBuf::from(format!("{ha}/conf/{argument}")),
        PathBuf::from(argument),
    ];
    if argument == DEFAULT_CONFIG {
        candidates.push(PathBuf::from(LAST_PLACE));
    }
    candidates
}

/// A place without a usable configuration, with the reason unless the file is missing.
fn place(path: &Path) -> String {
    let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    match path.metadata() {
        Ok(_) => format!("{shown} (not a regular file)"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => shown,
        Err(error) => format!("{shown} ({error})"),
    }
}

fn own_command(options: &CliOptions, arguments: &[String]) -> Vec<String> {
    let called = || arguments.first().cloned().unwrap_or_default();
    let program = std::env::current_exe().map_or_else(|_| called(), |path| path.display().to_string());
    let mut own = vec![program];
    if let Some(settings) = &options.settings {
        // The daemon changes to `/`.
        let absolute = std::path::absolute(settings).unwrap_or_else(|_| settings.clone());
        own.extend(["--settings".to_owned(), absolute.display().to_string()]);
    }
    if let Some(table) = options.table.as_ref().and_then(ValueEnum::to_possible_value) {
        own.extend(["--table".to_owned(), table.get_name().to_owned()]);
    }
    if options.run_commands {
        own.push("--run-commands".to_owned());
    }
    own
}

fn last_component(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_default_configuration_has_a_last_place() {
        // R52
        let looked_for = |argument: &str| -> Vec<String> {
            let candidates = candidates(Path::new("/etc/ha.d"), argument);
            candidates.iter().map(|path| path.display().to_string()).collect()
        };
        assert_eq!(
            looked_for("ldirectord.cf"),
            [
                "/etc/ha.d/ldirectord.cf",
                "/etc/ha.d/conf/ldirectord.cf",
                "ldirectord.cf",
                "/etc/ldirectord.cf"
            ]
        );
        assert_eq!(looked_for("web.cf"), ["/etc/ha.d/web.cf", "/etc/ha.d/conf/web.cf", "web.cf"]);
        assert_eq!(looked_for("/x/web.cf"), ["/etc/ha.d//x/web.cf", "/etc/ha.d/conf//x/web.cf", "/x/web.cf"]);
    }

    #[test]
    fn a_place_has_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent.cf");
        assert_eq!(place(&absent), absent.display().to_string());
        assert_eq!(place(folder.path()), format!("{} (not a regular file)", folder.path().display()));
    }
}
