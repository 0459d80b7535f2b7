//! Answers of the kernel, decoded with every decoder.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| ipvs_rs::decode_everything(bytes));
