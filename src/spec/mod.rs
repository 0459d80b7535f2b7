//! The spec of a [`Config`]: the distinct checks, and the servers that use each.

mod build;
mod describe;
mod probe;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::value::VirtualId;

pub use crate::config::{
    CheckType, Config, Fallback, HttpMethod, Negotiate, Netmask, Real, Redirects, Timeouts, Tunnel, Virtual,
};
pub use probe::{
    DatagramProbe, Dialogue, DialogueProbe, DnsProbe, Effort, ExternalProbe, HttpProbe, LdapProbe, Probe,
    ProbeAction, RadiusProbe, Scheme, SimpleTcpProbe, SqlProbe, Transport,
};

/// A configuration with its checks. A copy shares them.
#[derive(Clone, Debug)]
pub struct Spec(Arc<SpecParts>);

#[derive(Debug)]
struct SpecParts {
    config: Arc<Config>,
    /// Index into `checks` for each real server of each virtual service. None for `checktype=off`.
    assignments: Vec<Vec<Option<usize>>>,
    checks: Vec<Check>,
    /// Indices of `checks` in the order of their keys.
    by_key: Vec<usize>,
    /// Servers of an earlier configuration that stay for a while, at the end of their virtual services.
    leaving: BTreeSet<ServerRef>,
    /// Index of each virtual service in the configuration.
    index: BTreeMap<VirtualId, usize>,
    /// For each virtual service its servers by destination.
    destinations: Vec<Destinations>,
    /// Servers whose destination is in several lines, each with all servers of these lines.
    twins: BTreeMap<ServerRef, Vec<ServerRef>>,
}

/// Indices of the real servers of a virtual service, by address and port in the kernel's table.
type Destinations = BTreeMap<SocketAddr, Vec<usize>>;

/// One check, run once for all servers of all virtual services that use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The identity of the check.
    pub key: Arc<CheckKey>,
    /// The servers that use it, in the order of the file.
    pub members: Vec<ServerRef>,
}

/// The identity of a check. Servers with equal keys share a check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckKey {
    /// The probe. For a combined check the negotiation.
    pub probe: Arc<Probe>,
    /// For a combined check: the connects after each successful negotiation.
    pub combined: Option<Combined>,
    /// Time from the start of one run to the start of the next.
    pub interval: Duration,
}

/// The second half of a combined check (`checktype=3`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Combined {
    /// Number of connects after each successful negotiation.
    pub count: u32,
    /// The connect probe.
    pub probe: Arc<Probe>,
}

/// The place of a real server in the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerRef {
    /// Index of the virtual service in the configuration.
    pub virtual_index: usize,
    /// Index of the real server in that virtual service.
    pub real_index: usize,
}

impl Spec {
    /// Derives the checks of a configuration.
    #[must_use]
    pub fn new(config: Arc<Config>) -> Spec {
        build::spec(config, BTreeMap::new())
    }

    /// Adds servers of an earlier spec that stay for a while, each with its earlier check.
    #[must_use]
    pub fn with_leaving(&self, old: &Spec, servers: &[ServerRef]) -> Spec {
        let mut config = Config::clone(&self.0.config);
        let mut checks = BTreeMap::new();
        for member in servers {
            let (of, real) = old.member(*member);
            let place = config.virtuals.iter_mut().enumerate().find(|(_, v)| v.id == of.id);
            let Some((virtual_index, v)) = place else { continue };
            let real_index = v.reals.len();
            v.reals.push(real.clone());
            let check = old.check_of(*member).map(|check| Arc::clone(&check.key));
            checks.insert(ServerRef { virtual_index, real_index }, check);
        }
        build::spec(Arc::new(config), checks)
    }

    /// Adds services at the end.
    #[must_use]
    pub fn with_services(&self, more: Vec<Virtual>) -> Spec {
        let mut config = Config::clone(&self.0.config);
        config.virtuals.extend(more);
        let check = |member: &ServerRef| self.check_of(*member).map(|check| Arc::clone(&check.key));
        let leaving = self.0.leaving.iter().map(|member| (*member, check(member))).collect();
        build::spec(Arc::new(config), leaving)
    }

    /// The spec of a configuration without some of its services, and with some of an earlier one.
    #[must_use]
    pub fn shared(
        config: &Config,
        without: &BTreeSet<VirtualId>,
        with: impl Iterator<Item = Virtual>,
    ) -> Spec {
        let mut config = config.clone();
        config.virtuals.retain(|v| !without.contains(&v.id));
        config.virtuals.extend(with);
        Spec::new(Arc::new(config))
    }

    /// Whether a server belongs to an earlier configuration and stays for a while.
    #[must_use]
    pub fn is_leaving(&self, member: ServerRef) -> bool {
        self.0.leaving.contains(&member)
    }

    /// The servers of an earlier configuration that stay for a while.
    #[must_use]
    pub fn leaving(&self) -> &BTreeSet<ServerRef> {
        &self.0.leaving
    }

    /// All servers with the same destination as this one. None if it is the only one.
    #[must_use]
    pub fn twins(&self, member: ServerRef) -> &[ServerRef] {
        self.0.twins.get(&member).map_or(&[], Vec::as_slice)
    }

    /// Maximum time that a leaving server of a virtual service stays: the longest deadline of its checks, plus a
    /// second.
    #[must_use]
    pub fn leaving_time(&self, virtual_index: usize) -> Duration {
        let checks =
            self.0.assignments[virtual_index].iter().flatten().map(|check| &self.0.checks[*check].key);
        let deadline = |key: &Arc<CheckKey>| {
            let connect = key.combined.as_ref().map_or(Duration::ZERO, |combined| combined.probe.deadline);
            key.probe.deadline.max(connect)
        };
        checks.map(deadline).max().unwrap_or_default() + Duration::from_secs(1)
    }

    /// The configuration of the spec.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.0.config
    }

    /// The distinct checks.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.0.checks
    }

    /// For each check the index of the check with the same key in an earlier spec. None if that has no such check.
    #[must_use]
    pub fn same_checks(&self, old: &Spec) -> Vec<Option<usize>> {
        let mut same = vec![None; self.0.checks.len()];
        let mut earlier = old.0.by_key.iter().copied().peekable();
        for index in &self.0.by_key {
            let key = &self.0.checks[*index].key;
            while earlier.next_if(|old_index| old.0.checks[*old_index].key < *key).is_some() {}
            same[*index] = earlier.next_if(|old_index| old.0.checks[*old_index].key == *key);
        }
        same
    }

    /// The virtual services, in the order of the file.
    #[must_use]
    pub fn virtuals(&self) -> &[Virtual] {
        &self.0.config.virtuals
    }

    /// Index of the virtual service with this id.
    #[must_use]
    pub fn virtual_index(&self, id: VirtualId) -> Option<usize> {
        self.0.index.get(&id).copied()
    }

    /// The virtual service with this id.
    #[must_use]
    pub fn virtual_of(&self, id: VirtualId) -> Option<&Virtual> {
        self.virtual_index(id).map(|index| &self.0.config.virtuals[index])
    }

    /// The real servers of a virtual service with this address and port in the kernel's table, in the order of the
    /// file.
    pub fn servers_at(
        &self,
        virtual_index: usize,
        destination: SocketAddr,
    ) -> impl Iterator<Item = ServerRef> + '_ {
        let places = self.0.destinations[virtual_index].get(&destination).map_or(&[][..], Vec::as_slice);
        places.iter().map(move |real_index| ServerRef { virtual_index, real_index: *real_index })
    }

    /// The virtual service and the real server of a member.
    #[must_use]
    pub fn member(&self, member: ServerRef) -> (&Virtual, &Real) {
        let v = &self.0.config.virtuals[member.virtual_index];
        (v, &v.reals[member.real_index])
    }

    /// The check of a server. None for `checktype=off`.
    #[must_use]
    pub fn check_of(&self, member: ServerRef) -> Option<&Check> {
        self.check_index(member).map(|index| &self.0.checks[index])
    }

    /// Index in [`Spec::checks`] of the check of a server. None for `checktype=off`.
    #[must_use]
    pub fn check_index(&self, member: ServerRef) -> Option<usize> {
        self.0.assignments[member.virtual_index][member.real_index]
    }

    /// All real servers of all virtual services, in the order of the file.
    pub fn members(&self) -> impl Iterator<Item = ServerRef> + '_ {
        self.0.config.virtuals.iter().enumerate().flat_map(|(virtual_index, v)| {
            (0..v.reals.len()).map(move |real_index| ServerRef { virtual_index, real_index })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Answers};

    fn spec(text: &str) -> Spec {
        let config = config::load(text.as_bytes(), &Answers::new("director")).config.unwrap();
        Spec::new(Arc::new(config))
    }

    /// Number of checks of one server in two virtual services, of which the second has more directives.
    fn checks(service: &str, more: &str) -> usize {
        let block = |port: u16, more: &str| {
            format!("virtual=10.0.0.1:{port}\n\treal=10.0.0.2:80 masq\n\tservice={service}\n{more}")
        };
        spec(&format!("{}{}", block(80, ""), block(81, more))).checks().len()
    }

    #[test]
    fn same_checks_are_found_by_key() {
        let block = |host: u8, more: &str| {
            format!("virtual=10.0.0.{host}:80\n\treal=10.0.1.{host}:80 masq\n\tservice=http\n{more}")
        };
        let old = spec(&[block(3, ""), block(1, ""), block(2, "\tchecktype=off\n")].concat());
        let new = spec(&[block(2, ""), block(1, "\trequest=\"x\"\n"), block(3, ""), block(4, "")].concat());
        assert_eq!(new.same_checks(&old), [None, None, Some(0), None]);
        assert_eq!(old.same_checks(&new), [Some(2), None]);
        assert_eq!(old.same_checks(&old), [Some(0), Some(1)]);
    }

    fn request(service: &str, own: &str) -> String {
        let text = format!(
            "virtual=10.0.0.1:80\n\treal=10.0.0.2:8080 masq 1 {own}\n\tservice={service}\n\trequest=all\n"
        );
        let spec = spec(&text.replace("request=all", "request=\"all\""));
        match &spec.checks()[0].key.probe.action {
            ProbeAction::Http(http) => http.request.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_servers_own_request_of_the_same_scheme_is_a_whole_url() {
        assert_eq!(request("http", ""), "/all");
        assert_eq!(request("http", "\"own\",\"x\""), "/own");
        assert_eq!(request("http", "\"http://other/x\",\"x\""), "http://other/x");
        assert_eq!(request("http", "\"login?return=https://x/\",\"x\""), "/login?return=https://x/");
        assert_eq!(request("https", "\"https://other/x\",\"x\""), "https://other/x");
        assert_eq!(request("http_proxy", ""), "all");
        assert_eq!(request("http_proxy", "\"http://other/x\",\"x\""), "http://other/x");
        // Through the server as its own proxy.
        assert_eq!(request("http_proxy", "\"own\",\"x\""), "http://10.0.0.2:8080/own");
    }

    /// If only `virtualhost` is set, TLS uses the name in it.
    #[test]
    fn the_name_for_tls_is_that_of_the_host_header() {
        let name = |line: &str| {
            let text = format!("virtual=10.0.0.1:443\n\treal=10.0.0.2:443 masq\n\tservice=https\n\t{line}\n");
            match &spec(&text).checks()[0].key.probe.action {
                ProbeAction::Http(http) => http.tls.server_name.clone(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(name("virtualhost=www.example.net"), Some("www.example.net".to_owned()));
        assert_eq!(name("virtualhost=www.example.net:8443"), Some("www.example.net".to_owned()));
        assert_eq!(name("virtualhost=www.example.net # main"), Some("www.example.net".to_owned()));
        assert_eq!(name("virtualhost=a b"), None);
    }

    /// R21
    #[test]
    fn the_flags_are_those_of_the_scheduler() {
        let flags = |lines: &str| {
            let text = format!("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n{lines}");
            let config = config::load(text.as_bytes(), &Answers::new("director")).config?;
            config.virtuals[0].scheduling.schedflags.clone()
        };
        let given = |text: &str| Some(text.to_owned());
        assert_eq!(flags("\tschedflags=sh-port,sh-fallback\n\tscheduler=sh\n"), given("sh-port,sh-fallback"));
        assert_eq!(flags("\tscheduler=mh\n\tschedflags=\"mh-port\"\n"), given("mh-port"));
        assert_eq!(flags("\tscheduler=rr\n\tschedflags=flag-1,,flag-3,\n"), given("flag-1,flag-3"));
        assert_eq!(flags("\tscheduler=rr\n\tschedflags=sh-port\n"), None);
        assert_eq!(flags("\tscheduler=sh\n\tschedflags=sh-prot\n"), None);
    }

    /// Also between the lines of a virtual service, where the original sees a comment.
    #[test]
    fn what_stands_at_the_begin_of_a_line_is_for_all() {
        let block = |host: u8| format!("virtual=10.0.0.{host}:443\n\treal=10.0.1.{host}:443 masq\n");
        let spec = spec(&format!("{}#rs: tlswarn=3\n\tservice=https\n{}", block(1), block(2)));
        let days: Vec<u32> = spec.virtuals().iter().map(|v| v.tls.warn_days).collect();
        assert_eq!(days, [3, 3]);
        assert_eq!(spec.virtuals()[0].check.service, Negotiate::Https);
    }

    /// B09
    #[test]
    fn what_differs_in_anything_that_counts_is_a_check_of_its_own() {
        assert_eq!(checks("http", ""), 1);
        assert_eq!(checks("http", "\tscheduler=rr\n\tfailurecount=3\n"), 1);
        for more in
            ["httpmethod=head", "negotiatetimeout=7", "request=\"x\"", "virtualhost=x", "checkport=81"]
        {
            assert_eq!(checks("http", &format!("\t{more}\n")), 2, "{more}");
        }
        for more in ["login=\"joe\"", "passwd=\"x\""] {
            assert_eq!(checks("imap", &format!("\t{more}\n")), 2, "{more}");
            // Without a login in the protocol it makes no difference.
            assert_eq!(checks("smtp", &format!("\t{more}\n")), 1, "{more}");
        }
        for more in ["#rs: tlsname=\"x\"", "#rs: tlsverify=yes", "#rs: tlswarn=3"] {
            assert_eq!(checks("https", &format!("\t{more}\n")), 2, "{more}");
            assert_eq!(checks("pgsql", &format!("\t{more}\n")), 2, "{more}");
            // Without TLS it makes no difference.
            assert_eq!(checks("smtp", &format!("\t{more}\n")), 1, "{more}");
            assert_eq!(checks("mysql", &format!("\t{more}\n")), 1, "{more}");
        }
        for service in ["smtp", "mysql", "pgsql", "ldap"] {
            assert_eq!(checks(service, "\t#rs: starttls=yes\n"), 2, "{service}");
        }
        assert_eq!(checks("radius", "\tsecret=\"x\"\n"), 2);
        assert_eq!(checks("pgsql", "\tdatabase=\"x\"\n"), 2);
    }

    /// B13: `fork=yes` starts no processes. It only makes the interval of a virtual service effective.
    #[test]
    fn fork_lets_the_interval_of_a_virtual_count() {
        let of = |fork: &str| {
            let text = format!(
                "fork={fork}\ncheckinterval=9\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 masq\n\tcheckinterval=3\n"
            );
            spec(&text).checks()[0].key.interval.as_secs()
        };
        assert_eq!((of("yes"), of("no")), (3, 9));
    }
}
