//! The counters of a daemon, and what its metrics say about itself.

#![expect(clippy::disallowed_methods, reason = "metrics have the time of the start and of reloads")]

use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::report::Meters;
use crate::settings::MetricsSettings;

/// The counters, and what does not change often.
pub(super) struct Metering {
    pub(super) meters: Meters,
    pub(super) settings: MetricsSettings,
    pub(super) started: SystemTime,
    pub(super) config_digest: String,
}

impl Metering {
    /// Begins to count. `content`: the bytes of the configuration.
    pub(super) fn new(settings: MetricsSettings, content: &[u8]) -> Metering {
        Metering {
            meters: Meters::default(),
            settings,
            started: SystemTime::now(),
            config_digest: digest(content),
        }
    }

    /// A reload ended. `content`: the bytes of the configuration, if it is applied.
    pub(super) fn reloaded(&mut self, content: Option<&[u8]>) {
        self.meters.reloaded(content.is_some(), SystemTime::now());
        if let Some(content) = content {
            self.config_digest = digest(content);
        }
    }
}

fn digest(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
