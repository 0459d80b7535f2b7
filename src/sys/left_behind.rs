//! Process groups that commands have left behind: a command has ended, and something that it started lives on.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::process::lives_group;

/// The leaders of these groups. The commands have ended; as long as a group lives, the number of its leader belongs to nobody else.
static GROUPS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Notes the group of a command that has ended, if something of it lives on.
pub(super) fn note(leader: u32) {
    if lives_group(leader) {
        groups().insert(leader);
    }
}

/// How many groups were noted. Some of them may have ended since.
#[must_use]
pub fn noted() -> usize {
    groups().len()
}

/// The leaders of the groups that live. Asks the system about each.
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
        // Whoever inherited it takes its exit status; that may last.
        for _ in 0..1000 {
            if !living().contains(&untidy) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the group of {untidy} lives on");
    }
}
