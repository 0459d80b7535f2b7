//! What was observed of a machine and of its network namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::value::NextHop;

/// A fact, or why it could not be looked at.
pub type Seen<T> = Result<T, String>;

/// The facts about a machine that matter for a configuration.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Whether the table is in memory, so that the kernel does not matter.
    pub dry_run: bool,
    /// The number of warnings about the file.
    pub file_warnings: usize,
    /// The kind of container in which this process runs. None outside.
    pub container: Option<String>,
    /// The release of the kernel.
    pub release: Seen<String>,
    /// IPVS in the kernel.
    pub ipvs: Seen<IpvsModule>,
    /// The modules that begin with `ip_vs` and that are loaded, built in or on disk.
    pub modules: BTreeSet<String>,
    /// Why the modules on disk, or those that are built in, are not known.
    pub unknown_modules: Option<String>,
    /// Privileges of this process and of operator commands.
    pub privileges: Privileges,
    /// The ldirectord daemons of this machine.
    pub daemons: Seen<Vec<SeenDaemon>>,
    /// The overrides of the daemon of this file that are older than a day and have no end, each with its server, user
    /// and begin. Empty if the daemon does not answer.
    pub old_overrides: Vec<String>,
    /// The kernel's table.
    pub table: Seen<TableState>,
    /// The addresses of this network namespace.
    pub interfaces: Seen<Vec<Interface>>,
    /// The next hops of the real servers.
    pub next_hops: BTreeMap<IpAddr, Seen<NextHop>>,
    /// The firewall marks that rules set.
    pub marks: Seen<Marks>,
    /// The sysctls of this network namespace.
    pub sysctls: Sysctls,
    /// Which roles of connection synchronisation the kernel has.
    pub sync: Sync,
    /// Lists of all processors, as the kernel writes them: the possible ones, and those that are online.
    pub processors: Vec<String>,
    /// Open files.
    pub descriptors: Descriptors,
    /// Ways to send alerts.
    pub mail: Mail,
}

/// The state of the module `ip_vs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpvsModule {
    /// It is loaded, or part of the kernel.
    Loaded,
    /// It is on disk and not loaded.
    Loadable,
    /// This machine does not have it.
    Missing,
}

/// Privileges.
#[derive(Clone, Debug)]
pub struct Privileges {
    /// The effective uid of this process.
    pub uid: u32,
    /// Whether this process has CAP_NET_ADMIN.
    pub net_admin: Seen<bool>,
    /// Whether this process has CAP_NET_RAW.
    pub net_raw: Seen<bool>,
    /// The groups of this process.
    pub groups: Vec<u32>,
    /// The user without privileges that runs operator commands, and what says so. None: root.
    pub commands_as: Option<(String, String)>,
    /// The operator commands of the file.
    pub commands: Vec<OperatorCommand>,
}

/// An operator command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperatorCommand {
    /// The directive that names it.
    pub directive: &'static str,
    /// The command as it may be shown.
    pub shown: String,
    /// The name of its program without the directory.
    pub program: String,
    /// Whether every user may run its program. None: unknown.
    pub for_all: Option<bool>,
}

/// A running daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenDaemon {
    /// Its process.
    pub pid: i32,
    /// What it runs.
    pub runs: Runs,
}

/// What a daemon runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runs {
    /// This file, on the table that this command looks at.
    ThisFile,
    /// Another file.
    OtherFile(String),
    /// The Perl original with this file.
    OriginalThisFile,
    /// The Perl original with another file.
    Original,
}

/// The kernel's table compared with the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableState {
    /// The destinations that differ from the table wanted.
    pub differing: usize,
    /// The virtual services that are missing or have other properties.
    pub services: usize,
    /// The destinations of the table wanted.
    pub wanted: usize,
    /// The number of connections of the whole table.
    pub connections: u64,
    /// The number of hash buckets for connections.
    pub buckets: u32,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The name of the interface.
    pub name: String,
    /// The address.
    pub address: IpAddr,
}

/// Rules of the firewall.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// What was asked, such as `nft`.
    pub asked: Vec<String>,
    /// The marks that rules set.
    pub set: BTreeSet<u32>,
    /// Whether a rule sets a mark that this program cannot tell, such as one from a map.
    pub computed: bool,
    /// Whether a rule changes the source of packets.
    pub changes_source: bool,
}

impl Marks {
    /// Whether no rule sets a mark.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && !self.computed
    }
}

/// Values of sysctls.
#[derive(Clone, Debug, Default)]
pub struct Sysctls {
    /// The values, by name.
    pub values: BTreeMap<String, String>,
    /// Why others could not be read. A sysctl that does not exist is in neither.
    pub unreadable: BTreeMap<String, String>,
}

impl Sysctls {
    /// The value of a sysctl, if it is a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        self.values.get(name)?.trim().parse().ok()
    }

    /// The effective value of a setting of interfaces: the larger one of `all` and the interface.
    #[must_use]
    pub fn of_interface(&self, setting: &str, interface: &str) -> Option<i64> {
        let value = |which: &str| self.number(&format!("net.ipv4.conf.{which}.{setting}"));
        value("all").max(value(interface))
    }
}

/// The daemons of connection synchronisation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sync {
    /// It sends connections.
    pub master: bool,
    /// It receives connections.
    pub backup: bool,
}

/// Open files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptors {
    /// The limit of this process.
    pub limit: u64,
    /// How many checks may run at the same time, by the settings.
    pub max_concurrent: usize,
    /// How many descriptors are kept for everything but checks.
    pub reserved: usize,
}

/// Ways to send alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// The path of sendmail.
    pub sendmail: String,
    /// Whether it can be run.
    pub has_sendmail: bool,
    /// Whether the unit's sandbox keeps sendmail from its queue.
    pub is_sandboxed: bool,
    /// Why the password of the relay cannot be read. None: it can, or there is none.
    pub password: Option<String>,
    /// A line for each recipient that is not an address.
    pub refused: Vec<String>,
}

impl Machine {
    /// Whether an address is one of this machine.
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        let is_own = self.interfaces.as_ref().is_ok_and(|all| all.iter().any(|own| own.address == address));
        is_own || address.is_loopback() || self.next_hops.get(&address) == Some(&Ok(NextHop::Local))
    }
}
