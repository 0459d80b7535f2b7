//! The next hop of packets to an address.

/// Where this machine sends packets to an address first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// Nowhere: it is an address of this machine.
    Local,
    /// To the address itself, in a network of this machine.
    Direct,
    /// To a router.
    Router,
    /// It has no route.
    Unreachable,
}
