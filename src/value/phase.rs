//! The phases of a check, and the time that each took.

use std::time::Duration;

/// A phase of a check. A check need not have all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The address of a host name.
    Resolve,
    /// The connection.
    #[default]
    Connect,
    /// The TLS handshake.
    Tls,
    /// The request and its answer, a command, or an echo.
    Answer,
}

impl Phase {
    /// All phases, in the order in which a check has them.
    pub const ALL: [Phase; 4] = [Phase::Resolve, Phase::Connect, Phase::Tls, Phase::Answer];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Resolve => "resolve",
            Phase::Connect => "connect",
            Phase::Tls => "TLS",
            Phase::Answer => "answer",
        }
    }
}

/// The time that a check spent in each phase, up to an hour, and the phase in which it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseTimes {
    micros: [u32; 4],
    last: Phase,
}

impl PhaseTimes {
    /// Adds time to a phase.
    pub fn add(&mut self, phase: Phase, time: Duration) {
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let sum = &mut self.micros[phase as usize];
        *sum = sum.saturating_add(micros);
        self.last = phase;
    }

    /// The time spent in a phase. Zero if the check did not have it.
    #[must_use]
    pub fn of(&self, phase: Phase) -> Duration {
        Duration::from_micros(self.micros[phase as usize].into())
    }

    /// The phase in which the check ended: where it failed, if it did.
    #[must_use]
    pub fn last(&self) -> Phase {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_phase_add_up() {
        let ms = Duration::from_millis;
        let mut times = PhaseTimes::default();
        for (phase, time) in [(Phase::Connect, 3), (Phase::Answer, 5), (Phase::Connect, 4)] {
            times.add(phase, ms(time));
        }
        assert_eq!(Phase::ALL.map(|phase| times.of(phase)), [ms(0), ms(7), ms(0), ms(5)]);
        assert_eq!(times.last(), Phase::Connect);
        times.add(Phase::Tls, Duration::from_secs(7200));
        assert_eq!(times.of(Phase::Tls), Duration::from_micros(u32::MAX.into()));
    }
}
