//! Advice about lines that are valid but probably not intended. `check` and `-t` print it; `start` and `reload` do
//! not, as the original accepts these lines without a message.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Reader, tls};
use crate::config::ast::Assignment;
use crate::config::directive::{self, Key};
use crate::config::{CheckType, HttpMethod, Negotiate, Real, Virtual};
use crate::value::shown;
use crate::value::{ForwardingMethod, Protocol, VirtualId};

/// The last line of each directive of a virtual service.
pub(super) type Spans = BTreeMap<Key, Range<usize>>;

/// The schedulers of Linux 6.12.
const SCHEDULERS: &[&str] =
    &["rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "twos"];

/// Reports what is probably not intended in a virtual service.
pub(super) fn advise(v: &Virtual, spans: &Spans, head: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    let mut lint = Lint { v, spans, head: head.span(), reader };
    lint.servers();
    lint.ports();
    lint.what_is_checked();
    lint.commands();
    lint.requests();
    lint.logins();
    lint.names_of_hosts();
    lint.scheduling();
}

struct Lint<'a, 'r, 's> {
    v: &'a Virtual,
    spans: &'a Spans,
    head: Range<usize>,
    reader: &'a mut Reader<'r, 's>,
}

impl Lint<'_, '_, '_> {
    fn has(&self, key: Key) -> bool {
        self.spans.contains_key(&key)
    }

    /// Reports advice at the line of a directive, or at the head of the service where it is not written.
    fn advice(&mut self, key: Key, code: &'static str, message: impl Into<String>, help: impl Into<String>) {
        let span = self.spans.get(&key).unwrap_or(&self.head).clone();
        let found = self.reader.report.warning(span, message).code(code).help(help).as_advice();
        if let Some(row) = directive::of_key(key) {
            found.directive(row.name);
        }
    }

    fn servers(&mut self) {
        if !self.v.reals.is_empty() {
            return;
        }
        let message = match self.v.fallback {
            Some(_) => "this virtual service has no real server: the fallback answers every connection",
            None => "this virtual service has no real server: the kernel refuses every connection",
        };
        self.advice(Key::Real, "no-server", message, "add a line real=ADDRESS:PORT gate|masq|ipip");
    }

    /// Direct routing and tunnels keep the port of the virtual service (B07).
    fn ports(&mut self) {
        let Some(port) = self.v.id.port().filter(|_| self.v.check.checkport.is_none()) else { return };
        let is_other =
            |real: &&Real| real.method != ForwardingMethod::Masq && ![0, port].contains(&real.address.port());
        let mut reported = 0;
        // A range is many servers in one line.
        for real in self.v.reals.iter().filter(is_other) {
            if std::mem::replace(&mut reported, real.line) == real.line {
                continue;
            }
            let message = format!(
                "{} with {}: clients reach port {port} of the server, and the check goes to port {}",
                real.address,
                real.method,
                real.address.port()
            );
            let help = "write masq to translate the port, or write checkport for the check";
            let span = self.reader.report.line_span(real.line);
            let found = self.reader.report.warning(span, message).code("odd-value").help(help).as_advice();
            if let Some(row) = directive::of_key(Key::Real) {
                found.directive(row.name);
            }
        }
    }

    /// A negotiate check without a service checks nothing, as with the original.
    fn what_is_checked(&mut self) {
        let check = &self.v.check;
        // The combined check also connects.
        if check.checktype != CheckType::Negotiate
            || check.service != Negotiate::None
            || self.has(Key::Service)
        {
            return;
        }
        let what = match self.v.id {
            VirtualId::Address { address, .. } if Negotiate::of_port(address.port()) != Negotiate::None => {
                "a port that is written with leading zeros has".to_owned()
            }
            VirtualId::Address { address, .. } => format!("port {} has", address.port()),
            VirtualId::Mark { .. } => "a firewall mark has".to_owned(),
        };
        let message =
            format!("{what} no standard service, so nothing is checked and every server counts as up");
        self.advice(
            Key::Service,
            "nothing-checked",
            message,
            "add service=http, for example, or checktype=connect",
        );
    }

    fn commands(&mut self) {
        let runs = matches!(self.v.check.checktype, CheckType::External | CheckType::ExternalPerl);
        match (runs, self.has(Key::CheckCommand)) {
            (true, false) => self.advice(
                Key::CheckCommand,
                "nothing-checked",
                "an external check without checkcommand runs /bin/true, so every server counts as up",
                "add checkcommand=\"/path/of/command\"",
            ),
            (false, true) => {
                self.no_effect(Key::CheckCommand, "checkcommand", "checktype=external or external-perl");
            }
            _ => {}
        }
    }

    fn no_effect(&mut self, key: Key, name: &str, needs: &str) {
        if self.has(key) {
            let message = format!("{name} has no effect here: it requires {needs}");
            self.advice(key, "no-effect", message, "remove the line, or add what it requires");
        }
    }

    fn requests(&mut self) {
        let check = &self.v.check;
        let (negotiates, service, method) = (check.negotiates(), check.service, check.httpmethod);
        if !negotiates {
            self.no_effect(Key::Request, "request", "checktype=negotiate");
            self.no_effect(Key::Receive, "receive", "checktype=negotiate");
            return;
        }
        let receives = check.receive.is_some() || self.v.reals.iter().any(|real| real.receive.is_some());
        if service.is_http() && method == HttpMethod::Head && receives {
            self.advice(
                Key::HttpMethod,
                "conflict",
                "httpmethod=HEAD with receive: the answer to HEAD has no body that could match",
                "write httpmethod=GET, or remove receive",
            );
        }
        let escape = ["\\r", "\\t", "\\0", "\\x"].into_iter().find(|escape| check.request.contains(escape));
        if let (Negotiate::Simpletcp, Some(escape)) = (service, escape) {
            let message = format!("request: {escape} is sent as these two characters; only \\n is replaced");
            self.advice(
                Key::Request,
                "odd-value",
                message,
                "use checktype=external where other control characters are needed",
            );
        }
    }

    fn logins(&mut self) {
        let check = &self.v.check;
        let service = check.service;
        let logs_in = matches!(service, Negotiate::Mysql | Negotiate::Pgsql);
        if check.negotiates() && logs_in && check.credentials.login.is_empty() {
            let message =
                format!("service={} without login: the check gives an empty user name", service.as_str());
            let help = "add login=\"USER\" and passwd=\"…\", and database=\"NAME\" where there is one";
            self.advice(Key::Login, "missing-directive", message, help);
        }
    }

    fn names_of_hosts(&mut self) {
        let check = &self.v.check;
        let Some(host) = check.virtualhost.clone().filter(|_| check.negotiates() && check.service.is_http())
        else {
            return;
        };
        let is_host_character = |c: char| c.is_ascii_alphanumeric() || "-._:[]%".contains(c);
        let has_name = self.has(Key::TlsName) || tls::name_of_host(&host).is_some();
        if host.contains('/') {
            let message =
                format!("virtualhost={} is a URL; the Host header takes a host name", shown::url(&host));
            self.advice(
                Key::VirtualHost,
                "odd-value",
                message,
                "write the host name alone, and the path in request",
            );
        } else if !host.trim().chars().all(is_host_character) {
            let message = format!("virtualhost={host} has a character that a host name does not have");
            self.advice(
                Key::VirtualHost,
                "odd-value",
                message,
                "write the host name alone, without quotes inside",
            );
        } else if check.service == Negotiate::Https && !has_name {
            let message =
                format!("virtualhost={host} is not a host name, so TLS asks for no server name (SNI)");
            self.advice(
                Key::VirtualHost,
                "odd-value",
                message,
                "write a host name, or add `#rs: tlsname=\"…\"`",
            );
        }
    }

    fn scheduling(&mut self) {
        let scheduling = &self.v.scheduling;
        let scheduler = scheduling.scheduler.clone();
        let is_tcp = matches!(self.v.id, VirtualId::Address { protocol: Protocol::Tcp, .. });
        let (ops, persists) = (scheduling.ops, scheduling.persistent.is_some());
        if !SCHEDULERS.contains(&scheduler.as_str()) {
            let near = directive::nearest_word(&scheduler, SCHEDULERS.iter().copied());
            let help = match near {
                Some(near) => format!("did you mean {near}? The kernel has {}", SCHEDULERS.join(", ")),
                None => format!("the kernel has {}", SCHEDULERS.join(", ")),
            };
            let message = format!(
                "{scheduler} is not a scheduler of the Linux kernel; without a module for it the service cannot be added"
            );
            self.advice(Key::Scheduler, "unknown-scheduler", message, help);
        }
        if !persists {
            self.no_effect(Key::Netmask, "netmask", "persistent");
        }
        if ops && is_tcp {
            self.no_effect(Key::Ops, "ops", "protocol=udp, or a firewall mark");
        }
    }
}
