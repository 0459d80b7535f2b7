//! Formats each value as its directive reads it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::config::directive::Key;
use crate::config::source::is_blank;
use crate::config::typed::name_of_host;
use crate::config::{
    Alert, AlertStatus, CheckSpec, CheckType, Credentials, Fallback, Globals, HttpMethod, LogTarget,
    Negotiate, Netmask, Real, Redirects, Scheduling, ServiceInfo, Timeouts, Timing, Tunnel, Virtual,
};
use crate::value::{Family, Protocol, Roots, Tls, VirtualId};

/// A part of the configuration that directives set.
pub(super) trait Text {
    /// What follows `=` in the line of this directive. None if it has no value, or belongs to another part.
    fn text(&self, key: Key) -> Option<String>;
}

impl Text for Globals {
    fn text(&self, key: Key) -> Option<String> {
        Some(match key {
            Key::Autoreload => yes_no(self.autoreload),
            Key::Callback => quoted(self.callback.as_ref()?),
            Key::CheckInterval => seconds(self.checkinterval),
            Key::EmailAlertFrom => self.emailalertfrom.clone()?,
            Key::Fork => yes_no(self.fork),
            Key::LogFile => match &self.logfile {
                LogTarget::File(path) => quoted_path(path),
                LogTarget::Syslog(facility) => quoted(facility),
            },
            Key::MaintenanceDir => self.maintenancedir.as_ref()?.to_string_lossy().into_owned(),
            Key::ReadDQuiescent => yes_no(self.readdquiescent),
            Key::Supervised => yes_no(self.supervised),
            Key::Timeouts => {
                let Timeouts { tcp, tcpfin, udp } = self.timeouts?;
                format!("{tcp},{tcpfin},{udp}")
            }
            _ => return None,
        })
    }
}

impl Virtual {
    /// Like [`Text::text`], for the line outside virtual services that this one inherits.
    pub(super) fn text_outside(&self, key: Key) -> Option<String> {
        match key {
            Key::FallbackCommand => self.fallbackcommand.clone(),
            _ => self.text(key),
        }
    }
}

impl Text for Virtual {
    fn text(&self, key: Key) -> Option<String> {
        Some(match key {
            Key::CleanStop => yes_no(self.cleanstop),
            Key::FailureCount => self.failurecount.to_string(),
            Key::Fallback if self.id.family() == Family::V4 => fallback(self.fallback?),
            Key::Fallback6 if self.id.family() == Family::V6 => fallback(self.fallback?),
            Key::FallbackCommand => bare_or_quoted(self.fallbackcommand.as_ref()?),
            Key::Protocol => protocol(self.id)?,
            Key::Quiescent => yes_no(self.quiescent),
            Key::Service => service(self.id, self.check.service)?,
            Key::TlsName => {
                let name = self.tls.server_name.as_ref()?;
                let inherited = self.check.virtualhost.as_deref().and_then(name_of_host);
                quoted(Some(name).filter(|name| inherited.as_ref() != Some(name))?)
            }
            _ => (self.scheduling.text(key))
                .or_else(|| self.check.text(key))
                .or_else(|| self.timing.text(key))
                .or_else(|| self.tls.text(key))
                .or_else(|| self.alert.text(key))
                .or_else(|| self.notes.text(key))?,
        })
    }
}

impl Text for Scheduling {
    fn text(&self, key: Key) -> Option<String> {
        Some(match key {
            Key::Netmask => match self.netmask? {
                Netmask::V4(mask) => mask.to_string(),
                Netmask::V6(length) => length.to_string(),
            },
            Key::Ops => yes_no(self.ops),
            Key::PersistEngine => self.persistengine.clone()?,
            Key::Persistent => self.persistent?.to_string(),
            Key::SchedFlags => match self.schedflags.as_deref()? {
                "" => quoted(""),
                flags => flags.to_owned(),
            },
            Key::Scheduler => self.scheduler.clone(),
            Key::Tunnel => match self.tunnel? {
                Tunnel::Gue { port, checksum } => format!("gue:{port}{}", with_checksum(checksum)),
                Tunnel::Gre { checksum } => format!("gre{}", with_checksum(checksum)),
            },
            _ => return None,
        })
    }
}

impl Text for CheckSpec {
    fn text(&self, key: Key) -> Option<String> {
        Some(match key {
            Key::CheckCommand => bare_or_quoted(&self.checkcommand),
            Key::CheckPort => self.checkport?.to_string(),
            Key::CheckType => check_type(self.checktype),
            Key::DnsType => self.dnstype?.as_str().to_owned(),
            Key::HttpMethod => http_method(self.httpmethod),
            Key::Receive => quoted(self.receive.as_ref()?.source()),
            Key::Redirects => redirects(self.redirects),
            Key::Request => quoted(&self.request),
            Key::StartTls => yes_no(self.starttls),
            Key::UdpProbe => bytes(self.udpprobe.as_ref()?),
            Key::UdpReply => quoted(self.udpreply.as_ref()?.source()),
            Key::VirtualHost => quoted(self.virtualhost.as_ref()?),
            _ => return self.credentials.text(key),
        })
    }
}

impl Text for Credentials {
    fn text(&self, key: Key) -> Option<String> {
        Some(match key {
            Key::Database => quoted_unless_empty(&self.database)?,
            Key::Login => quoted_unless_empty(&self.login)?,
            Key::Passwd => quoted_unless_empty(self.passwd.reveal())?,
            Key::PasswdFile => quoted(&self.passwdfile.as_ref()?.path),
            Key::Secret => quoted_unless_empty(self.secret.reveal())?,
            Key::SecretFile => quoted(&self.secretfile.as_ref()?.path),
            _ => return None,
        })
    }
}

impl Text for Timing {
    fn text(&self, key: Key) -> Option<String> {
        let default = Timing::default();
        // If only one of them is written, it also applies to the other.
        let deadlines = (self.checktimeout, self.negotiatetimeout);
        let are_default = deadlines == (default.checktimeout, default.negotiatetimeout);
        Some(match key {
            Key::CheckTimeout if !are_default => seconds(self.checktimeout),
            Key::NegotiateTimeout if !are_default => seconds(self.negotiatetimeout),
            Key::CheckCount => self.checkcount.to_string(),
            _ => return None,
        })
    }
}

impl Text for Tls {
    fn text(&self, key: Key) -> Option<String> {
        let policy = &self.policy;
        Some(match key {
            Key::TlsCa => match policy.verify.as_ref()? {
                Roots::System => return None,
                Roots::File(file) => quoted_path(file.path()),
            },
            Key::TlsCert => quoted_path(policy.identity.as_ref()?.certificates.path()),
            Key::TlsKey => quoted_path(policy.identity.as_ref()?.key.path()),
            Key::TlsLegacy => yes_no(policy.legacy),
            Key::TlsVerify => yes_no(policy.verify.is_some()),
            Key::TlsWarn => self.warn_days.to_string(),
            _ => return None,
        })
    }
}

impl Text for Alert {
    fn text(&self, key: Key) -> Option<String> {
        Some(match key {
            Key::EmailAlert if self.recipients.is_empty() => return None,
            // Quotes around quotes would not be removed.
            Key::EmailAlert if self.recipients.contains('"') => self.recipients.clone(),
            Key::EmailAlert => quoted(&self.recipients),
            Key::EmailAlertFreq => seconds(self.frequency),
            Key::EmailAlertStatus => alert_status(self.status),
            Key::Smtp => self.smtp.as_ref()?.to_string(),
            _ => return None,
        })
    }
}

impl Text for ServiceInfo {
    fn text(&self, key: Key) -> Option<String> {
        Some(match key {
            Key::Comment => self.comment.clone()?,
            Key::MonitorFile => bare_or_quoted(&self.monitorfile.as_ref()?.to_string_lossy()),
            Key::ServiceName => self.servicename.clone()?,
            _ => return None,
        })
    }
}

/// What follows `virtual=` or `virtual6=`.
pub(super) fn head(id: VirtualId) -> String {
    match id {
        VirtualId::Address { address, .. } => format!("{}:{}", host(address), address.port()),
        VirtualId::Mark { mark, .. } => mark.to_string(),
    }
}

/// What follows `real=` or `real6=`. If no weight is written, the original reads a number in the quotes as the
/// weight.
pub(super) fn real(real: &Real) -> String {
    let mut text = server(real.address);
    let _ = write!(text, " {} {}", real.method, real.weight);
    if let Some(request) = &real.request {
        // The original drops a request that begins with `/`; both add it in front.
        let bare = request.strip_prefix('/').filter(|rest| !rest.starts_with('/')).unwrap_or(request);
        let receive = real.receive.as_ref().map_or("", |pattern| pattern.source());
        let _ = write!(text, " \"{bare}\", \"{receive}\"");
    }
    for (mark, threshold) in [("l", real.lower), ("u", real.upper)] {
        if threshold != 0 {
            let _ = write!(text, " {mark}:{threshold}");
        }
    }
    text
}

fn fallback(fallback: Fallback) -> String {
    let address = SocketAddr::new(fallback.address, fallback.port.unwrap_or(0));
    format!("{} {}", server(address), fallback.method)
}

/// An address, with its port if there is one.
fn server(address: SocketAddr) -> String {
    match address.port() {
        0 => host(address),
        port => format!("{}:{port}", host(address)),
    }
}

/// An address. IPv6 in brackets and without the dotted notation, which the file does not support.
fn host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => match v6.ip().segments() {
            [0, 0, 0, 0, 0, 0xffff, high, low] => format!("[::ffff:{high:x}:{low:x}]"),
            _ => format!("[{}]", v6.ip()),
        },
    }
}

fn protocol(id: VirtualId) -> Option<String> {
    let VirtualId::Address { protocol, address } = id else { return None };
    let expected = if address.port() == 53 { Protocol::Udp } else { Protocol::Tcp };
    (protocol != expected).then(|| protocol.to_string())
}

fn service(id: VirtualId, service: Negotiate) -> Option<String> {
    let expected = id.port().map_or(Negotiate::None, Negotiate::of_port);
    (service != expected).then(|| service.as_str().to_owned())
}

fn check_type(checktype: CheckType) -> String {
    match checktype {
        CheckType::Connect => "connect",
        CheckType::Negotiate => "negotiate",
        CheckType::Ping => "ping",
        CheckType::Off => "off",
        CheckType::On => "on",
        CheckType::External => "external",
        CheckType::ExternalPerl => "external-perl",
        CheckType::Combined(count) => return count.to_string(),
    }
    .to_owned()
}

fn http_method(method: HttpMethod) -> String {
    match method {
        HttpMethod::Get => "GET",
        HttpMethod::Head => "HEAD",
    }
    .to_owned()
}

fn redirects(redirects: Redirects) -> String {
    match redirects {
        Redirects::Any => "any",
        Redirects::SameHost => "same-host",
        Redirects::No => "no",
    }
    .to_owned()
}

fn alert_status(status: AlertStatus) -> String {
    let AlertStatus { starting, running, stopping, reloading } = status;
    let states =
        [(starting, "starting"), (running, "running"), (stopping, "stopping"), (reloading, "reloading")];
    let named: Vec<&str> = states.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    match named.len() {
        0 => "none".to_owned(),
        4 => "all".to_owned(),
        _ => named.join(","),
    }
}

fn with_checksum(checksum: bool) -> &'static str {
    if checksum { ",csum" } else { "" }
}

fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

pub(super) fn seconds(duration: Duration) -> String {
    duration.as_secs().to_string()
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

fn quoted_unless_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| quoted(text))
}

/// The unchanged text. In quotes if its own quotes or white space would be lost.
fn bare_or_quoted(text: &str) -> String {
    let is_bare = !text.starts_with(|c| is_blank(c) || c == '"') && !text.ends_with(is_blank);
    if is_bare { text.to_owned() } else { quoted(text) }
}

/// Bytes in double quotes. A byte that is not printable ASCII or has a meaning in the file is written as an escape
/// sequence.
fn bytes(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' if !b"#\"".contains(byte) => text.push(char::from(*byte)),
            _ => _ = write!(text, "\\x{byte:02x}"),
        }
    }
    text.push('"');
    text
}
