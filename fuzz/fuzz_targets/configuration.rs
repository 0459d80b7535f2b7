//! `ldirectord.cf`: no file makes the reader panic, and a configuration that was read can be written and planned.
#![no_main]

use std::sync::Arc;

use ldirectord_rs::config::{self, Answers};
use ldirectord_rs::spec::Spec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let loaded = config::load(text, &Answers::new("a.test"));
    let _ = config::render(&loaded.diagnostics, "a.cf", false);
    if let Some(config) = loaded.config {
        // `write` reads its text again, which must give the same configuration.
        config::write(&config).expect("a configuration that was read can be written");
        let _ = Spec::new(Arc::new(config));
    }
});
