//! Gives files of root to the user that the daemon becomes. They may be in directories of that user, who may have put
//! links there to other files of root: such links are refused.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{Gid, Uid, fchown, fchownat};

/// The number of links that the kernel follows in one path.
const LINKS: usize = 40;

/// Gives a file of root to a user, and creates it if it is missing. Leaves a file of another user as it is, and
/// anything but a regular file. Follows a link only if root owns it and only root may write to its directory, for
/// example for a log on another disk.
///
/// # Errors
/// The path contains another link, the file has a second name, or it cannot be created or given away.
pub fn give(path: &Path, uid: Uid, gid: Gid) -> io::Result<()> {
    let (directory, name) = find(path)?;
    let file = match openat(&directory, name.as_os_str(), OFlag::O_PATH | NO_LINK, Mode::empty()) {
        Err(Errno::ENOENT) => {
            let new = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | NO_LINK;
            let file = openat(&directory, name.as_os_str(), new, Mode::from_bits_truncate(0o640))?;
            return Ok(fchown(&file, Some(uid), Some(gid))?);
        }
        file => file?,
    };
    let stat = fstat(&file)?;
    if kind(&stat) == SFlag::S_IFLNK {
        return Err(refused("it has just been replaced by a link"));
    }
    if kind(&stat) != SFlag::S_IFREG || stat.st_uid != 0 {
        return Ok(());
    }
    if stat.st_nlink != 1 {
        return Err(refused("the file has a second name (a hard link), so it may be another file of root"));
    }
    Ok(fchownat(&file, "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)?)
}

/// Makes sure that a directory belongs to a user and that no other user may write to it. As root, takes it from another
/// owner.
///
/// # Errors
/// It is a link, it belongs to another user and this process is not root, or it cannot be changed.
pub fn take_directory(path: &Path, uid: Uid, gid: Option<Gid>) -> io::Result<()> {
    let directory = open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | NO_LINK, Mode::empty())?;
    let stat = fstat(&directory)?;
    let root = nix::unistd::geteuid().is_root();
    if stat.st_uid != uid.as_raw() {
        if !root && stat.st_uid != 0 {
            return Err(refused(&format!("it belongs to uid {}; remove it as root", stat.st_uid)));
        }
        if root {
            fchown(&directory, Some(uid), gid)?;
        }
    }
    let open_to_others = stat.st_mode & 0o022 != 0;
    if open_to_others && (root || stat.st_uid == uid.as_raw()) {
        nix::sys::stat::fchmod(&directory, Mode::from_bits_truncate(stat.st_mode & 0o755))?;
    }
    Ok(())
}

const NO_LINK: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_CLOEXEC);

fn refused(why: &str) -> io::Error {
    io::Error::other(why.to_owned())
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// Resolves a path to its directory and the last name, which is not a link. Each step starts at the open directory that
/// was checked, so that another process cannot replace a part of the path afterwards.
fn find(path: &Path) -> io::Result<(OwnedFd, OsString)> {
    let mut at = root()?;
    let mut left = steps(path);
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        let stat = match fstatat(&at, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) if left.is_empty() => return Ok((at, name)),
            stat => stat?,
        };
        if kind(&stat) == SFlag::S_IFLNK {
            links += 1;
            if links > LINKS {
                return Err(Errno::ELOOP.into());
            }
            if stat.st_uid != 0 || !only_root_writes(&at)? {
                let name = name.display();
                return Err(refused(&format!(
                    "{name} is a link that another user than root may have created"
                )));
            }
            let target = readlinkat(&at, name.as_os_str())?;
            if Path::new(&target).is_absolute() {
                at = root()?;
            }
            let mut rest = steps(Path::new(&target));
            rest.append(&mut left);
            left = rest;
        } else if left.is_empty() {
            return Ok((at, name));
        } else {
            at = openat(&at, name.as_os_str(), OFlag::O_PATH | OFlag::O_DIRECTORY | NO_LINK, Mode::empty())?;
        }
    }
    Err(Errno::EISDIR.into())
}

/// The start of each path. The daemon runs in `/`, so relative paths start there too.
fn root() -> io::Result<OwnedFd> {
    Ok(open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?)
}

fn steps(path: &Path) -> VecDeque<OsString> {
    let steps = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        Component::ParentDir => Some(OsStr::new("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    steps.map(OsStr::to_owned).collect()
}

fn only_root_writes(directory: &OwnedFd) -> io::Result<bool> {
    let stat = fstat(directory)?;
    Ok(stat.st_uid == 0 && stat.st_mode & 0o022 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
    use std::path::PathBuf;

    const USER: u32 = 65534;

    /// A directory of root that contains a directory of the user and a file of root. None if this process is not root.
    struct Place {
        all: tempfile::TempDir,
        of_user: PathBuf,
        victim: PathBuf,
    }

    impl Place {
        fn new() -> Option<Place> {
            if !nix::unistd::geteuid().is_root() {
                println!("skipped: only root can give files away");
                return None;
            }
            let all = tempfile::tempdir().unwrap();
            let (of_user, victim) = (all.path().join("user"), all.path().join("victim"));
            fs::create_dir(&of_user).unwrap();
            chown(&of_user, Some(USER), Some(USER)).unwrap();
            fs::write(&victim, "").unwrap();
            Some(Place { all, of_user, victim })
        }

        fn give(&self, path: &Path) -> Result<(), String> {
            give(path, Uid::from_raw(USER), Gid::from_raw(USER)).map_err(|error| error.to_string())
        }
    }

    fn owner(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().uid()
    }

    #[test]
    fn c2_files_of_root_are_given_and_made() {
        let Some(place) = Place::new() else { return };
        for path in [place.of_user.join("new"), place.all.path().join("new"), place.victim.clone()] {
            place.give(&path).unwrap();
            assert_eq!(owner(&path), USER, "{}", path.display());
        }
        assert_eq!(fs::metadata(place.of_user.join("new")).unwrap().mode() & 0o777, 0o640);
    }

    #[test]
    fn c2_links_of_the_user_are_not_followed() {
        let Some(place) = Place::new() else { return };
        let (last, dangling, way) =
            (place.of_user.join("log"), place.of_user.join("dangling"), place.of_user.join("way"));
        symlink(&place.victim, &last).unwrap();
        symlink(place.all.path().join("made"), &dangling).unwrap();
        symlink(place.all.path(), &way).unwrap();
        for path in [last, dangling, way.join("victim")] {
            let error = place.give(&path).unwrap_err();
            assert!(error.contains("is a link that another user"), "{}: {error}", path.display());
        }
        let second = place.of_user.join("second");
        fs::hard_link(&place.victim, &second).unwrap();
        assert!(place.give(&second).unwrap_err().contains("hard link"));
        assert_eq!(owner(&place.victim), 0);
        assert!(!place.all.path().join("made").exists());
    }

    #[test]
    fn c2_a_link_of_root_in_a_directory_of_root_is_followed() {
        let Some(place) = Place::new() else { return };
        let log = place.all.path().join("log");
        symlink("disk/log", &log).unwrap();
        fs::create_dir(place.all.path().join("big")).unwrap();
        symlink(place.all.path().join("big"), place.all.path().join("disk")).unwrap();
        place.give(&log).unwrap();
        assert_eq!(owner(&place.all.path().join("big/log")), USER);
        // Refused if other users may write to the directory.
        fs::set_permissions(place.all.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        place.give(&log).unwrap_err();
    }

    #[test]
    fn c2_what_is_not_roots_file_stays_as_it_is() {
        let Some(place) = Place::new() else { return };
        let pipe = place.of_user.join("pipe");
        nix::unistd::mkfifo(&pipe, Mode::S_IRUSR).unwrap();
        place.give(&pipe).unwrap();
        assert_eq!(owner(&pipe), 0);
        let others = place.of_user.join("others");
        fs::write(&others, "").unwrap();
        chown(&others, Some(1), None).unwrap();
        place.give(&others).unwrap();
        assert_eq!(owner(&others), 1);
    }

    #[test]
    fn c2_a_directory_of_another_user_is_taken() {
        let Some(place) = Place::new() else { return };
        fs::set_permissions(&place.of_user, fs::Permissions::from_mode(0o777)).unwrap();
        take_directory(&place.of_user, Uid::from_raw(0), None).unwrap();
        let found = fs::metadata(&place.of_user).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o755));
        let link = place.all.path().join("link");
        symlink(&place.of_user, &link).unwrap();
        take_directory(&link, Uid::from_raw(USER), None).unwrap_err();
        assert_eq!(owner(&place.of_user), 0);
    }
}
