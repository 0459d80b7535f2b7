//! The sysctls that matter for the services of a file. `docs/tuning.md` explains them.

use super::{Finding, FindingLevel, Machine, Topic, count, names, services, thousands};
use crate::spec::{Spec, Virtual};
use crate::value::{Family, ForwardingMethod, Protocol, VirtualId};

/// A setting whose value matters for some services.
struct Rule {
    name: &'static str,
    is_wrong: fn(i64) -> bool,
    recommended: i64,
    level: FindingLevel,
    /// Which services need it.
    needs: fn(&Virtual, &Machine) -> bool,
    /// What happens with the wrong value.
    effect: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        name: "net.ipv4.vs.expire_nodest_conn",
        is_wrong: |value| value == 0,
        recommended: 1,
        level: FindingLevel::Warning,
        needs: |v, _| !v.quiescent && !v.reals.is_empty(),
        effect: "with quiescent=no clients of a removed server wait for a time-out",
    },
    Rule {
        name: "net.ipv4.vs.expire_quiescent_template",
        is_wrong: |value| value == 0,
        recommended: 1,
        level: FindingLevel::Warning,
        needs: |v, _| v.quiescent && v.scheduling.persistent.is_some(),
        effect: "with persistent and quiescent=yes clients keep reaching a failed server",
    },
    Rule {
        name: "net.ipv4.vs.conn_reuse_mode",
        is_wrong: |value| value == 0,
        recommended: 1,
        level: FindingLevel::Warning,
        needs: |v, _| is_tcp(v),
        effect: "a client that uses a port again stays on its former server, even at weight 0",
    },
    Rule {
        name: "net.ipv4.vs.backup_only",
        is_wrong: |value| value == 0,
        recommended: 1,
        level: FindingLevel::Warning,
        needs: |v, machine| {
            machine.sync.backup && has_local(v, machine, |method| method != ForwardingMethod::Masq)
        },
        effect: "this backup is also a server: it balances packets of the master again, and they go round in circles",
    },
    Rule {
        name: "net.ipv4.vs.sloppy_tcp",
        is_wrong: |value| value == 0,
        recommended: 1,
        level: FindingLevel::Note,
        needs: |v, machine| {
            is_tcp(v)
                && matches!(v.scheduling.scheduler.as_str(), "sh" | "mh")
                && machine.sync == super::Sync::default()
        },
        effect: "after a failover this director drops connections that it did not see begin, although the scheduler would find their server",
    },
    Rule {
        name: "net.ipv4.vs.conntrack",
        is_wrong: |value| value == 0,
        recommended: 1,
        level: FindingLevel::Note,
        needs: |v, machine| has_masq(v) && machine.marks.as_ref().is_ok_and(|rules| rules.changes_source),
        effect: "rules with SNAT or MASQUERADE do not see balanced connections; right if they are not meant for them",
    },
    Rule {
        name: "net.ipv4.vs.snat_reroute",
        is_wrong: |value| value == 0,
        recommended: 1,
        level: FindingLevel::Note,
        needs: |v, _| has_masq(v),
        effect: "with policy routing (ip rule) answers of the servers may take another route than packets of this machine",
    },
    Rule {
        name: "net.ipv4.vs.sync_version",
        is_wrong: |value| value == 0,
        recommended: 1,
        level: FindingLevel::Warning,
        needs: |v, machine| {
            machine.sync.master && (v.id.family() == Family::V6 || matches!(v.id, VirtualId::Mark { .. }))
        },
        effect: "the old format has neither IPv6 nor firewall marks: the backup does not learn such connections",
    },
    Rule {
        name: "net.ipv4.vs.sync_persist_mode",
        is_wrong: |value| value == 1,
        recommended: 0,
        level: FindingLevel::Note,
        needs: |v, machine| {
            machine.sync != super::Sync::default()
                && v.scheduling.persistent.is_some()
                && is_tcp(v)
                && machine.sysctls.number("net.ipv4.vs.sloppy_tcp") == Some(0)
        },
        effect: "only templates are synchronised: without sloppy_tcp=1 open connections do not survive a failover",
    },
    Rule {
        name: "net.ipv4.vs.run_estimation",
        is_wrong: |value| value == 0,
        recommended: 1,
        level: FindingLevel::Note,
        needs: |_, _| true,
        effect: "the kernel counts no rates (ipvsadm -L --rate prints 0)",
    },
];

fn is_tcp(v: &Virtual) -> bool {
    matches!(v.id, VirtualId::Address { protocol: Protocol::Tcp, .. } | VirtualId::Mark { .. })
}

fn has_masq(v: &Virtual) -> bool {
    v.reals.iter().any(|real| real.method == ForwardingMethod::Masq)
}

/// Whether a server of a service is this machine, with a method that a condition selects.
fn has_local(v: &Virtual, machine: &Machine, method: fn(ForwardingMethod) -> bool) -> bool {
    v.reals.iter().any(|real| method(real.method) && machine.is_local(real.address.ip()))
}

/// All sysctls.
pub(super) fn judge(spec: &Spec, machine: &Machine) -> Vec<Finding> {
    if machine.dry_run {
        return Vec::new();
    }
    let mut looked_at = 0;
    let mut found = Vec::new();
    for rule in RULES {
        let users = services(spec, |v| (rule.needs)(v, machine));
        if users.is_empty() {
            continue;
        }
        if let Some(why) = machine.sysctls.unreadable.get(rule.name) {
            found.push(Finding::unseen(Topic::Sysctl, rule.name, why));
        }
        // An older kernel does not have each. Without ip_vs, which is a finding of its own, there is none.
        let Some(value) = machine.sysctls.number(rule.name) else { continue };
        looked_at += 1;
        if (rule.is_wrong)(value) {
            let Rule { name, recommended, level, effect, .. } = rule;
            let what = format!("{name} = {value}, recommended: {recommended}");
            let finding = Finding { level: *level, ..Finding::ok(Topic::Sysctl, what) };
            found.push(
                finding
                    .why(format!("{}: {effect}", names(&users)))
                    .remedy(format!("sysctl -w {name}={recommended}")),
            );
        }
    }
    let others = [estimation, conntrack, connections, reverse_path, arp];
    found.extend(others.into_iter().flat_map(|judge| judge(spec, machine)));
    if found.is_empty() && looked_at > 0 {
        found.push(Finding::ok(
            Topic::Sysctl,
            format!("{} of this file as recommended", count(looked_at, "setting")),
        ));
    } else if found.is_empty() && !spec.virtuals().is_empty() {
        found.push(Finding::unseen(
            Topic::Sysctl,
            "net.ipv4.vs.*",
            "they exist only while ip_vs is loaded, and in the network namespace of the table",
        ));
    }
    found
}

/// From this number of services on, estimating their rates costs a noticeable part of a processor.
const MANY_SERVICES: usize = 5_000;

fn estimation(spec: &Spec, machine: &Machine) -> Vec<Finding> {
    const LIST: &str = "net.ipv4.vs.est_cpulist";
    let number = spec.virtuals().len();
    let runs = machine.sysctls.number("net.ipv4.vs.run_estimation").is_none_or(|value| value != 0);
    let Some(list) = machine.sysctls.values.get(LIST) else { return Vec::new() };
    // An empty list stops the estimation. Without a choice it is that of all processors.
    if number < MANY_SERVICES || !runs || !machine.processors.iter().any(|all| all == list) || list == "0" {
        return Vec::new();
    }
    let nice = machine.sysctls.number("net.ipv4.vs.est_nice").unwrap_or(0);
    let what = format!("{LIST} = {list} (all), net.ipv4.vs.est_nice = {nice}");
    vec![
        Finding::warning(Topic::Sysctl, what)
            .why(format!(
                "the kernel estimates the rates of {} every 2 s, also on processors that forward packets",
                count(number, "service")
            ))
            .remedy(format!(
                "sysctl -w {LIST}=0 net.ipv4.vs.est_nice=10; without need for rates: net.ipv4.vs.run_estimation=0"
            )),
    ]
}

/// From this share of its maximum on, in percent, the table of connection tracking is nearly full.
const NEARLY_FULL: i64 = 90;

fn conntrack(_: &Spec, machine: &Machine) -> Vec<Finding> {
    const MAX: &str = "net.netfilter.nf_conntrack_max";
    let number = |name| machine.sysctls.number(name).filter(|value| *value > 0);
    let (Some(used), Some(max)) = (number("net.netfilter.nf_conntrack_count"), number(MAX)) else {
        return Vec::new();
    };
    if used < max.saturating_mul(NEARLY_FULL) / 100 {
        return Vec::new();
    }
    let of = |value: i64| thousands(u64::try_from(value).unwrap_or(0));
    let what = format!("nf_conntrack has {} of at most {} entries", of(used), of(max));
    let finding = match used >= max {
        true => Finding::error(Topic::Sysctl, what)
            .why("the table is full: the kernel drops packets of new connections"),
        false => Finding::warning(Topic::Sysctl, what)
            .why("when it is full, the kernel drops packets of new connections"),
    };
    vec![finding.remedy(format!("sysctl -w {MAX}={}", max.saturating_mul(2)))]
}

/// From this number of connections in each hash bucket on, lookups are slow.
const PER_BUCKET: u64 = 8;

fn connections(_: &Spec, machine: &Machine) -> Vec<Finding> {
    let Ok(state) = &machine.table else { return Vec::new() };
    let buckets = u64::from(state.buckets);
    if buckets == 0 || state.connections < buckets.saturating_mul(PER_BUCKET) {
        return Vec::new();
    }
    // One bucket for each connection, as far as the kernel allows.
    let bits = state.connections.next_power_of_two().trailing_zeros().clamp(8, 20);
    vec![
        Finding::warning(
            Topic::Sysctl,
            format!(
                "conn_tab_bits = {}: {} buckets for {} connections",
                buckets.ilog2(),
                thousands(buckets),
                thousands(state.connections)
            ),
        )
        .why("each packet of a client searches a bucket of connections: long buckets cost time")
        .remedy(format!(
            "options ip_vs conn_tab_bits={bits} in /etc/modprobe.d/ip_vs.conf, then load ip_vs again"
        )),
    ]
}

/// `rp_filter` where this machine is a server behind a tunnel.
fn reverse_path(spec: &Spec, machine: &Machine) -> Vec<Finding> {
    let users = services(spec, |v| {
        v.id.family() == Family::V4 && has_local(v, machine, |method| method == ForwardingMethod::Ipip)
    });
    let all = machine.sysctls.number("net.ipv4.conf.all.rp_filter");
    if users.is_empty() || all != Some(1) {
        return Vec::new();
    }
    vec![
        Finding::warning(Topic::Sysctl, "net.ipv4.conf.all.rp_filter = 1, recommended: 0")
            .why(format!(
                "this machine is a server of {} by ipip: packets come from the tunnel and answers leave by another interface",
                names(&users)
            ))
            .remedy("sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0, then create the tunnel again"),
    ]
}

/// The settings of ARP where a virtual address is on `lo` and this machine is a server of it.
fn arp(spec: &Spec, machine: &Machine) -> Vec<Finding> {
    let Ok(interfaces) = &machine.interfaces else { return Vec::new() };
    let on_loopback = |v: &Virtual| match v.id {
        VirtualId::Address { address, .. } => {
            let own = interfaces.iter().find(|own| own.address == address.ip());
            address.is_ipv4() && own.is_some_and(|own| own.name == "lo") && !address.ip().is_loopback()
        }
        VirtualId::Mark { .. } => false,
    };
    let users = services(spec, |v| {
        on_loopback(v) && has_local(v, machine, |method| method != ForwardingMethod::Masq)
    });
    if users.is_empty() {
        return Vec::new();
    }
    let judge = |(setting, wanted): (&str, i64)| {
        let others = interfaces.iter().filter(|own| own.name != "lo" && own.address.is_ipv4());
        let values = others.filter_map(|own| machine.sysctls.of_interface(setting, &own.name));
        let value = values.min().filter(|value| *value < wanted)?;
        let name = format!("net.ipv4.conf.all.{setting}");
        let effect = "this machine answers ARP requests for the virtual address, and takes it from the active director";
        Some(
            Finding::warning(Topic::Sysctl, format!("{name} = {value}, recommended: {wanted}"))
                .why(format!("{} has its address on lo: {effect}", names(&users)))
                .remedy(format!("sysctl -w {name}={wanted}")),
        )
    };
    [("arp_ignore", 1), ("arp_announce", 2)].into_iter().filter_map(judge).collect()
}
