//! Reads bracketed classes of a Perl pattern, such as `[a-z]`, as sets of bytes.

use crate::PatternError;
use crate::node::Node;
use crate::parse::Parser;
use crate::set::{ByteSet, posix};

/// One item of a class.
enum Item {
    Code(u32),
    Set(ByteSet),
}

impl<'a> Parser<'a> {
    /// Reads a bracketed class.
    pub(crate) fn class(&mut self) -> Result<Node, PatternError> {
        let start = self.at;
        self.at += 1;
        let negated = self.take("^");
        let mut set = ByteSet::EMPTY;
        // A closing bracket at the start is a literal.
        let mut first = true;
        loop {
            let at = self.at;
            match self.peek() {
                None => {
                    return self.refuse(start, "this [ has no matching ]: write \\[ for a literal bracket");
                }
                Some(b']') if !first => break,
                Some(b' ' | b'\t') if self.flags.spaced_classes => {
                    self.at += 1;
                    continue;
                }
                _ => {}
            }
            first = false;
            let from = match self.item()? {
                Item::Code(from) => from,
                Item::Set(named) => {
                    set = set.or(named);
                    // After a named set a dash is a literal.
                    if self.rest().starts_with(b"-") && !self.rest().starts_with(b"-]") {
                        self.at += 1;
                        set.add(b'-', b'-');
                    }
                    continue;
                }
            };
            let Some(to) = self.range_end()? else {
                set = set.or(self.code_set(from));
                continue;
            };
            if to < from {
                return self.refuse(at, "this range ends before it begins: write \\- for a literal dash");
            }
            if to > 255 {
                self.unicode = true;
            }
            if let Ok(from) = u8::try_from(from) {
                set.add(from, u8::try_from(to).unwrap_or(255));
            }
        }
        self.at += 1;
        let set = self.fold(set, start)?;
        Ok(Node::Set(set.negated_if(negated)))
    }

    /// Reads the end of a range, if a dash and a character come next.
    fn range_end(&mut self) -> Result<Option<u32>, PatternError> {
        let dash = self.at;
        self.skip_class_blank();
        if !self.take("-") {
            self.at = dash;
            return Ok(None);
        }
        self.skip_class_blank();
        if matches!(self.peek(), None | Some(b']')) {
            self.at = dash;
            return Ok(None);
        }
        match self.item()? {
            Item::Code(code) => Ok(Some(code)),
            Item::Set(_) => {
                self.at = dash;
                Ok(None)
            }
        }
    }

    fn skip_class_blank(&mut self) {
        while self.flags.spaced_classes && matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn item(&mut self) -> Result<Item, PatternError> {
        let start = self.at;
        let kind = self.bytes.get(start + 1).copied().filter(|_| self.peek() == Some(b'['));
        if let Some(kind @ (b':' | b'.' | b'=')) = kind
            && let Some(name) = self.bracketed(kind)
        {
            if kind != b':' {
                return self.refuse(start, "[. .] and [= =] are not supported: write the characters");
            }
            let (name, negated) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
            let Some(set) = posix(name, self.flags.charset) else {
                return self
                    .refuse(start, "unknown class: use a name such as [:alpha:], [:digit:] or [:space:]");
            };
            return Ok(Item::Set(set.negated_if(negated)));
        }
        let Some(byte) = self.peek() else { return Ok(Item::Set(ByteSet::EMPTY)) };
        if byte != b'\\' {
            self.at += 1;
            return Ok(Item::Code(u32::from(byte)));
        }
        match self.named_set()? {
            Some(set) => Ok(Item::Set(set)),
            None => self.code(true).map(Item::Code),
        }
    }

    /// Reads the name between `[:` and `:]`. `None` where the bracket is a literal.
    fn bracketed(&mut self, kind: u8) -> Option<&'a str> {
        let inside = self.rest().get(2..)?;
        let length = inside.iter().position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'^'))?;
        if inside.get(length) != Some(&kind) || inside.get(length + 1) != Some(&b']') {
            return None;
        }
        self.at += length + 4;
        std::str::from_utf8(inside.get(..length)?).ok()
    }
}
