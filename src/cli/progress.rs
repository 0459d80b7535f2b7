//! A progress bar on standard error, if a person reads that and probing takes long.

use std::io::{self, Write};
use std::time::Duration;

use super::terminal;

/// Probing that takes less time has no bar.
const BEGIN: Duration = Duration::from_secs(1);

/// Time between two drawings.
pub(super) const INTERVAL: Duration = Duration::from_millis(200);

/// The cells of the bar.
const CELLS: usize = 40;

/// The progress of a number of checks.
pub(super) struct ProgressBar {
    total: usize,
    is_wanted: bool,
    /// The columns that were drawn last.
    drawn: usize,
}

impl ProgressBar {
    pub fn new(total: usize) -> ProgressBar {
        ProgressBar { total, is_wanted: terminal::is_interactive(), drawn: 0 }
    }

    /// Draws the bar again.
    pub fn draw(&mut self, done: usize, elapsed: Duration) {
        if self.is_wanted && elapsed >= BEGIN {
            let text = text(done, self.total, elapsed);
            self.drawn = self.drawn.max(text.len());
            put(&format!("\r{text}"));
        }
    }

    /// Removes the bar.
    pub fn clear(&mut self) {
        if self.drawn > 0 {
            put(&format!("\r{}\r", " ".repeat(self.drawn)));
            self.drawn = 0;
        }
    }
}

/// Ends with the bar removed, also after an error.
impl Drop for ProgressBar {
    fn drop(&mut self) {
        self.clear();
    }
}

fn text(done: usize, total: usize, elapsed: Duration) -> String {
    let full = (CELLS * done.min(total)).checked_div(total).unwrap_or(CELLS);
    let (full, rest) = ("#".repeat(full), "-".repeat(CELLS - full));
    format!("  running {total} checks  [{full}{rest}]  {done} of {total}  {} s", elapsed.as_secs())
}

fn put(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_has_one_width() {
        let at = |done| text(done, 50, Duration::from_millis(3_900));
        assert_eq!(at(43), "  running 50 checks  [##################################------]  43 of 50  3 s");
        assert_eq!(at(50).matches('#').count(), CELLS);
        assert_eq!(at(10).len(), at(50).len());
        assert!(at(50).len() < 80);
        assert_eq!(text(0, 0, Duration::ZERO).matches('#').count(), CELLS);
    }
}
