//! Rewrites a pattern of the Perl dialect in the engine's dialect, with the same meaning.

use std::fmt::Write as _;

use crate::PatternError;
use crate::node::{Look, Node};
use crate::parse;
use crate::set::ByteSet;

/// A pattern in the engine's dialect.
#[derive(Debug)]
pub(crate) struct Rewritten {
    pub(crate) pattern: String,
    /// Places of the deepest group and the largest repetition in the source, for errors of the engine.
    pub(crate) deepest: usize,
    pub(crate) largest: usize,
    /// Whether one step of the engine may read the whole text.
    pub(crate) far: bool,
}

/// Parses a pattern of Perl and writes it in the engine's dialect.
///
/// # Errors
/// When Perl refuses the pattern, or the engine does not support it.
pub(crate) fn rewrite(source: &str) -> Result<Rewritten, PatternError> {
    let parsed = parse::parse(source)?;
    let backrefs = parsed.node.any(&|node| matches!(node, Node::Backref { .. } | Node::IfGroup { .. }));
    let mut writer = Writer { out: String::with_capacity(source.len() * 2), backrefs };
    if looks_along_lines_only(&parsed.node) {
        writer.out.push_str("(?m:^)");
    }
    writer.node(&parsed.node, true);
    let far = parsed.node.any(&|node| match node {
        Node::Look(Look { node, .. }) | Node::Atomic(node) => node.width().1.is_none(),
        _ => false,
    });
    Ok(Rewritten { pattern: writer.out, deepest: parsed.deepest, largest: parsed.largest, far })
}

/// Whether the pattern consists of look-aheads that begin with `.*`. Such a look-ahead also matches at the start of
/// the line, so the engine need not try each byte.
fn looks_along_lines_only(node: &Node) -> bool {
    let along = |node: &Node| match node {
        Node::Set(set) => set.or(ByteSet::byte(b'\n')) == ByteSet::FULL,
        _ => false,
    };
    match node {
        Node::Concat(nodes) => nodes.iter().all(looks_along_lines_only),
        Node::Look(Look { ahead: true, negated: false, node }) => match &**node {
            Node::Concat(nodes) => {
                matches!(nodes.first(), Some(Node::Repeat { node, min: 0, max: None, .. }) if along(node))
            }
            _ => false,
        },
        _ => false,
    }
}

struct Writer {
    out: String,
    /// Whether the pattern refers to its groups, so that their contents must be exact.
    backrefs: bool,
}

impl Writer {
    /// Writes a node. `last` if nothing after it depends on where it ends.
    fn node(&mut self, node: &Node, last: bool) {
        match node {
            Node::Empty => {}
            Node::Set(set) => self.set(set),
            Node::Concat(nodes) => {
                for (index, one) in nodes.iter().enumerate() {
                    let next = nodes.get(index + 1);
                    match one {
                        Node::Alternatives(_) => {
                            self.wrapped("(?:", one, last && next.is_none());
                        }
                        // If a byte follows, this is not the empty line after the last newline.
                        Node::StartLine if next.is_some_and(|next| next.width().0 > 0) => {
                            self.out.push_str("(?m:^)");
                        }
                        _ => self.node(one, last && next.is_none()),
                    }
                }
            }
            Node::Alternatives(nodes) => self.alternatives(nodes, last),
            Node::Group(_, node) => self.wrapped("(", node, last),
            Node::Atomic(node) => self.wrapped("(?>", node, last),
            Node::Look(look) => self.look(look),
            Node::Repeat { node, min, max, lazy } => self.repeat(node, *min, *max, *lazy, last),
            Node::Start => self.out.push_str("\\A"),
            Node::StartLine => self.out.push_str("(?m:^)(?:\\A|(?!\\z))"),
            Node::End => self.out.push_str("\\z"),
            Node::EndOrNewline if last => self.out.push_str("(?:\\n?\\z)"),
            Node::EndOrNewline => self.out.push_str("(?=\\n?\\z)"),
            Node::EndLine => self.out.push_str("(?m:$)"),
            Node::Boundary { word, negated } => self.boundary(word, *negated),
            Node::Backref { group, fold: false } => {
                let _ = write!(self.out, "(?:\\{group})");
            }
            Node::Backref { group, fold: true } => {
                let _ = write!(self.out, "(?i:\\{group})");
            }
            Node::IfGroup { group, yes, no } => self.condition(*group, yes, no, last),
        }
    }

    fn wrapped(&mut self, open: &str, node: &Node, last: bool) {
        self.out.push_str(open);
        self.node(node, last);
        self.out.push(')');
    }

    fn alternatives(&mut self, nodes: &[Node], last: bool) {
        for (index, one) in nodes.iter().enumerate() {
            if index > 0 {
                self.out.push('|');
            }
            self.node(one, last);
        }
    }

    fn set(&mut self, set: &ByteSet) {
        match set.ranges().as_slice() {
            [] => self.out.push_str("[^\\x00-\\xFF]"),
            [(from, to)] if from == to && from.is_ascii_alphanumeric() => self.out.push(char::from(*from)),
            [(from, to)] if from == to => {
                let _ = write!(self.out, "\\x{from:02X}");
            }
            ranges => {
                self.out.push('[');
                for (from, to) in ranges {
                    let _ = write!(self.out, "\\x{from:02X}");
                    if from != to {
                        let _ = write!(self.out, "-\\x{to:02X}");
                    }
                }
                self.out.push(']');
            }
        }
    }

    fn boundary(&mut self, word: &ByteSet, negated: bool) {
        if word.is_ascii() {
            self.out.push_str(if negated { "\\B" } else { "\\b" });
            return;
        }
        let mut class = Writer { out: String::new(), backrefs: false };
        class.set(word);
        let word = class.out;
        let (inside, outside) = if negated { ("=", "!") } else { ("!", "=") };
        let _ = write!(self.out, "(?:(?<={word})(?{inside}{word})|(?<!{word})(?{outside}{word}))");
    }

    fn look(&mut self, look: &Look) {
        let sign = if look.negated { '!' } else { '=' };
        if look.ahead {
            return self.wrapped(&format!("(?{sign}"), &look.node, !self.backrefs);
        }
        // A look-behind must have a fixed width, so each alternative gets its own.
        let alternatives = match &*look.node {
            Node::Alternatives(nodes) => nodes.as_slice(),
            node => std::slice::from_ref(node),
        };
        let group = alternatives.len() > 1 && !look.negated;
        if group {
            self.out.push_str("(?:");
        }
        for (index, one) in alternatives.iter().enumerate() {
            if index > 0 && group {
                self.out.push('|');
            }
            self.wrapped(&format!("(?<{sign}"), one, false);
        }
        if group {
            self.out.push(')');
        }
    }

    fn repeat(&mut self, node: &Node, min: u32, max: Option<u32>, lazy: bool, last: bool) {
        let groups = node.any(&|node| matches!(node, Node::Group(..)));
        if max == Some(0) && !groups {
            return;
        }
        if max == Some(0) && min == 0 {
            // It never matches, but its groups keep their numbers.
            return self.pieces("(?:(?:", node, ")|){0}", false);
        }
        if max.is_some_and(|max| max < min) {
            // Perl accepts it; it never matches.
            self.wrapped("(?:", node, false);
            self.set(&ByteSet::EMPTY);
            return;
        }
        if node.width().1 == Some(0) && max != Some(0) {
            // Without width, once is the same as many times.
            return match (min, lazy) {
                (0, _) if !groups => {}
                (0, false) => self.pieces("(?:(?:", node, ")|)", last),
                (0, true) => self.pieces("(?:|(?:", node, "))", last),
                _ => self.wrapped("(?:", node, last),
            };
        }
        let last = last && max == Some(1);
        match node {
            Node::Set(_) | Node::Group(..) | Node::Atomic(_) | Node::Backref { .. } => {
                self.node(node, last);
            }
            _ => self.wrapped("(?:", node, last),
        }
        let _ = match (min, max) {
            (0, None) => self.out.write_char('*'),
            (1, None) => self.out.write_char('+'),
            (0, Some(1)) => self.out.write_char('?'),
            (min, None) => write!(self.out, "{{{min},}}"),
            (min, Some(max)) if min == max => write!(self.out, "{{{min}}}"),
            (min, Some(max)) => write!(self.out, "{{{min},{max}}}"),
        };
        if lazy {
            self.out.push('?');
        }
    }

    fn pieces(&mut self, open: &str, node: &Node, close: &str, last: bool) {
        self.out.push_str(open);
        self.node(node, last);
        self.out.push_str(close);
    }

    fn condition(&mut self, group: usize, yes: &Node, no: &Node, last: bool) {
        if *yes == Node::Empty && *no == Node::Empty {
            return;
        }
        let _ = write!(self.out, "(?({group})");
        self.pieces("(?:", yes, ")|(?:", last);
        self.node(no, last);
        self.out.push_str("))");
    }
}
