//! Rights on the control socket, by the user of the client process.

use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist};
use tokio::net::unix::UCred;

use crate::health::Owner;

/// The right that a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Read the state.
    Read,
    /// Change something.
    Write,
}

/// The groups that have rights. Root and the user of the daemon have all rights.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    read: Option<Gid>,
    write: Option<Gid>,
}

/// The client process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientProcess {
    pub pid: Option<i32>,
    pub uid: u32,
    pub gid: u32,
}

impl Rights {
    /// Gives rights to the members of these groups. An empty name means no group. The right to write includes the
    /// right to read.
    ///
    /// # Errors
    /// A group does not exist or cannot be looked up.
    pub fn new(read_group: &str, write_group: &str) -> Result<Rights, String> {
        let id = |key: &str, name: &str| match Group::from_name(name) {
            _ if name.is_empty() => Ok(None),
            Ok(Some(group)) => Ok(Some(group.gid)),
            Ok(None) => Err(format!("[control] {key}: there is no group {name:?}")),
            Err(error) => Err(format!("[control] {key}: the group {name:?} cannot be looked up: {error}")),
        };
        Ok(Rights { read: id("read_group", read_group)?, write: id("write_group", write_group)? })
    }

    /// Whether users other than root and the daemon's user may connect.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.read.is_some() || self.write.is_some()
    }

    /// Whether the client of a connection may read. The user database may be on the network, so this may block.
    #[must_use]
    pub fn may_read(&self, client: &UCred) -> bool {
        self.allows(ClientProcess::of(client), Right::Read)
    }

    /// Whether a client has a right.
    pub(super) fn allows(&self, peer: ClientProcess, right: Right) -> bool {
        if [0, geteuid().as_raw()].contains(&peer.uid) {
            return true;
        }
        let groups = match right {
            Right::Read => [self.read, self.write],
            Right::Write => [self.write, None],
        };
        groups.into_iter().flatten().any(|group| is_member(peer, group))
    }
}

fn is_member(peer: ClientProcess, group: Gid) -> bool {
    if peer.gid == group.as_raw() {
        return true;
    }
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(peer.uid)) else { return false };
    let Ok(name) = CString::new(user.name) else { return false };
    getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&group))
}

impl ClientProcess {
    pub(super) fn of(client: &UCred) -> ClientProcess {
        ClientProcess { pid: client.pid(), uid: client.uid(), gid: client.gid() }
    }

    /// The owner of an override: the login user, and the user of the process if that differs.
    pub(super) fn owner(&self) -> Owner {
        let name = |uid: u32| {
            let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
            user.map_or_else(|| format!("uid {uid}"), |user| user.name)
        };
        Owner::Operator(match self.login() {
            Login::User(login) if login != self.uid => format!("{} as {}", name(login), name(self.uid)),
            _ => name(self.uid),
        })
    }

    /// The login user of the process (`/proc/PID/loginuid`, if the kernel supports it).
    fn login(&self) -> Login {
        let file = self.pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/loginuid")).ok());
        match file.as_deref().map(|uid| uid.trim().parse()) {
            Some(Ok(NO_LOGIN)) => Login::None,
            Some(Ok(uid)) => Login::User(uid),
            Some(Err(_)) | None => Login::Hidden,
        }
    }

    /// Process, user and login user, for the log.
    pub(super) fn describe(&self) -> String {
        let user = User::from_uid(Uid::from_raw(self.uid)).ok().flatten();
        let name = user.map_or_else(|| "?".to_owned(), |user| user.name);
        let (uid, pid) = (self.uid, self.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string()));
        let login = match self.login() {
            Login::Hidden => "unknown".to_owned(),
            Login::None => "none".to_owned(),
            Login::User(uid) => uid.to_string(),
        };
        format!("uid {uid} ({name}), pid {pid}, loginuid {login}")
    }
}

/// The owner of the overrides that this process sets, as the daemon names it.
#[must_use]
pub fn own_owner() -> String {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let pid = i32::try_from(std::process::id()).ok();
    ClientProcess { pid, uid, gid }.owner().to_string()
}

/// The login uid of a process without a login user: the largest uid.
const NO_LOGIN: u32 = u32::MAX;

/// The login user of a process.
enum Login {
    User(u32),
    /// No login: a system service.
    None,
    /// Not readable, for example in a sandbox.
    Hidden,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_daemon_have_all_rights_and_groups_their_own() {
        let peer = |uid, gid| ClientProcess { pid: Some(1), uid, gid };
        let rights = Rights { read: Some(Gid::from_raw(4242)), write: Some(Gid::from_raw(4343)) };
        for (uid, gid, read, write) in [
            (0, 0, true, true),
            (geteuid().as_raw(), 65534, true, true),
            (65534, 4242, true, false),
            (65534, 4343, true, true),
            (65534, 65534, false, false),
        ] {
            let peer = peer(uid, gid);
            let found = (rights.allows(peer, Right::Read), rights.allows(peer, Right::Write));
            assert_eq!(found, (read, write), "{uid} {gid}");
        }
        let closed = Rights::new("", "").unwrap();
        assert!(!closed.is_open() && !closed.allows(peer(65534, 65534), Right::Read));
        assert!(Rights::new("no such group", "").unwrap_err().contains("read_group"));
    }
}
