//! The syntax tree of a pattern: its meaning, independent of its notation.

use crate::set::ByteSet;

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Empty,
    /// One byte of a set. The empty set never matches.
    Set(ByteSet),
    Concat(Vec<Node>),
    Alternatives(Vec<Node>),
    /// A capturing group, with its number.
    Group(usize, Box<Node>),
    Atomic(Box<Node>),
    Look(Look),
    Repeat {
        node: Box<Node>,
        min: u32,
        max: Option<u32>,
        lazy: bool,
    },
    /// `\A`, and `^` without `m`.
    Start,
    /// `^` with `m`: the start of a line, but not after the last newline of the text.
    StartLine,
    /// `\z`.
    End,
    /// `\Z`, and `$` without `m`: the end, or before the one newline at the end.
    EndOrNewline,
    /// `$` with `m`.
    EndLine,
    /// `\b` or `\B`, with the bytes that are part of a word.
    Boundary {
        word: ByteSet,
        negated: bool,
    },
    Backref {
        group: usize,
        fold: bool,
    },
    IfGroup {
        group: usize,
        yes: Box<Node>,
        no: Box<Node>,
    },
}

/// A look-ahead or look-behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) ahead: bool,
    pub(crate) negated: bool,
    pub(crate) node: Box<Node>,
}

impl Node {
    pub(crate) const FAIL: Node = Node::Set(ByteSet::EMPTY);

    /// Minimum and maximum number of bytes that it matches. `None`: unlimited, or not known in advance.
    pub(crate) fn width(&self) -> (usize, Option<usize>) {
        match self {
            Node::Set(_) => (1, Some(1)),
            Node::Concat(nodes) => nodes.iter().map(Node::width).fold((0, Some(0)), |all, one| {
                (all.0.saturating_add(one.0), all.1.zip(one.1).map(|(a, b)| a.saturating_add(b)))
            }),
            Node::Alternatives(nodes) => nodes.iter().map(Node::width).reduce(either).unwrap_or((0, Some(0))),
            Node::Group(_, node) | Node::Atomic(node) => node.width(),
            Node::Repeat { node, min, max, .. } => {
                let (low, high) = node.width();
                let most = match (high, max) {
                    (_, Some(max)) if max < min => None,
                    (Some(0), _) | (_, Some(0)) => Some(0),
                    (Some(high), Some(max)) => Some(high.saturating_mul(*max as usize)),
                    _ => None,
                };
                (low.saturating_mul(*min as usize), most)
            }
            Node::Backref { .. } => (0, None),
            Node::IfGroup { yes, no, .. } => either(yes.width(), no.width()),
            _ => (0, Some(0)),
        }
    }

    /// Whether it is allowed as the content of a look-behind: each alternative has a fixed width.
    pub(crate) fn is_constant(&self) -> bool {
        let one = |node: &Node| matches!(node.width(), (min, Some(max)) if min == max);
        match self {
            Node::Alternatives(nodes) => nodes.iter().all(one),
            node => one(node),
        }
    }

    /// Whether a condition is true for it or for a part of it.
    pub(crate) fn any(&self, holds: &dyn Fn(&Node) -> bool) -> bool {
        holds(self)
            || match self {
                Node::Concat(nodes) | Node::Alternatives(nodes) => nodes.iter().any(|node| node.any(holds)),
                Node::Group(_, node) | Node::Atomic(node) | Node::Repeat { node, .. } => node.any(holds),
                Node::Look(look) => look.node.any(holds),
                Node::IfGroup { yes, no, .. } => yes.any(holds) || no.any(holds),
                _ => false,
            }
    }
}

fn either(one: (usize, Option<usize>), other: (usize, Option<usize>)) -> (usize, Option<usize>) {
    (one.0.min(other.0), one.1.zip(other.1).map(|(a, b)| a.max(b)))
}
