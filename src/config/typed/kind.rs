//! The value of a line, read by the kind of its directive.

use std::path::PathBuf;
use std::time::Duration;

use super::address::{self, FallbackText};
use super::{Reader, ValueError, command, kernel, mail, real, service, tls, value};
use crate::config::ast::Assignment;
use crate::config::directive::{Key, ValueKind};
use crate::config::{
    AlertStatus, CheckType, HttpMethod, LogTarget, Negotiate, Netmask, Real, Redirects, SecretFile, Timeouts,
    Tunnel,
};
use crate::value::{DnsType, Family, Pattern, Protocol, Relay, Secret};

/// A type that a value can have.
pub(super) trait FromValue: Sized {
    /// The value, if it has this type.
    fn from_value(value: Value) -> Option<Self>;
}

macro_rules! values {
    ($($variant:ident($inner:ty),)*) => {
        /// A value that was read.
        #[derive(Debug)]
        pub(super) enum Value {
            /// The directive counts as not written.
            Absent,
            /// Real servers, to be added to those before.
            Reals(Vec<Real>),
            $($variant($inner),)*
        }

        $(
            impl FromValue for $inner {
                fn from_value(value: Value) -> Option<$inner> {
                    match value {
                        Value::$variant(inner) => Some(inner),
                        _ => None,
                    }
                }
            }

            impl From<$inner> for Value {
                fn from(inner: $inner) -> Value {
                    Value::$variant(inner)
                }
            }
        )*
    };
}

values! {
    AlertStatus(AlertStatus),
    Bytes(Vec<u8>),
    CheckType(CheckType),
    DnsType(DnsType),
    Duration(Duration),
    Fallback(FallbackText),
    Flag(bool),
    HttpMethod(HttpMethod),
    LogTarget(LogTarget),
    Netmask(Netmask),
    Number(u32),
    Path(PathBuf),
    Pattern(Pattern),
    Pem(tls::File),
    Port(u16),
    Protocol(Protocol),
    Redirects(Redirects),
    Relay(Relay),
    Secret(Secret),
    SecretFile(SecretFile),
    Service(Negotiate),
    Text(String),
    Timeouts(Timeouts),
    Tunnel(Tunnel),
}

/// `Absent` for `None`.
impl<T> From<Option<T>> for Value
where
    Value: From<T>,
{
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Absent, Value::from)
    }
}

/// Reads the value of a line.
pub(super) fn read(line: &Assignment<'_>, reader: &mut Reader<'_, '_>) -> Result<Value, ValueError> {
    Ok(match line.directive.kind {
        ValueKind::YesNo => value::yes_no(line)?.into(),
        ValueKind::Timeout => value::timeout(line, reader)?.into(),
        ValueKind::Interval => value::interval(line, reader)?.into(),
        ValueKind::Frequency => value::frequency(line, reader)?.into(),
        ValueKind::Count => value::count(line, reader)?.into(),
        ValueKind::Number => value::small_number(line, reader)?.into(),
        ValueKind::Persistence => service::persistence(line, reader)?.into(),
        ValueKind::Port => service::check_port(line, reader)?.into(),
        ValueKind::Quoted => value::inner(line)?.into(),
        ValueKind::Secret => Secret::new(value::inner(line)?).into(),
        ValueKind::QuotedOrEmpty => value::inner_or_empty(line)?.into(),
        ValueKind::Text => value::text(line)?.into(),
        ValueKind::Command => command::command(line, reader)?.into(),
        ValueKind::Line => value::whole(line)?.into(),
        ValueKind::LineOrEmpty => line.value.text().to_owned().into(),
        ValueKind::Word => value::word(line)?.into(),
        ValueKind::Request => value::with_slash(&value::inner(line)?).into(),
        ValueKind::Pattern => value::pattern(line)?.into(),
        ValueKind::Bytes => value::bytes(line)?.into(),
        ValueKind::VirtualHost => value::up_to_quote(line).into(),
        ValueKind::OutputFile => value::file(&value::text(line)?).into(),
        ValueKind::Directory => PathBuf::from(value::whole(line)?).into(),
        ValueKind::LogTarget => value::log_target(line, reader)?.into(),
        ValueKind::PemFile => tls::file(line, reader)?.into(),
        ValueKind::SecretFile => tls::secret(line, reader)?.into(),
        ValueKind::ServerName => tls::name(line)?.into(),
        ValueKind::Recipients => mail::recipients(line, reader)?.into(),
        ValueKind::Sender => mail::sender(line, reader)?.into(),
        ValueKind::AlertStatus => mail::alert_status(line)?.into(),
        ValueKind::Host => mail::relay(line, reader)?.into(),
        ValueKind::CheckType => service::check_type(line)?.into(),
        ValueKind::Service => service::service(line)?.into(),
        ValueKind::HttpMethod => service::http_method(line)?.into(),
        ValueKind::Redirects => service::redirects(line)?.into(),
        ValueKind::DnsType => service::dns_type(line)?.into(),
        ValueKind::Scheduler => service::scheduler(line, reader)?.into(),
        ValueKind::Protocol => service::protocol(line, reader.mark)?.into(),
        ValueKind::Netmask => service::netmask(line, reader.family)?.into(),
        ValueKind::Tunnel => kernel::tunnel(line)?.into(),
        ValueKind::PersistEngine => kernel::engine(line)?.into(),
        ValueKind::Timeouts => kernel::timeouts(line)?.into(),
        ValueKind::Real => Value::Reals(real::read(line, reader.family, reader)?),
        ValueKind::Fallback => address::fallback_text(line, family(line), reader)?.into(),
        ValueKind::Ignored => {
            value::ignored(line)?;
            Value::Absent
        }
        ValueKind::Virtual | ValueKind::Refused => {
            return Err(ValueError::new(line.directive.refusal(line.inside)).help(line.directive.help));
        }
    })
}

fn family(line: &Assignment<'_>) -> Family {
    match line.directive.key {
        Key::Virtual6 | Key::Real6 | Key::Fallback6 => Family::V6,
        _ => Family::V4,
    }
}
