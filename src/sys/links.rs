//! Link events of the kernel (rtnetlink), and the interface and the next hop of a route. No call blocks: the kernel
//! answers within the system call.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, sendto, socket,
};

use crate::value::NextHop;

/// The multicast group of link events.
const RTMGRP_LINK: u32 = 1;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const NLM_F_REQUEST: u16 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_VIA: u16 = 18;
/// The kind of a route to an address of this machine, and the place of the kind in the header of a route.
const RTN_LOCAL: u8 = 2;
const KIND: usize = 7;
const IFLA_CARRIER_CHANGES: u16 = 35;
const IFF_UP: u32 = 1;
const IFF_RUNNING: u32 = 0x40;
const IFF_LOWER_UP: u32 = 0x1_0000;
/// Lengths of the headers of a message, of a link and of a route.
const HEAD: usize = 16;
const LINK: usize = 16;
const ROUTE: usize = 12;
const HEAD_AND_ROUTE: u32 = 28;
/// The longest message that is read. Only a card with hundreds of virtual functions has longer ones, which are cut.
const LONGEST: usize = 32 * 1024;

/// The changes of the links in this network namespace since it was opened. Changes are numbered.
pub struct Links {
    events: Option<OwnedFd>,
    state: Mutex<State>,
}

/// A moment in the sequence of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ChangeNumber(u64);

#[derive(Default)]
struct State {
    now: ChangeNumber,
    /// When events were last lost: every link may have changed then.
    lost: ChangeNumber,
    links: BTreeMap<u32, Link>,
    /// The buffer for the next event.
    buffer: Vec<u8>,
}

struct Link {
    up: bool,
    /// The flags that show whether the link works, and the number of its carrier changes.
    condition: (u32, Option<u32>),
    changed: ChangeNumber,
}

impl Links {
    /// Starts to listen. If the kernel refuses, no link ever changes.
    #[must_use]
    pub fn open() -> Links {
        Links { events: netlink(RTMGRP_LINK).ok(), state: Mutex::default() }
    }

    /// The current moment.
    #[must_use]
    pub fn now(&self) -> ChangeNumber {
        self.refreshed().now
    }

    /// Whether the interface of the route to an address has changed its state since a moment. Also true if the route
    /// may have been removed with its interface: there is no route now, or an interface was set down.
    #[must_use]
    pub fn changed_since(&self, moment: ChangeNumber, address: IpAddr) -> bool {
        let state = self.refreshed();
        if state.now == moment {
            return false;
        }
        let interface = interface_of_route(address);
        state.changed_since(moment, interface.ok())
    }

    /// The state after all pending events.
    fn refreshed(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(events) = &self.events else { return state };
        let mut buffer = std::mem::take(&mut state.buffer);
        loop {
            match receive(events, &mut buffer) {
                Ok(message) => messages(message).for_each(|(kind, body)| state.take(kind, body)),
                Err(Errno::ENOBUFS) => state.lose(),
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        state.buffer = buffer;
        state
    }
}

impl State {
    fn changed_since(&self, moment: ChangeNumber, interface: Option<u32>) -> bool {
        let Some(interface) = interface else { return true };
        let concerned =
            |(index, link): (&u32, &Link)| link.changed > moment && (*index == interface || !link.up);
        self.lost > moment || self.links.iter().any(concerned)
    }

    fn take(&mut self, kind: u16, body: &[u8]) {
        let (Some(index), Some(flags)) = (number(body, 4), number(body, 8)) else { return };
        let flags = flags & (IFF_UP | IFF_RUNNING | IFF_LOWER_UP);
        match kind {
            RTM_NEWLINK => {
                let condition = (flags, attribute(body, LINK, IFLA_CARRIER_CHANGES));
                let old = self.links.get(&index);
                // Other events are about addresses, sizes and names.
                if old.is_none_or(|old| old.condition != condition) {
                    self.now.0 += 1;
                    let link = Link { up: flags & IFF_UP != 0, condition, changed: self.now };
                    self.links.insert(index, link);
                }
            }
            RTM_DELLINK => {
                self.now.0 += 1;
                self.links.remove(&index);
            }
            _ => {}
        }
    }

    fn lose(&mut self) {
        self.now.0 += 1;
        self.lost = self.now;
        self.links.clear();
    }
}

/// The index of the interface through which packets to an address leave this machine.
fn interface_of_route(address: IpAddr) -> Result<u32, Errno> {
    route(address, |body| attribute(body, ROUTE, RTA_OIF))?.ok_or(Errno::ENETUNREACH)
}

/// The next hop of packets to an address, as the kernel routes packets of this machine.
///
/// # Errors
/// The kernel does not answer.
pub fn next_hop(address: IpAddr) -> io::Result<NextHop> {
    let hop = |body: &[u8]| match body.get(KIND) {
        Some(&RTN_LOCAL) => NextHop::Local,
        _ if attribute(body, ROUTE, RTA_GATEWAY).or(attribute(body, ROUTE, RTA_VIA)).is_some() => {
            NextHop::Router
        }
        _ => NextHop::Direct,
    };
    match route(address, hop) {
        Err(Errno::ENETUNREACH) => Ok(NextHop::Unreachable),
        result => Ok(result?),
    }
}

/// Asks the kernel for its route to an address, and reads the answer.
fn route<T>(address: IpAddr, read: impl FnOnce(&[u8]) -> T) -> Result<T, Errno> {
    let socket = netlink(0)?;
    sendto(socket.as_raw_fd(), &route_request(address), &NetlinkAddr::new(0, 0), MsgFlags::MSG_DONTWAIT)?;
    let mut buffer = Vec::new();
    let answer = receive(&socket, &mut buffer)?;
    let (kind, body) = messages(answer).next().ok_or(Errno::EBADMSG)?;
    match kind {
        RTM_NEWROUTE => Ok(read(body)),
        NLMSG_ERROR => Err(Errno::ENETUNREACH),
        _ => Err(Errno::EBADMSG),
    }
}

fn route_request(address: IpAddr) -> Vec<u8> {
    let (family, bytes) = match address {
        IpAddr::V4(v4) => (AddressFamily::Inet, v4.octets().to_vec()),
        IpAddr::V6(v6) => (AddressFamily::Inet6, v6.octets().to_vec()),
    };
    let octets: u8 = if address.is_ipv4() { 4 } else { 16 };
    let attribute = 4 + u16::from(octets);
    let mut request = Vec::new();
    request.extend_from_slice(&(HEAD_AND_ROUTE + u32::from(attribute)).to_ne_bytes());
    request.extend_from_slice(&RTM_GETROUTE.to_ne_bytes());
    request.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    request.extend_from_slice(&[0; 8]);
    request.extend_from_slice(&[family as u8, octets * 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    request.extend_from_slice(&attribute.to_ne_bytes());
    request.extend_from_slice(&RTA_DST.to_ne_bytes());
    request.extend_from_slice(&bytes);
    request
}

fn netlink(groups: u32) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(socket)
}

/// Receives one datagram of the kernel. A datagram of another process is returned empty.
fn receive<'a>(socket: &OwnedFd, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], Errno> {
    buffer.resize(LONGEST, 0);
    let (length, sender) = recvfrom::<NetlinkAddr>(socket.as_raw_fd(), buffer)?;
    let of_the_kernel = sender.is_some_and(|sender| sender.pid() == 0);
    Ok(if of_the_kernel { &buffer[..length.min(LONGEST)] } else { &[] })
}

/// The messages of a datagram: the kind and the body of each.
fn messages(datagram: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = usize::try_from(number(rest, 0)?).ok().filter(|length| *length >= HEAD)?;
        let kind = short(rest, 4)?;
        let body = rest.get(HEAD..length.min(rest.len()))?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// The value of a numeric attribute after the header of a body.
fn attribute(body: &[u8], head: usize, wanted: u16) -> Option<u32> {
    let mut rest = body.get(head..)?;
    loop {
        let length = usize::from(short(rest, 0)?);
        if length < 4 {
            return None;
        }
        if short(rest, 2)? == wanted {
            return number(rest, 4);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKS: u32 = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;

    /// The body of a message about a link.
    fn link(index: u32, flags: u32, carrier_changes: u32) -> Vec<u8> {
        let mut body = [0, index, flags, 0].map(u32::to_ne_bytes).concat();
        // A name of five bytes, filled up to eight.
        body.extend([9_u16, 3].map(u16::to_ne_bytes).concat());
        body.extend(*b"eth0\0\0\0\0");
        body.extend([8, IFLA_CARRIER_CHANGES].map(u16::to_ne_bytes).concat());
        body.extend(carrier_changes.to_ne_bytes());
        body
    }

    #[test]
    fn a4_only_a_changed_state_is_a_change_of_a_link() {
        let mut state = State::default();
        state.take(RTM_NEWLINK, &link(7, WORKS, 2));
        let begin = state.now;
        // Another address or size.
        state.take(RTM_NEWLINK, &link(7, WORKS | 0x100, 2));
        assert_eq!(state.now, begin);
        // The cable was unplugged for less than a second: the kernel sends one event.
        state.take(RTM_NEWLINK, &link(7, WORKS, 4));
        assert!(state.changed_since(begin, Some(7)) && !state.changed_since(begin, Some(8)));
        assert!(!state.changed_since(state.now, Some(7)));
        // If another interface is set down, the route may have led through it.
        state.take(RTM_NEWLINK, &link(7, 0, 5));
        assert!(state.changed_since(begin, Some(8)));
        state.take(RTM_DELLINK, &link(7, 0, 5));
        assert!(!state.changed_since(begin, Some(8)) && state.changed_since(begin, None));
    }

    #[test]
    fn a4_lost_events_may_concern_every_link() {
        let mut state = State::default();
        let begin = state.now;
        state.lose();
        assert!(state.changed_since(begin, Some(7)) && !state.changed_since(state.now, Some(7)));
    }

    #[test]
    fn a4_cut_messages_are_left_out() {
        let body = link(7, WORKS, 2);
        let length = u32::try_from(HEAD + body.len()).unwrap();
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(RTM_NEWLINK.to_ne_bytes());
        message.extend([0; 10]);
        message.extend(&body);
        assert_eq!(messages(&message).collect::<Vec<_>>(), [(RTM_NEWLINK, &*body)]);
        for end in 0..message.len() {
            let mut state = State::default();
            messages(&message[..end]).for_each(|(kind, body)| state.take(kind, body));
            assert!(state.links.len() <= 1, "{end}");
        }
        assert_eq!(attribute(&body, LINK, IFLA_CARRIER_CHANGES), Some(2));
        assert_eq!(attribute(&[0; 20], LINK, IFLA_CARRIER_CHANGES), None);
    }

    #[test]
    fn a4_the_kernel_names_the_interface_of_a_route() {
        assert_eq!(interface_of_route(std::net::Ipv4Addr::LOCALHOST.into()), Ok(1));
        assert_eq!(interface_of_route("127.1.2.3".parse().unwrap()), Ok(1));
        assert_eq!(next_hop("127.1.2.3".parse().unwrap()).unwrap(), NextHop::Local);
    }
}
