//! The field of the configuration that each directive sets.

use std::collections::BTreeSet;

use super::kind::{FromValue, Value};
use super::shared::SharedValues;
use super::tls;
use crate::config::directive::Key;
use crate::config::{CheckSpec, Credentials, Globals, Real, Scheduling, ServiceInfo};

/// A field that a directive sets. The last line of a directive counts.
pub(super) trait ValueSlot {
    /// Stores a value.
    fn put(&mut self, value: Value);
}

impl<T: FromValue> ValueSlot for T {
    fn put(&mut self, value: Value) {
        if let Some(value) = T::from_value(value) {
            *self = value;
        }
    }
}

impl<T: FromValue> ValueSlot for Option<T> {
    fn put(&mut self, value: Value) {
        *self = T::from_value(value);
    }
}

impl ValueSlot for BTreeSet<String> {
    fn put(&mut self, value: Value) {
        self.extend(String::from_value(value));
    }
}

impl ValueSlot for Vec<Real> {
    fn put(&mut self, value: Value) {
        if let Value::Reals(reals) = value {
            self.extend(reals);
        }
    }
}

/// A part of the configuration that directives set.
pub(super) trait Fill {
    /// The field that this directive sets. None if it belongs to another part.
    fn place(&mut self, key: Key) -> Option<&mut dyn ValueSlot>;
}

impl Fill for Globals {
    fn place(&mut self, key: Key) -> Option<&mut dyn ValueSlot> {
        Some(match key {
            Key::Autoreload => &mut self.autoreload,
            Key::Callback => &mut self.callback,
            Key::EmailAlertFrom => &mut self.emailalertfrom,
            Key::Execute => &mut self.execute,
            Key::Fork => &mut self.fork,
            Key::LogFile => &mut self.logfile,
            Key::MaintenanceDir => &mut self.maintenancedir,
            Key::ReadDQuiescent => &mut self.readdquiescent,
            Key::Supervised => &mut self.supervised,
            Key::Timeouts => &mut self.timeouts,
            _ => return None,
        })
    }
}

impl Fill for SharedValues {
    fn place(&mut self, key: Key) -> Option<&mut dyn ValueSlot> {
        Some(match key {
            Key::CheckCount => &mut self.checkcount,
            Key::CheckInterval => &mut self.checkinterval,
            Key::CheckTimeout => &mut self.checktimeout,
            Key::CleanStop => &mut self.cleanstop,
            Key::EmailAlert => &mut self.emailalert,
            Key::EmailAlertFreq => &mut self.emailalertfreq,
            Key::EmailAlertStatus => &mut self.emailalertstatus,
            Key::FailureCount => &mut self.failurecount,
            Key::Fallback => &mut self.fallback,
            Key::Fallback6 => &mut self.fallback6,
            Key::FallbackCommand => &mut self.fallbackcommand,
            Key::NegotiateTimeout => &mut self.negotiatetimeout,
            Key::Quiescent => &mut self.quiescent,
            Key::Smtp => &mut self.smtp,
            _ => return self.tls.place(key),
        })
    }
}

impl Fill for tls::TlsLines {
    fn place(&mut self, key: Key) -> Option<&mut dyn ValueSlot> {
        Some(match key {
            Key::TlsCa => &mut self.ca,
            Key::TlsCert => &mut self.certificates,
            Key::TlsKey => &mut self.key,
            Key::TlsLegacy => &mut self.legacy,
            Key::TlsVerify => &mut self.verify,
            Key::TlsWarn => &mut self.warn_days,
            _ => return None,
        })
    }
}

impl Fill for Scheduling {
    fn place(&mut self, key: Key) -> Option<&mut dyn ValueSlot> {
        Some(match key {
            Key::Netmask => &mut self.netmask,
            Key::Ops => &mut self.ops,
            Key::PersistEngine => &mut self.persistengine,
            Key::Persistent => &mut self.persistent,
            Key::SchedFlags => &mut self.schedflags,
            Key::Scheduler => &mut self.scheduler,
            Key::Tunnel => &mut self.tunnel,
            _ => return None,
        })
    }
}

impl Fill for CheckSpec {
    fn place(&mut self, key: Key) -> Option<&mut dyn ValueSlot> {
        Some(match key {
            Key::CheckCommand => &mut self.checkcommand,
            Key::CheckPort => &mut self.checkport,
            Key::CheckType => &mut self.checktype,
            Key::DnsType => &mut self.dnstype,
            Key::HttpMethod => &mut self.httpmethod,
            Key::Receive => &mut self.receive,
            Key::Redirects => &mut self.redirects,
            Key::Request => &mut self.request,
            Key::Service => &mut self.service,
            Key::StartTls => &mut self.starttls,
            Key::UdpProbe => &mut self.udpprobe,
            Key::UdpReply => &mut self.udpreply,
            Key::VirtualHost => &mut self.virtualhost,
            _ => return self.credentials.place(key),
        })
    }
}

impl Fill for Credentials {
    fn place(&mut self, key: Key) -> Option<&mut dyn ValueSlot> {
        Some(match key {
            Key::Database => &mut self.database,
            Key::Login => &mut self.login,
            Key::Passwd => &mut self.passwd,
            Key::PasswdFile => &mut self.passwdfile,
            Key::Secret => &mut self.secret,
            Key::SecretFile => &mut self.secretfile,
            _ => return None,
        })
    }
}

impl Fill for ServiceInfo {
    fn place(&mut self, key: Key) -> Option<&mut dyn ValueSlot> {
        Some(match key {
            Key::Comment => &mut self.comment,
            Key::MonitorFile => &mut self.monitorfile,
            Key::ServiceName => &mut self.servicename,
            _ => return None,
        })
    }
}
