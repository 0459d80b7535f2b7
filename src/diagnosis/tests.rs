//! Machines that are set up wrong, one for each case in `tests/data/diagnosis/cases.txt`.
//! `UPDATE_GOLDEN=1 cargo test --lib diagnosis` writes the expected findings again.
//!
//! A case has a name (`== NAME`), a configuration, the facts that differ from a machine that is set up right (`%FACT`),
//! and the findings that are not as they should be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::config::{self, Answers};
use crate::value::NextHop;

/// A director that is set up right, with any virtual address.
fn right(spec: &Spec) -> Machine {
    let eth0 = |address: &str| Interface { name: "eth0".to_owned(), address: address.parse().unwrap() };
    let mut interfaces = vec![eth0("10.0.0.100"), eth0("fd00::100")];
    for v in spec.virtuals() {
        if let crate::value::VirtualId::Address { address, .. } = v.id {
            interfaces.push(Interface { name: "eth0".to_owned(), address: address.ip() });
        }
    }
    let reals = spec.virtuals().iter().flat_map(|v| &v.reals);
    let sysctl = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let values = [
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv6.conf.all.forwarding", "1"),
        ("net.ipv4.ping_group_range", "0\t2147483647"),
        ("net.ipv4.vs.expire_nodest_conn", "1"),
        ("net.ipv4.vs.expire_quiescent_template", "1"),
        ("net.ipv4.vs.conn_reuse_mode", "1"),
        ("net.ipv4.vs.backup_only", "1"),
        ("net.ipv4.vs.sloppy_tcp", "1"),
        ("net.ipv4.vs.conntrack", "0"),
        ("net.ipv4.vs.snat_reroute", "1"),
        ("net.ipv4.vs.sync_version", "1"),
        ("net.ipv4.vs.sync_persist_mode", "0"),
        ("net.ipv4.vs.run_estimation", "1"),
        ("net.ipv4.vs.est_cpulist", "0-3"),
        ("net.ipv4.vs.est_nice", "0"),
        ("net.netfilter.nf_conntrack_count", "100"),
        ("net.netfilter.nf_conntrack_max", "262144"),
        ("net.ipv4.conf.all.rp_filter", "0"),
    ];
    Machine {
        dry_run: false,
        file_warnings: 0,
        container: None,
        release: Ok("6.12.0".to_owned()),
        ipvs: Ok(IpvsModule::Loaded),
        modules: ["ip_vs", "ip_vs_wrr", "ip_vs_rr", "ip_vs_wlc", "ip_vs_sh"].map(str::to_owned).into(),
        unknown_modules: None,
        privileges: Privileges {
            uid: 0,
            net_admin: Ok(true),
            net_raw: Ok(true),
            groups: vec![0],
            commands_as: None,
            commands: Vec::new(),
        },
        old_overrides: Vec::new(),
        daemons: Ok(vec![SeenDaemon { pid: 812, runs: Runs::ThisFile }]),
        table: Ok(TableState { wanted: 2, buckets: 4096, ..TableState::default() }),
        interfaces: Ok(interfaces),
        next_hops: reals.map(|real| (real.address.ip(), Ok(NextHop::Direct))).collect(),
        marks: Ok(Marks { asked: vec!["nft".to_owned()], set: BTreeSet::from([5]), ..Marks::default() }),
        sysctls: Sysctls { values: values.map(sysctl).into(), unreadable: BTreeMap::new() },
        sync: Sync::default(),
        processors: vec!["0-7".to_owned(), "0-3".to_owned()],
        descriptors: Descriptors { limit: 65_536, max_concurrent: 4096, reserved: 128 },
        mail: Mail { sendmail: "/usr/sbin/sendmail".to_owned(), has_sendmail: true, ..Mail::default() },
    }
}

/// Why a fact is not known.
fn unseen() -> String {
    "permission denied".to_owned()
}

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// Changes one fact.
fn apply(machine: &mut Machine, fact: &str) {
    let words: Vec<&str> = fact.split_whitespace().collect();
    let is_known = of_kernel(machine, &words) || of_network(machine, &words) || of_processes(machine, &words);
    assert!(is_known, "unknown fact: {fact}");
}

fn of_kernel(machine: &mut Machine, words: &[&str]) -> bool {
    match *words {
        ["sysctl", name, ref value @ ..] => {
            machine.sysctls.values.insert(name.to_owned(), value.join(" "));
        }
        ["sysctl-hidden", name] => {
            machine.sysctls.values.remove(name);
            machine.sysctls.unreadable.insert(name.to_owned(), unseen());
        }
        ["dry-run"] => machine.dry_run = true,
        ["container", kind] => machine.container = Some(kind.to_owned()),
        ["ip_vs", "loadable"] => machine.ipvs = Ok(IpvsModule::Loadable),
        ["ip_vs", "missing"] => machine.ipvs = Ok(IpvsModule::Missing),
        ["no-module", name] => {
            machine.modules.remove(name);
        }
        ["modules-hidden"] => machine.unknown_modules = Some(unseen()),
        ["table", differing, services] => {
            let state = machine.table.as_mut().unwrap();
            (state.differing, state.services) = (number(differing), number(services));
        }
        ["table-hidden"] => machine.table = Err(unseen()),
        ["connections", connections] => machine.table.as_mut().unwrap().connections = number(connections),
        ["sync", "master"] => machine.sync.master = true,
        ["sync", "backup"] => machine.sync.backup = true,
        _ => return false,
    }
    true
}

fn of_network(machine: &mut Machine, words: &[&str]) -> bool {
    match *words {
        ["no-address", address] => {
            let address: IpAddr = number(address);
            machine.interfaces.as_mut().unwrap().retain(|own| own.address != address);
        }
        ["address", name, address] => {
            let own = Interface { name: name.to_owned(), address: number(address) };
            machine.interfaces.as_mut().unwrap().retain(|other| other.address != own.address);
            machine.interfaces.as_mut().unwrap().push(own);
        }
        ["addresses-hidden"] => machine.interfaces = Err(unseen()),
        ["next-hop", address, hop] => {
            let hop = match hop {
                "router" => Ok(NextHop::Router),
                "unreachable" => Ok(NextHop::Unreachable),
                _ => Err(unseen()),
            };
            machine.next_hops.insert(number(address), hop);
        }
        ["no-mark"] => machine.marks.as_mut().unwrap().set.clear(),
        ["no-nft"] => machine.marks.as_mut().unwrap().asked = vec!["iptables-save".to_owned()],
        ["computed-mark"] => machine.marks.as_mut().unwrap().computed = true,
        ["snat"] => machine.marks.as_mut().unwrap().changes_source = true,
        ["marks-hidden"] => machine.marks = Err("neither nft nor iptables-save is installed".to_owned()),
        _ => return false,
    }
    true
}

fn of_processes(machine: &mut Machine, words: &[&str]) -> bool {
    match *words {
        ["file-warnings", warnings] => machine.file_warnings = number(warnings),
        ["no-capability"] => {
            machine.privileges.net_admin = Ok(false);
            machine.privileges.net_raw = Ok(false);
        }
        ["user", uid] => {
            machine.privileges.uid = number(uid);
            machine.privileges.groups = vec![number(uid)];
        }
        ["commands-as", user] => {
            let unit = "the unit ldirectord-rs.service".to_owned();
            machine.privileges.commands_as = Some((user.to_owned(), unit));
        }
        ["command", directive, program, for_all] => machine.privileges.commands.push(OperatorCommand {
            directive: if directive == "callback" { "callback" } else { "fallbackcommand" },
            shown: program.to_owned(),
            program: program.rsplit('/').next().unwrap_or_default().to_owned(),
            for_all: Some(for_all == "all"),
        }),
        ["old-override", ref words @ ..] => machine.old_overrides.push(words.join(" ")),
        ["no-daemon"] => machine.daemons = Ok(Vec::new()),
        ["daemon", pid, runs] => {
            let runs = match runs {
                "this-file" => Runs::ThisFile,
                "original-this-file" => Runs::OriginalThisFile,
                _ => Runs::Original,
            };
            machine.daemons.as_mut().unwrap().push(SeenDaemon { pid: number(pid), runs });
        }
        ["open-files", limit] => machine.descriptors.limit = number(limit),
        ["no-sendmail"] => machine.mail.has_sendmail = false,
        ["sandbox"] => machine.mail.is_sandboxed = true,
        ["refused", ref words @ ..] => machine.mail.refused.push(words.join(" ")),
        ["no-password"] => machine.mail.password = Some(unseen()),
        _ => return false,
    }
    true
}

fn spec(text: &str) -> Spec {
    let config =
        config::load(text.as_bytes(), &Answers::new("director")).config.unwrap_or_else(|| panic!("{text}"));
    Spec::new(Arc::new(config))
}

/// The findings that are not as they should be.
fn shown(found: &[Finding]) -> String {
    let mut text = String::new();
    for finding in found.iter().filter(|finding| finding.level != FindingLevel::Ok) {
        let _ = writeln!(text, "> {:?} {}: {}", finding.level, finding.topic.as_str(), finding.what);
        for (word, line) in [("why", &finding.why), ("do", &finding.remedy)] {
            let line = line.as_ref().map(|line| format!(">   {word} {line}\n"));
            text.push_str(&line.unwrap_or_default());
        }
    }
    text
}

#[test]
fn machines_that_are_set_up_wrong_are_found_out() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/diagnosis/cases.txt");
    let text = fs::read_to_string(&path).unwrap();
    let mut expected = String::new();
    let mut cases = 0;
    for case in text.split_inclusive("\n\n") {
        let kept: Vec<&str> = case.trim_end().lines().filter(|line| !line.starts_with('>')).collect();
        let config: Vec<&str> = kept.iter().copied().filter(|line| !line.starts_with(['=', '%'])).collect();
        let spec = spec(&(config.join("\n") + "\n"));
        let mut machine = right(&spec);
        kept.iter().filter_map(|line| line.strip_prefix('%')).for_each(|fact| apply(&mut machine, fact));
        let _ = writeln!(expected, "{}\n{}", kept.join("\n"), shown(&judge(&spec, &machine)));
        cases += 1;
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    for (number, (found, recorded)) in expected.lines().zip(text.lines()).enumerate() {
        assert_eq!(found, recorded, "line {}", number + 1);
    }
    assert_eq!(expected.len(), text.len());
    assert!(cases > 40, "{cases}");
}

/// From 5,000 services on, which no file of a case has.
#[test]
fn many_services_are_warned_of_estimation() {
    let text: String = (0..5_000_u32)
        .map(|number| {
            format!("virtual=10.{}.{}.1:80\n\treal=10.255.0.1:80 masq\n", number / 250, number % 250)
        })
        .collect();
    let spec = spec(&text);
    let mut machine = right(&spec);
    let about = |machine: &Machine| {
        judge(&spec, machine)
            .into_iter()
            .find(|finding| finding.what.contains("est_cpulist"))
            .map(|found| found.level)
    };
    assert_eq!(about(&machine), Some(FindingLevel::Warning));
    machine.sysctls.values.insert("net.ipv4.vs.est_cpulist".to_owned(), "0-1".to_owned());
    assert_eq!(about(&machine), None);
}

#[test]
fn more_findings_of_a_kind_are_counted() {
    let servers: String = (1..=12).map(|host| format!("\treal=10.0.0.{host}:8080 gate\n")).collect();
    let spec = spec(&format!("virtual=10.0.0.90:80\n{servers}"));
    let found = judge(&spec, &right(&spec));
    let of_method: Vec<&str> = found
        .iter()
        .filter(|finding| finding.topic == Topic::Method)
        .map(|finding| finding.what.as_str())
        .collect();
    assert_eq!(of_method.len(), 6, "{of_method:?}");
    assert_eq!(of_method[5], "7 more servers as well");
}

#[test]
fn numbers_have_commas() {
    for (number, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
        assert_eq!(thousands(number), expected);
    }
}
