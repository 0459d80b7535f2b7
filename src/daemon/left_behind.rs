//! Warns when many processes have outlived the commands that started them.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::sys::left_behind::{living, noted};

/// Number of process groups for a warning.
const MANY: usize = 20;

/// When fewer than this are left, the end is reported, and the next increase is a new warning.
const FEW: usize = MANY / 2;

/// Minimum time between two queries which process groups still exist.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// The state of the warning.
#[derive(Debug, Default)]
pub(super) struct LeftBehind {
    looked: Option<Instant>,
    warned: bool,
}

impl LeftBehind {
    /// Warns once when there are many. Costs almost nothing while there are few.
    pub(super) fn look(&mut self, now: Instant) {
        let is_early = self.looked.is_some_and(|at| now < at + LOOK_INTERVAL);
        if is_early || (noted() < MANY && !self.warned) {
            return;
        }
        self.looked = Some(now);
        let groups = living();
        match self.judge(groups.len()) {
            Some(true) => warn!(
                "{} process groups have outlived their commands, for example {:?}: a checkcommand, fallbackcommand or callback \
                 leaves processes running, which use memory and process ids. List them with ps -eo pgid,lstart,args, and make \
                 the command wait for the processes that it starts",
                groups.len(),
                groups.iter().take(3).collect::<Vec<_>>()
            ),
            Some(false) => info!("Only {} process groups have outlived their commands now", groups.len()),
            None => {}
        }
    }

    /// Whether there are many. `None` if that has not changed.
    fn judge(&mut self, count: usize) -> Option<bool> {
        let before = self.warned;
        self.warned = count >= if before { FEW } else { MANY };
        (self.warned != before).then_some(self.warned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a11_processes_left_behind_are_warned_of_at_20() {
        let mut left = LeftBehind::default();
        let news: Vec<Option<bool>> =
            [19, 20, 500, 10, 9, 19, 20].into_iter().map(|count| left.judge(count)).collect();
        assert_eq!(news, [None, Some(true), None, None, Some(false), None, Some(true)]);
    }
}
