//! Reads a virtual service: its lines, what it inherits, and what follows from its port.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::address::{self, WrittenId};
use super::globals::Outside;
use super::judge::{self, Mentioned};
use super::lint::{self, Spans};
use super::place::{Fill, ValueSlot};
use super::shared::SharedValues;
use super::{Reader, ValueError, real, service, tls};
use crate::config::ast::{Assignment, Block};
use crate::config::directive::Key;
use crate::config::{CheckSpec, Fallback, Negotiate, Real, Scheduling, ServiceInfo, Virtual};
use crate::value::{Family, Protocol, Secret, VirtualId};

/// Reads a block. None if its own address is wrong.
pub(super) fn read(block: &Block<'_>, outside: &Outside, reader: &mut Reader<'_, '_>) -> Option<Virtual> {
    let family = match block.head.directive.key {
        Key::Virtual6 => Family::V6,
        _ => Family::V4,
    };
    let head = address::head(&block.head, family, reader);
    let head = reader.take(&block.head, head);
    (reader.family, reader.mark) = (family, matches!(head, Some(WrittenId::Mark(_))));
    let mut lines = Lines::new(head.as_ref());
    for line in &block.lines {
        lines.take(line, reader);
    }
    let head = head?;
    let identity = identity(&head, lines.protocol, family, reader);
    let (id, service) = reader.take(&block.head, identity)?;
    Some(lines.finish(&block.head, id, service, outside, reader))
}

/// The identity, and the default `service` of its port.
fn identity(
    head: &WrittenId,
    protocol: Protocol,
    family: Family,
    reader: &Reader<'_, '_>,
) -> Result<(VirtualId, Negotiate), ValueError> {
    let (host, port) = match head {
        WrittenId::Mark(mark) => return Ok((VirtualId::Mark { mark: *mark, family }, Negotiate::None)),
        WrittenId::Address { host, port } => (host, port),
    };
    let address = address::host(host, family, reader);
    let number = address::port(port, Some(protocol), reader);
    let wrong = |what: &str| ValueError::new("invalid address for virtual service").help(what);
    let address: IpAddr = address.ok_or_else(|| {
        wrong(&format!("write an address of the right family, or fix the name: {host} cannot be resolved"))
    })?;
    let number = number
        .ok_or_else(|| wrong(&format!("write a port number: {port} is not a known {protocol} service")))?;
    // As in the original, a port with leading zeros has no default service.
    let plain = !port.starts_with('0');
    let service = if plain { Negotiate::of_port(number) } else { Negotiate::None };
    Ok((VirtualId::Address { protocol, address: SocketAddr::new(address, number) }, service))
}

/// The values of the lines of a block, in parts by concern.
struct Lines {
    protocol: Protocol,
    reals: Vec<Real>,
    /// Place of each real server in the file.
    real_spans: Vec<Range<usize>>,
    scheduling: Scheduling,
    check: CheckSpec,
    tlsname: Option<String>,
    notes: ServiceInfo,
    shared: SharedValues,
    /// Place of the last accepted line of each directive.
    spans: Spans,
}

impl Lines {
    fn new(head: Option<&WrittenId>) -> Lines {
        let domain = |head: &WrittenId| matches!(head, WrittenId::Address { port, .. } if port == "53" || port == "domain");
        Lines {
            protocol: if head.is_some_and(domain) { Protocol::Udp } else { Protocol::Tcp },
            reals: Vec::new(),
            real_spans: Vec::new(),
            scheduling: Scheduling::default(),
            check: CheckSpec::default(),
            tlsname: None,
            notes: ServiceInfo::default(),
            shared: SharedValues::default(),
            spans: Spans::new(),
        }
    }

    /// Reads a line.
    fn take(&mut self, line: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
        let key = line.directive.key;
        let of_family = matches!(key, Key::Real | Key::Real6 | Key::Fallback | Key::Fallback6);
        if (of_family && !fits(line, reader)) || !reader.put(line, self.place(key)) {
            return;
        }
        self.spans.insert(key, line.span());
        self.real_spans.resize(self.reals.len(), line.span());
        if key == Key::Service {
            self.log_in_by_default(reader);
        }
    }

    /// Sets the default login of a service. Only an explicit `service=` has one.
    fn log_in_by_default(&mut self, reader: &Reader<'_, '_>) {
        let own = || format!("ldirectord@{}", reader.names.hostname());
        let credentials = &mut self.check.credentials;
        match self.check.service {
            Negotiate::Ftp if credentials.login.is_empty() => "anonymous".clone_into(&mut credentials.login),
            Negotiate::Sip if credentials.login.is_empty() => credentials.login = own(),
            _ => {}
        }
        if self.check.service == Negotiate::Ftp && credentials.passwd.reveal().is_empty() {
            credentials.passwd = Secret::new(own());
        }
    }

    /// Adds the inherited values.
    fn finish(
        mut self,
        head: &Assignment<'_>,
        id: VirtualId,
        expected: Negotiate,
        outside: &Outside,
        reader: &mut Reader<'_, '_>,
    ) -> Virtual {
        self.complete(expected, reader);
        let fallback = fallback(id, [&self.shared, &outside.shared], reader);
        let mentioned = self.mentioned(outside);
        let tlsname = self.tlsname.or_else(|| self.check.virtualhost.as_deref().and_then(tls::name_of_host));
        let (own, all) = (self.shared, &outside.shared);
        let v = Virtual {
            id,
            line: head.line,
            reals: self.reals,
            fallback,
            timing: own.timing(all, &outside.own),
            tls: own.tls.resolve(&all.tls, tlsname, reader),
            alert: own.alert(all),
            fallbackcommand: own.fallbackcommand.or_else(|| all.fallbackcommand.clone()),
            quiescent: own.quiescent.or(all.quiescent).unwrap_or(false),
            cleanstop: own.cleanstop.or(all.cleanstop).unwrap_or(true),
            failurecount: own.failurecount.or(all.failurecount).unwrap_or(1),
            scheduling: self.scheduling,
            check: self.check,
            notes: self.notes,
        };
        judge::judge(&v, &mentioned, head, reader);
        lint::advise(&v, &self.spans, head, reader);
        real::warn_of_twins(&v, &self.real_spans, reader);
        v
    }

    /// Sets what depends on several lines.
    fn complete(&mut self, expected: Negotiate, reader: &mut Reader<'_, '_>) {
        if !self.spans.contains_key(&Key::Service) {
            self.check.service = expected;
        }
        if let (true, Some(span)) = (self.check.starttls, self.spans.get(&Key::StartTls)) {
            tls::judge_starttls(self.check.service, span.clone(), reader);
        }
        if let (Some(list), Some(span)) = (&self.scheduling.schedflags, self.spans.get(&Key::SchedFlags)) {
            let flags = service::sched_flags(list, &self.scheduling.scheduler, span.clone(), reader);
            self.scheduling.schedflags = flags;
        }
    }

    fn mentioned(&self, outside: &Outside) -> Mentioned {
        Mentioned {
            idle_interval: self.shared.checkinterval.is_some() && !outside.own.fork,
            redirects: self.spans.contains_key(&Key::Redirects),
            tls: self.shared.tls.is_something() || self.tlsname.is_some(),
        }
    }
}

impl Fill for Lines {
    fn place(&mut self, key: Key) -> Option<&mut dyn ValueSlot> {
        match key {
            Key::Protocol => Some(&mut self.protocol),
            Key::Real | Key::Real6 => Some(&mut self.reals),
            Key::TlsName => Some(&mut self.tlsname),
            _ => (self.shared.place(key))
                .or_else(|| self.scheduling.place(key))
                .or_else(|| self.check.place(key))
                .or_else(|| self.notes.place(key)),
        }
    }
}

/// Whether the directive matches the family of its block: `real6` and `fallback6` are for `virtual6` only.
fn fits(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> bool {
    let name = line.directive.name;
    let (bare, six) = match name.strip_suffix('6') {
        Some(bare) => (bare, true),
        None => (name, false),
    };
    let right = six == (reader.family == Family::V6);
    if !right {
        let suffix = if six { "" } else { "6" };
        let message = format!("cannot specify \"{name}\" here.  please use \"{bare}{suffix}\" instead");
        reader.report.error(line.span(), message).code("wrong-family").directive(name);
    }
    right
}

/// The fallback server: that of the block, else that of the file, for the family and protocol of the service.
fn fallback(id: VirtualId, mentioned: [&SharedValues; 2], reader: &mut Reader<'_, '_>) -> Option<Fallback> {
    let protocol = match id {
        VirtualId::Address { protocol, .. } => Some(protocol),
        VirtualId::Mark { .. } => None,
    };
    let (text, directive) = mentioned.into_iter().find_map(|shared| match id.family() {
        Family::V4 => shared.fallback.as_ref().map(|text| (text, "fallback")),
        Family::V6 => shared.fallback6.as_ref().map(|text| (text, "fallback6")),
    })?;
    let resolved = text.resolve(protocol, reader);
    if resolved.is_none() {
        reader.report.error(text.span.clone(), "invalid port for fallback server").directive(directive);
    }
    resolved
}
