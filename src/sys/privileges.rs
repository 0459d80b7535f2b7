//! Privileges of this process: once everything that needs root is open, the rest is given up (capabilities(7),
//! landlock(7)).
//!
//! Privileges are per thread and inherited by new threads, so they are given up before there is a second thread.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability, CapsHashSet};
use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus,
};
use nix::unistd::{Gid, Uid, User, getegid, geteuid, getgroups, setegid, seteuid, setgid, setgroups, setuid};
use thiserror::Error;

use super::{give, lock};

/// The capabilities that a daemon keeps as root: for the table, for files of other users (logs, monitor files), to kill
/// commands that have changed their user, and to drop capabilities. Operator commands run as root, so the kernel gives
/// them all capabilities again.
const OF_ROOT: [Capability; 4] =
    [Capability::CAP_NET_ADMIN, Capability::CAP_DAC_OVERRIDE, Capability::CAP_KILL, Capability::CAP_SETPCAP];

/// A privilege or a user that cannot be given up or assumed.
#[derive(Debug, Error)]
#[error("{what}: {why}")]
pub struct PrivilegeError {
    what: String,
    why: String,
}

impl PrivilegeError {
    /// The step that failed, and why.
    #[must_use]
    pub fn new(what: impl Into<String>, why: impl Into<String>) -> PrivilegeError {
        PrivilegeError { what: what.into(), why: why.into() }
    }
}

fn failed<E: std::fmt::Display>(what: impl Into<String>) -> impl FnOnce(E) -> PrivilegeError {
    move |why| PrivilegeError { what: what.into(), why: why.to_string() }
}

/// The user that the daemon becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonUser {
    name: String,
    uid: Uid,
    gid: Gid,
}

/// The name of the effective user of this process, or its uid if it has no name.
#[must_use]
pub fn own_name() -> String {
    let uid = geteuid();
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

impl DaemonUser {
    /// Looks up a user by name.
    ///
    /// # Errors
    /// There is no such user, or this process is not root and cannot become another user.
    pub fn find(name: &str) -> Result<DaemonUser, PrivilegeError> {
        let what = || format!("[privileges] user = \"{name}\"");
        let user = User::from_name(name).map_err(failed(what()))?;
        let Some(user) = user else {
            return Err(failed(what())("there is no such user; create it, or remove the setting"));
        };
        if !geteuid().is_root() && geteuid() != user.uid {
            return Err(failed(what())("only root can become another user; start the daemon as root"));
        }
        Ok(DaemonUser { name: user.name, uid: user.uid, gid: user.gid })
    }

    /// Looks up a user by uid.
    ///
    /// # Errors
    /// There is no such user, or the system's user database cannot be read.
    pub fn of(number: u32) -> Result<DaemonUser, PrivilegeError> {
        let what = || format!("user {number}");
        let user = User::from_uid(Uid::from_raw(number)).map_err(failed(what()))?;
        let user = user.ok_or_else(|| failed(what())("there is no such user"))?;
        Ok(DaemonUser { name: user.name, uid: user.uid, gid: user.gid })
    }

    /// Gives a file of root to the user, and creates it if it is missing ([`give::give`]).
    ///
    /// # Errors
    /// The file cannot be created or given away, or the path contains a link that the user may have created.
    pub fn give(&self, path: &Path) -> Result<(), PrivilegeError> {
        let what = format!("{} cannot be given to {}", path.display(), self.name);
        give::give(path, self.uid, self.gid).map_err(failed(what))
    }

    /// Becomes the user for good, in a process that ends soon: from now on it can open only what the user can open.
    ///
    /// # Errors
    /// The system refuses.
    pub fn assume(&self) -> Result<(), PrivilegeError> {
        if geteuid() == self.uid {
            return Ok(());
        }
        let became = setgroups(&[self.gid]).and_then(|()| setgid(self.gid)).and_then(|()| setuid(self.uid));
        became.map_err(failed(format!("becoming {}", self.name)))
    }
}

/// Creates the directory of locks and sockets. It belongs to `owner`, or to the user of this process, and no other user
/// may write to it. `lock` is the lock of this daemon, which does not count as another daemon.
///
/// # Errors
/// The directory cannot be created, or belongs to another user and cannot be taken over.
pub fn make_directory(path: &Path, owner: Option<&DaemonUser>, lock: &Path) -> Result<(), PrivilegeError> {
    fs::create_dir_all(path).map_err(failed(format!("{} cannot be created", path.display())))?;
    can_take(path, owner, lock)?;
    let (uid, gid) = owner.map_or_else(|| (geteuid(), getegid()), |owner| (owner.uid, owner.gid));
    give::take_directory(path, uid, Some(gid)).map_err(failed(format!("{} cannot be used", path.display())))
}

/// Creates the directory of files that survive a reboot. A directory of root is given to `owner`. A directory of
/// another user stays as it is: a daemon of that user may run.
///
/// # Errors
/// The directory cannot be created, or `owner` cannot write to it.
pub fn make_lasting_directory(path: &Path, owner: Option<&DaemonUser>) -> Result<(), PrivilegeError> {
    fs::create_dir_all(path).map_err(failed(format!("{} cannot be created", path.display())))?;
    let what = || format!("{} cannot be used", path.display());
    let found = fs::symlink_metadata(path).map_err(failed(what()))?.uid();
    match owner {
        // Root can write to it.
        None if found != 0 => Ok(()),
        Some(owner) if ![0, owner.uid.as_raw()].contains(&found) => {
            let why = format!("it belongs to uid {found}, not to {}; overrides cannot be saved", owner.name);
            Err(failed(what())(why))
        }
        _ => {
            let (uid, gid) = owner.map_or_else(|| (geteuid(), getegid()), |owner| (owner.uid, owner.gid));
            give::take_directory(path, uid, Some(gid)).map_err(failed(what()))
        }
    }
}

/// Creates a directory for `owner` that an operator named. An existing directory stays as it is: other programs may
/// use it.
///
/// # Errors
/// The directory cannot be created, or cannot be given to `owner`.
pub fn make_new_directory(path: &Path, owner: Option<&DaemonUser>) -> Result<(), PrivilegeError> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(failed(format!("{} cannot be created", path.display())))?;
    let (uid, gid) = owner.map_or_else(|| (geteuid(), getegid()), |owner| (owner.uid, owner.gid));
    give::take_directory(path, uid, Some(gid)).map_err(failed(format!("{} cannot be used", path.display())))
}

/// Whether the directory can be taken over: a running daemon of another user could no longer write to it.
///
/// # Errors
/// A daemon of another user uses the directory, or that cannot be determined.
pub fn can_take(path: &Path, owner: Option<&DaemonUser>, lock: &Path) -> Result<(), PrivilegeError> {
    let Ok(found) = fs::symlink_metadata(path).map(|found| found.uid()) else { return Ok(()) };
    if found == 0 || found == owner.map_or(geteuid(), |owner| owner.uid).as_raw() {
        return Ok(());
    }
    let what = || format!("{} belongs to uid {found}", path.display());
    match lock::daemon_of(path, found, lock).map_err(failed(what()))? {
        None => Ok(()),
        Some(name) => Err(failed(what())(format!(
            "the daemon {name} of that user is running; stop it, or give one of the two its own [paths] run"
        ))),
    }
}

/// Whether this process has CAP_NET_ADMIN, which changes and reads the kernel's table.
///
/// # Errors
/// The system does not tell.
pub fn has_net_admin() -> Result<bool, PrivilegeError> {
    has(Capability::CAP_NET_ADMIN)
}

/// Whether this process has CAP_NET_RAW, which opens sockets for pings.
///
/// # Errors
/// The system does not tell.
pub fn has_net_raw() -> Result<bool, PrivilegeError> {
    has(Capability::CAP_NET_RAW)
}

fn has(capability: Capability) -> Result<bool, PrivilegeError> {
    caps::has_cap(None, CapSet::Effective, capability).map_err(failed("effective capabilities"))
}

/// Gives up what is no longer needed: becomes `user`, if any, and drops all capabilities but `CAP_NET_ADMIN` for the
/// table (as root: and a few more). Sockets for pings must be open by then. Without capabilities there is nothing to
/// give up.
///
/// # Errors
/// The system refuses a step. The steps before it have been done.
pub fn give_up(user: Option<&DaemonUser>) -> Result<(), PrivilegeError> {
    let held = caps::read(None, CapSet::Permitted).map_err(refused("permitted capabilities"))?;
    let mut kept = CapsHashSet::from([Capability::CAP_NET_ADMIN]);
    match user {
        None if geteuid().is_root() => kept.extend(OF_ROOT),
        None => {}
        Some(user) if geteuid() == user.uid => {}
        Some(user) => {
            bound(&kept).map_err(refused("the bounding set"))?;
            caps::securebits::set_keepcaps(true).map_err(refused("keeping capabilities"))?;
            setgroups(&[user.gid]).map_err(refused("groups"))?;
            setgid(user.gid).map_err(refused("group"))?;
            setuid(user.uid).map_err(refused("user"))?;
        }
    }
    kept.retain(|capability| held.contains(capability));
    // Programs that this one starts get no capabilities: neither inheritable ones nor ambient ones, which a service
    // manager may have set.
    caps::clear(None, CapSet::Ambient).map_err(refused("ambient capabilities"))?;
    caps::clear(None, CapSet::Inheritable).map_err(refused("inheritable capabilities"))?;
    caps::set(None, CapSet::Effective, &kept).map_err(refused("effective capabilities"))?;
    caps::set(None, CapSet::Permitted, &kept).map_err(refused("permitted capabilities"))
}

fn refused<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> PrivilegeError {
    failed(format!("giving up privileges: {what}"))
}

/// Reduces the bounding set: no program that this process starts can get more capabilities, whatever bits its file has.
fn bound(kept: &CapsHashSet) -> Result<(), caps::errors::CapsError> {
    let all = caps::read(None, CapSet::Bounding)?;
    // The program `ping` needs CAP_NET_RAW in operator commands.
    let gone = all.difference(kept).filter(|capability| **capability != Capability::CAP_NET_RAW);
    gone.copied().try_for_each(|capability| caps::drop(None, CapSet::Bounding, capability))
}

/// Restricts this process and all programs that it starts to write only below these directories and to devices. Reading
/// and running is not restricted. Returns false if the kernel has no Landlock (Linux 5.13, if enabled).
///
/// # Errors
/// The kernel has Landlock but refuses.
pub fn write_only_below(directories: &[PathBuf]) -> Result<bool, PrivilegeError> {
    restrict(directories).map_err(failed("[privileges] sandbox"))
}

fn restrict(directories: &[PathBuf]) -> Result<bool, landlock::RulesetError> {
    let abi = ABI::V3;
    let writing = AccessFs::from_write(abi);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(writing)?
        .create()?
        .no_new_privs(true);
    for directory in directories.iter().map(PathBuf::as_path).chain([Path::new("/dev")]) {
        // A missing directory needs no rule.
        if let Ok(opened) = PathFd::new(directory) {
            rules = rules.add_rule(PathBeneath::new(opened, writing))?;
        }
    }
    Ok(rules.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

/// Whether the user can read these files, with only the group that [`give_up`] leaves.
///
/// # Errors
/// The user cannot read a file, or this process cannot become the user temporarily.
pub fn can_read(files: &[Cow<'_, Path>], user: &DaemonUser) -> Result<(), PrivilegeError> {
    let read = |path: &Cow<'_, Path>| {
        fs::File::open(&**path).map(drop).map_err(|error: io::Error| {
            let what = format!("{} cannot be read by {}", path.display(), user.name);
            failed(what)(format!(
                "{error}; the daemon reads it again later: chgrp {} and chmod g+r it",
                user.name
            ))
        })
    };
    as_user(user, || files.iter().try_for_each(read))?
}

/// Runs `act` as the user, then becomes root again. The process must have only this thread.
fn as_user<T>(user: &DaemonUser, act: impl FnOnce() -> T) -> Result<T, PrivilegeError> {
    let (root, group) = (geteuid(), getegid());
    if root == user.uid {
        return Ok(act());
    }
    let refused = || failed(format!("becoming {} temporarily", user.name));
    let groups = getgroups().map_err(refused())?;
    let became = setgroups(&[user.gid]).and_then(|()| setegid(user.gid)).and_then(|()| seteuid(user.uid));
    let done = became.map(|()| act());
    // Undo all steps, even if some of them failed.
    let back = seteuid(root).and_then(|()| setegid(group)).and_then(|()| setgroups(&groups));
    back.and(done).map_err(refused())
}
