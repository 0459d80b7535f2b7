//! The dialect of Perl, pair by pair.
