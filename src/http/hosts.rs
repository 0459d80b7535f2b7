//! The host names for which the listener answers. A web site that gives its own name the address of this machine could
//! otherwise read the state with the browser of an operator (DNS rebinding).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use hyper::header::HOST;
use hyper::http::uri::Authority;
use hyper::{Request, StatusCode, Version};

/// The accepted names, in lower case.
#[derive(Clone, Debug)]
pub(super) struct HostNames(BTreeSet<String>);

impl HostNames {
    /// Accepts the names of the settings, the name of this machine with and without its domain, and `localhost`.
    pub(super) fn new(settings: &[String], machine: &str) -> HostNames {
        let machine = machine.to_ascii_lowercase();
        let short = machine.split('.').next().unwrap_or_default().to_owned();
        let own = ["localhost".to_owned(), short, machine];
        HostNames(own.into_iter().chain(settings.iter().cloned()).filter(|name| !name.is_empty()).collect())
    }

    /// Whether the request is for this daemon.
    ///
    /// # Errors
    /// The status of the response, and the reason.
    pub(super) fn judge<B>(&self, request: &Request<B>) -> Result<(), (StatusCode, &'static str)> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let host = hosts.next();
        if host.is_none() && request.version() >= Version::HTTP_11 || hosts.next().is_some() {
            return Err((StatusCode::BAD_REQUEST, "the request needs exactly one Host header"));
        }
        let foreign = "unknown host name; use an IP address, localhost, the name of this machine, or a name of [http] hosts in the \
                       settings of the daemon";
        let foreign = Err((StatusCode::MISDIRECTED_REQUEST, foreign));
        // A request target with a scheme has a host, too.
        if request.uri().authority().is_some_and(|authority| !self.accepts(authority)) {
            return foreign;
        }
        match host.map(|host| host.to_str().ok().and_then(|host| host.parse::<Authority>().ok())) {
            None => Ok(()),
            Some(Some(authority)) if self.accepts(&authority) => Ok(()),
            Some(_) => foreign,
        }
    }

    fn accepts(&self, authority: &Authority) -> bool {
        let host = authority.host();
        let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_address = match inside {
            Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
            None => host.parse::<IpAddr>().is_ok(),
        };
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        !authority.as_str().contains('@') && (is_address || self.0.contains(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(target: &str, hosts: &[&str], version: Version) -> u16 {
        let mut request = Request::builder().uri(target).version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let names = HostNames::new(&["lb.example.net".to_owned()], "Lb1.site.example");
        names.judge(&request.body(()).unwrap()).map_or_else(|(status, _)| status.as_u16(), |()| 200)
    }

    #[test]
    fn only_own_names_and_addresses_are_accepted() {
        for (host, status) in [
            ("127.0.0.1", 200),
            ("127.0.0.1:9754", 200),
            ("192.0.2.7:80", 200),
            ("[::1]:9754", 200),
            ("[2001:db8::1]", 200),
            ("localhost", 200),
            ("LocalHost.:9754", 200),
            ("lb1", 200),
            ("lb1.site.example:9754", 200),
            ("lb.example.net", 200),
            ("evil.example", 421),
            ("lb1.evil.example", 421),
            ("localhost.evil.example", 421),
            ("127.0.0.1.evil.example", 421),
            ("lb.example.net.evil", 421),
            ("127.1", 421),
            ("[::1", 421),
            ("localhost@evil.example", 421),
            ("evil.example@localhost", 421),
            ("", 421),
        ] {
            assert_eq!(judged("/", &[host], Version::HTTP_11), status, "{host}");
        }
    }

    #[test]
    fn a_host_is_required_once_and_in_the_target_too() {
        assert_eq!(judged("/", &[], Version::HTTP_11), 400);
        assert_eq!(judged("/", &[], Version::HTTP_10), 200);
        assert_eq!(judged("/", &["localhost", "evil.example"], Version::HTTP_11), 400);
        assert_eq!(judged("http://evil.example/", &["localhost"], Version::HTTP_11), 421);
        assert_eq!(judged("http://evil.example/", &[], Version::HTTP_10), 421);
        assert_eq!(judged("http://localhost/", &["localhost"], Version::HTTP_11), 200);
    }
}
