//! Daemons that a unit of systemd runs. What is asked of one of them is asked of systemd: it takes a daemon that another process ends
//! for one that failed, and starts it again.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Exit;
use super::terminal::tell;
use crate::sys::process::{self, Process, Signal};

/// There where systemd is process 1 (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// The unit that runs a daemon; none where it was started by hand or by a cluster manager, and for a command of the unit itself, which
/// must not wait for its own unit.
pub(super) fn of(daemon: Process) -> Option<String> {
    if !Path::new(BOOTED).is_dir() {
        return None;
    }
    let unit = unit(&groups(daemon.pid)?)?;
    let is_own = || groups(process::own_pid().try_into().ok()?).and_then(|own| self::unit(&own));
    (is_own().as_ref() != Some(&unit) && main_pid(&unit) == Some(daemon.pid)).then_some(unit)
}

/// Lets systemd do it, and waits for that. What goes wrong there it says itself.
pub(super) fn ask(unit: &str, verb: &str, daemon: Process) -> Exit {
    tell!("pid {} is run by {unit}: systemctl {verb} {unit}", daemon.pid);
    match Command::new("systemctl")
        .args(["--no-ask-password", verb, "--", unit])
        .stdin(Stdio::null())
        .status()
    {
        Ok(status) if status.success() => Exit::Ok,
        Ok(_) => Exit::Failure,
        Err(error) => {
            tell!("systemctl cannot be run: {error}; nothing was done");
            Exit::Failure
        }
    }
}

/// Warns of a unit whose restart is a stop and a start: only the signal of a handover leaves the table as it is.
pub(super) fn warn_of_restart(unit: &str) {
    let handover = (Signal::SIGUSR2 as i32).to_string();
    if property(unit, "RestartKillSignal").is_some_and(|signal| signal != handover) {
        tell!(
            "Warning: {unit} has no RestartKillSignal=SIGUSR2, so a restart empties the table until the new daemon has started; add the \
             line under [Service] (systemd 244 or newer)"
        );
    }
}

/// The control groups of a process (cgroups(7), `/proc/PID/cgroup`).
fn groups(pid: i32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()
}

/// The service whose control group this is: in the hierarchy of version 2, or in that of systemd.
fn unit(groups: &str) -> Option<String> {
    let path = groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        (controllers == "name=systemd" || (controllers.is_empty() && path != "/")).then_some(path)
    })?;
    path.rsplit('/').next().filter(|name| name.ends_with(".service")).map(str::to_owned)
}

/// The process that a unit stands for: one of its children, or of a session in it, has the same control group.
fn main_pid(unit: &str) -> Option<i32> {
    property(unit, "MainPID")?.parse().ok()
}

/// A property of a unit, as `systemctl show` prints it.
fn property(unit: &str, name: &str) -> Option<String> {
    let asked = ["show", "--property", name, "--value", "--", unit];
    let output = Command::new("systemctl").args(asked).stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::unit;

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
