//! Whether the commands that a configuration names can be started on this machine.

use std::collections::BTreeSet;
use std::env;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::config::{CheckType, Config};
use crate::diagnosis::OperatorCommand;
use crate::net::cause;
use crate::sys::command;
use crate::value::shown::{self, escaped};

/// A line for each command that cannot be started: which directive names it, and why it cannot.
pub(super) fn faults(config: &Config) -> Vec<String> {
    let fault = |(directive, command, by_perl): (&str, &String, bool)| {
        let shown = shown::command(command);
        fault(command, by_perl).map(|why| escaped(&format!("{directive}={shown}: {why}")).into_owned())
    };
    commands(config).into_iter().filter_map(fault).collect()
}

/// Each command of a configuration: its directive, the command, and whether Perl runs it.
pub(super) fn commands(config: &Config) -> BTreeSet<(&'static str, &String, bool)> {
    let callback = config.globals.callback.iter().map(|command| ("callback", command, false));
    let fallbacks = config.virtuals.iter().filter_map(|v| v.fallbackcommand.as_ref());
    let checks = config.virtuals.iter().filter_map(|v| match v.check.checktype {
        CheckType::External => Some(("checkcommand", &v.check.checkcommand, false)),
        CheckType::ExternalPerl => Some(("checkcommand", &v.check.checkcommand, true)),
        _ => None,
    });
    let fallbacks = fallbacks.map(|command| ("fallbackcommand", command, false));
    callback.chain(fallbacks).chain(checks).collect()
}

/// A command for a diagnosis of the machine.
pub(super) fn described(directive: &'static str, line: &str) -> OperatorCommand {
    let words = command::words(line).unwrap_or_default();
    let program = words.first().map(String::as_str).unwrap_or_default();
    let found = locate(program).and_then(|path| path.metadata().ok());
    OperatorCommand {
        directive,
        shown: escaped(&shown::command(line)).into_owned(),
        program: program.rsplit('/').next().unwrap_or_default().to_owned(),
        for_all: found.map(|found| found.permissions().mode() & 0o001 != 0),
    }
}

fn fault(line: &str, by_perl: bool) -> Option<String> {
    let words = match command::words(line) {
        Ok(words) => words,
        Err(why) => return Some(why.to_owned()),
    };
    let program = words.first().map(String::as_str).unwrap_or_default();
    let Some(path) = locate(program) else {
        let place = if program.contains('/') { "" } else { " in the directories of PATH" };
        return Some(format!("there is no file {program}{place}; the command cannot be started"));
    };
    match path.metadata() {
        Err(error) => Some(format!("{}: {}; the command cannot be started", path.display(), cause(&error))),
        Ok(_) if program.contains('/') && path.is_relative() => Some(format!(
            "{program} is not a full path: the daemon does not run in this directory, and cannot start it"
        )),
        Ok(found) if !found.is_file() => Some(format!("{} is not a file", path.display())),
        Ok(found) if !by_perl && found.permissions().mode() & 0o111 == 0 => {
            Some(format!("{} is not executable: chmod +x {0}", path.display()))
        }
        Ok(_) => None,
    }
}

/// The file of a program: a path as it is, a name in the directories of `PATH`.
fn locate(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        let path = PathBuf::from(program);
        let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        return Some(path).filter(|path| !path.metadata().is_err_and(|error| is_missing(&error)));
    }
    // As execvp(3): the first executable file, also without a PATH.
    let path = env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let is_executable = |path: &PathBuf| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(&path).map(|directory| directory.join(program)).find(is_executable)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::fault;

    #[test]
    fn commands_that_cannot_be_started_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let plain = directory.path().join("plain");
        fs::write(&plain, "").unwrap();
        let (plain, directory) = (plain.display(), directory.path().display());
        for (line, by_perl, expected) in [
            ("/bin/sh -c 'exit 0'", false, None),
            ("sh", false, None),
            (
                "/nonexistent/x -a",
                false,
                Some("there is no file /nonexistent/x; the command cannot be started".to_owned()),
            ),
            (&format!("{plain}"), false, Some(format!("{plain} is not executable: chmod +x {plain}"))),
            (&format!("{plain}"), true, None),
            (&format!("{directory}"), false, Some(format!("{directory} is not a file"))),
            (
                "no-such-program-here",
                false,
                Some(
                    "there is no file no-such-program-here in the directories of PATH; the command cannot be started"
                        .to_owned(),
                ),
            ),
        ] {
            assert_eq!(fault(line, by_perl), expected, "{line}");
        }
    }
}
