//! Parses a pattern as Perl does: byte by byte, with the flags that apply at each place.

use crate::PatternError;
use crate::node::Node;
use crate::set::{ByteSet, Charset};

/// The engine's limit on nested groups.
const DEEPEST: usize = 50;
/// Perl's limit on the number of repetitions.
const MOST: u32 = 65_534;

/// A parsed pattern.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) node: Node,
    /// The places of the deepest group and of the largest repetition.
    pub(crate) deepest: usize,
    pub(crate) largest: usize,
}

/// The flags of `(?imsxn)` and the rules for letters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flags {
    pub(crate) fold: bool,
    pub(crate) lines: bool,
    pub(crate) dot_all: bool,
    pub(crate) spaced: bool,
    pub(crate) spaced_classes: bool,
    pub(crate) no_groups: bool,
    pub(crate) charset: Charset,
}

impl Flags {
    pub(crate) fn none(charset: Charset) -> Flags {
        Flags {
            fold: false,
            lines: false,
            dot_all: false,
            spaced: false,
            spaced_classes: false,
            no_groups: false,
            charset,
        }
    }
}

/// The state of the parser.
pub(crate) struct Parser<'a> {
    source: &'a str,
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
    pub(crate) flags: Flags,
    /// The meaning of `(?d)` here: the rules of Unicode apply to the whole pattern if it contains `\p{…}`.
    pub(crate) base: Charset,
    /// Whether the pattern has a part that needs those rules.
    pub(crate) unicode: bool,
    pub(crate) groups: usize,
    pub(crate) names: Vec<(String, usize)>,
    pub(crate) depth: usize,
    /// The place of a group whose alternatives number their groups from the same number.
    pub(crate) reset_at: Option<usize>,
    /// The number of open look-arounds.
    pub(crate) looking: usize,
    /// References to groups, which may come later: number and place.
    pub(crate) wanted: Vec<(usize, usize)>,
    /// The names and the number of all groups, known from a first pass.
    pub(crate) all_groups: Option<(Vec<(String, usize)>, usize)>,
    deepest: (usize, usize),
    largest: (u32, usize),
}

/// Parses a whole pattern.
pub(crate) fn parse(source: &str) -> Result<Parsed, PatternError> {
    // The names of all groups and the rules for letters apply from the start, but are known only after a first pass.
    let mut first = Parser::new(source, Charset::Bytes, None);
    first.whole()?;
    let base = if first.unicode { Charset::Unicode } else { Charset::Bytes };
    let mut parser = Parser::new(source, base, Some((first.names, first.groups)));
    let node = parser.whole()?;
    Ok(Parsed { node, deepest: parser.deepest.1, largest: parser.largest.1 })
}

impl<'a> Parser<'a> {
    fn new(source: &'a str, base: Charset, all_groups: Option<(Vec<(String, usize)>, usize)>) -> Parser<'a> {
        Parser {
            source,
            bytes: source.as_bytes(),
            at: 0,
            flags: Flags::none(base),
            base,
            unicode: false,
            groups: 0,
            names: Vec::new(),
            depth: 0,
            reset_at: None,
            looking: 0,
            wanted: Vec::new(),
            all_groups,
            deepest: (0, 0),
            largest: (0, 0),
        }
    }

    fn whole(&mut self) -> Result<Node, PatternError> {
        let node = self.alternatives()?;
        if self.at < self.bytes.len() {
            return self.refuse(self.at, "this ) closes no group: write \\) for a literal parenthesis");
        }
        if let Some((group, at)) = self.wanted.iter().find(|(group, _)| *group > self.groups) {
            return self.refuse(*at, &format!("there is no group {group} in the pattern"));
        }
        let refers = |node: &Node| matches!(node, Node::Backref { .. } | Node::IfGroup { .. });
        if let Some(at) = self.reset_at.filter(|_| !self.names.is_empty() || node.any(&refers)) {
            return self.refuse(
                at,
                "(?|…) is not supported together with references to groups: write (?:…|…) and refer to each group",
            );
        }
        Ok(node)
    }

    /// The error for a place in the source.
    pub(crate) fn refuse<T>(&self, at: usize, message: &str) -> Result<T, PatternError> {
        let mut offset = at.min(self.source.len());
        while !self.source.is_char_boundary(offset) {
            offset -= 1;
        }
        Err(PatternError { message: message.to_owned(), offset })
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Consumes a word if it comes next.
    pub(crate) fn take(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word.as_bytes());
        if found {
            self.at += word.len();
        }
        found
    }

    /// Consumes everything up to a byte, and that byte.
    pub(crate) fn take_until(&mut self, end: u8) -> Option<&'a str> {
        let length = self.rest().iter().position(|byte| *byte == end)?;
        let text = self.source.get(self.at..self.at + length)?;
        self.at += length + 1;
        Some(text)
    }

    /// Counts a group that opens here.
    pub(crate) fn descend(&mut self, at: usize) -> Result<(), PatternError> {
        self.depth += 1;
        if self.depth > self.deepest.0 {
            self.deepest = (self.depth, at);
        }
        if self.depth > DEEPEST {
            return self.refuse(at, "groups are nested too deeply here: use fewer nested groups");
        }
        Ok(())
    }

    pub(crate) fn alternatives(&mut self) -> Result<Node, PatternError> {
        let mut nodes = vec![self.branch()?];
        while self.take("|") {
            nodes.push(self.branch()?);
        }
        if nodes.len() > 1 {
            return Ok(Node::Alternatives(nodes));
        }
        Ok(nodes.pop().unwrap_or(Node::Empty))
    }

    pub(crate) fn branch(&mut self) -> Result<Node, PatternError> {
        let mut nodes = Vec::new();
        loop {
            self.skip_blank()?;
            if matches!(self.peek(), None | Some(b'|' | b')')) {
                break;
            }
            let at = self.at;
            // Flags alone are not an atom: a quantifier after them has no operand.
            let Some(atom) = self.atom()? else { continue };
            self.skip_blank()?;
            nodes.push(self.quantified(atom, at)?);
        }
        if nodes.len() == 1 {
            return Ok(nodes.remove(0));
        }
        Ok(if nodes.is_empty() { Node::Empty } else { Node::Concat(nodes) })
    }

    /// Skips comments, and with `x` white space.
    pub(crate) fn skip_blank(&mut self) -> Result<(), PatternError> {
        loop {
            let start = self.at;
            if self.take("(?#") {
                if self.take_until(b')').is_none() {
                    return self.refuse(start, "the comment (?# has no ) at its end: add it");
                }
            } else if self.flags.spaced && matches!(self.peek(), Some(9..=13 | b' ' | 0x85)) {
                self.at += 1;
            } else if self.flags.spaced && self.peek() == Some(b'#') {
                let line = self.rest().iter().position(|byte| *byte == b'\n');
                self.at = line.map_or(self.bytes.len(), |length| self.at + length + 1);
            } else {
                return Ok(());
            }
        }
    }

    fn atom(&mut self) -> Result<Option<Node>, PatternError> {
        let at = self.at;
        let Some(byte) = self.peek() else { return Ok(None) };
        let node = match byte {
            b'(' => return self.group(),
            b'[' => self.class()?,
            b'\\' => self.escape()?,
            b'^' if self.flags.lines => Node::StartLine,
            b'^' => Node::Start,
            b'$' if self.flags.lines => Node::EndLine,
            b'$' => Node::EndOrNewline,
            b'.' if self.flags.dot_all => Node::Set(ByteSet::FULL),
            b'.' => Node::Set(ByteSet::byte(b'\n').not()),
            b'*' | b'+' | b'?' => return self.follows_nothing(at),
            byte => return self.literal(u32::from(byte), at, at + 1).map(Some),
        };
        if matches!(byte, b'^' | b'$' | b'.') {
            self.at += 1;
        }
        Ok(Some(node))
    }

    fn follows_nothing<T>(&self, at: usize) -> Result<T, PatternError> {
        self.refuse(at, "this quantifier has nothing to repeat: write \\ before it for a literal character")
    }

    /// A character by its code. The source has it between two places.
    pub(crate) fn literal(&mut self, code: u32, from: usize, to: usize) -> Result<Node, PatternError> {
        self.at = to;
        let set = self.code_set(code);
        let long = self.flags.charset != Charset::Bytes
            && matches!(code, 0x53 | 0x73)
            && matches!(self.bytes.get(from.wrapping_sub(1)), Some(b's' | b'S'));
        if self.flags.fold && long {
            return self.unicode_fold(from);
        }
        Ok(Node::Set(self.fold(set, from)?))
    }

    /// A character as a set of bytes. A code above 255 never matches and switches to the rules of Unicode.
    pub(crate) fn code_set(&mut self, code: u32) -> ByteSet {
        u8::try_from(code).map_or_else(
            |_| {
                self.unicode = true;
                ByteSet::EMPTY
            },
            ByteSet::byte,
        )
    }

    /// The set with both cases of each letter, if the flag `i` is on.
    pub(crate) fn fold(&self, set: ByteSet, at: usize) -> Result<ByteSet, PatternError> {
        if !self.flags.fold {
            return Ok(set);
        }
        if self.flags.charset != Charset::Bytes && (!set.is_ascii() || set == ByteSet::EMPTY) {
            return self.unicode_fold(at);
        }
        Ok(set.folded())
    }

    fn unicode_fold<T>(&self, at: usize) -> Result<T, PatternError> {
        self.refuse(
            at,
            "case-insensitive letters beyond ASCII with (?u), (?a) or \\p{…} are not supported: write both \
             cases, such as [Aa]",
        )
    }

    fn quantified(&mut self, atom: Node, at: usize) -> Result<Node, PatternError> {
        let quantifier = self.at;
        let (min, max) = match self.peek() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => match self.braces() {
                Some((min, max, _)) => (min, max),
                // Perl refuses a brace directly after an escape such as \d, where it could have a meaning.
                None if quantifier == at + 2
                    && self.bytes.get(at) == Some(&b'\\')
                    && self.bytes.get(at + 1).is_some_and(u8::is_ascii_alphabetic) =>
                {
                    return self.refuse(quantifier, "write \\{ here for a literal brace");
                }
                None => return Ok(atom),
            },
            _ => return Ok(atom),
        };
        self.at = self.braces().map_or(quantifier + 1, |(_, _, end)| end);
        let most = max.unwrap_or(min).max(min);
        if most > MOST {
            return self.refuse(quantifier, "a repetition of more than 65534 times is not supported");
        }
        if most > self.largest.0 {
            self.largest = (most, quantifier);
        }
        self.skip_blank()?;
        let lazy = self.take("?");
        let possessive = !lazy && self.take("+");
        self.skip_blank()?;
        if matches!(self.peek(), Some(b'*' | b'+' | b'?')) || self.braces().is_some() {
            return self
                .refuse(self.at, "one quantifier follows another: put the first one into a group (?:…)");
        }
        // Perl ignores the condition of such a repetition, which is a bug in Perl.
        let odd = if possessive { atom.width().1 == Some(0) } else { min > 0 && atom == Node::FAIL };
        if odd && max != Some(0) {
            return self.refuse(
                quantifier,
                "this quantifier repeats something without width: remove the quantifier",
            );
        }
        let node = Node::Repeat { node: Box::new(atom), min, max, lazy };
        Ok(if possessive { Node::Atomic(Box::new(node)) } else { node })
    }

    /// Reads `{2}`, `{2,}`, `{,2}` or `{2,3}`, with white space inside, and its end. Anything else is a literal.
    pub(crate) fn braces(&self) -> Option<(u32, Option<u32>, usize)> {
        let inside = self.rest().strip_prefix(b"{")?;
        let length = inside.iter().position(|byte| *byte == b'}')?;
        let text = std::str::from_utf8(inside.get(..length)?).ok()?;
        let number = |text: &str| -> Option<Option<u32>> {
            let text = text.trim_matches([' ', '\t']);
            if !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            Some((!text.is_empty()).then(|| text.parse().unwrap_or(u32::MAX)))
        };
        let end = self.at + length + 2;
        match text.split_once(',') {
            None => number(text)?.map(|exact| (exact, Some(exact), end)),
            Some((min, max)) => match (number(min)?, number(max)?) {
                (None, None) => None,
                (min, max) => Some((min.unwrap_or(0), max, end)),
            },
        }
    }
}
