//! Opens TCP connections and UDP sockets.

use std::io;
use std::net::SocketAddr;

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpStream, UdpSocket};

/// Opens a connection only to see whether it can be opened.
///
/// It is closed normally. `SO_LINGER` with zero would avoid `TIME_WAIT` at our end, but it resets the connection: the
/// server's `accept` or first `read` fails, its log fills with "connection reset by peer", and some servers count such
/// clients until they lock them out. A closed connection occupies one of 28,000 local ports *towards one server* for a
/// minute: only more than 450 checks of one server per second exhaust them. Then the verdict is `Unknown`, since "no
/// local port left" says nothing about the server.
///
/// # Errors
/// The errors of `connect(2)`.
pub async fn probe(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = match address {
        SocketAddr::V4(_) => TcpStream::connect(address).await,
        SocketAddr::V6(_) => connect_v6(address).await,
    }
    .map_err(|error| of_a_blackhole(error, address))?;
    refuse_itself(stream.local_addr()?, stream.peer_addr()?)?;
    Ok(stream)
}

/// Opens a connection for a dialogue: short messages are sent at once, without waiting for an acknowledgement.
///
/// # Errors
/// The errors of `connect(2)`.
pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = probe(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Opens a UDP socket connected to one server: it receives only this server's datagrams, and ICMP errors for it.
///
/// # Errors
/// The errors of `bind(2)` and `connect(2)`.
pub async fn datagrams(server: SocketAddr) -> io::Result<Datagrams> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).await.map_err(of_a_free_port)?;
    socket.connect(server).await.map_err(|error| of_a_blackhole(error, server))?;
    refuse_itself(socket.local_addr()?, server)?;
    Ok(Datagrams(socket))
}

/// A UDP socket for one server. Its errors come from the network; local errors are reported by [`datagrams`].
#[derive(Debug)]
pub struct Datagrams(UdpSocket);

impl Datagrams {
    /// Sends a datagram.
    ///
    /// # Errors
    /// The errors of `send(2)`, which may concern an earlier datagram.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes).await.map_err(of_the_network)
    }

    /// Receives a datagram and returns its length.
    ///
    /// # Errors
    /// The errors of `recv(2)`, such as an ICMP error.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer).await.map_err(of_the_network)
    }

    /// Our address.
    ///
    /// # Errors
    /// The errors of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Like [`TcpStream::connect`]. An error that `connect(2)` returns at once is local; a later one comes from the
/// network.
async fn connect_v6(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => return Err(error),
        _ => {}
    }
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    match stream.take_error()? {
        Some(error) => Err(of_the_network(error)),
        None => Ok(stream),
    }
}

/// Linux returns EACCES for a rejection by ICMPv6 (RFC 4443 3.1, codes 1, 5 and 6), as for a local `prohibit` route. A
/// rejection by a firewall or router counts against the server, as with ICMP, so it must not look like a local error.
fn of_the_network(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) if number == Errno::EACCES as i32 => {
            io::Error::other("administratively prohibited by a firewall or router on the path (ICMPv6)")
        }
        _ => error,
    }
}

/// If no port is free for a UDP socket, Linux returns EADDRINUSE. This converts it to EADDRNOTAVAIL, as for TCP.
fn of_a_free_port(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) if number == Errno::EADDRINUSE as i32 => Errno::EADDRNOTAVAIL.into(),
        _ => error,
    }
}

/// `connect(2)` returns EINVAL for a `blackhole` route, as BGP daemons and administrators set them.
fn of_a_blackhole(error: io::Error, address: SocketAddr) -> io::Error {
    match error.raw_os_error() {
        // A link-local address without a zone gives the same error.
        Some(number) if number == Errno::EINVAL as i32 && !is_link_local(address) => {
            let ip = address.ip();
            io::Error::other(format!("the director has a blackhole route for {ip} (see: ip route get {ip})"))
        }
        _ => error,
    }
}

fn is_link_local(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local())
}

/// Rejects a socket that is connected to itself. If no server listens on a port of the ephemeral range, the kernel may
/// choose this port for our end and connect it to itself (RFC 9293 3.5, simultaneous open).
fn refuse_itself(own: SocketAddr, peer: SocketAddr) -> io::Result<()> {
    match own == peer {
        true => Err(io::Error::other("connected to itself, so no server listens on this port")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::local_cause;

    #[test]
    fn a_blackhole_route_is_named() {
        let to: SocketAddr = "10.0.0.2:80".parse().unwrap();
        let error = |errno: Errno| io::Error::from_raw_os_error(errno as i32);
        let said = of_a_blackhole(error(Errno::EINVAL), to).to_string();
        assert_eq!(said, "the director has a blackhole route for 10.0.0.2 (see: ip route get 10.0.0.2)");
        let local: SocketAddr = "[fe80::1]:80".parse().unwrap();
        assert_eq!(of_a_blackhole(error(Errno::EINVAL), local).raw_os_error(), Some(Errno::EINVAL as i32));
        let other = of_a_blackhole(error(Errno::ENETUNREACH), to);
        assert_eq!(other.raw_os_error(), Some(Errno::ENETUNREACH as i32));
    }

    #[test]
    fn a4_a_rejection_by_icmpv6_speaks_of_the_server() {
        let error = |errno: Errno| io::Error::from_raw_os_error(errno as i32);
        assert_eq!(local_cause(&of_the_network(error(Errno::EACCES))), None);
        for other in [Errno::ECONNREFUSED, Errno::EHOSTUNREACH, Errno::ENETUNREACH, Errno::EPERM] {
            assert_eq!(of_the_network(error(other)).raw_os_error(), Some(other as i32));
        }
    }
}
