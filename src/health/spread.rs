//! Spreads checks that are due at once, by their cost in CPU time.

use std::time::Duration;

use crate::spec::Effort;

/// Window for each check of a small number of checks, so that a few servers are checked at once.
const PER_CHECK: Duration = Duration::from_millis(1);
/// Maximum window for cheap checks: at the start, servers without a verdict are out of rotation.
const CHEAP_LIMIT: Duration = Duration::from_secs(1);
/// The share of one core that a burst of checks may use.
const SHARE: f64 = 0.5;
/// The weight of a new measurement in the average is one part in this many.
const INERTIA: u32 = 16;

/// CPU time of one check, by kind: the measured average, or an estimate before the first measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Costs {
    plain: Duration,
    tls: Duration,
}

impl Default for Costs {
    fn default() -> Costs {
        Costs { plain: Duration::from_micros(80), tls: Duration::from_micros(440) }
    }
}

/// The assumed cost of a command. It runs in other processes, where it is not measured.
const COMMAND: Duration = Duration::from_millis(2);

impl Costs {
    /// Records the CPU time of one check. Zero if it was not measured.
    pub(super) fn record(&mut self, effort: Effort, cpu: Duration) {
        let average = match effort {
            Effort::Plain => &mut self.plain,
            Effort::Tls => &mut self.tls,
            Effort::Nothing | Effort::Command => return,
        };
        if !cpu.is_zero() {
            *average = (*average * (INERTIA - 1) + cpu) / INERTIA;
        }
    }

    /// The expected CPU time of one check.
    pub(super) fn of(&self, effort: Effort) -> Duration {
        match effort {
            Effort::Nothing => Duration::ZERO,
            Effort::Plain => self.plain,
            Effort::Tls => self.tls,
            Effort::Command => COMMAND,
        }
    }

    /// The window over which to spread these checks if all are due at once.
    pub(super) fn window(&self, efforts: impl Iterator<Item = Effort>) -> Duration {
        let (mut count, mut cpu) = (0_u32, Duration::ZERO);
        for effort in efforts {
            count = count.saturating_add(1);
            cpu += self.of(effort);
        }
        PER_CHECK.saturating_mul(count).min(CHEAP_LIMIT).max(cpu.div_f64(SHARE))
    }
}

/// The offset of one of `count` checks in a window.
pub(super) fn place(window: Duration, index: usize, count: usize) -> Duration {
    let share = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    window.mul_f64(share(index) / share(count.max(1)))
}

/// Maps a number to a fraction from 0 to 1, so that consecutive numbers are spread evenly (multiples of the golden
/// ratio).
pub(super) fn fraction(number: u64) -> f64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let bits = u32::try_from(number.wrapping_mul(GOLDEN) >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a2_the_window_follows_what_was_measured() {
        let mut costs = Costs::default();
        let window = |costs: &Costs, effort| costs.window(std::iter::repeat_n(effort, 8000)).as_secs_f64();
        assert!((window(&costs, Effort::Tls) - 7.04).abs() < 0.01);
        for _ in 0..200 {
            costs.record(Effort::Tls, Duration::from_millis(1));
            costs.record(Effort::Plain, Duration::ZERO);
        }
        assert!((window(&costs, Effort::Tls) - 16.0).abs() < 0.1);
        assert!((window(&costs, Effort::Plain) - 1.28).abs() < 0.01);
        assert_eq!(costs.window(std::iter::once(Effort::Nothing)), PER_CHECK);
    }
}
