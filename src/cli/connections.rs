//! `show SERVER --connections`: the clients that keep a server from being empty, from the kernel's list of connections.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::context::Context;
use super::failure::CommandFailure;
use super::running;
use crate::report::{MemberReport, StoryReport};
use crate::sys::pidfile::DaemonState;
use crate::value::{Protocol, VirtualId};

/// Maximum number of clients that are printed. The others are counted.
const PRINTED: usize = 50;
/// Maximum number of clients that are told apart. The connections of others are counted together.
const CLIENTS: usize = 100_000;

/// The connections of a server in each of its services, grouped by client.
pub(super) fn list(context: &Context, story: &StoryReport) -> Result<String, CommandFailure> {
    // The list of the daemon's network namespace.
    let directory = match running::state(context) {
        Ok(DaemonState::Running(process)) => process.pid.to_string(),
        _ => "self".to_owned(),
    };
    let path = format!("/proc/{directory}/net/ip_vs_conn");
    let mut text = Vec::new();
    for member in &story.servers {
        let failed = |error| CommandFailure::Connections { path: path.clone(), error };
        let mut clients = ClientList::default();
        if let Some(wanted) = ConnectionFilter::of(member) {
            match File::open(&path) {
                Ok(file) => clients.read(BufReader::new(file), &wanted).map_err(failed)?,
                // A kernel without IPVS has no connections.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        text.push(clients.text(member));
    }
    Ok(text.join("\n\n"))
}

/// The connections of one destination.
struct ConnectionFilter {
    service: VirtualId,
    destination: SocketAddr,
}

impl ConnectionFilter {
    fn of(member: &MemberReport) -> Option<ConnectionFilter> {
        let destination = member.destination.as_ref()?.address.parse().ok()?;
        Some(ConnectionFilter { service: member.service.id.parse().ok()?, destination })
    }

    fn has(&self, connection: &Connection<'_>) -> bool {
        if connection.destination != self.destination {
            return false;
        }
        match self.service {
            VirtualId::Address { protocol, address } => {
                connection.protocol == word(protocol) && connection.address == address
            }
            VirtualId::Mark { .. } => true,
        }
    }
}

fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    }
}

/// A line of the kernel's list.
#[derive(Debug, PartialEq, Eq)]
struct Connection<'a> {
    protocol: &'a str,
    client: IpAddr,
    address: SocketAddr,
    destination: SocketAddr,
    state: &'a str,
    /// Seconds until it expires.
    expires: u32,
    /// Whether it only remembers to which server a client returns.
    is_template: bool,
}

impl Connection<'_> {
    /// Parses a line: protocol, client, virtual address and destination, each with its port, state and expiry.
    fn parse(line: &str) -> Option<Connection<'_>> {
        let mut words = line.split_ascii_whitespace();
        let protocol = words.next()?;
        let client = socket_address(words.next()?, words.next()?)?;
        let address = socket_address(words.next()?, words.next()?)?;
        let destination = socket_address(words.next()?, words.next()?)?;
        let (state, expires) = (words.next()?, words.next()?.parse().ok()?);
        // A persistence template has no port of a client.
        let is_template = client.port() == 0;
        Some(Connection { protocol, client: client.ip(), address, destination, state, expires, is_template })
    }
}

/// An address and a port in hexadecimal digits. An IPv6 address has its usual form.
fn socket_address(address: &str, port: &str) -> Option<SocketAddr> {
    let ip = match address.contains(':') {
        true => IpAddr::V6(address.trim_matches(['[', ']']).parse().ok()?),
        false => IpAddr::V4(Ipv4Addr::from_bits(u32::from_str_radix(address, 16).ok()?)),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// Connections by client and state.
#[derive(Default)]
struct ClientList {
    clients: BTreeMap<IpAddr, BTreeMap<String, (u32, u32)>>,
    others: u64,
    total: u64,
    templates: u64,
}

impl ClientList {
    fn read(&mut self, mut lines: impl BufRead, wanted: &ConnectionFilter) -> io::Result<()> {
        let mut line = String::new();
        while lines.read_line(&mut line)? > 0 {
            if let Some(connection) = Connection::parse(&line).filter(|connection| wanted.has(connection)) {
                self.add(&connection);
            }
            line.clear();
        }
        Ok(())
    }

    fn add(&mut self, connection: &Connection<'_>) {
        if connection.is_template {
            self.templates += 1;
            return;
        }
        self.total += 1;
        if self.clients.len() >= CLIENTS && !self.clients.contains_key(&connection.client) {
            self.others += 1;
            return;
        }
        let states = self.clients.entry(connection.client).or_default();
        let (count, expires) = states.entry(connection.state.to_owned()).or_default();
        *count += 1;
        *expires = connection.expires.max(*expires);
    }

    /// The clients with most connections first.
    fn text(&self, member: &MemberReport) -> String {
        let of = format!("{} in {}", member.server.address, member.service.id);
        let (total, clients) = (self.total, self.clients.len());
        let templates = match self.templates {
            0 => String::new(),
            1 => "; 1 persistence template".to_owned(),
            number => format!("; {number} persistence templates"),
        };
        if total == 0 {
            return format!("{of}: no connection{templates}");
        }
        let connections = if total == 1 { "connection" } else { "connections" };
        let mut text = format!(
            "{of}: {total} {connections} of {clients} {}",
            if clients == 1 { "client" } else { "clients" }
        );
        text.push_str(&templates);
        let count =
            |states: &BTreeMap<String, (u32, u32)>| states.values().map(|(count, _)| *count).sum::<u32>();
        let mut sorted: Vec<_> =
            self.clients.iter().map(|(client, states)| (count(states), client, states)).collect();
        sorted.sort_by_key(|(count, client, _)| (std::cmp::Reverse(*count), **client));
        for (_, client, states) in sorted.iter().take(PRINTED) {
            let states: Vec<String> = states
                .iter()
                .map(|(state, (count, expires))| format!("{count} {state}, the last expires in {expires} s"))
                .collect();
            let _ = write!(text, "\n  {client}  {}", states.join("; "));
        }
        let more =
            sorted.iter().skip(PRINTED).map(|(count, ..)| u64::from(*count)).sum::<u64>() + self.others;
        if more > 0 {
            let _ = write!(text, "\n  {more} more connections of other clients");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a kernel 6.1 prints it.
    const LIST: &str = "\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP C6336407 8C3E C0000201 0050 0A000002 0050 ESTABLISHED     899
TCP C6336407 8C40 C0000201 0050 0A000002 0050 ESTABLISHED     120
TCP C6336408 8C3E C0000201 0050 0A000002 0050 FIN_WAIT         60
TCP C6336408 0000 C0000201 0050 0A000002 0050 ASSURED         300
TCP C6336408 8C3F C0000201 0050 0A000003 0050 ESTABLISHED     899
UDP C6336408 8C3F C0000201 0050 0A000002 0050 UDP             299
TCP 2001:0db8:0000:0000:0000:0000:0000:0007 D431 2001:0db8:0000:0000:0000:0000:0000:0001 0050 2001:0db8:0000:0000:0000:0000:0000:0002 0050 ESTABLISHED     899
";

    fn clients(service: &str, destination: &str) -> ClientList {
        let wanted =
            ConnectionFilter { service: service.parse().unwrap(), destination: destination.parse().unwrap() };
        let mut clients = ClientList::default();
        clients.read(LIST.as_bytes(), &wanted).unwrap();
        clients
    }

    #[test]
    fn only_the_connections_of_the_server_count() {
        let found = clients("tcp:192.0.2.1:80", "10.0.0.2:80");
        let client = "198.51.100.7".parse().unwrap();
        assert_eq!((found.total, found.clients.len()), (3, 2));
        assert_eq!(found.clients[&client]["ESTABLISHED"], (2, 899));
        assert_eq!(found.templates, 1);
        assert_eq!(clients("udp:192.0.2.1:80", "10.0.0.2:80").total, 1);
        assert_eq!(clients("tcp:[2001:db8::1]:80", "[2001:db8::2]:80").total, 1);
        assert_eq!(clients("fwm:5", "10.0.0.2:80").total, 4);
        assert_eq!(clients("tcp:192.0.2.1:80", "10.0.0.9:80").total, 0);
    }
}
