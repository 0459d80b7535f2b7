//! Options of ICMP sockets, so that no reply is lost.

#![expect(unsafe_code, reason = "ICMP filters are set by a socket option that no safe interface offers")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use surge_ping::AsyncSocket;

/// The receive buffer: room for some thousand replies at once. The usual 208 KiB drop replies from 256 pings in flight
/// on, and a dropped reply makes a healthy server look down.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// The option of a raw IPv4 socket (linux/icmp.h), which libc does not name.
const ICMP_FILTER: libc::c_int = 1;

/// The option of an ICMPv6 socket (linux/icmpv6.h), which libc does not name.
const ICMPV6_FILTER: libc::c_int = 1;

/// The type of an IPv6 echo reply (RFC 4443).
const V6_ECHO_REPLY: usize = 129;

/// Enlarges the receive buffer of an ICMP socket and makes the kernel drop everything but echo replies.
///
/// A raw socket receives every ICMP packet of the machine: without the filter a ping flood to the director would fill
/// the buffer and replies of the servers would be lost.
pub fn prepare(socket: &AsyncSocket) {
    // SAFETY: `socket` owns the descriptor and is borrowed for the whole life of `fd`.
    let fd = unsafe { BorrowedFd::borrow_raw(socket.get_native_sock()) };
    // Above the system's limit with CAP_NET_ADMIN, otherwise up to it.
    if setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        let _ = setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER);
    }
    if socket.get_type() == socket2::Type::RAW {
        // An error is ignored: replies still arrive without the filter. The filter also keeps ICMP errors, which quote
        // the request, from counting as replies.
        let _ = match socket.local_addr() {
            Ok(address) if address.is_ipv6() => only_v6_replies(fd),
            _ => only_v4_replies(fd),
        };
    }
}

/// A set bit blocks that type. An echo reply has type 0.
fn only_v4_replies(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(fd, libc::SOL_RAW, ICMP_FILTER, &!1_u32)
}

fn only_v6_replies(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut filter = [u32::MAX; 8];
    filter[V6_ECHO_REPLY / 32] &= !(1 << (V6_ECHO_REPLY % 32));
    set(fd, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &filter)
}

/// Sets an option whose value consists of plain numbers.
fn set<T: Copy>(fd: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads `length` bytes from `value`, which has that length, and keeps no reference.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
