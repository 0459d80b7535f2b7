//! The directives that apply to all virtual services outside, and to one inside.

use std::time::Duration;

use super::address::FallbackText;
use super::tls;
use crate::config::{Alert, AlertStatus, Globals, Timing};
use crate::value::Relay;

/// The values written in one place. `None` for directives that are not written there.
#[derive(Debug, Default)]
pub(super) struct SharedValues {
    pub(super) checktimeout: Option<Duration>,
    pub(super) negotiatetimeout: Option<Duration>,
    pub(super) checkinterval: Option<Duration>,
    pub(super) checkcount: Option<u32>,
    pub(super) failurecount: Option<u32>,
    pub(super) fallback: Option<FallbackText>,
    pub(super) fallback6: Option<FallbackText>,
    pub(super) fallbackcommand: Option<String>,
    pub(super) quiescent: Option<bool>,
    pub(super) cleanstop: Option<bool>,
    pub(super) emailalert: Option<String>,
    pub(super) emailalertfreq: Option<Duration>,
    pub(super) emailalertstatus: Option<AlertStatus>,
    pub(super) smtp: Option<Relay>,
    pub(super) tls: tls::TlsLines,
}

impl SharedValues {
    /// How often checks run, and how long they may take. `all` is what virtual services inherit.
    pub(super) fn timing(&self, all: &SharedValues, globals: &Globals) -> Timing {
        let default = Timing::default();
        // Each deadline also applies to the other kind of check if that has none in the same place.
        let check = self.checktimeout.or(self.negotiatetimeout);
        let negotiate = self.negotiatetimeout.or(self.checktimeout);
        let check = check.or(all.checktimeout).or(all.negotiatetimeout);
        let negotiate = negotiate.or(all.negotiatetimeout).or(all.checktimeout);
        // Inside a virtual service the interval counts with `fork=yes` only.
        let interval = self.checkinterval.filter(|_| globals.fork);
        Timing {
            checktimeout: check.unwrap_or(default.checktimeout),
            negotiatetimeout: negotiate.unwrap_or(default.negotiatetimeout),
            checkinterval: interval.unwrap_or(globals.checkinterval),
            checkcount: self.checkcount.or(all.checkcount).unwrap_or(default.checkcount),
        }
    }

    /// Who gets mail, and when.
    pub(super) fn alert(&self, all: &SharedValues) -> Alert {
        Alert {
            recipients: self.emailalert.clone().or_else(|| all.emailalert.clone()).unwrap_or_default(),
            frequency: self.emailalertfreq.or(all.emailalertfreq).unwrap_or_default(),
            status: self.emailalertstatus.or(all.emailalertstatus).unwrap_or_default(),
            smtp: self.smtp.clone().or_else(|| all.smtp.clone()),
        }
    }
}
