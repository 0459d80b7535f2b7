//! The kernel: IPVS, its schedulers, and the table.

use std::collections::BTreeSet;

use super::{Finding, IpvsModule, Machine, Runs, Topic, count, names, services};
use crate::spec::Spec;

/// IPVS, the schedulers and the persistence engines of the file.
pub(super) fn judge(spec: &Spec, machine: &Machine) -> Vec<Finding> {
    if machine.dry_run {
        return vec![Finding::note(
            Topic::Kernel,
            "not looked at: the table is in memory, so nothing depends on the kernel",
        )];
    }
    let release = machine.release.clone().unwrap_or_else(|why| format!("release unknown ({why})"));
    let here = machine.container.as_ref().map(|kind| format!(" in a container ({kind})")).unwrap_or_default();
    let load = match machine.container {
        Some(_) => "on the host of the container: modprobe ip_vs",
        None => "modprobe ip_vs; for every boot: echo ip_vs >/etc/modules-load.d/ip_vs.conf",
    };
    let state = match &machine.ipvs {
        Ok(IpvsModule::Loaded) => None,
        Ok(IpvsModule::Loadable) => Some(
            Finding::warning(Topic::Kernel, format!("{release}{here}: ip_vs is not loaded"))
                .why("the settings net.ipv4.vs.* do not exist before it is loaded, so those of /etc/sysctl.d fail at boot")
                .remedy(load),
        ),
        Ok(IpvsModule::Missing) if machine.container.is_some() => Some(
            Finding::error(Topic::Kernel, format!("{release}{here}: ip_vs is not loaded"))
                .why("a container uses the kernel of its host and cannot load modules: without ip_vs there is no table")
                .remedy(load),
        ),
        Ok(IpvsModule::Missing) => Some(
            Finding::error(Topic::Kernel, format!("{release}: this kernel has no ip_vs"))
                .why("IPVS forwards all connections: without it there is no table")
                .remedy("install a kernel with CONFIG_IP_VS, or the package with its modules (linux-modules-extra)"),
        ),
        Err(why) => Some(Finding::unseen(Topic::Kernel, &format!("{release}{here}: ip_vs"), why)),
    };
    let mut found: Vec<Finding> = state.into_iter().collect();
    found.extend(modules(spec, machine));
    if found.is_empty() {
        let used: BTreeSet<&str> = spec.virtuals().iter().map(|v| v.scheduling.scheduler.as_str()).collect();
        let used: Vec<&str> = used.into_iter().collect();
        let used = if used.is_empty() { "none" } else { &used.join(" ") };
        found.push(Finding::ok(Topic::Kernel, format!("{release}{here}, ip_vs loaded, schedulers: {used}")));
    }
    found
}

/// The modules that the services of the file need.
fn modules(spec: &Spec, machine: &Machine) -> Vec<Finding> {
    // Without ip_vs itself none of its modules matters.
    if machine.ipvs != Ok(IpvsModule::Loaded) && machine.ipvs != Ok(IpvsModule::Loadable) {
        return Vec::new();
    }
    let present = &machine.modules;
    let schedulers: BTreeSet<&str> =
        spec.virtuals().iter().map(|v| v.scheduling.scheduler.as_str()).collect();
    let engines = spec.virtuals().iter().filter_map(|v| v.scheduling.persistengine.as_deref());
    let engines: BTreeSet<&str> = engines.collect();
    let scheduler = |name: &str| format!("ip_vs_{name}");
    let missing = schedulers.into_iter().filter(|name| !present.contains(&scheduler(name))).map(|name| {
        let users = services(spec, |v| v.scheduling.scheduler == name);
        Finding::error(Topic::Kernel, format!("this kernel has no scheduler {name} (module ip_vs_{name})"))
            .why(format!("the kernel refuses {}", names(&users)))
            .remedy(format!("install the module, or use another scheduler; try: modprobe ip_vs_{name}"))
    });
    let without =
        engines.into_iter().filter(|name| !present.contains(&format!("ip_vs_pe_{name}"))).map(|name| {
            let users = services(spec, |v| v.scheduling.persistengine.as_deref() == Some(name));
            Finding::error(
                Topic::Kernel,
                format!("this kernel has no persistence engine {name} (module ip_vs_pe_{name})"),
            )
            .why(format!("the kernel refuses {}", names(&users)))
            .remedy(format!("install the module, or remove persistengine; try: modprobe ip_vs_pe_{name}"))
        });
    let missing: Vec<Finding> = missing.chain(without).collect();
    match &machine.unknown_modules {
        Some(why) if !missing.is_empty() => {
            vec![Finding::unseen(Topic::Kernel, "whether the kernel has each scheduler of the file", why)]
        }
        _ => missing,
    }
}

/// The table now against the table wanted.
pub(super) fn table(_: &Spec, machine: &Machine) -> Vec<Finding> {
    if machine.dry_run {
        return Vec::new();
    }
    let state = match &machine.table {
        Ok(state) => state,
        Err(why) => return vec![Finding::unseen(Topic::Table, "the kernel's table", why)],
    };
    let is_managed =
        machine.daemons.as_ref().is_ok_and(|all| all.iter().any(|one| one.runs == Runs::ThisFile));
    let services = (state.services > 0).then(|| count(state.services, "virtual service"));
    let destinations = (state.differing > 0).then(|| count(state.differing, "destination"));
    let parts: Vec<String> = services.into_iter().chain(destinations).collect();
    let differ = if state.services + state.differing == 1 { "differs" } else { "differ" };
    let differing = format!("{} {differ} from the table wanted", parts.join(" and "));
    vec![match (state.services + state.differing, is_managed) {
        (0, _) => {
            Finding::ok(Topic::Table, format!("as wanted, {}", count(state.wanted, "destination")))
        }
        (_, true) => Finding::warning(Topic::Table, differing)
            .why("the file was changed and not reloaded, an operator drains a server, or another program changed the table")
            .remedy("ldirectord-rs plan; then ldirectord-rs reload"),
        (_, false) => Finding::note(Topic::Table, format!("{differing}; start changes them")),
    }]
}
