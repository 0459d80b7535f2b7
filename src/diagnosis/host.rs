//! The file, privileges, daemons, descriptors, ping and mail.

use std::collections::BTreeSet;

use super::{Finding, Machine, OperatorCommand, Runs, Topic, count, names, services, thousands};
use crate::spec::{ProbeAction, Spec};

/// What the file contains.
pub(super) fn file(spec: &Spec, machine: &Machine) -> Vec<Finding> {
    let servers = spec.members().count();
    let counts =
        format!("{}, {}", count(spec.virtuals().len(), "virtual service"), count(servers, "real server"));
    vec![match machine.file_warnings {
        0 => Finding::ok(Topic::File, format!("{counts}, no warning")),
        number => Finding::warning(Topic::File, format!("{counts}, {}", count(number, "warning")))
            .why("each warning is printed on standard error, with its line"),
    }]
}

/// Programs that change the network or the system, which only root may do.
const OF_ROOT: &[&str] = &[
    "arping",
    "conntrack",
    "ebtables",
    "ifconfig",
    "ip",
    "ip6tables",
    "iptables",
    "ipset",
    "ipvsadm",
    "modprobe",
    "nft",
    "route",
    "service",
    "sudo",
    "sysctl",
    "systemctl",
    "tc",
];

/// Privileges of this process, and commands that do not have those that they need.
pub(super) fn privileges(_: &Spec, machine: &Machine) -> Vec<Finding> {
    let own = &machine.privileges;
    let mut found = Vec::new();
    if !machine.dry_run {
        found.push(match &own.net_admin {
            Ok(true) => Finding::ok(Topic::Privileges, "CAP_NET_ADMIN"),
            Ok(false) if own.uid != 0 => Finding::note(
                Topic::Privileges,
                format!(
                    "this process (uid {}) has no CAP_NET_ADMIN, so it cannot look at the table",
                    own.uid
                ),
            )
            .remedy("run check as root to look at the table as well"),
            Ok(false) => Finding::error(Topic::Privileges, "root has no CAP_NET_ADMIN here")
                .why("a daemon that is started here cannot change the kernel's table")
                .remedy(match machine.container {
                    Some(_) => "start the container with --cap-add NET_ADMIN",
                    None => {
                        "start it with CAP_NET_ADMIN in its bounding set (CapabilityBoundingSet= in a unit)"
                    }
                }),
            Err(why) => Finding::unseen(Topic::Privileges, "the capabilities of this process", why),
        });
    }
    if let Some((user, origin)) = &own.commands_as {
        found.extend(own.commands.iter().filter(|command| needs_root(command)).map(|command| {
            let OperatorCommand { directive, shown, .. } = command;
            Finding::warning(Topic::Privileges, format!("{directive}={shown} needs root"))
                .why(format!("{origin} runs commands as {user}, without any capability"))
                .remedy("ldirectord-rs-switch to-rs --root-commands, or let the command do without root")
        }));
    }
    found
}

/// Whether a command fails as a user without privileges.
fn needs_root(command: &OperatorCommand) -> bool {
    command.for_all == Some(false) || OF_ROOT.contains(&command.program.as_str())
}

/// The daemons of this file.
pub(super) fn daemon(_: &Spec, machine: &Machine) -> Vec<Finding> {
    let all = match &machine.daemons {
        Ok(all) => all,
        Err(why) => return vec![Finding::unseen(Topic::Daemon, "running daemons", why)],
    };
    let pids = |wanted: &Runs| {
        let pids: Vec<String> =
            all.iter().filter(|daemon| daemon.runs == *wanted).map(|daemon| daemon.pid.to_string()).collect();
        pids
    };
    let (ours, originals) = (pids(&Runs::ThisFile), pids(&Runs::OriginalThisFile));
    let mut found = vec![match (&ours[..], &originals[..]) {
        ([], []) => Finding::note(Topic::Daemon, "none runs for this file"),
        ([pid], []) => Finding::ok(Topic::Daemon, format!("one, process {pid}, this file")),
        ([], [pid]) => {
            Finding::note(Topic::Daemon, format!("the original runs for this file, process {pid}"))
                .remedy("ldirectord-rs-switch to-rs switches to this program")
        }
        (ours, originals) => {
            let all = [ours, originals].concat().join(", ");
            let perl = if originals.is_empty() { "" } else { ", the original among them" };
            Finding::error(
                Topic::Daemon,
                format!("{} run for this file: processes {all}{perl}", ours.len() + originals.len()),
            )
            .why("each undoes the changes that the others make to the table")
            .remedy(match originals.is_empty() {
                true => "stop all but one: ldirectord-rs status --all lists them",
                false => "stop the original: ldirectord-rs-switch to-rs",
            })
        }
    }];
    if let [first, others @ ..] = &machine.old_overrides[..] {
        let (overrides, more) = match others.len() {
            0 => ("1 override is".to_owned(), String::new()),
            more => (format!("{} overrides are", more + 1), format!(", and {more} more")),
        };
        found.push(
            Finding::warning(
                Topic::Daemon,
                format!("{overrides} older than a day without an end: {first}{more}"),
            )
            .why("an operator may have forgotten it: the check of the server does not decide, or its weight is not that of the file")
            .remedy("ldirectord-rs undo SERVER if it is no longer needed; show has all of them"),
        );
    }
    let others = pids(&Runs::Original);
    if !others.is_empty() {
        found.push(
            Finding::warning(
                Topic::Daemon,
                format!("the original runs for another file: process {}", others.join(", ")),
            )
            .why("it changes the same table: if both files have a virtual service, each undoes what the other does")
            .remedy("make sure that no virtual service is in both files"),
        );
    }
    found
}

/// The limit of open files against the number of checks.
pub(super) fn descriptors(spec: &Spec, machine: &Machine) -> Vec<Finding> {
    let facts = machine.descriptors;
    let checks = spec.checks().len();
    let at_once = checks.min(facts.max_concurrent);
    let needed = at_once + facts.reserved;
    let limit = match facts.limit {
        u64::MAX => "no limit".to_owned(),
        limit => thousands(limit),
    };
    let what = format!("{limit} for {}", count(checks, "check"));
    let enough = usize::try_from(facts.limit).unwrap_or(usize::MAX) >= needed;
    vec![match enough {
        true => Finding::ok(Topic::Descriptors, what),
        false => Finding::warning(
            Topic::Descriptors,
            format!("{what}, {} needed if all run at once", thousands(needed as u64)),
        )
        .why("each running check needs an open file: checks wait for each other, and a failure is noticed late")
        .remedy(format!("ulimit -Hn {0}, or LimitNOFILE={0} in the unit", needed.next_power_of_two())),
    }]
}

/// Whether ping checks are possible.
pub(super) fn ping(spec: &Spec, machine: &Machine) -> Vec<Finding> {
    let pings = |probe: &crate::spec::Probe| matches!(probe.action, ProbeAction::Ping { .. });
    let number = spec.checks().iter().filter(|check| pings(&check.key.probe)).count();
    if number == 0 {
        return Vec::new();
    }
    let checks = count(number, "ping check");
    if machine.privileges.net_raw == Ok(true) {
        return vec![Finding::ok(Topic::Ping, format!("{checks}, CAP_NET_RAW"))];
    }
    const RANGE: &str = "net.ipv4.ping_group_range";
    let Some(range) = machine.sysctls.values.get(RANGE) else {
        return vec![Finding::unseen(
            Topic::Ping,
            RANGE,
            "it cannot be read, and this process has no CAP_NET_RAW",
        )];
    };
    let mut ends = range.split_whitespace().filter_map(|end| end.parse::<u32>().ok());
    let (from, to) = (ends.next().unwrap_or(1), ends.next().unwrap_or(0));
    let shown = format!("{from} {to}");
    vec![match machine.privileges.groups.iter().any(|group| (from..=to).contains(group)) {
        true => Finding::ok(Topic::Ping, format!("{checks}, {RANGE} = {shown}")),
        false => Finding::warning(
            Topic::Ping,
            format!("{RANGE} = {shown}, and this process has no CAP_NET_RAW"),
        )
        .why(format!(
            "no group of this user may open a socket for pings, so {checks} give no verdict if this user starts the daemon"
        ))
        .remedy(format!("sysctl -w {RANGE}=\"0 2147483647\", or start the daemon as root or by its unit")),
    }]
}

/// Whether alerts can be sent. Nothing is sent and no relay is contacted.
pub(super) fn mail(spec: &Spec, machine: &Machine) -> Vec<Finding> {
    let alerting = services(spec, |v| !v.alert.recipients.is_empty());
    if alerting.is_empty() {
        return vec![Finding::note(Topic::Mail, "no service has emailalert: no alerts are sent")];
    }
    let local = services(spec, |v| !v.alert.recipients.is_empty() && v.alert.smtp.is_none());
    let relays: BTreeSet<String> =
        alerting.iter().filter_map(|v| v.alert.smtp.as_ref()).map(ToString::to_string).collect();
    let facts = &machine.mail;
    let mut found: Vec<Finding> = Vec::new();
    found.extend(facts.refused.iter().map(|refused| {
        Finding::warning(Topic::Mail, refused.clone())
            .why("this recipient gets no alert")
            .remedy("correct emailalert in the file")
    }));
    if !relays.is_empty() {
        let relays: Vec<String> = relays.into_iter().collect();
        found.push(match &facts.password {
            None => Finding::ok(
                Topic::Mail,
                format!(
                    "relay {}, not contacted (ldirectord-rs alert-test sends a message)",
                    relays.join(", ")
                ),
            ),
            Some(why) => {
                Finding::warning(Topic::Mail, format!("the password of the relay cannot be read: {why}"))
                    .why(format!("relay {} refuses alerts without a login", relays.join(", ")))
                    .remedy("give the file of [mail] password_file to the user of the daemon")
            }
        });
    }
    if local.is_empty() {
        return found;
    }
    let program = &facts.sendmail;
    found.push(if !facts.has_sendmail {
        Finding::warning(Topic::Mail, format!("{program} cannot be run"))
            .why(format!(
                "alerts of {} are lost: the file names no relay, so sendmail is needed",
                names(&local)
            ))
            .remedy("write smtp=RELAY in the file, or install a program that provides sendmail")
    } else if facts.is_sandboxed {
        Finding::warning(Topic::Mail, format!("{program}, from the sandbox of the unit"))
            .why("a local sendmail cannot write its queue there, so alerts may be lost")
            .remedy("write smtp=RELAY in the file, such as smtp=127.0.0.1")
    } else {
        Finding::ok(Topic::Mail, format!("{program}, not tried (ldirectord-rs alert-test sends a message)"))
    });
    found
}
