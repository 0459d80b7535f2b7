//! The DNS record types that a check can query (RFC 1035 3.2.2, RFC 3596, RFC 2782, RFC 8659).

/// A DNS record type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the record of its name")]
pub enum DnsType {
    A,
    Aaaa,
    Caa,
    Cname,
    Mx,
    Naptr,
    Ns,
    Ptr,
    Soa,
    Srv,
    Txt,
}

impl DnsType {
    /// Every type with its name.
    pub const ALL: &'static [(DnsType, &'static str)] = &[
        (DnsType::A, "A"),
        (DnsType::Aaaa, "AAAA"),
        (DnsType::Caa, "CAA"),
        (DnsType::Cname, "CNAME"),
        (DnsType::Mx, "MX"),
        (DnsType::Naptr, "NAPTR"),
        (DnsType::Ns, "NS"),
        (DnsType::Ptr, "PTR"),
        (DnsType::Soa, "SOA"),
        (DnsType::Srv, "SRV"),
        (DnsType::Txt, "TXT"),
    ];

    /// Reads the name, in upper or lower case.
    #[must_use]
    pub fn from_word(word: &str) -> Option<DnsType> {
        DnsType::ALL.iter().find(|(_, name)| name.eq_ignore_ascii_case(word)).map(|(kind, _)| *kind)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        // The enum and the table are in the same order, which a test asserts.
        DnsType::ALL[self as usize].1
    }
}

#[cfg(test)]
mod tests {
    use super::DnsType;

    #[test]
    fn kinds_stand_in_the_order_of_the_enum() {
        for (index, (kind, word)) in DnsType::ALL.iter().enumerate() {
            assert_eq!((*kind as usize, kind.as_str()), (index, *word));
            assert_eq!(DnsType::from_word(&word.to_lowercase()), Some(*kind));
        }
        assert_eq!(DnsType::from_word("AXFR"), None);
    }
}
