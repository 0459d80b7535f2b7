//! What this process may do: once everything that needs root is open, the rest is given up (capabilities(7), landlock(7)).
//!
//! These things belong to a thread, and are inherited by those that it starts: they are done before there is a second one.

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

/// What a daemon that stays root keeps: the table, files of others (logs, monitor files), commands that changed their user, and
/// taking rights away. Commands of the operator are root's processes, to which the kernel gives all of root's capabilities anew.
const OF_ROOT: [Capability; 4] =
    [Capability::CAP_NET_ADMIN, Capability::CAP_DAC_OVERRIDE, Capability::CAP_KILL, Capability::CAP_SETPCAP];

/// What cannot be given up, or not be taken up.
#[derive(Debug, Error)]
#[error("{what}: {why}")]
pub struct PrivilegeError {
    what: String,
    why: String,
}

impl PrivilegeError {
    /// What could not be done, and why.
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
pub struct Identity {
    name: String,
    uid: Uid,
    gid: Gid,
}

/// The name of the user that this process acts as; its number where it has none.
#[must_use]
pub fn own_name() -> String {
    let uid = geteuid();
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

impl Identity {
    /// Looks the user up.
    ///
    /// # Errors
    /// When there is none of this name, or this process is not root and so cannot become anybody.
    pub fn find(name: &str) -> Result<Identity, PrivilegeError> {
        let what = || format!("[privileges] user = \"{name}\"");
        let user = User::from_name(name).map_err(failed(what()))?;
        let Some(user) = user else {
            return Err(failed(what())("there is no such user; create it, or leave the setting out"));
        };
        if !geteuid().is_root() && geteuid() != user.uid {
            return Err(failed(what())("only root can become another user; start the daemon as root"));
        }
        Ok(Identity { name: user.name, uid: user.uid, gid: user.gid })
    }

    /// The user of this number.
    ///
    /// # Errors
    /// When there is none, or the system's user database cannot be read.
    pub fn of(number: u32) -> Result<Identity, PrivilegeError> {
        let what = || format!("user {number}");
        let user = User::from_uid(Uid::from_raw(number)).map_err(failed(what()))?;
        let user = user.ok_or_else(|| failed(what())("there is no such user"))?;
        Ok(Identity { name: user.name, uid: user.uid, gid: user.gid })
    }

    /// Gives a file of root to the user; a file that is not there is made ([`give::give`]).
    ///
    /// # Errors
    /// When it cannot be made or given away, or the path leads where the user can have put a link.
    pub fn give(&self, path: &Path) -> Result<(), PrivilegeError> {
        let what = format!("{} cannot be given to {}", path.display(), self.name);
        give::give(path, self.uid, self.gid).map_err(failed(what))
    }

    /// Becomes the user for good, in a process that ends soon: what it still opens, the user could open.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn assume(&self) -> Result<(), PrivilegeError> {
        if geteuid() == self.uid {
            return Ok(());
        }
        let became = setgroups(&[self.gid]).and_then(|()| setgid(self.gid)).and_then(|()| setuid(self.uid));
        became.map_err(failed(format!("becoming {}", self.name)))
    }
}

/// Makes a directory for what outlives the start. It belongs to the user, or to this process's own, and no other may write to it.
/// `lock`: that of the daemon, which does not count as another one.
///
/// # Errors
/// When it cannot be made, or is another user's and cannot be taken.
pub fn make_directory(path: &Path, owner: Option<&Identity>, lock: &Path) -> Result<(), PrivilegeError> {
    fs::create_dir_all(path).map_err(failed(format!("{} cannot be made", path.display())))?;
    can_take(path, owner, lock)?;
    let (uid, gid) = owner.map_or_else(|| (geteuid(), getegid()), |owner| (owner.uid, owner.gid));
    give::take_directory(path, uid, Some(gid)).map_err(failed(format!("{} cannot be used", path.display())))
}

/// Makes the directory for what survives a reboot. A directory of root is given to `owner`. One of another user stays as it is: a daemon of
/// that user may run.
///
/// # Errors
/// The directory cannot be created, or `owner` cannot write to it.
pub fn make_lasting_directory(path: &Path, owner: Option<&Identity>) -> Result<(), PrivilegeError> {
    fs::create_dir_all(path).map_err(failed(format!("{} cannot be made", path.display())))?;
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

/// Whether no daemon of another user has this directory: that could not write there any more.
///
/// # Errors
/// When one has it, or that cannot be known.
pub fn can_take(path: &Path, owner: Option<&Identity>, lock: &Path) -> Result<(), PrivilegeError> {
    let Ok(found) = fs::symlink_metadata(path).map(|found| found.uid()) else { return Ok(()) };
    if found == 0 || found == owner.map_or(geteuid(), |owner| owner.uid).as_raw() {
        return Ok(());
    }
    let what = || format!("{} stays the directory of uid {found}", path.display());
    match lock::daemon_of(path, found, lock).map_err(failed(what()))? {
        None => Ok(()),
        Some(name) => Err(failed(what())(format!(
            "the daemon {name} of that user runs there; end that one, or give one of the two a [paths] run of its own"
        ))),
    }
}

/// Gives up what is not needed any more: being root, if there is a user to be instead, and all capabilities but that for the table
/// (and, as root, a few more). Sockets for pings are open by then. Where this process has none to begin with, there is nothing to
/// give up.
///
/// # Errors
/// When the system refuses a step; what came before it has been given up.
pub fn give_up(user: Option<&Identity>) -> Result<(), PrivilegeError> {
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
    // Nothing is left for programs that this one starts: neither by inheritance nor as ambient ones, which a service manager may
    // have given.
    caps::clear(None, CapSet::Ambient).map_err(refused("ambient capabilities"))?;
    caps::clear(None, CapSet::Inheritable).map_err(refused("inheritable capabilities"))?;
    caps::set(None, CapSet::Effective, &kept).map_err(refused("effective capabilities"))?;
    caps::set(None, CapSet::Permitted, &kept).map_err(refused("permitted capabilities"))
}

fn refused<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> PrivilegeError {
    failed(format!("giving up privileges: {what}"))
}

/// No program that this process starts can get more than this, by whatever bits its file has.
fn bound(kept: &CapsHashSet) -> Result<(), caps::errors::CapsError> {
    let all = caps::read(None, CapSet::Bounding)?;
    // With CAP_NET_RAW alone the program `ping` works in checks of the operator.
    let gone = all.difference(kept).filter(|capability| **capability != Capability::CAP_NET_RAW);
    gone.copied().try_for_each(|capability| caps::drop(None, CapSet::Bounding, capability))
}

/// From now on this process and all that it starts read and run what they may, and write only below these directories and to
/// devices. False when the kernel has no Landlock (5.13 or later has, if it is switched on).
///
/// # Errors
/// When the kernel has it and refuses.
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
        // What is not there cannot be written to.
        if let Ok(opened) = PathFd::new(directory) {
            rules = rules.add_rule(PathBeneath::new(opened, writing))?;
        }
    }
    Ok(rules.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

/// Whether the user can read these files, with nothing but the group that [`give_up`] leaves to it.
///
/// # Errors
/// When it cannot read one, or this process cannot be the user for a moment.
pub fn can_read(files: &[Cow<'_, Path>], user: &Identity) -> Result<(), PrivilegeError> {
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

/// Does something as the user, and is root again after it. This process has no other thread yet.
fn as_user<T>(user: &Identity, act: impl FnOnce() -> T) -> Result<T, PrivilegeError> {
    let (root, group) = (geteuid(), getegid());
    if root == user.uid {
        return Ok(act());
    }
    let refused = || failed(format!("becoming {} for a moment", user.name));
    let groups = getgroups().map_err(refused())?;
    let became = setgroups(&[user.gid]).and_then(|()| setegid(user.gid)).and_then(|()| seteuid(user.uid));
    let done = became.map(|()| act());
    // All steps back, also where not all were taken.
    let back = seteuid(root).and_then(|()| setegid(group)).and_then(|()| setgroups(&groups));
    back.and(done).map_err(refused())
}
