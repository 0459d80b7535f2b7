//! Process groups that commands have left behind: the command has ended, but a process that it started still runs.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::process::lives_group;

/// The leaders of these groups. The leaders have ended, but the kernel reuses no pid while a group with that id exists.
static GROUPS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Notes the group of an ended command if a process of it still runs.
pub(super) fn note(leader: u32) {
    if lives_group(leader) {
        groups().insert(leader);
    }
}

/// The number of noted groups. Some may have ended since.
#[must_use]
pub fn noted() -> usize {
    groups().len()
}

/// The leaders of the groups that still exist. Makes a system call for each.
#[must_use]
pub fn living() -> Vec<u32> {
    let mut groups = groups();
    groups.retain(|leader| lives_group(*leader));
    groups.iter().copied().collect()
}

fn groups() -> MutexGuard<'static, BTreeSet<u32>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::command;
    use super::super::process::kill_group;
    use super::*;

    #[tokio::test]
    async fn a11_a_process_left_behind_is_counted_while_it_lives() {
        let words = |script: &str| ["/bin/sh", "-c", script].map(str::to_owned);
        let run = async |script: &str| {
            let running = command::start(&words(script), None, || {}).await.unwrap();
            let leader = running.leader().unwrap();
            running.end(|_| {}).await.unwrap();
            leader
        };
        let tidy = run("exit 0").await;
        assert!(!living().contains(&tidy));
        let untidy = run("sleep 600 & exit 0").await;
        assert!(living().contains(&untidy) && noted() >= 1);
        kill_group(untidy);
        // The process that inherited it collects its exit status, which may take a while.
        for _ in 0..1000 {
            if !living().contains(&untidy) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the group of {untidy} lives on");
    }
}
