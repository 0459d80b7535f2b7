//! Looks at the machine for a configuration: what `check` judges. Changes nothing, loads no module and connects to no
//! relay. What cannot be read is a fact without a value.

mod daemons;
mod rules;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::IpAddr;
use std::path::Path;

use nix::unistd::{getegid, geteuid, getgroups};

use super::context::Context;
use super::{launch, programs};
use crate::daemon::LoadedFile;
use crate::diagnosis::{
    Descriptors, Interface, IpvsModule, Machine, Mail, OperatorCommand, Privileges, Seen, Sync, Sysctls,
};
use crate::net::cause;
use crate::notify::mail::renderer;
use crate::settings::{Backend, credential};
use crate::spec::Spec;
use crate::sys::{facts, limits, links, privileges, process};
use crate::value::ForwardingMethod;
use crate::value::shown::escaped;

/// What the machine is looked at for.
pub(super) struct Asked<'a> {
    pub context: &'a Context,
    /// The path of the configuration.
    pub path: &'a Path,
    pub loaded: &'a LoadedFile,
    /// The number of warnings about the file, which were already printed.
    pub warnings: usize,
    /// Runs the programs that print the rules of the firewall.
    pub runtime: &'a tokio::runtime::Runtime,
}

/// Looks at the machine.
pub(super) fn look(asked: &Asked<'_>) -> Machine {
    let Asked { context, loaded, .. } = *asked;
    let spec = &loaded.spec;
    let dry_run = context.settings.table.backend == Backend::Memory;
    let release = facts::kernel_release().map_err(|error| cause(&error).to_string());
    let modules = facts::modules(release.as_deref().unwrap_or_default(), "ip_vs");
    let ipvs = ipvs(&modules);
    let interfaces = seen(facts::addresses()).map(|all| {
        all.into_iter().map(|(name, address)| Interface { name, address }).collect::<Vec<Interface>>()
    });
    let unknown_modules = modules.installed.as_ref().err().map(|error| cause(error).to_string());
    let installed = modules.installed.unwrap_or_default();
    let origin = commands_as(context);
    let daemons = daemons::look(context, asked.path);
    Machine {
        dry_run,
        file_warnings: asked.warnings,
        container: facts::container().map(|kind| escaped(&kind).into_owned()),
        table: match &ipvs {
            _ if dry_run => Err("it is in memory".to_owned()),
            // Opening it would load the module.
            Ok(IpvsModule::Loaded) => table::look(context, loaded),
            _ => Err("ip_vs is not loaded".to_owned()),
        },
        release,
        ipvs,
        modules: modules.loaded.into_iter().chain(installed).collect(),
        unknown_modules,
        old_overrides: daemons::old_overrides(context, &daemons),
        daemons,
        next_hops: if dry_run { BTreeMap::new() } else { next_hops(spec) },
        marks: match dry_run || !needs_rules(spec) {
            true => Err("no service needs it".to_owned()),
            false => asked.runtime.block_on(rules::look()),
        },
        sysctls: sysctls(interfaces.as_deref().unwrap_or_default()),
        sync: sync(),
        interfaces,
        processors: facts::processors(),
        descriptors: Descriptors {
            limit: limits::open_files(),
            max_concurrent: context.settings.checks.max_concurrent,
            reserved: launch::reserved_descriptors(context),
        },
        mail: mail(context, spec, origin.as_ref().is_some_and(|origin| origin.is_sandbox)),
        privileges: own_privileges(spec, origin),
    }
}

fn seen<T>(result: Result<T, impl Display>) -> Seen<T> {
    result.map_err(|error| escaped(&error.to_string()).into_owned())
}

fn ipvs(modules: &facts::Modules) -> Seen<IpvsModule> {
    match &modules.installed {
        _ if facts::has_ipvs() => Ok(IpvsModule::Loaded),
        Ok(installed) if installed.contains("ip_vs") => Ok(IpvsModule::Loadable),
        Ok(_) => Ok(IpvsModule::Missing),
        // Without modules for this kernel there is none to load.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(IpvsModule::Missing),
        Err(error) => Err(cause(error).to_string()),
    }
}

/// The next hop of each real server that packets are sent to directly, or that may be this machine.
fn next_hops(spec: &Spec) -> BTreeMap<IpAddr, Seen<crate::value::NextHop>> {
    let reals = spec.virtuals().iter().flat_map(|v| &v.reals);
    let addresses: BTreeSet<IpAddr> = reals.map(|real| real.address.ip()).collect();
    addresses.into_iter().map(|address| (address, seen(links::next_hop(address)))).collect()
}

/// Whether the rules of the firewall matter for a file.
fn needs_rules(spec: &Spec) -> bool {
    spec.virtuals()
        .iter()
        .any(|v| v.id.port().is_none() || v.reals.iter().any(|real| real.method == ForwardingMethod::Masq))
}

/// The sysctls below `net/` that the diagnosis judges.
const SYSCTLS: &[&str] = &[
    "ipv4/ip_forward",
    "ipv4/ping_group_range",
    "ipv6/conf/all/forwarding",
    "ipv4/conf/all/rp_filter",
    "ipv4/vs/expire_nodest_conn",
    "ipv4/vs/expire_quiescent_template",
    "ipv4/vs/conn_reuse_mode",
    "ipv4/vs/backup_only",
    "ipv4/vs/sloppy_tcp",
    "ipv4/vs/conntrack",
    "ipv4/vs/snat_reroute",
    "ipv4/vs/sync_version",
    "ipv4/vs/sync_persist_mode",
    "ipv4/vs/run_estimation",
    "ipv4/vs/est_cpulist",
    "ipv4/vs/est_nice",
    "netfilter/nf_conntrack_count",
    "netfilter/nf_conntrack_max",
];

fn sysctls(interfaces: &[Interface]) -> Sysctls {
    let names: BTreeSet<&str> = interfaces.iter().map(|own| own.name.as_str()).chain(["all"]).collect();
    let arp = names
        .into_iter()
        .flat_map(|name| ["arp_ignore", "arp_announce"].map(|setting| format!("ipv4/conf/{name}/{setting}")));
    let mut found = Sysctls::default();
    for path in SYSCTLS.iter().map(|path| (*path).to_owned()).chain(arp) {
        let path = format!("net/{path}");
        let name = path.replace('/', ".");
        match facts::sysctl(&path) {
            Ok(Some(value)) => drop(found.values.insert(name, value)),
            Ok(None) => {}
            Err(error) => drop(found.unreadable.insert(name, cause(&error).to_string())),
        }
    }
    found
}

/// The kernel's threads for synchronisation. They do not show their network namespace.
fn sync() -> Sync {
    let mut sync = Sync::default();
    for name in facts::process_names() {
        sync.master |= name.starts_with("ipvs-m:");
        sync.backup |= name.starts_with("ipvs-b:");
    }
    sync
}

/// The user that runs operator commands.
struct CommandUser {
    user: String,
    origin: String,
    is_sandbox: bool,
}

/// The unit of the packages, and the drop-in that lets the daemon stay root.
const UNITS: [&str; 2] =
    ["/usr/lib/systemd/system/ldirectord-rs.service", "/lib/systemd/system/ldirectord-rs.service"];
const DROP_IN: &str = "/etc/systemd/system/ldirectord-rs.service.d/root-commands.conf";

/// Who runs operator commands, if that is not root.
fn commands_as(context: &Context) -> Option<CommandUser> {
    let user = &context.settings.privileges.user;
    if !user.is_empty() {
        let (user, origin) = (escaped(user).into_owned(), "[privileges] user".to_owned());
        return Some(CommandUser { user, origin, is_sandbox: false });
    }
    let has = |path: &str| Path::new(path).exists();
    let is_unit = has("/run/systemd/system") && UNITS.into_iter().any(has) && !has(DROP_IN);
    is_unit.then(|| CommandUser {
        user: "ldirectord-rs".to_owned(),
        origin: "the unit ldirectord-rs.service".to_owned(),
        is_sandbox: true,
    })
}

fn own_privileges(spec: &Spec, commands_as: Option<CommandUser>) -> Privileges {
    let groups = getgroups().unwrap_or_default().into_iter().chain([getegid()]);
    let commands: BTreeSet<OperatorCommand> = programs::commands(spec.config())
        .into_iter()
        .map(|(directive, line, _)| programs::described(directive, line))
        .collect();
    Privileges {
        uid: geteuid().as_raw(),
        net_admin: seen(privileges::has_net_admin()),
        net_raw: seen(privileges::has_net_raw()),
        groups: groups.map(nix::unistd::Gid::as_raw).collect(),
        commands_as: commands_as.map(|origin| (origin.user, origin.origin)),
        commands: commands.into_iter().collect(),
    }
}

fn mail(context: &Context, spec: &Spec, is_sandboxed: bool) -> Mail {
    let settings = &context.settings.mail;
    let lists: BTreeSet<&str> = spec.virtuals().iter().map(|v| v.alert.recipients.as_str()).collect();
    let renderer = renderer();
    let refused =
        lists.into_iter().filter(|list| !list.is_empty()).flat_map(|list| renderer.recipients(list).1);
    let password = || {
        let file = credential::locate(&settings.password_file)?;
        std::fs::File::open(&file).map(drop).map_err(|error| format!("{}: {}", file.display(), cause(&error)))
    };
    // A credential of the unit is out of reach for this process.
    let is_hidden = credential::is_out_of_reach(&settings.password_file.to_string_lossy());
    let needs_password = !settings.username.is_empty() && !is_hidden;
    Mail {
        sendmail: settings.sendmail.display().to_string(),
        has_sendmail: process::is_executable(&settings.sendmail),
        is_sandboxed,
        password: needs_password.then(password).and_then(Result::err),
        refused: refused.collect(),
    }
}
