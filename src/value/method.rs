//! How a packet reaches the real server.

use std::fmt;

/// The forwarding method, in the words of `ldirectord.cf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ForwardingMethod {
    /// Direct routing (LVS-DR).
    Gate,
    /// Masquerading (LVS-NAT).
    Masq,
    /// IP in IP (LVS-TUN).
    Ipip,
}

impl ForwardingMethod {
    /// Reads the word of the configuration. Case counts, as in the original.
    #[must_use]
    pub fn from_word(word: &str) -> Option<ForwardingMethod> {
        match word {
            "gate" => Some(ForwardingMethod::Gate),
            "masq" => Some(ForwardingMethod::Masq),
            "ipip" => Some(ForwardingMethod::Ipip),
            _ => None,
        }
    }
}

impl fmt::Display for ForwardingMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ForwardingMethod::Gate => "gate",
            ForwardingMethod::Masq => "masq",
            ForwardingMethod::Ipip => "ipip",
        })
    }
}
