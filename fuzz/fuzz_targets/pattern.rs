//! Patterns of `receive`: up to the first NUL the pattern, behind it the text. Neither panics nor takes for ever.
#![no_main]

use ldirectord_rs::value::Pattern;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (source, subject) = match input.iter().position(|byte| *byte == 0) {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, &b"some text\n"[..]),
    };
    let Ok(source) = std::str::from_utf8(source) else { return };
    if let Ok(pattern) = Pattern::parse(source) {
        let _ = pattern.is_match(subject);
    }
});
