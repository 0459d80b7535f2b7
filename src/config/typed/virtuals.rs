//! A virtual with its lines: what it says, what it inherits, what follows from its port.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use super::address::{self, Head};
use super::globals::Outside;
use super::service::{SchedFlags, check_port, check_type, dns_type, netmask, protocol};
use super::shared::Shared;
use super::{Reader, Wrong, kernel, real, set, tls, value};
use crate::config::ast::{Assignment, Block};
use crate::config::diagnostic::Original;
use crate::config::directive::Key;
use crate::config::source::is_word;
use crate::config::{
    Alert, CheckType, Fallback, HttpMethod, Negotiate, Netmask, Real, Redirects, Tunnel, Virtual,
};
use crate::value::{DnsType, Family, Pattern, Protocol, Secret, VirtualId};

/// The longest persistence that `ipvsadm` sets: 31 days.
const MAX_PERSISTENT: u64 = 31 * 24 * 60 * 60;
/// The deadlines when nothing is said.
const CHECKTIMEOUT: Duration = Duration::from_secs(5);
const NEGOTIATETIMEOUT: Duration = Duration::from_secs(30);

/// Understands a block; nothing when its own address is wrong.
pub(super) fn read(block: &Block<'_>, outside: &Outside, reader: &mut Reader<'_, '_>) -> Option<Virtual> {
    let family = match block.head.directive.key {
        Key::Virtual6 => Family::V6,
        _ => Family::V4,
    };
    let head = address::head(&block.head, family, reader);
    let head = reader.take(&block.head, head);
    let mut draft = Draft::new(family, head.as_ref());
    for line in &block.lines {
        draft.line(line, reader);
    }
    let head = head?;
    let identity = identity(&head, draft.protocol, family, reader);
    let (id, service) = reader.take(&block.head, identity)?;
    Some(draft.finish(&block.head, id, service, outside, reader))
}

/// The identity, and the service that is expected there.
fn identity(
    head: &Head,
    protocol: Protocol,
    family: Family,
    reader: &Reader<'_, '_>,
) -> Result<(VirtualId, Negotiate), Wrong> {
    let (host, port) = match head {
        Head::Mark(mark) => return Ok((VirtualId::Mark { mark: *mark, family }, Negotiate::None)),
        Head::Address { host, port } => (host, port),
    };
    let address = address::host(host, family, reader);
    let number = address::port(port, Some(protocol), reader);
    let wrong = |what: &str| Wrong::new("invalid address for virtual service").help(what);
    let address: IpAddr = address.ok_or_else(|| {
        wrong(&format!("{host} is no address of this family, and no host of this name is known"))
    })?;
    let number = number.ok_or_else(|| {
        wrong(&format!("{port} is no port, and no {protocol} service of this name is known"))
    })?;
    // A port with leading zeros is that port, but no service is expected there: so does the original.
    let plain = !port.starts_with('0');
    let service = if plain { Negotiate::of_port(number) } else { Negotiate::None };
    Ok((VirtualId::Address { protocol, address: SocketAddr::new(address, number) }, service))
}

/// A virtual of which not all lines are read yet.
struct Draft {
    family: Family,
    mark: bool,
    protocol: Protocol,
    shared: Shared,
    reals: Vec<Real>,
    /// Where each of them stands in the file.
    real_spans: Vec<Range<usize>>,
    scheduler: String,
    schedflags: Option<SchedFlags>,
    persistent: Option<u32>,
    netmask: Option<Netmask>,
    persistengine: Option<String>,
    tunnel: Option<Tunnel>,
    ops: bool,
    checktype: CheckType,
    service: Option<Negotiate>,
    checkcommand: String,
    checkport: Option<u16>,
    request: String,
    receive: Option<Pattern>,
    httpmethod: HttpMethod,
    redirects: Option<Redirects>,
    virtualhost: Option<String>,
    tlsname: Option<String>,
    starttls: Option<Range<usize>>,
    login: String,
    passwd: Secret,
    passwdfile: Option<Secret>,
    database: String,
    secret: Secret,
    secretfile: Option<Secret>,
    dnstype: Option<DnsType>,
    udpprobe: Option<Vec<u8>>,
    udpreply: Option<Pattern>,
    monitorfile: Option<PathBuf>,
    servicename: Option<String>,
    comment: Option<String>,
}

impl Draft {
    fn new(family: Family, head: Option<&Head>) -> Draft {
        let domain =
            |head: &Head| matches!(head, Head::Address { port, .. } if port == "53" || port == "domain");
        Draft {
            family,
            mark: matches!(head, Some(Head::Mark(_))),
            protocol: if head.is_some_and(domain) { Protocol::Udp } else { Protocol::Tcp },
            shared: Shared::default(),
            reals: Vec::new(),
            real_spans: Vec::new(),
            scheduler: "wrr".to_owned(),
            schedflags: None,
            persistent: None,
            netmask: None,
            persistengine: None,
            tunnel: None,
            ops: false,
            checktype: CheckType::Negotiate,
            service: None,
            checkcommand: "/bin/true".to_owned(),
            checkport: None,
            request: "/".to_owned(),
            receive: None,
            httpmethod: HttpMethod::Get,
            redirects: None,
            virtualhost: None,
            tlsname: None,
            starttls: None,
            login: String::new(),
            passwd: Secret::default(),
            passwdfile: None,
            database: String::new(),
            secret: Secret::default(),
            secretfile: None,
            dnstype: None,
            udpprobe: None,
            udpreply: None,
            monitorfile: None,
            servicename: None,
            comment: None,
        }
    }

    fn line(&mut self, line: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
        match line.directive.key {
            Key::Real | Key::Real6 | Key::Fallback | Key::Fallback6 if !self.fits(line, reader) => {}
            Key::Real | Key::Real6 => {
                let reals = real::read(line, self.family, reader);
                self.reals.extend(reader.take(line, reals).into_iter().flatten());
                self.real_spans.resize(self.reals.len(), line.span());
            }
            _ if self.shared.take(line, reader) || self.kernel(line, reader) || self.check(line, reader) => {}
            Key::MonitorFile => {
                set(&mut self.monitorfile, value::text(line).map(|text| value::file(&text)), line, reader);
            }
            Key::ServiceName => self.servicename = Some(line.value.text().to_owned()),
            Key::Comment => self.comment = Some(line.value.text().to_owned()),
            _ => reader.refuse(line, Wrong::new(line.directive.refusal).help(line.directive.help)),
        }
    }

    /// `real6` and `fallback6` belong to `virtual6`, and only there.
    fn fits(&self, line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> bool {
        let name = line.directive.name;
        let (bare, six) = match name.strip_suffix('6') {
            Some(bare) => (bare, true),
            None => (name, false),
        };
        let right = six == (self.family == Family::V6);
        if !right {
            let suffix = if six { "" } else { "6" };
            let message = format!("cannot specify \"{name}\" here.  please use \"{bare}{suffix}\" instead");
            reader.report.error(line.span(), message).code("wrong-family").directive(name);
        }
        right
    }

    /// The directives that are for the kernel.
    fn kernel(&mut self, line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> bool {
        match line.directive.key {
            Key::Scheduler => {
                let name = value::first_run(line.value.text(), |c| c.is_ascii_lowercase());
                match name.map(|run| line.value.text()[run].to_owned()) {
                    Some(name) => {
                        if name != line.value.text().trim_end() {
                            let message = format!("scheduler is read as {name}");
                            reader.warn(line, 0..line.value.text().len(), message, "write its name alone");
                        }
                        self.scheduler = name;
                    }
                    None => reader.refuse(line, Wrong::new(line.directive.refusal)),
                }
            }
            Key::SchedFlags => {
                set(&mut self.schedflags, SchedFlags::read(line), line, reader);
            }
            Key::Persistent => self.persistent(line, reader),
            Key::Netmask => set(&mut self.netmask, netmask(line, self.family), line, reader),
            Key::Protocol => {
                if let Some(protocol) = reader.take(line, protocol(line, self.mark)) {
                    self.protocol = protocol.unwrap_or(self.protocol);
                }
            }
            Key::PersistEngine => set(&mut self.persistengine, kernel::engine(line), line, reader),
            Key::Tunnel => set(&mut self.tunnel, kernel::tunnel(line), line, reader),
            Key::Ops => self.ops = reader.take(line, value::yes_no(line)).unwrap_or(self.ops),
            _ => return false,
        }
        true
    }

    fn persistent(&mut self, line: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
        let Some(seconds) = reader.take(line, value::number(line)) else { return };
        let all = 0..line.value.text().len();
        if seconds == 0 {
            reader.warn(
                line,
                all,
                "persistent=0 makes no client persistent",
                "remove the line, or give seconds",
            );
            self.persistent = None;
            return;
        }
        if seconds > MAX_PERSISTENT {
            reader.warn(line, all, "persistent is at most 31 days; these are used", "give at most 2678400");
        }
        self.persistent = u32::try_from(seconds.min(MAX_PERSISTENT)).ok();
    }

    /// The directives that say what is checked.
    fn check(&mut self, line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> bool {
        let text = line.value.text();
        let inner = |value: Result<Range<usize>, Wrong>| value.map(|range| text[range].to_owned());
        match line.directive.key {
            Key::CheckType => take(&mut self.checktype, check_type(line), line, reader),
            Key::Service => {
                let known: Vec<&str> = Negotiate::ALL.iter().map(|row| row.1).collect();
                let service = value::one_of(line, &known, Negotiate::from_word);
                if let Some(service) = reader.take(line, service) {
                    self.service(service, reader);
                }
            }
            Key::CheckCommand => take(&mut self.checkcommand, value::text(line), line, reader),
            Key::CheckPort => set(&mut self.checkport, check_port(line), line, reader),
            Key::Request => {
                let request = inner(value::quoted_text(line)).map(|path| value::with_slash(&path));
                take(&mut self.request, request, line, reader);
            }
            Key::Receive => set(&mut self.receive, value::pattern(line), line, reader),
            Key::HttpMethod => {
                let method =
                    value::one_of(line, &["GET", "HEAD"], |word| match word.to_ascii_uppercase().as_str() {
                        "GET" => Some(HttpMethod::Get),
                        "HEAD" => Some(HttpMethod::Head),
                        _ => None,
                    });
                take(&mut self.httpmethod, method, line, reader);
            }
            Key::VirtualHost => {
                let host = text.strip_prefix('"').unwrap_or(text);
                self.virtualhost = Some(host.split('"').next().unwrap_or(host).to_owned());
            }
            Key::TlsName => set(&mut self.tlsname, tls::name(line), line, reader),
            Key::StartTls => {
                if let Some(wanted) = reader.take(line, value::yes_no(line)) {
                    self.starttls = wanted.then(|| line.span());
                }
            }
            Key::Login => take(&mut self.login, inner(value::quoted_text(line)), line, reader),
            Key::Passwd => {
                take(&mut self.passwd, inner(value::quoted_text(line)).map(Secret::new), line, reader);
            }
            Key::PasswdFile => set(&mut self.passwdfile, tls::secret(line, reader), line, reader),
            Key::SecretFile => set(&mut self.secretfile, tls::secret(line, reader), line, reader),
            Key::Database => take(&mut self.database, inner(value::quoted_text(line)), line, reader),
            Key::Secret => {
                take(&mut self.secret, inner(value::quoted_text(line)).map(Secret::new), line, reader);
            }
            Key::Redirects => {
                let known = ["any", "same-host", "no"];
                set(&mut self.redirects, value::one_of(line, &known, Redirects::from_word), line, reader);
            }
            Key::DnsType => set(&mut self.dnstype, dns_type(line), line, reader),
            Key::UdpProbe => set(&mut self.udpprobe, value::bytes(line), line, reader),
            Key::UdpReply => set(&mut self.udpreply, value::pattern(line), line, reader),
            Key::Load => {
                let word = value::quoted_text(line).and_then(|inner| {
                    match value::first_run(&text[inner], is_word) {
                        Some(_) => Ok(()),
                        None => Err(Wrong::new(line.directive.refusal)),
                    }
                });
                reader.take(line, word);
            }
            _ => return false,
        }
        true
    }

    /// A service brings its default login with it, when it is written out.
    fn service(&mut self, service: Negotiate, reader: &Reader<'_, '_>) {
        self.service = Some(service);
        let own = || format!("ldirectord@{}", reader.names.hostname());
        if self.login.is_empty() {
            match service {
                Negotiate::Ftp => "anonymous".clone_into(&mut self.login),
                Negotiate::Sip => self.login = own(),
                _ => {}
            }
        }
        if service == Negotiate::Ftp && self.passwd.reveal().is_empty() {
            self.passwd = Secret::new(own());
        }
    }

    /// Fills in what is inherited.
    fn finish(
        self,
        head: &Assignment<'_>,
        id: VirtualId,
        expected: Negotiate,
        outside: &Outside,
        reader: &mut Reader<'_, '_>,
    ) -> Virtual {
        let fallback = self.fallback(id, outside, reader);
        let service = self.service.unwrap_or(expected);
        if let Some(span) = &self.starttls {
            tls::judge_starttls(service, span.clone(), reader);
        }
        let schedflags = self.schedflags.as_ref().and_then(|flags| flags.of(&self.scheduler, reader));
        self.warn(head, id, service, fallback, outside, reader);
        let (own, all) = (self.shared, &outside.shared);
        let checkinterval =
            own.checkinterval.filter(|_| outside.own.fork).unwrap_or(outside.own.checkinterval);
        let checktimeout =
            own.checktimeout.or(own.negotiatetimeout).or(all.checktimeout).or(all.negotiatetimeout);
        let negotiatetimeout =
            own.negotiatetimeout.or(own.checktimeout).or(all.negotiatetimeout).or(all.checktimeout);
        let spans = self.real_spans;
        let v = Virtual {
            id,
            line: head.line,
            reals: self.reals,
            fallback,
            fallbackcommand: own.fallbackcommand.or_else(|| all.fallbackcommand.clone()),
            scheduler: self.scheduler,
            schedflags,
            persistent: self.persistent,
            netmask: self.netmask,
            persistengine: self.persistengine,
            tunnel: self.tunnel,
            ops: self.ops,
            quiescent: own.quiescent.or(all.quiescent).unwrap_or(false),
            cleanstop: own.cleanstop.or(all.cleanstop).unwrap_or(true),
            checktype: self.checktype,
            service,
            checkcommand: self.checkcommand,
            checkport: self.checkport,
            checktimeout: checktimeout.unwrap_or(CHECKTIMEOUT),
            negotiatetimeout: negotiatetimeout.unwrap_or(NEGOTIATETIMEOUT),
            checkcount: own.checkcount.or(all.checkcount).unwrap_or(1),
            failurecount: own.failurecount.or(all.failurecount).unwrap_or(1),
            checkinterval,
            request: self.request,
            receive: self.receive,
            httpmethod: self.httpmethod,
            redirects: self.redirects.unwrap_or_default(),
            starttls: self.starttls.is_some(),
            tls: own.tls.resolve(
                &all.tls,
                self.tlsname.or_else(|| self.virtualhost.as_deref().and_then(tls::name_of_host)),
                reader,
            ),
            virtualhost: self.virtualhost,
            login: self.login,
            passwd: self.passwdfile.unwrap_or(self.passwd),
            database: self.database,
            secret: self.secretfile.unwrap_or(self.secret),
            dnstype: self.dnstype,
            udpprobe: self.udpprobe,
            udpreply: self.udpreply,
            alert: Alert {
                recipients: own.emailalert.or_else(|| all.emailalert.clone()).unwrap_or_default(),
                frequency: own.emailalertfreq.or(all.emailalertfreq).unwrap_or_default(),
                status: own.emailalertstatus.or(all.emailalertstatus).unwrap_or_default(),
                smtp: own.smtp.or_else(|| all.smtp.clone()),
            },
            monitorfile: self.monitorfile,
            servicename: self.servicename,
            comment: self.comment,
        };
        real::warn_of_twins(&v, &spans, reader);
        v
    }

    fn kernel_facts(&self, id: VirtualId, fallback: Option<Fallback>) -> kernel::Facts<'_> {
        kernel::Facts {
            id,
            reals: &self.reals,
            fallback: fallback.map(|fallback| fallback.method),
            checktype: self.checktype,
            persistent: self.persistent.is_some(),
            persistengine: self.persistengine.is_some(),
            tunnel: self.tunnel.is_some(),
        }
    }

    fn warn_of_interval(
        &self,
        head: &Assignment<'_>,
        id: VirtualId,
        outside: &Outside,
        reader: &mut Reader<'_, '_>,
    ) {
        if self.shared.checkinterval.is_some() && !outside.own.fork {
            let message = format!("checkinterval in virtual service {} ignored when fork=no", id.qualified());
            reader
                .report
                .warning(head.span(), message)
                .code("no-effect")
                .directive("checkinterval")
                .help("write fork=yes outside all virtuals, or remove it")
                .original(Original::Warns)
                .without_line();
        }
    }

    fn warn(
        &self,
        head: &Assignment<'_>,
        id: VirtualId,
        service: Negotiate,
        fallback: Option<Fallback>,
        outside: &Outside,
        reader: &mut Reader<'_, '_>,
    ) {
        kernel::judge(&self.kernel_facts(id, fallback), head, reader);
        self.warn_of_interval(head, id, outside, reader);
        self.warn_of_oracle(head, service, reader);
        self.warn_of_idle(head, service, reader);
    }

    /// A build without the feature cannot log in at Oracle, and says so before anybody relies on it.
    fn warn_of_oracle(&self, head: &Assignment<'_>, service: Negotiate, reader: &mut Reader<'_, '_>) {
        let negotiates = matches!(self.checktype, CheckType::Negotiate | CheckType::Combined(_));
        if negotiates && service == Negotiate::Oracle && !cfg!(feature = "oracle") {
            let message = "service=oracle: this build asks whether the listener connects to the database, and does not log in";
            reader.report.warning(head.span(), message).code("limited-build").directive("service").help(
                "for a login and the query build it with the feature oracle, or use checktype=external with sqlplus",
            );
        }
    }

    /// Says which of our own directives nothing looks at. Those of the original do no harm where they are not needed, and files
    /// in the field are full of them; who writes one of ours wants it.
    fn warn_of_idle(&self, head: &Assignment<'_>, service: Negotiate, reader: &mut Reader<'_, '_>) {
        let negotiates = matches!(self.checktype, CheckType::Negotiate | CheckType::Combined(_));
        let connects = matches!(self.checktype, CheckType::Connect | CheckType::Combined(1..));
        let udp = self.protocol == Protocol::Udp && !self.mark;
        if self.udpprobe.is_some() && self.udpreply.is_none() && connects && udp {
            reader
                .report
                .warning(
                    head.span(),
                    "udpprobe without udpreply: a machine that is switched off counts as up",
                )
                .code("missing-directive")
                .directive("udpprobe")
                .help(
                    "add `#rs: udpreply=\"…\"` if the service answers, or remove udpprobe: then it is a ping",
                );
        }
        let tls_is_said = self.shared.tls.is_something() || self.tlsname.is_some();
        let speaks_tls = negotiates && (tls::may_speak(service) || self.starttls.is_some());
        for (name, idle, needs) in [
            ("starttls", self.starttls.is_some() && !negotiates, "checktype=negotiate"),
            ("a directive of TLS", tls_is_said && !speaks_tls, "a service that speaks TLS, or starttls=yes"),
            (
                "redirects",
                self.redirects.is_some() && !(negotiates && service.is_http()),
                "service=http, https or http_proxy",
            ),
            ("dnstype", self.dnstype.is_some() && !(negotiates && service == Negotiate::Dns), "service=dns"),
            ("udpprobe", self.udpprobe.is_some() && !(connects && udp), "checktype=connect and protocol=udp"),
            ("udpreply", self.udpreply.is_some() && self.udpprobe.is_none(), "udpprobe"),
        ] {
            if idle {
                let message = format!("{name} is without effect here: it goes with {needs}");
                reader.report.warning(head.span(), message).code("no-effect").help("remove the line");
            }
        }
    }

    fn fallback(&self, id: VirtualId, outside: &Outside, reader: &mut Reader<'_, '_>) -> Option<Fallback> {
        let pick = |shared: &Shared| match self.family {
            Family::V4 => shared.fallback.clone(),
            Family::V6 => shared.fallback6.clone(),
        };
        let protocol = match id {
            VirtualId::Address { protocol, .. } => Some(protocol),
            VirtualId::Mark { .. } => None,
        };
        let text = pick(&self.shared).or_else(|| pick(&outside.shared))?;
        let resolved = text.resolve(protocol, reader);
        if resolved.is_none() {
            reader.report.error(text.span.clone(), "invalid port for fallback server").directive("fallback");
        }
        resolved
    }
}

/// Puts a value in its place, unless it is wrong.
fn take<T>(place: &mut T, value: Result<T, Wrong>, line: &Assignment<'_>, reader: &mut Reader<'_, '_>) {
    if let Some(value) = reader.take(line, value) {
        *place = value;
    }
}
