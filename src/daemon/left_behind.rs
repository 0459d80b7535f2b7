//! Warns when commands have left many processes behind.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::sys::left_behind::{living, noted};

/// This many process groups are worth a warning.
const MANY: usize = 20;

/// When fewer than this are left, the matter is over, and the next time is warned of again.
const FEW: usize = MANY / 2;

/// The system is asked which of them live at most this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// What is known of the processes that commands have left behind.
#[derive(Debug, Default)]
pub(super) struct LeftBehind {
    looked: Option<Instant>,
    warned: bool,
}

impl LeftBehind {
    /// Warns when there are many, once. Costs next to nothing while there are few.
    pub(super) fn look(&mut self, now: Instant) {
        let is_early = self.looked.is_some_and(|at| now < at + LOOK_INTERVAL);
        if is_early || (noted() < MANY && !self.warned) {
            return;
        }
        self.looked = Some(now);
        let groups = living();
        match self.judge(groups.len()) {
            Some(true) => warn!(
                "{} process groups live on whose commands have ended, for example {:?}: a checkcommand, fallbackcommand or \
                 callback leaves processes behind, which take up memory and process ids. See ps -eo pgid,lstart,args, and have \
                 the command wait for what it starts",
                groups.len(),
                groups.iter().take(3).collect::<Vec<_>>()
            ),
            Some(false) => info!("{} process groups of ended commands are left", groups.len()),
            None => {}
        }
    }

    /// Whether there are many, when that is news.
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
