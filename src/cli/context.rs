//! What every command needs: the settings, and which configuration is meant.

use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::arguments::{Command, Options};
use super::terminal::tell;
use crate::daemon;
use crate::settings::{self, Acts, Backend, Settings};
use crate::sys::instance::{Instance, LONGEST_NAME};
use crate::sys::lock;
use crate::sys::place::Place;

/// The configuration that is meant when none is named.
const DEFAULT_CONFIG: &str = "ldirectord.cf";
/// The name of the default configuration in the names of its files, as in the original: not that of its file.
const DEFAULT_NAME: &str = "ldirectord";
/// Where the default configuration is looked for last: Debian's init script of the original reads it there.
const LAST_PLACE: &str = "/etc/ldirectord.cf";
/// Where the packages put the annotated sample.
const SAMPLE: &str = "/usr/share/doc/ldirectord-rs/examples/ldirectord.cf";

/// The surroundings of a command.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub settings: Settings,
    /// Where they were read from, if the file exists.
    pub settings_file: PathBuf,
    pub debug: bool,
    pub foreground: bool,
    /// What of mail and commands is carried out.
    pub acts: Acts,
    /// As named on the command line.
    pub argument: String,
    /// Whether it was named there, or is the default.
    pub is_named: bool,
    /// The last component of the argument: names the pid file and stands in each log line.
    pub name: String,
    /// The arguments of the process, for the log.
    pub invocation: String,
    /// Where the command was given; a daemon lives in `/`.
    here: PathBuf,
    /// This program with the options that hold for the other configurations (`execute`), too.
    pub own: Vec<String>,
}

impl Context {
    /// What only has to find the daemon works with wrong settings, too: they are a warning then.
    pub fn new(options: &Options, command: &Command, arguments: &[String]) -> Result<Context, String> {
        let path = options.settings.as_deref();
        let mut settings = match Settings::load(path) {
            // A named file is judged alone.
            _ if matches!(command, Command::Judge { named: true, .. }) => Settings::default(),
            Ok(settings) => settings,
            Err(error) if command.needs_only_paths() => {
                let settings = Settings::places(path);
                let (run, ha) = (settings.paths.run.display(), settings.paths.ha.display());
                tell!("Warning: {error}; only [paths] is used: run = {run}, ha = {ha}");
                settings
            }
            Err(error) => return Err(error.to_string()),
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

    /// The same for a daemon of another name.
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

    /// Where the configuration is, absolute; none if it is nowhere.
    pub fn find_config(&self) -> Option<PathBuf> {
        let places = candidates(&self.settings.paths.ha, &self.argument);
        // The daemon lives in `/`; a relative path would lead nowhere from there.
        let found = places.into_iter().map(|path| self.here.join(path)).find(|path| path.is_file())?;
        Some(std::path::absolute(&found).unwrap_or(found))
    }

    /// That the configuration is nowhere: the original's line, and behind an empty one where it was looked for.
    pub fn not_found(&self) -> String {
        let places: Vec<String> =
            candidates(&self.settings.paths.ha, &self.argument).iter().map(|path| place(path)).collect();
        format!(
            "Config file {} not found\n\nlooked for: {}\na sample: {SAMPLE}; its manual: man ldirectord-rs.cf",
            self.argument,
            places.join(", ")
        )
    }

    /// The configuration for messages: where it is, or what was asked for.
    pub fn display_config(&self) -> String {
        self.find_config().map_or_else(|| self.argument.clone(), |path| path.display().to_string())
    }

    /// Where the pid of the daemon stands.
    pub fn pid_file(&self) -> PathBuf {
        self.settings.paths.run.join(format!("ldirectord.{}.pid", self.name))
    }

    /// What the daemon of this name holds as long as it lives.
    pub fn lock_file(&self) -> PathBuf {
        self.state_directory().join(lock::file_name(&self.name))
    }

    /// What the daemon of this name would be known by; none where the configuration is nowhere.
    pub fn instance(&self) -> Option<Instance> {
        let file = self.find_config()?.canonicalize().ok()?;
        let network = match self.settings.table.backend {
            Backend::Memory => None,
            // Without /proc there is one network for all that is known.
            Backend::Kernel => Some(Place::here().map(|place| place.network).unwrap_or_default()),
        };
        Some(Instance { name: self.name.clone(), network, file })
    }

    /// What the daemon of this configuration holds as long as it lives, whatever its name.
    pub fn file_lock(&self) -> Option<PathBuf> {
        self.instance()?.file_lock(&self.state_directory())
    }

    /// That the name is too long for the files that have it in theirs.
    pub fn name_too_long(&self) -> Option<String> {
        (self.name.len() > LONGEST_NAME).then(|| {
            format!(
                "The name of a configuration may have {LONGEST_NAME} bytes, this one has {}: {}; rename the file, or start a link \
                 to it that has a shorter name",
                self.name.len(),
                self.name
            )
        })
    }

    /// The file with the overrides of operators.
    pub fn overrides_file(&self) -> PathBuf {
        daemon::overrides_file(&self.settings.paths.state.join("ldirectord-rs"), &self.name)
    }

    /// Sockets, locks, and what must outlive a crash.
    pub fn state_directory(&self) -> PathBuf {
        self.settings.paths.run.join("ldirectord-rs")
    }

    /// Opens the table that the settings name.
    pub fn open_table(&self) -> Result<Box<dyn ipvs_rs::Ipvs>, ipvs_rs::Error> {
        Ok(match self.settings.table.backend {
            Backend::Kernel => Box::new(ipvs_rs::Kernel::open()?),
            Backend::Memory => Box::new(ipvs_rs::Memory::new()),
        })
    }
}

/// The argument, and the name of the daemon.
fn named(config: Option<&str>) -> (String, String) {
    match config {
        None => (DEFAULT_CONFIG.to_owned(), DEFAULT_NAME.to_owned()),
        Some(config) => (config.to_owned(), last_component(config)),
    }
}

/// Where a configuration is looked for, in this order. The directories of heartbeat come first, also for an absolute path, as in
/// the original; the last place is only for the default configuration (R52).
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

/// A place where no configuration was found, with the reason if it is another than that there is none.
fn place(path: &Path) -> String {
    let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    match path.metadata() {
        Ok(_) => format!("{shown} (not a regular file)"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => shown,
        Err(error) => format!("{shown} ({error})"),
    }
}

fn own_command(options: &Options, arguments: &[String]) -> Vec<String> {
    let called = || arguments.first().cloned().unwrap_or_default();
    let program = std::env::current_exe().map_or_else(|_| called(), |path| path.display().to_string());
    let mut own = vec![program];
    if let Some(settings) = &options.settings {
        // The daemon lives in `/`.
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
