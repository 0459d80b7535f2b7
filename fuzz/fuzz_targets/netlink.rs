//! What the kernel answers, decoded in every way.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| ipvs_rs::decode_everything(bytes));
