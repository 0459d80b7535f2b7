//! Sets of bytes, by range, by name and by Unicode property.

/// A set of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ByteSet([u64; 4]);

/// The rules for the bytes of named sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    /// Perl's default for bytes: only ASCII letters are letters.
    Bytes,
    /// `(?u)`, or a pattern with `\p{…}`: bytes are characters of Latin-1.
    Unicode,
    /// `(?a)`: named sets contain only ASCII.
    Ascii,
}

type Ranges = &'static [(u8, u8)];

impl ByteSet {
    pub(crate) const EMPTY: ByteSet = ByteSet([0; 4]);
    pub(crate) const FULL: ByteSet = ByteSet([u64::MAX; 4]);

    pub(crate) fn of(ranges: &[(u8, u8)]) -> ByteSet {
        let mut set = ByteSet::EMPTY;
        for (from, to) in ranges {
            set.add(*from, *to);
        }
        set
    }

    pub(crate) fn byte(byte: u8) -> ByteSet {
        ByteSet::of(&[(byte, byte)])
    }

    pub(crate) fn add(&mut self, from: u8, to: u8) {
        for byte in from..=to {
            self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
        }
    }

    pub(crate) fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }

    pub(crate) fn or(self, other: ByteSet) -> ByteSet {
        ByteSet(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    pub(crate) fn and(self, other: ByteSet) -> ByteSet {
        ByteSet(std::array::from_fn(|word| self.0[word] & other.0[word]))
    }

    pub(crate) fn not(self) -> ByteSet {
        ByteSet(self.0.map(|word| !word))
    }

    pub(crate) fn negated_if(self, negated: bool) -> ByteSet {
        if negated { self.not() } else { self }
    }

    /// The set with both cases of each ASCII letter.
    pub(crate) fn folded(self) -> ByteSet {
        let mut set = self;
        for byte in (b'A'..=b'Z').chain(b'a'..=b'z').filter(|byte| self.has(*byte)) {
            set.add(byte ^ 0x20, byte ^ 0x20);
        }
        set
    }

    pub(crate) fn is_ascii(&self) -> bool {
        self.0[2] == 0 && self.0[3] == 0
    }

    /// The members, as ranges in ascending order.
    pub(crate) fn ranges(&self) -> Vec<(u8, u8)> {
        let mut ranges: Vec<(u8, u8)> = Vec::new();
        for byte in (0..=255).filter(|byte| self.has(*byte)) {
            match ranges.last_mut() {
                Some((_, to)) if *to + 1 == byte => *to = byte,
                _ => ranges.push((byte, byte)),
            }
        }
        ranges
    }
}

const ASCII: ByteSet = ByteSet([u64::MAX, u64::MAX, 0, 0]);
const ALPHA: Ranges = &[
    (b'A', b'Z'),
    (b'a', b'z'),
    (0xAA, 0xAA),
    (0xB5, 0xB5),
    (0xBA, 0xBA),
    (0xC0, 0xD6),
    (0xD8, 0xF6),
    (0xF8, 0xFF),
];
const DIGIT: Ranges = &[(b'0', b'9')];
const UPPER: Ranges = &[(b'A', b'Z'), (0xC0, 0xD6), (0xD8, 0xDE)];
const LOWER: Ranges = &[(b'a', b'z'), (0xAA, 0xAA), (0xB5, 0xB5), (0xBA, 0xBA), (0xDF, 0xF6), (0xF8, 0xFF)];
const SMALL: Ranges = &[(b'a', b'z'), (0xB5, 0xB5), (0xDF, 0xF6), (0xF8, 0xFF)];
const SPACE: Ranges = &[(0x09, 0x0D), (0x20, 0x20), (0x85, 0x85), (0xA0, 0xA0)];
const NUMBER: Ranges = &[(b'0', b'9'), (0xB2, 0xB3), (0xB9, 0xB9), (0xBC, 0xBE)];
const POSIX_PUNCT: Ranges = &[
    (0x21, 0x2F),
    (0x3A, 0x40),
    (0x5B, 0x60),
    (0x7B, 0x7E),
    (0xA1, 0xA1),
    (0xA7, 0xA7),
    (0xAB, 0xAB),
    (0xB6, 0xB7),
    (0xBB, 0xBB),
    (0xBF, 0xBF),
];
const SYMBOL: Ranges = &[
    (0x24, 0x24),
    (0x2B, 0x2B),
    (0x3C, 0x3E),
    (0x5E, 0x5E),
    (0x60, 0x60),
    (0x7C, 0x7C),
    (0x7E, 0x7E),
    (0xA2, 0xA6),
    (0xA8, 0xA9),
    (0xAC, 0xAC),
    (0xAE, 0xB1),
    (0xB4, 0xB4),
    (0xB8, 0xB8),
    (0xD7, 0xD7),
    (0xF7, 0xF7),
];
const CONTROL: Ranges = &[(0x00, 0x1F), (0x7F, 0x9F)];

/// `\h`: horizontal white space, under all rules.
pub(crate) fn horizontal() -> ByteSet {
    ByteSet::of(&[(0x09, 0x09), (0x20, 0x20), (0xA0, 0xA0)])
}

/// `\v`: vertical white space, under all rules.
pub(crate) fn vertical() -> ByteSet {
    ByteSet::of(&[(0x0A, 0x0D), (0x85, 0x85)])
}

/// A class such as `[:alpha:]`, by its name and the rules that apply.
pub(crate) fn posix(name: &str, charset: Charset) -> Option<ByteSet> {
    let set = match name {
        "alpha" => ByteSet::of(ALPHA),
        "digit" => ByteSet::of(DIGIT),
        "alnum" => ByteSet::of(ALPHA).or(ByteSet::of(DIGIT)),
        "word" => ByteSet::of(ALPHA).or(ByteSet::of(DIGIT)).or(ByteSet::byte(b'_')),
        "upper" => ByteSet::of(UPPER),
        "lower" => ByteSet::of(LOWER),
        "space" => ByteSet::of(SPACE),
        "blank" => horizontal(),
        "punct" => ByteSet::of(POSIX_PUNCT),
        "cntrl" => ByteSet::of(CONTROL),
        "graph" => ByteSet::of(&[(0x21, 0x7E), (0xA1, 0xFF)]),
        "print" => ByteSet::of(&[(0x20, 0x7E), (0xA0, 0xFF)]),
        "xdigit" => ByteSet::of(&[(b'0', b'9'), (b'A', b'F'), (b'a', b'f')]),
        "ascii" => ASCII,
        _ => return None,
    };
    Some(if charset == Charset::Unicode { set } else { set.and(ASCII) })
}

/// A property such as `\p{Lu}`, by its name: its members among the first 256 characters.
pub(crate) fn property(name: &str) -> Option<ByteSet> {
    let plain: String =
        name.chars().filter(|c| !matches!(c, ' ' | '_' | '-')).collect::<String>().to_ascii_lowercase();
    let plain = plain.strip_prefix("is").unwrap_or(&plain);
    if let Some(name) = plain.strip_prefix("xposix") {
        return posix(name, Charset::Unicode);
    }
    if let Some(name) = plain.strip_prefix("posix") {
        return posix(name, Charset::Ascii);
    }
    let punctuation = ByteSet::of(POSIX_PUNCT).and(ByteSet::of(SYMBOL).not());
    Some(match plain {
        "l" | "letter" => ByteSet::of(ALPHA),
        "alphabetic" => ByteSet::of(ALPHA),
        "lu" | "uppercaseletter" | "uppercase" => ByteSet::of(UPPER),
        "ll" | "lowercaseletter" => ByteSet::of(SMALL),
        "lowercase" => ByteSet::of(LOWER),
        "l&" | "lc" | "casedletter" => ByteSet::of(UPPER).or(ByteSet::of(SMALL)),
        "n" | "number" => ByteSet::of(NUMBER),
        "nd" | "decimalnumber" => ByteSet::of(DIGIT),
        "p" | "punct" | "punctuation" => punctuation,
        "s" | "symbol" => ByteSet::of(SYMBOL),
        "z" | "zs" | "separator" | "spaceseparator" => ByteSet::of(&[(0x20, 0x20), (0xA0, 0xA0)]),
        "c" | "other" => ByteSet::of(CONTROL).or(ByteSet::byte(0xAD)),
        "cc" | "control" => ByteSet::of(CONTROL),
        "whitespace" | "wspace" | "spaceperl" => ByteSet::of(SPACE),
        "latin" => ByteSet::of(ALPHA).and(ByteSet::byte(0xB5).not()),
        "any" | "all" => ByteSet::FULL,
        "alpha" | "digit" | "alnum" | "word" | "upper" | "lower" | "space" | "blank" | "cntrl" | "graph"
        | "print" | "xdigit" | "ascii" => return posix(plain, Charset::Unicode),
        _ => return None,
    })
}
