//! The value of a line, read by the kind of its directive.

use std::path::PathBuf;
use std::time::Duration;

use super::address::{self, FallbackText};
use super::{Reader, ValueError, command, kernel, mail, real, service, tls, value};
use crate::config::ast::Assignment;
use crate::config::directive::{Key, Kind};
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
        Kind::YesNo => value::yes_no(line)?.into(),
        Kind::Timeout => value::timeout(line, reader)?.into(),
        Kind::Interval => value::interval(line, reader)?.into(),
        Kind::Frequency => value::frequency(line, reader)?.into(),
        Kind::Count => value::count(line, reader)?.into(),
        Kind::Number => value::small_number(line, reader)?.into(),
        Kind::Persistence => service::persistence(line, reader)?.into(),
        Kind::Port => service::check_port(line, reader)?.into(),
        Kind::Quoted => value::inner(line)?.into(),
        Kind::Secret => Secret::new(value::inner(line)?).into(),
        Kind::QuotedOrEmpty => value::inner_or_empty(line)?.into(),
        Kind::Text => value::text(line)?.into(),
        Kind::Command => command::command(line, reader)?.into(),
        Kind::Line => value::whole(line)?.into(),
        Kind::LineOrEmpty => line.value.text().to_owned().into(),
        Kind::Word => value::word(line)?.into(),
        Kind::Request => value::with_slash(&value::inner(line)?).into(),
        Kind::Pattern => value::pattern(line)?.into(),
        Kind::Bytes => value::bytes(line)?.into(),
        Kind::VirtualHost => value::up_to_quote(line).into(),
        Kind::OutputFile => value::file(&value::text(line)?).into(),
        Kind::Directory => PathBuf::from(value::whole(line)?).into(),
        Kind::LogTarget => value::log_target(line, reader)?.into(),
        Kind::PemFile => tls::file(line, reader)?.into(),
        Kind::SecretFile => tls::secret(line, reader)?.into(),
        Kind::ServerName => tls::name(line)?.into(),
        Kind::Recipients => mail::recipients(line, reader)?.into(),
        Kind::Sender => mail::sender(line, reader)?.into(),
        Kind::AlertStatus => mail::alert_status(line)?.into(),
        Kind::Host => mail::relay(line, reader)?.into(),
        Kind::CheckType => service::check_type(line)?.into(),
        Kind::Service => service::service(line)?.into(),
        Kind::HttpMethod => service::http_method(line)?.into(),
        Kind::Redirects => service::redirects(line)?.into(),
        Kind::DnsType => service::dns_type(line)?.into(),
        Kind::Scheduler => service::scheduler(line, reader)?.into(),
        Kind::Protocol => service::protocol(line, reader.mark)?.into(),
        Kind::Netmask => service::netmask(line, reader.family)?.into(),
        Kind::Tunnel => kernel::tunnel(line)?.into(),
        Kind::PersistEngine => kernel::engine(line)?.into(),
        Kind::Timeouts => kernel::timeouts(line)?.into(),
        Kind::Real => Value::Reals(real::read(line, reader.family, reader)?),
        Kind::Fallback => address::fallback_text(line, family(line), reader)?.into(),
        Kind::Ignored => {
            value::ignored(line)?;
            Value::Absent
        }
        Kind::Virtual | Kind::Refused => {
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
