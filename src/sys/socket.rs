//! Unix sockets: connects without blocking, and listens in place of a daemon that is gone.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};

use super::instance::digest;

/// The longest path of a socket in bytes (unix(7), `sun_path` without the terminating zero).
const LONGEST_PATH: usize = 107;

/// The path of the socket of this name, or a shorter path if the kernel does not accept that length.
#[must_use]
pub fn place(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(format!("{name}.sock"));
    if path.as_os_str().len() <= LONGEST_PATH {
        path
    } else {
        directory.join(format!("{}.sock", digest(name)))
    }
}

/// Connects to a socket. If the queue of the listener is full, returns an error at once ([`io::ErrorKind::WouldBlock`])
/// instead of waiting forever.
///
/// # Errors
/// No process listens there, or its queue is full.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    socket.set_nonblocking(false)?;
    Ok(UnixStream::from(OwnedFd::from(socket)))
}

/// The file of a listening socket. Dropping it removes the file.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Listens at a path. Replaces the socket file of a daemon that is gone. `is_open`: every user may connect; otherwise
/// only this user and root may.
///
/// # Errors
/// Another daemon of this user or of root listens there, or the directory is not writable. The error names the path.
pub fn listen(path: &Path, is_open: bool) -> io::Result<(UnixListener, SocketFile)> {
    if let Ok(found) = fs::symlink_metadata(path)
        && found.file_type().is_socket()
    {
        let own = [0, geteuid().as_raw()].contains(&found.uid());
        // A full connection queue means that a daemon listens.
        let answers = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        if own && connect(path).map_or_else(answers, |_| true) {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("{}: another daemon listens on this socket", path.display()),
            ));
        }
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {}", path.display(), why(&error))))?;
    let file = SocketFile(path.to_owned());
    fs::set_permissions(path, fs::Permissions::from_mode(if is_open { 0o666 } else { 0o600 }))?;
    listener.set_nonblocking(true)?;
    Ok((listener, file))
}

/// The error without its number.
fn why(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// The process that listens at a socket. None if there is none.
#[must_use]
pub fn listener(path: &Path) -> Option<i32> {
    let peer = getsockopt(&connect(path).ok()?, PeerCredentials).ok()?;
    Some(peer.pid()).filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c2_a_full_socket_does_not_hang_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let _full = UnixListener::bind(&path).unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = connect(&path) {
            waiting.push(stream);
        }
        let error = listen(&path, false).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
    }

    #[test]
    fn c2_a_socket_of_another_user_is_replaced() {
        if !geteuid().is_root() {
            println!("skipped: only root can give a socket away");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let _foreign = UnixListener::bind(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        let (_listener, file) = listen(&path, false).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o600));
        drop(file);
        assert!(!path.exists());
    }
}
