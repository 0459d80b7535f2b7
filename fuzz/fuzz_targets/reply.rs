//! Replies of a server with the protocol in the variable PROTOCOL.
#![no_main]

use std::cell::OnceCell;
use std::time::Duration;

use ldirectord_rs::check::silence_contained_panics;
use libfuzzer_sys::fuzz_target;
use stage::{PROTOCOLS, Stage};
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static WORLD: OnceCell<(Runtime, Stage)> = const { OnceCell::new() };
}

fn open() -> (Runtime, Stage) {
    // A panic of a library on a broken reply is caught and gives a verdict. Only other panics are findings.
    silence_contained_panics();
    let name = std::env::var("PROTOCOL").expect("PROTOCOL names the protocol, as in fuzz/corpus");
    let protocol = PROTOCOLS.iter().find(|protocol| protocol.name == name).expect("a protocol of this name");
    let deadline = Duration::from_millis(if protocol.udp { 4 } else { 60 });
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let stage = runtime.block_on(Stage::open(*protocol, deadline)).expect("a port");
    (runtime, stage)
}

fuzz_target!(|reply: &[u8]| {
    WORLD.with(|world| {
        let (runtime, stage) = world.get_or_init(open);
        let verdict = runtime.block_on(stage.run(reply));
        if let Err(wrong) = stage.judge(reply, &verdict) {
            panic!("{wrong}");
        }
    });
});
