//! The mark and the colour of a server, by its state.

use super::lines::{ListingStyle, Paint};
use crate::report::snapshot::ServerEntry;
use crate::report::view::ShownState;

pub(super) fn sign(look: ListingStyle, server: &ServerEntry) -> &'static str {
    match (server.state, look.utf8) {
        (ShownState::Up, true) if server.failures > 0 => "◐",
        (ShownState::Up, false) if server.failures > 0 => "~",
        _ => mark(look, server.state),
    }
}

pub(super) fn mark(look: ListingStyle, state: ShownState) -> &'static str {
    let (mark, plain) = match state {
        ShownState::Up => ("●", "+"),
        ShownState::Down => ("✖", "x"),
        ShownState::Draining | ShownState::Leaving => ("▽", "v"),
        ShownState::Maintenance => ("◇", "m"),
        ShownState::Unknown | ShownState::Off => ("○", "-"),
    };
    if look.utf8 { mark } else { plain }
}

pub(super) fn paint(server: &ServerEntry) -> Paint {
    match server.state {
        ShownState::Up if server.failures > 0 => Paint::Warning,
        ShownState::Up => Paint::Plain,
        ShownState::Down => Paint::Bad,
        ShownState::Unknown => Paint::Warning,
        ShownState::Draining | ShownState::Leaving => Paint::Draining,
        ShownState::Maintenance => Paint::Maintained,
        ShownState::Off => Paint::Dim,
    }
}
