//! Operations as lines for `ipvsadm -R`.
//!
//! `ipvsadm -R` reads one command a line, without the name of the program. It skips empty lines and nothing else: a
//! remark ends it. Source: `ipvsadm.c` and `config_stream.c` of ipvsadm 1.31.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;

use super::destination::{Checksum, DestinationConfig, DestinationKey, ForwardingMethod, Tunnel};
use super::flags::ServiceFlags;
use super::operation::Operation;
use super::service::{Family, Netmask, Protocol, ServiceConfig, ServiceKey};

impl Operation {
    /// The line that makes `ipvsadm -R` carry the operation out, such as `-A -t 10.0.0.1:80 -s wlc`.
    ///
    /// ```
    /// use ipvs_rs::{Family, Operation, ServiceKey};
    ///
    /// let operation = Operation::RemoveService { key: ServiceKey::Mark { mark: 5, family: Family::V6 } };
    /// assert_eq!(operation.ipvsadm(), "-D -f 5 -6");
    /// ```
    #[must_use]
    pub fn ipvsadm(&self) -> String {
        let mut line = String::new();
        // Writing to a string does not fail.
        let _ = self.write_ipvsadm(&mut line);
        line
    }

    fn write_ipvsadm(&self, line: &mut String) -> fmt::Result {
        match self {
            Self::AddService { key, config } => write_service(line, "-A", *key, config),
            Self::EditService { key, config } => write_service(line, "-E", *key, config),
            Self::RemoveService { key } => write_key(line, "-D", *key),
            Self::AddDestination { service, key, config } => {
                write_server(line, "-a", *service, *key)?;
                write_destination(line, config)
            }
            Self::EditDestination { service, key, config } => {
                write_server(line, "-e", *service, *key)?;
                write_destination(line, config)
            }
            Self::RemoveDestination { service, key } => write_server(line, "-d", *service, *key),
        }
    }
}

fn write_key(line: &mut String, command: &str, key: ServiceKey) -> fmt::Result {
    match key {
        ServiceKey::Address { protocol, address, port } => {
            let option = match protocol {
                Protocol::Tcp => "-t",
                Protocol::Udp => "-u",
                Protocol::Sctp => "--sctp-service",
            };
            write!(line, "{command} {option} {}", SocketAddr::new(address, port))
        }
        ServiceKey::Mark { mark, family: Family::V4 } => write!(line, "{command} -f {mark}"),
        ServiceKey::Mark { mark, family: Family::V6 } => write!(line, "{command} -f {mark} -6"),
    }
}

/// Writes all of the configuration: an edit resets what it does not name.
fn write_service(line: &mut String, command: &str, key: ServiceKey, config: &ServiceConfig) -> fmt::Result {
    write_key(line, command, key)?;
    write!(line, " -s {}", config.scheduler)?;
    if let Some(persistence) = &config.persistence {
        write!(line, " -p {}", persistence.timeout)?;
        if persistence.netmask != Netmask::host(persistence.netmask.family()) {
            write!(line, " -M {}", persistence.netmask)?;
        }
        if let Some(engine) = &persistence.engine {
            write!(line, " --pe {engine}")?;
        }
    }
    if config.flags.contains(ServiceFlags::ONE_PACKET) {
        line.push_str(" -o");
    }
    let flags = config.flags.scheduler_names(&config.scheduler);
    if flags.is_empty() { Ok(()) } else { write!(line, " -b {flags}") }
}

fn write_server(line: &mut String, command: &str, service: ServiceKey, key: DestinationKey) -> fmt::Result {
    write_key(line, command, service)?;
    write!(line, " -r {key}")
}

/// Writes all of the configuration: an edit resets what it does not name.
fn write_destination(line: &mut String, config: &DestinationConfig) -> fmt::Result {
    let method = match config.method {
        ForwardingMethod::Masquerade => "-m",
        ForwardingMethod::Tunnel => "-i",
        // As `ipvsadm -S` writes them: the kernel recognizes local addresses.
        ForwardingMethod::DirectRoute | ForwardingMethod::LocalNode | ForwardingMethod::Bypass => "-g",
    };
    write!(line, " {method} -w {}", config.weight)?;
    if config.upper != 0 {
        write!(line, " -x {}", config.upper)?;
    }
    if config.lower != 0 {
        write!(line, " -y {}", config.lower)?;
    }
    match config.effective_tunnel() {
        None | Some(Tunnel::Ipip | Tunnel::Other { .. }) => Ok(()),
        Some(Tunnel::Gue { port, checksum }) => {
            write!(line, " --tun-type gue --tun-port {port} {}", option(checksum))
        }
        Some(Tunnel::Gre { checksum }) => write!(line, " --tun-type gre {}", option(checksum)),
    }
}

fn option(checksum: Checksum) -> &'static str {
    match checksum {
        Checksum::None => "--tun-nocsum",
        Checksum::Full => "--tun-csum",
        Checksum::Remote => "--tun-remcsum",
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::Persistence;

    fn address(protocol: Protocol, text: &str) -> ServiceKey {
        let address: SocketAddr = text.parse().unwrap();
        ServiceKey::Address { protocol, address: address.ip(), port: address.port() }
    }

    fn server(text: &str) -> DestinationKey {
        let address: SocketAddr = text.parse().unwrap();
        DestinationKey { address: address.ip(), port: address.port() }
    }

    fn keys() -> Vec<(ServiceKey, DestinationKey)> {
        let mark = |family| ServiceKey::Mark { mark: 4_294_967_295, family };
        vec![
            (address(Protocol::Tcp, "10.0.0.1:80"), server("10.0.0.2:80")),
            (address(Protocol::Udp, "[2001:db8::1]:53"), server("[2001:db8::2]:53")),
            (address(Protocol::Sctp, "10.0.0.1:0"), server("10.0.0.2:0")),
            (mark(Family::V4), server("10.0.0.2:8080")),
            (mark(Family::V6), server("[2001:db8::2]:8080")),
        ]
    }

    /// Every configuration of a service that the other parts of the program can want.
    fn services(family: Family) -> Vec<ServiceConfig> {
        let wide = match family {
            Family::V4 => Netmask::V4("255.255.255.0".parse().unwrap()),
            Family::V6 => Netmask::V6(64),
        };
        let mut all = Vec::new();
        for scheduler in ["rr", "wlc", "sh", "mh"] {
            for bits in 0..16 {
                let flags = ServiceFlags::from_bits_truncate(bits << 2);
                for (netmask, engine) in
                    [(None, None), (Some(Netmask::host(family)), None), (Some(wide), Some("sip".to_owned()))]
                {
                    let persistence =
                        netmask.map(|netmask| Persistence { timeout: 300, netmask, engine: engine.clone() });
                    all.push(ServiceConfig { flags, persistence, ..ServiceConfig::new(scheduler) });
                }
            }
        }
        all
    }

    fn destinations() -> Vec<DestinationConfig> {
        let methods = [ForwardingMethod::Masquerade, ForwardingMethod::DirectRoute, ForwardingMethod::Tunnel];
        let checksums = [Checksum::None, Checksum::Full, Checksum::Remote];
        let gue = checksums.map(|checksum| Tunnel::Gue { port: 5555, checksum });
        // `ipvsadm` refuses a remote checksum with GRE.
        let gre = [Checksum::None, Checksum::Full].map(|checksum| Tunnel::Gre { checksum });
        let mut all = Vec::new();
        for method in methods {
            for tunnel in [Tunnel::Ipip].into_iter().chain(gue).chain(gre) {
                for (weight, upper, lower) in [(1, 0, 0), (0, 20, 0), (DestinationConfig::MAX_WEIGHT, 20, 10)]
                {
                    all.push(DestinationConfig {
                        upper,
                        lower,
                        tunnel,
                        ..DestinationConfig::new(method, weight)
                    });
                }
            }
        }
        all
    }

    /// The words of a line, as `ipvsadm -R` reads them.
    struct Words<'a>(Vec<&'a str>);

    impl<'a> Words<'a> {
        /// The word after an option.
        fn value(&self, name: &str) -> Option<&'a str> {
            let place = self.0.iter().position(|word| *word == name)?;
            self.0.get(place + 1).copied()
        }

        fn has(&self, name: &str) -> bool {
            self.0.contains(&name)
        }

        fn key(&self) -> ServiceKey {
            let value = |name| self.value(name);
            match (value("-t"), value("-u"), value("--sctp-service"), value("-f")) {
                (Some(text), ..) => address(Protocol::Tcp, text),
                (_, Some(text), ..) => address(Protocol::Udp, text),
                (_, _, Some(text), _) => address(Protocol::Sctp, text),
                (.., Some(mark)) => ServiceKey::Mark {
                    mark: mark.parse().unwrap(),
                    // `ipvsadm` refuses -6 before -f.
                    family: if self.0.get(3) == Some(&"-6") { Family::V6 } else { Family::V4 },
                },
                _ => panic!("{:?}", self.0),
            }
        }

        fn service(&self, family: Family) -> ServiceConfig {
            let netmask = self.value("-M").map_or(Netmask::host(family), |mask| match family {
                Family::V4 => Netmask::V4(mask.parse().unwrap()),
                Family::V6 => Netmask::V6(mask.parse().unwrap()),
            });
            let engine = self.value("--pe").map(str::to_owned);
            let mut flags = self.value("-b").map(|flags| flags.parse().unwrap()).unwrap_or_default();
            if self.has("-o") {
                flags |= ServiceFlags::ONE_PACKET;
            }
            ServiceConfig {
                flags,
                persistence: self.value("-p").map(|timeout| Persistence {
                    timeout: timeout.parse().unwrap(),
                    netmask,
                    engine,
                }),
                ..ServiceConfig::new(self.value("-s").unwrap_or("wlc"))
            }
        }

        fn destination(&self) -> DestinationConfig {
            let method = match (self.has("-m"), self.has("-i")) {
                (true, _) => ForwardingMethod::Masquerade,
                (_, true) => ForwardingMethod::Tunnel,
                _ => ForwardingMethod::DirectRoute,
            };
            let number = |name, default| self.value(name).map_or(default, |value| value.parse().unwrap());
            let checksum = match (self.has("--tun-csum"), self.has("--tun-remcsum")) {
                (true, _) => Checksum::Full,
                (_, true) => Checksum::Remote,
                _ => Checksum::None,
            };
            let tunnel = match self.value("--tun-type") {
                Some("gue") => {
                    Tunnel::Gue { port: self.value("--tun-port").unwrap().parse().unwrap(), checksum }
                }
                Some("gre") => Tunnel::Gre { checksum },
                _ => Tunnel::Ipip,
            };
            DestinationConfig {
                upper: number("-x", 0),
                lower: number("-y", 0),
                tunnel,
                ..DestinationConfig::new(method, number("-w", 1))
            }
        }
    }

    fn read(line: &str) -> Operation {
        let words = Words(line.split(' ').collect());
        let key = words.key();
        let of = || server(words.value("-r").unwrap());
        match words.0[0] {
            "-A" => Operation::AddService { key, config: words.service(key.family()) },
            "-E" => Operation::EditService { key, config: words.service(key.family()) },
            "-D" => Operation::RemoveService { key },
            "-a" => Operation::AddDestination { service: key, key: of(), config: words.destination() },
            "-e" => Operation::EditDestination { service: key, key: of(), config: words.destination() },
            "-d" => Operation::RemoveDestination { service: key, key: of() },
            _ => panic!("{line}"),
        }
    }

    #[test]
    fn every_operation_is_read_back_as_it_was() {
        for (key, destination) in keys() {
            let mut all = vec![
                Operation::RemoveService { key },
                Operation::RemoveDestination { service: key, key: destination },
            ];
            for config in services(key.family()) {
                all.push(Operation::AddService { key, config: config.clone() });
                all.push(Operation::EditService { key, config });
            }
            for config in destinations() {
                all.push(Operation::AddDestination { service: key, key: destination, config });
                all.push(Operation::EditDestination { service: key, key: destination, config });
            }
            for operation in all {
                let line = operation.ipvsadm();
                assert_eq!(read(&line), operation, "{line}");
                assert!(!line.contains('#'), "{line}");
            }
        }
    }

    /// The forms of `ipvsadm --save -n`.
    #[test]
    fn lines_have_the_form_of_ipvsadm() {
        let tcp = address(Protocol::Tcp, "10.0.0.1:80");
        let config = ServiceConfig {
            flags: ServiceFlags::SCHEDULER_1 | ServiceFlags::SCHEDULER_2,
            persistence: Some(Persistence {
                timeout: 300,
                netmask: Netmask::V4("255.255.255.0".parse().unwrap()),
                engine: None,
            }),
            ..ServiceConfig::new("sh")
        };
        let line = Operation::AddService { key: tcp, config }.ipvsadm();
        assert_eq!(line, "-A -t 10.0.0.1:80 -s sh -p 300 -M 255.255.255.0 -b sh-fallback,sh-port");
        let sip = ServiceConfig {
            flags: ServiceFlags::ONE_PACKET,
            persistence: Some(Persistence {
                engine: Some("sip".to_owned()),
                ..Persistence::new(60, Family::V6)
            }),
            ..ServiceConfig::new("rr")
        };
        let key = address(Protocol::Udp, "[2001:db8::1]:5060");
        let line = Operation::EditService { key, config: sip }.ipvsadm();
        assert_eq!(line, "-E -u [2001:db8::1]:5060 -s rr -p 60 --pe sip -o");
        let tunnel = Tunnel::Gue { port: 5555, checksum: Checksum::Remote };
        let config =
            DestinationConfig { tunnel, ..DestinationConfig::new(ForwardingMethod::Tunnel, 100_000) };
        let key = DestinationKey { address: IpAddr::from([10, 0, 0, 2]), port: 80 };
        let operation = Operation::AddDestination { service: tcp, key, config };
        assert_eq!(
            operation.ipvsadm(),
            "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -i -w 100000 --tun-type gue --tun-port 5555 --tun-remcsum"
        );
        let mark = ServiceKey::Mark { mark: 5, family: Family::V6 };
        let removed = Operation::RemoveDestination { service: mark, key: server("[2001:db8::2]:0") };
        assert_eq!(removed.ipvsadm(), "-d -f 5 -6 -r [2001:db8::2]:0");
    }
}
