//! Connecting to a Unix socket without waiting.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use socket2::{Domain, SockAddr, Socket, Type};

use super::instance::digest;

/// Bytes of a path of a socket (unix(7), `sun_path` without its end).
const LONGEST_PATH: usize = 107;

/// The place of the socket of this name: its path, or a shorter one where the kernel takes none so long.
#[must_use]
pub fn place(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(format!("{name}.sock"));
    if path.as_os_str().len() <= LONGEST_PATH {
        path
    } else {
        directory.join(format!("{}.sock", digest(name)))
    }
}

/// Connects to a socket; a listener whose queue is full is an error at once ([`io::ErrorKind::WouldBlock`]) instead of a wait without
/// an end.
///
/// # Errors
/// When no process listens there, or the queue is full.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    socket.set_nonblocking(false)?;
    Ok(UnixStream::from(OwnedFd::from(socket)))
}

/// The process that listens at a socket; none where nobody does.
#[must_use]
pub fn listener(path: &Path) -> Option<i32> {
    let peer = getsockopt(&connect(path).ok()?, PeerCredentials).ok()?;
    Some(peer.pid()).filter(|pid| *pid > 0)
}
