//! Connects to Unix sockets without blocking.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
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

/// The process that listens at a socket. None if there is none.
#[must_use]
pub fn listener(path: &Path) -> Option<i32> {
    let peer = getsockopt(&connect(path).ok()?, PeerCredentials).ok()?;
    Some(peer.pid()).filter(|pid| *pid > 0)
}
