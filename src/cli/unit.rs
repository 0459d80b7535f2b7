//! Daemons that a systemd unit runs. Actions on them go through `systemctl`: systemd restarts a daemon that another
//! process ends, as it takes that for a failure.

#![expect(clippy::disallowed_methods, reason = "waiting for systemctl needs the clock")]

use std::fs;
use std::path::Path;
use std::process::{self, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Exit;
use super::arguments::{self, Action, CliOptions, Command, Parsed};
use super::context::Context;
use super::failure::{CommandFailure, NoAnswer};
use super::terminal::eprint_line;
use crate::settings::{self, Backend};
use crate::sys::process::{Process, Signal, own_pid};

/// Exists if systemd is process 1 (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// The time limit of a query to systemd, which needs seconds on a director at full load. A `stop` goes on after it, and
/// must end within the 20 s that cluster managers give it. The answer fits into the buffer of a pipe.
const LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

/// The unit that runs a daemon. None if the daemon was started by hand or by a cluster manager, and for a command that
/// the unit itself runs: it must not wait for its own unit.
pub(super) fn of(daemon: Process) -> Result<Option<String>, NoAnswer> {
    if !Path::new(BOOTED).is_dir() {
        return Ok(None);
    }
    let unit =
        groups(daemon.pid).and_then(|groups| unit(&groups)).filter(|unit| own().as_ref() != Some(unit));
    let Some(unit) = unit else { return Ok(None) };
    Ok((main_pid(&unit)? == Some(daemon.pid)).then_some(unit))
}

/// The unit that is about to start the daemon of this configuration: after a crash or with a wrong file, a unit waits
/// before its next start. None for a command that the unit itself runs.
pub(super) fn waiting(context: &Context) -> Result<Option<String>, NoAnswer> {
    // Units run daemons on the kernel's table.
    if context.settings.table.backend == Backend::Memory || !Path::new(BOOTED).is_dir() {
        return Ok(None);
    }
    let listed = ["list-units", "--type=service", "--state=activating", "--plain", "--no-legend", "--full"];
    let is_meant = |options: CliOptions| {
        // With other settings or a table in memory, it is the unit of another daemon.
        let settings = options.settings.as_deref().unwrap_or(Path::new(settings::PATH));
        settings == context.settings_file
            && options.table != Some(Backend::Memory)
            && context.is_meant_by(options.config.as_deref())
    };
    let units = output(&listed)?.unwrap_or_default();
    for unit in units.lines().filter_map(|line| line.split_whitespace().next()) {
        let command = property(unit, "ExecStart")?.unwrap_or_default();
        if starts(&command).any(is_meant) {
            return Ok((own().as_deref() != Some(unit)).then(|| unit.to_owned()));
        }
    }
    Ok(None)
}

/// The options of all daemons in a property `ExecStart`.
fn starts(command: &str) -> impl Iterator<Item = CliOptions> {
    let lines = command.split("argv[]=").skip(1);
    lines.filter_map(|line| {
        let words: Vec<String> = line.split(" ;").next()?.split_whitespace().map(str::to_owned).collect();
        let program = Path::new(words.first()?).file_name()?.to_str()?;
        match arguments::parse(&words) {
            Parsed::Run(options, Command::Action(Action::Start)) if program.contains("ldirectord-rs") => {
                Some(options)
            }
            _ => None,
        }
    })
}

/// Runs `systemctl VERB` for a daemon that a unit runs.
pub(super) fn ask(unit: &str, verb: &str, daemon: Process) -> Result<Exit, CommandFailure> {
    eprint_line!("pid {} is run by {unit}: systemctl {verb} {unit}", daemon.pid);
    order(unit, verb)
}

/// Runs `systemctl VERB` for a unit that waits for its next start.
pub(super) fn ask_waiting(unit: &str, verb: &str) -> Result<Exit, CommandFailure> {
    eprint_line!("{unit} waits for its next start: systemctl {verb} {unit}");
    order(unit, verb)
}

/// Runs `systemctl` and waits for it. It prints its own errors.
fn order(unit: &str, verb: &str) -> Result<Exit, CommandFailure> {
    match process::Command::new("systemctl")
        .args(["--no-ask-password", verb, "--", unit])
        .stdin(Stdio::null())
        .status()
    {
        Ok(status) if status.success() => Ok(Exit::Ok),
        Ok(_) => Ok(Exit::Failure),
        Err(error) => Err(CommandFailure::Systemctl(error)),
    }
}

/// Warns about a unit whose restart is a stop and a start: only the handover signal leaves the table as it is.
pub(super) fn warn_of_restart(unit: &str) {
    let handover = (Signal::SIGUSR2 as i32).to_string();
    if property(unit, "RestartKillSignal").is_ok_and(|signal| signal.is_some_and(|signal| signal != handover))
    {
        eprint_line!(
            "Warning: {unit} has no RestartKillSignal=SIGUSR2, so a restart empties the table until the new daemon has started; add the \
             line to [Service] (systemd 244 or newer)"
        );
    }
}

/// The unit that this process belongs to.
fn own() -> Option<String> {
    unit(&groups(own_pid().try_into().ok()?)?)
}

/// The control groups of a process (cgroups(7), `/proc/PID/cgroup`).
fn groups(pid: i32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()
}

/// The service of a control group, from the hierarchy of version 2 or that of systemd.
fn unit(groups: &str) -> Option<String> {
    let path = groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        (controllers == "name=systemd" || (controllers.is_empty() && path != "/")).then_some(path)
    })?;
    path.rsplit('/').next().filter(|name| name.ends_with(".service")).map(str::to_owned)
}

/// The main process of a unit. Its children have the same control group.
fn main_pid(unit: &str) -> Result<Option<i32>, NoAnswer> {
    Ok(property(unit, "MainPID")?.and_then(|pid| pid.parse().ok()))
}

/// A property of a unit, as `systemctl show` prints it.
fn property(unit: &str, name: &str) -> Result<Option<String>, NoAnswer> {
    output(&["show", "--property", name, "--value", "--", unit])
}

/// The output of `systemctl`. None if it cannot be run.
fn output(words: &[&str]) -> Result<Option<String>, NoAnswer> {
    let mut command = process::Command::new("systemctl");
    let command = command.args(words).stdin(Stdio::null()).stdout(Stdio::piped());
    let Ok(mut child) = command.spawn() else { return Ok(None) };
    let end = Instant::now() + LIMIT;
    while let Ok(None) = child.try_wait() {
        if Instant::now() > end {
            // Fails if it has just ended.
            let _ = child.kill();
            let _ = child.wait();
            return Err(NoAnswer { query: words.join(" "), limit: LIMIT });
        }
        thread::sleep(POLL);
    }
    let text = child.wait_with_output().ok().and_then(|output| String::from_utf8(output.stdout).ok());
    Ok(text.map(|text| text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{starts, unit};

    #[test]
    fn the_configuration_of_a_unit_is_that_of_its_start() {
        let command = |words: &str| {
            format!(
                "{{ path=/usr/sbin/ldirectord-rs ; argv[]={words} ; ignore_errors=no ; start_time=[n/a] ; pid=0 ; status=0/0 }}"
            )
        };
        for (words, expected) in [
            ("/usr/sbin/ldirectord-rs --foreground start", Some(None)),
            ("/usr/sbin/ldirectord-rs --foreground web.cf start", Some(Some("web.cf"))),
            ("/opt/ldirectord-rs /etc/ha.d/web.cf start --foreground", Some(Some("/etc/ha.d/web.cf"))),
            ("/usr/sbin/ldirectord-rs web.cf status", None),
            ("/usr/sbin/keepalived web.cf start", None),
        ] {
            let found: Vec<Option<String>> = starts(&command(words)).map(|options| options.config).collect();
            let found: Vec<Option<&str>> = found.iter().map(Option::as_deref).collect();
            assert_eq!(found.as_slice(), expected.as_slice(), "{words}");
        }
        let two = command("/usr/bin/true x") + "\n" + &command("/usr/sbin/ldirectord-rs web.cf start");
        let all: Vec<Option<String>> = starts(&two).map(|options| options.config).collect();
        assert_eq!(all, [Some("web.cf".to_owned())]);
        let other = command("/usr/sbin/ldirectord-rs --settings /etc/b.toml --foreground web.cf start");
        assert_eq!(starts(&other).next().unwrap().settings.as_deref(), Some(Path::new("/etc/b.toml")));
        assert_eq!(starts("").count(), 0);
    }

    #[test]
    fn the_unit_stands_in_the_control_group() {
        for (groups, expected) in [
            ("0::/system.slice/ldirectord-rs.service\n", Some("ldirectord-rs.service")),
            (
                "0::/system.slice/system-ldirectord\\x2drs.slice/ldirectord-rs@web.cf.service\n",
                Some("ldirectord-rs@web.cf.service"),
            ),
            (
                "12:pids:/x\n1:name=systemd:/system.slice/ldirectord-rs.service\n0::/\n",
                Some("ldirectord-rs.service"),
            ),
            ("0::/user.slice/user-0.slice/session-3.scope\n", None),
            ("0::/\n", None),
            ("", None),
        ] {
            assert_eq!(unit(groups).as_deref(), expected, "{groups}");
        }
    }
}
