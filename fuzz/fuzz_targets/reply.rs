//! Replies of a server with the protocol in the variable PROTOCOL.
#![no_main]

use std::cell::OnceCell;
use std::time::Duration;

use harness::{Harness, PROTOCOLS};
use ldirectord_rs::check::silence_contained_panics;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static HARNESS: OnceCell<(Runtime, Harness)> = const { OnceCell::new() };
}

fn open() -> (Runtime, Harness) {
    // A panic of a library on a broken reply is caught and gives a verdict. Only other panics are findings.
    silence_contained_panics();
    let name = std::env::var("PROTOCOL").expect("PROTOCOL names the protocol, as in fuzz/corpus");
    let protocol = PROTOCOLS.iter().find(|protocol| protocol.name == name).expect("a protocol of this name");
    let deadline = Duration::from_millis(if protocol.udp { 4 } else { 60 });
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let harness = runtime.block_on(Harness::open(*protocol, deadline)).expect("a port");
    (runtime, harness)
}

fuzz_target!(|reply: &[u8]| {
    HARNESS.with(|cell| {
        let (runtime, harness) = cell.get_or_init(open);
        let verdict = runtime.block_on(harness.run(reply));
        if let Err(wrong) = harness.judge(reply, &verdict) {
            panic!("{wrong}");
        }
    });
});
