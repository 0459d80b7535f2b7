//! Patterns of `receive`. The input is the pattern, a NUL and the text. No pair may panic or run forever.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perl_pattern::Pattern;

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
