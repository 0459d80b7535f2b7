//! The one table of directives: name, where it may stand, what it takes, its default, and a line of help.
//! Whatever knows a directive's name knows it from here.

mod kind;
mod nearest;
mod table;
#[cfg(test)]
mod tests;

pub use kind::Kind;
pub use nearest::nearest_word;
pub use table::DIRECTIVES;

pub(crate) use nearest::{nearest, secret_prefix, smells_of_secret};

use Scope::{Both, Global, Virtual};

/// Where a directive may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Outside virtuals.
    Global,
    /// Inside a virtual.
    Virtual,
    /// Outside as the default of all virtuals, inside for one.
    Both,
}

impl Scope {
    /// Whether it may stand inside a virtual (or outside).
    #[must_use]
    pub fn allows(self, inside: bool) -> bool {
        match self {
            Global => !inside,
            Virtual => inside,
            Both => true,
        }
    }
}

/// What holds while a directive is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritten {
    /// Nothing.
    Nothing,
    /// The same as with this value.
    Value(&'static str),
    /// What these words say: it depends on other lines, or there is no value for it.
    Words(&'static str),
}

impl Unwritten {
    /// For the manual; empty: nothing.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Unwritten::Nothing => "",
            Unwritten::Value(text) | Unwritten::Words(text) => text,
        }
    }
}

/// Which directive; the names of [`DIRECTIVES`] in Rust's spelling.
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
    /// Which.
    pub key: Key,
    /// As it is written.
    pub name: &'static str,
    /// Where it may stand.
    pub scope: Scope,
    /// What it takes.
    pub kind: Kind,
    /// What holds while it is not written.
    pub default: Unwritten,
    /// What it does, in a line.
    pub help: &'static str,
    /// The original does not know it; behind `#rs:` it is a comment there.
    pub extension: bool,
    /// The original's warning that the directive is deprecated.
    pub deprecated: Option<&'static str>,
    /// The original's words about a value that is none, inside a virtual or everywhere.
    pub refusal: &'static str,
    /// The same outside virtuals, where the words differ.
    pub refusal_outside: Option<&'static str>,
}

impl Directive {
    /// The original's words about a value that is none.
    #[must_use]
    pub fn refusal(&self, inside: bool) -> &'static str {
        self.refusal_outside.filter(|_| !inside).unwrap_or(self.refusal)
    }

    /// Whether its value is a password.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
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

/// The row of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Directive> {
    DIRECTIVES.iter().find(|directive| directive.name == name)
}
