//! The tests of the whole reader.
