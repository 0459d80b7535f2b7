//! Reads the groups of a Perl pattern: everything that begins with a parenthesis.

use crate::PatternError;
use crate::node::{Look, Node};
use crate::parse::{Flags, Parser};
use crate::set::Charset;

/// The kinds of groups.
enum Kind {
    Plain,
    Remembered(Option<String>),
    Atomic,
    Look { ahead: bool, negated: bool },
}

/// The short and long names of look-arounds and atomic groups.
const WORDS: [(&str, &str, Kind); 5] = [
    ("pla", "positive_lookahead", Kind::Look { ahead: true, negated: false }),
    ("nla", "negative_lookahead", Kind::Look { ahead: true, negated: true }),
    ("plb", "positive_lookbehind", Kind::Look { ahead: false, negated: false }),
    ("nlb", "negative_lookbehind", Kind::Look { ahead: false, negated: true }),
    ("atomic", "atomic", Kind::Atomic),
];

impl Parser<'_> {
    /// Reads a group. `None` if it only sets flags.
    pub(crate) fn group(&mut self) -> Result<Option<Node>, PatternError> {
        let start = self.at;
        let outer = self.flags;
        self.at += 1;
        if self.take("*") {
            return self.verb(start, outer).map(Some);
        }
        if !self.take("?") {
            let kind = if self.flags.no_groups { Kind::Plain } else { Kind::Remembered(None) };
            return self.body(kind, start, outer).map(Some);
        }
        let look = |ahead, negated| Kind::Look { ahead, negated };
        let kind = if self.take(":") {
            Kind::Plain
        } else if self.take("|") {
            // The numbers of the groups matter only for references.
            self.reset_at = self.reset_at.or(Some(start));
            Kind::Plain
        } else if self.take("=") {
            look(true, false)
        } else if self.take("!") {
            look(true, true)
        } else if self.take("<=") {
            look(false, false)
        } else if self.take("<!") {
            look(false, true)
        } else if self.take(">") {
            Kind::Atomic
        } else if self.take("<") || self.take("P<") {
            Kind::Remembered(Some(self.name(b'>')?))
        } else if self.take("'") {
            Kind::Remembered(Some(self.name(b'\'')?))
        } else if self.take("P=") {
            let name = self.name(b')')?;
            return self.named_backref(&name, start).map(Some);
        } else if self.take("(") {
            return self.condition(start).map(Some);
        } else {
            self.not_supported(start)?;
            if !self.set_flags(start)? {
                return Ok(None);
            }
            Kind::Plain
        };
        self.body(kind, start, outer).map(Some)
    }

    /// Reads the rest of a group, and restores the outer flags.
    fn body(&mut self, kind: Kind, start: usize, outer: Flags) -> Result<Node, PatternError> {
        self.descend(start)?;
        let number = matches!(kind, Kind::Remembered(_)).then(|| {
            self.groups += 1;
            self.groups
        });
        if let (Kind::Remembered(Some(name)), Some(number)) = (&kind, number) {
            self.names.push((name.clone(), number));
        }
        let looking = usize::from(matches!(kind, Kind::Look { .. }));
        self.looking += looking;
        let inside = self.alternatives()?;
        self.looking -= looking;
        if !self.take(")") {
            return self.refuse(start, "this ( has no matching ): write \\( for a literal parenthesis");
        }
        self.depth -= 1;
        self.flags = outer;
        let inside = Box::new(inside);
        Ok(match kind {
            Kind::Plain => *inside,
            Kind::Remembered(_) => Node::Group(number.unwrap_or_default(), inside),
            Kind::Atomic => Node::Atomic(inside),
            Kind::Look { ahead: false, .. } if !inside.is_constant() => {
                return self.refuse(
                    start,
                    "a look-behind of varying length is not supported: write one alternative for each length, \
                     such as (?<=a|bc), or use a look-ahead",
                );
            }
            Kind::Look { negated: true, .. } if *inside == Node::Empty => Node::FAIL,
            Kind::Look { .. } if *inside == Node::Empty => Node::Empty,
            Kind::Look { ahead, negated } => Node::Look(Look { ahead, negated, node: inside }),
        })
    }

    /// Refuses the groups of Perl that the engine does not support.
    fn not_supported(&self, start: usize) -> Result<(), PatternError> {
        let rest = self.rest();
        let digit = |at: usize| rest.get(at).is_some_and(u8::is_ascii_digit);
        let message = match rest.first() {
            Some(b'R' | b'&') => "recursion is not supported: write the levels out",
            Some(b'P') if rest.get(1) == Some(&b'>') => {
                "calls of a group are not supported: write the group out where it is needed"
            }
            Some(b'0'..=b'9') => "calls of a group are not supported: write the group out where it is needed",
            Some(b'+' | b'-') if digit(1) => {
                "calls of a group are not supported: write the group out where it is needed"
            }
            Some(b'{' | b'?') => "Perl code in a pattern is not supported: use checktype=external",
            Some(b'[') => "(?[…]) is not supported: write a plain class […]",
            _ => return Ok(()),
        };
        self.refuse(start, message)
    }

    /// Reads `i-m:` or `i-m)`. True if a group follows.
    fn set_flags(&mut self, start: usize) -> Result<bool, PatternError> {
        let mut flags = self.flags;
        if self.take("^") {
            flags = Flags::none(self.base);
        }
        let mut on = true;
        let mut rules: Option<(u8, usize)> = None;
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'i' => flags.fold = on,
                b'm' => flags.lines = on,
                b's' => flags.dot_all = on,
                b'x' => {
                    flags.spaced_classes = on && self.bytes.get(self.at) == Some(&b'x');
                    while self.take("x") {}
                    flags.spaced = on;
                }
                b'n' => flags.no_groups = on,
                b'p' | b'g' | b'c' | b'o' => {}
                b'l' if on => {
                    return self.refuse(self.at - 1, "locale rules are not supported: remove the flag l");
                }
                b'a' | b'd' | b'u' if on => {
                    rules = match rules {
                        None => Some((byte, 1)),
                        Some((b'a', 1)) if byte == b'a' => Some((byte, 2)),
                        _ => {
                            return self.refuse(self.at - 1, "this flag conflicts with the flags before it");
                        }
                    };
                    flags.charset = match byte {
                        b'a' => Charset::Ascii,
                        b'u' => Charset::Unicode,
                        _ => self.base,
                    };
                }
                b'-' if on && self.bytes.get(start + 2) != Some(&b'^') => on = false,
                b':' | b')' => {
                    self.flags = flags;
                    return Ok(byte == b':');
                }
                _ => return self.refuse(self.at - 1, "unknown flag or group"),
            }
        }
        self.refuse(start, "this ( has no matching ): write \\( for a literal parenthesis")
    }

    /// Reads `(*name…)`.
    fn verb(&mut self, start: usize, outer: Flags) -> Result<Node, PatternError> {
        for (short, long, kind) in WORDS {
            if self.take(&format!("{short}:")) || self.take(&format!("{long}:")) {
                // Perl refuses \K in each of them, as in a look-around.
                self.looking += 1;
                let node = self.body(kind, start, outer)?;
                self.looking -= 1;
                return Ok(node);
            }
        }
        if self.take("F)") || self.take("FAIL)") {
            return Ok(Node::FAIL);
        }
        self.refuse(
            start,
            "verbs such as (*PRUNE) are not supported: use an atomic group (?>…), or \\( for a literal parenthesis",
        )
    }

    /// Reads `(?(…)yes|no)`.
    fn condition(&mut self, start: usize) -> Result<Node, PatternError> {
        let digits = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        let group = if digits > 0 {
            let number = self.take_until(b')').and_then(|text| text.parse::<usize>().ok());
            match number.filter(|number| *number > 0) {
                Some(number) => number,
                None => return self.refuse(start, "invalid condition: write (?(1)yes|no)"),
            }
        } else if self.take("<") || self.take("'") {
            let end = if self.bytes.get(self.at - 1) == Some(&b'<') { b'>' } else { b'\'' };
            let name = self.name(end)?;
            if !self.take(")") {
                return self.refuse(self.at, "the ) after the name of the group is missing: add it");
            }
            self.named(&name, start)?
        } else if self.rest().starts_with(b"?") || self.rest().starts_with(b"*") {
            self.at -= 1;
            return self.look_condition(start);
        } else {
            return self.refuse(
                start,
                "only (?(1)yes|no), (?(<name>)yes|no) and look-arounds are supported as conditions",
            );
        };
        let (yes, no) = self.two_branches(start)?;
        // Perl accepts a group that does not exist, which never matches.
        if self.all_groups.as_ref().is_some_and(|(_, groups)| group > *groups) {
            return Ok(no);
        }
        Ok(Node::IfGroup { group, yes: Box::new(yes), no: Box::new(no) })
    }

    fn look_condition(&mut self, start: usize) -> Result<Node, PatternError> {
        let Some(Node::Look(look)) = self.group()? else {
            return self.refuse(start, "only groups and look-arounds are supported as conditions");
        };
        if look.node.any(&|node| matches!(node, Node::Group(..))) {
            return self
                .refuse(start, "a capturing group in a condition is not supported: write (?:…) instead");
        }
        let (yes, no) = self.two_branches(start)?;
        let opposite = Look { negated: !look.negated, ..look.clone() };
        Ok(Node::Alternatives(vec![
            Node::Concat(vec![Node::Look(look), yes]),
            Node::Concat(vec![Node::Look(opposite), no]),
        ]))
    }

    fn two_branches(&mut self, start: usize) -> Result<(Node, Node), PatternError> {
        self.descend(start)?;
        let yes = self.branch()?;
        let no = if self.take("|") { self.branch()? } else { Node::Empty };
        if self.peek() == Some(b'|') {
            return self.refuse(start, "a condition has at most two branches");
        }
        if !self.take(")") {
            return self.refuse(start, "this ( has no matching )");
        }
        // Flags set in a branch apply after it too, as in Perl.
        self.depth -= 1;
        Ok((yes, no))
    }

    /// Reads the name of a group and the byte after it.
    pub(crate) fn name(&mut self, end: u8) -> Result<String, PatternError> {
        let at = self.at;
        let text = self.take_until(end).unwrap_or_default();
        let text = if end == b'}' { text.trim_matches([' ', '\t']) } else { text };
        let good = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        if !good {
            return self
                .refuse(at, "invalid name of a group: use letters, digits and _, with no digit first");
        }
        Ok(text.to_owned())
    }

    /// The number of a group by its name. 0 in the first pass, which collects the names.
    fn named(&self, name: &str, at: usize) -> Result<usize, PatternError> {
        match self.all_named(name).as_deref() {
            None => Ok(0),
            Some([number]) => Ok(*number),
            Some([]) => self.refuse(at, &format!("there is no group named {name}")),
            Some(_) => self.refuse(at, &format!("several groups are named {name}: give each its own name")),
        }
    }

    fn all_named(&self, name: &str) -> Option<Vec<usize>> {
        let (names, _) = self.all_groups.as_ref()?;
        Some(names.iter().filter(|(one, _)| one == name).map(|(_, number)| *number).collect())
    }

    pub(crate) fn named_backref(&self, name: &str, at: usize) -> Result<Node, PatternError> {
        let backref = |group| Node::Backref { group, fold: self.flags.fold };
        let mut numbers = self.all_named(name).unwrap_or_default();
        let Some(last) = numbers.pop().filter(|_| !numbers.is_empty()) else {
            return Ok(backref(self.named(name, at)?));
        };
        // Of several groups with one name, the first that matched counts.
        Ok(numbers.into_iter().rev().fold(backref(last), |no, group| Node::IfGroup {
            group,
            yes: Box::new(backref(group)),
            no: Box::new(no),
        }))
    }
}
