//! Runs one probe and says what it found: one file a protocol.
