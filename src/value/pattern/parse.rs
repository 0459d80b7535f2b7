//! Reads a pattern as Perl does: byte by byte, with the flags in force at each place.

use super::PatternError;
use super::node::Node;
use super::set::{ByteSet, Charset};

/// Groups within groups: the engine takes no more.
const DEEPEST: usize = 50;
/// The largest number of repetitions in Perl.
const MOST: u32 = 65_534;

/// A pattern that was read.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) node: Node,
    /// Where the deepest group stands, and the largest repetition.
    pub(super) deepest: usize,
    pub(super) largest: usize,
}

/// The flags of `(?imsxn)` and the rules for letters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flags {
    pub(super) fold: bool,
    pub(super) lines: bool,
    pub(super) dot_all: bool,
    pub(super) spaced: bool,
    pub(super) spaced_classes: bool,
    pub(super) no_groups: bool,
    pub(super) charset: Charset,
}

impl Flags {
    pub(super) fn none(charset: Charset) -> Flags {
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

/// The state of reading.
pub(super) struct Parser<'a> {
    source: &'a str,
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) flags: Flags,
    /// What `(?d)` means here: a pattern with `\p{…}` is under the rules of Unicode as a whole.
    pub(super) base: Charset,
    /// Something was read that asks for those rules.
    pub(super) unicode: bool,
    pub(super) groups: usize,
    pub(super) names: Vec<(String, usize)>,
    pub(super) depth: usize,
    /// Where a group starts whose alternatives number their groups alike.
    pub(super) reset_at: Option<usize>,
    /// How many look-arounds are open.
    pub(super) looking: usize,
    /// References to groups that may yet come: number, name, place.
    pub(super) wanted: Vec<(usize, usize)>,
    /// The names and the number of all groups, known from a first pass.
    pub(super) all_groups: Option<(Vec<(String, usize)>, usize)>,
    deepest: (usize, usize),
    largest: (u32, usize),
}

/// Reads a whole pattern.
pub(super) fn parse(source: &str) -> Result<Parsed, PatternError> {
    // The names of all groups, and the rules for letters, hold from the start but are known at the end.
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
            return self.refuse(self.at, "this ) closes no group: write \\) for a parenthesis in the text");
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

    /// Says no, at a place in the source.
    pub(super) fn refuse<T>(&self, at: usize, message: &str) -> Result<T, PatternError> {
        let mut offset = at.min(self.source.len());
        while !self.source.is_char_boundary(offset) {
            offset -= 1;
        }
        Err(PatternError { message: message.to_owned(), offset })
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Takes a word when it comes next.
    pub(super) fn take(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word.as_bytes());
        if found {
            self.at += word.len();
        }
        found
    }

    /// Takes all up to a byte and that byte.
    pub(super) fn take_until(&mut self, end: u8) -> Option<&'a str> {
        let length = self.rest().iter().position(|byte| *byte == end)?;
        let text = self.source.get(self.at..self.at + length)?;
        self.at += length + 1;
        Some(text)
    }

    /// A group opens here.
    pub(super) fn descend(&mut self, at: usize) -> Result<(), PatternError> {
        self.depth += 1;
        if self.depth > self.deepest.0 {
            self.deepest = (self.depth, at);
        }
        if self.depth > DEEPEST {
            return self
                .refuse(at, "groups are nested too deeply here: write the pattern with fewer of them");
        }
        Ok(())
    }

    pub(super) fn alternatives(&mut self) -> Result<Node, PatternError> {
        let mut nodes = vec![self.branch()?];
        while self.take("|") {
            nodes.push(self.branch()?);
        }
        if nodes.len() > 1 {
            return Ok(Node::Alternatives(nodes));
        }
        Ok(nodes.pop().unwrap_or(Node::Empty))
    }

    pub(super) fn branch(&mut self) -> Result<Node, PatternError> {
        let mut nodes = Vec::new();
        loop {
            self.skip_blank()?;
            if matches!(self.peek(), None | Some(b'|' | b')')) {
                break;
            }
            let at = self.at;
            // Flags alone are no atom: a quantifier behind them follows nothing.
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
    pub(super) fn skip_blank(&mut self) -> Result<(), PatternError> {
        loop {
            let start = self.at;
            if self.take("(?#") {
                if self.take_until(b')').is_none() {
                    return self.refuse(start, "the comment (?# has no ) at its end");
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
        self.refuse(at, "nothing stands before this quantifier: write \\ before it when it is meant as text")
    }

    /// A character by its code, read between two places.
    pub(super) fn literal(&mut self, code: u32, from: usize, to: usize) -> Result<Node, PatternError> {
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

    /// A character as a set of bytes: beyond 255 nothing can match, and the rules of Unicode hold.
    pub(super) fn code_set(&mut self, code: u32) -> ByteSet {
        u8::try_from(code).map_or_else(
            |_| {
                self.unicode = true;
                ByteSet::EMPTY
            },
            ByteSet::byte,
        )
    }

    /// With both cases, when the flag `i` is on.
    pub(super) fn fold(&self, set: ByteSet, at: usize) -> Result<ByteSet, PatternError> {
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
            "letters beyond ASCII without regard to case, with (?u), (?a) or \\p{…}, are not supported: write \
             both cases, such as [Aa]",
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
                // Perl refuses a brace right after an escape like \d, where it could mean something.
                None if quantifier == at + 2
                    && self.bytes.get(at) == Some(&b'\\')
                    && self.bytes.get(at + 1).is_some_and(u8::is_ascii_alphabetic) =>
                {
                    return self.refuse(quantifier, "this { must be written as \\{ here");
                }
                None => return Ok(atom),
            },
            _ => return Ok(atom),
        };
        self.at = self.braces().map_or(quantifier + 1, |(_, _, end)| end);
        let most = max.unwrap_or(min).max(min);
        if most > MOST {
            return self.refuse(quantifier, "a repetition of more than 65534 times is not possible");
        }
        if most > self.largest.0 {
            self.largest = (most, quantifier);
        }
        self.skip_blank()?;
        let lazy = self.take("?");
        let possessive = !lazy && self.take("+");
        self.skip_blank()?;
        if matches!(self.peek(), Some(b'*' | b'+' | b'?')) || self.braces().is_some() {
            return self.refuse(self.at, "one quantifier follows another: put the first into a group (?:…)");
        }
        // Perl skips what such a repetition would have to hold to: a fault of its own that nobody means.
        let odd = if possessive { atom.width().1 == Some(0) } else { min > 0 && atom == Node::FAIL };
        if odd && max != Some(0) {
            return self.refuse(quantifier, "what stands before this quantifier has no width: leave it out");
        }
        let node = Node::Repeat { node: Box::new(atom), min, max, lazy };
        Ok(if possessive { Node::Atomic(Box::new(node)) } else { node })
    }

    /// `{2}`, `{2,}`, `{,2}` or `{2,3}`, with blanks inside, and where it ends. Anything else is text.
    pub(super) fn braces(&self) -> Option<(u32, Option<u32>, usize)> {
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
