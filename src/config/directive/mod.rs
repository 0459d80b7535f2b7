//! The table of directives: name, scope, kind of value, default, and a line of help.
//! It is the only place that lists the names of directives.

mod kind;
mod nearest;
mod table;
#[cfg(test)]
mod tests;

pub use kind::ValueKind;
pub use nearest::nearest_word;
pub use table::DIRECTIVES;

pub(crate) use nearest::{may_name_secret, nearest, secret_prefix};

use Scope::{Both, Global, Virtual};

/// Where a directive is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Outside virtual services.
    Global,
    /// Inside a virtual service.
    Virtual,
    /// Outside as the default of all virtual services, inside for one.
    Both,
}

impl Scope {
    /// Whether it allows a directive inside a virtual service (or outside).
    #[must_use]
    pub fn allows(self, inside: bool) -> bool {
        match self {
            Global => !inside,
            Virtual => inside,
            Both => true,
        }
    }
}

/// The default of a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritten {
    /// No default.
    Nothing,
    /// The same as this value.
    Value(&'static str),
    /// A default that depends on other lines or has no value, in words.
    Words(&'static str),
}

impl Unwritten {
    /// The text for the manual. Empty: no default.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Unwritten::Nothing => "",
            Unwritten::Value(text) | Unwritten::Words(text) => text,
        }
    }
}

/// The key of a directive: its name in Rust's spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::enum_variant_names, reason = "tlskey is a directive")]
pub enum Key {
    Autoreload,
    Callback,
    CheckCommand,
    CheckCount,
    CheckInterval,
    CheckPort,
    CheckTimeout,
    CheckType,
    CleanStop,
    Comment,
    ConnectTimeout,
    Database,
    DnsType,
    EmailAlert,
    EmailAlertFreq,
    EmailAlertFrom,
    EmailAlertStatus,
    Execute,
    FailureCount,
    Fallback,
    Fallback6,
    FallbackCommand,
    Fork,
    HttpMethod,
    Load,
    LogFile,
    Login,
    MaintenanceDir,
    MonitorFile,
    NegotiateTimeout,
    Netmask,
    Ops,
    Passwd,
    PasswdFile,
    PersistEngine,
    Persistent,
    Protocol,
    Quiescent,
    ReadDQuiescent,
    Real,
    Real6,
    Receive,
    Redirects,
    Request,
    SchedFlags,
    Scheduler,
    Secret,
    SecretFile,
    Service,
    ServiceName,
    Smtp,
    StartTls,
    Supervised,
    Timeout,
    Timeouts,
    Tunnel,
    UdpProbe,
    UdpReply,
    TlsCa,
    TlsCert,
    TlsKey,
    TlsLegacy,
    TlsName,
    TlsVerify,
    TlsWarn,
    Virtual,
    Virtual6,
    VirtualHost,
}

/// A row of the table.
#[derive(Debug)]
pub struct Directive {
    /// The key.
    pub key: Key,
    /// The name in the file.
    pub name: &'static str,
    /// Where it is allowed.
    pub scope: Scope,
    /// The kind of its value.
    pub kind: ValueKind,
    /// Its default.
    pub default: Unwritten,
    /// What it does, in one line.
    pub help: &'static str,
    /// Whether it is an extension: the original does not know it and reads it as a comment after `#rs:`.
    pub extension: bool,
    /// The original's warning that the directive is deprecated.
    pub deprecated: Option<&'static str>,
    /// The error about an invalid value, in the original's words: inside a virtual service or everywhere.
    pub refusal: &'static str,
    /// The error outside virtual services, if the words differ.
    pub refusal_outside: Option<&'static str>,
}

impl Directive {
    /// The error about an invalid value, in the original's words.
    #[must_use]
    pub fn refusal(&self, inside: bool) -> &'static str {
        self.refusal_outside.filter(|_| !inside).unwrap_or(self.refusal)
    }

    /// Whether its value is a password.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.kind == ValueKind::Secret
    }

    const fn extension(mut self) -> Directive {
        self.extension = true;
        self
    }

    const fn deprecated(mut self, message: &'static str) -> Directive {
        self.deprecated = Some(message);
        self
    }

    const fn outside(mut self, refusal: &'static str) -> Directive {
        self.refusal_outside = Some(refusal);
        self
    }
}

/// The row of a directive.
#[must_use]
pub(crate) fn of_key(key: Key) -> Option<&'static Directive> {
    DIRECTIVES.iter().find(|directive| directive.key == key)
}

/// Finds a directive by its name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Directive> {
    DIRECTIVES.iter().find(|directive| directive.name == name)
}
