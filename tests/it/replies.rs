//! Wrong replies of servers: the kept inputs of `fuzz/corpus`, and good replies with some bytes changed, cut, doubled
//! or inserted. No check panics, is late, blames this machine, or reveals a secret. `PROPTEST_CASES` is the number of
//! changes.

use std::fs;
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use tokio::runtime::{Builder, Runtime};

use harness::{Harness, PROTOCOLS, Protocol};
use ldirectord_rs::check::silence_contained_panics;
use ldirectord_rs::value::Outcome;

#[path = "../../fuzz/src/harness.rs"]
mod harness;

/// The deadline of a check that gets a wrong reply.
const IMPATIENCE: Duration = Duration::from_millis(40);
/// The deadline of a check that gets a good reply.
const PATIENCE: Duration = Duration::from_secs(10);

fn runtime() -> Runtime {
    static SILENCE: Once = Once::new();
    // As in the daemon. Otherwise each broken answer prints a stack trace on the check's thread, and the check is
    // late.
    SILENCE.call_once(silence_contained_panics);
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The kept inputs of a protocol with their names, or only those of a good server.
fn corpus(protocol: &Protocol, good: bool) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(protocol.name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let named = entries.map(|entry| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())
    });
    let mut kept: Vec<_> = named.filter(|(name, _)| !good || name.starts_with("good")).collect();
    kept.sort();
    assert!(!kept.is_empty(), "nothing in {}", folder.display());
    kept
}

#[test]
fn the_kept_inputs_are_survived() {
    for protocol in PROTOCOLS {
        runtime().block_on(async {
            let harness = Harness::open(*protocol, IMPATIENCE).await.unwrap();
            for (name, reply) in corpus(protocol, false) {
                let verdict = harness.run(&reply).await;
                harness.judge(&reply, &verdict).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
            }
        });
    }
}

/// Otherwise changes of them would change nothing.
#[test]
fn the_good_inputs_lead_to_the_end_of_the_dialogue() {
    for protocol in PROTOCOLS {
        let (name, reply) = corpus(protocol, true).swap_remove(0);
        let verdict =
            runtime().block_on(async { Harness::open(*protocol, PATIENCE).await.unwrap().run(&reply).await });
        // The reply of a good server in TLS depends on the request, and a file over FTP comes on a separate
        // connection.
        let whole = !matches!(protocol.name, "https" | "ftp");
        assert_eq!(verdict.outcome == Outcome::Up, whole, "{} {name}: {verdict:?}", protocol.name);
    }
}

#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Cut(Index),
    Double(Index),
    Insert(Index, Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<Index>(), 1..=255u8).prop_map(|(at, mask)| Change::Flip(at, mask)),
        1 => any::<Index>().prop_map(Change::Cut),
        1 => any::<Index>().prop_map(Change::Double),
        2 => (any::<Index>(), proptest::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
    ]
}

impl Change {
    fn apply(&self, reply: &mut Vec<u8>) {
        let place = |index: &Index, length: usize| index.index(length + 1);
        match self {
            Change::Flip(at, mask) if !reply.is_empty() => {
                let at = at.index(reply.len());
                reply[at] ^= mask;
            }
            Change::Flip(..) => {}
            Change::Cut(at) => reply.truncate(place(at, reply.len())),
            Change::Double(at) => {
                let tail = reply[place(at, reply.len())..].to_vec();
                reply.extend(tail);
            }
            Change::Insert(at, bytes) => {
                let at = place(at, reply.len());
                reply.splice(at..at, bytes.iter().copied());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn what_is_nearly_right_is_survived(
        which in any::<Index>(),
        input in any::<Index>(),
        changes in proptest::collection::vec(change(), 0..4),
    ) {
        let protocol = PROTOCOLS[which.index(PROTOCOLS.len())];
        let mut kept = corpus(&protocol, true);
        let (_, mut reply) = kept.swap_remove(input.index(kept.len()));
        changes.iter().for_each(|change| change.apply(&mut reply));
        let wrong = runtime().block_on(async {
            let harness = Harness::open(protocol, IMPATIENCE).await.unwrap();
            let verdict = harness.run(&reply).await;
            harness.judge(&reply, &verdict).err()
        });
        prop_assert!(wrong.is_none(), "{wrong:?}");
    }
}

/// Enough to test each protocol some dozen times in a few seconds.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300)
}
