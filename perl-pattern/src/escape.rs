//! Reads the backslash sequences of a Perl pattern.

use crate::PatternError;
use crate::node::Node;
use crate::parse::Parser;
use crate::set::{ByteSet, horizontal, posix, property, vertical};

impl Parser<'_> {
    /// Reads a backslash sequence outside a class.
    pub(crate) fn escape(&mut self) -> Result<Node, PatternError> {
        let start = self.at;
        let Some(letter) = self.bytes.get(start + 1).copied() else {
            return self.refuse(start, "the pattern ends in a \\: write \\\\ for a literal backslash");
        };
        if let Some(set) = self.named_set()? {
            return Ok(Node::Set(set));
        }
        self.at = start + 2;
        let word = || posix("word", self.flags.charset).unwrap_or_default();
        Ok(match letter {
            b'A' => Node::Start,
            b'G' => Node::Start,
            b'z' => Node::End,
            b'Z' => Node::EndOrNewline,
            b'N' if self.peek() != Some(b'{') || self.braces().is_some() => {
                Node::Set(ByteSet::byte(b'\n').not())
            }
            b'K' if self.looking > 0 => {
                return self.refuse(start, "\\K is not allowed in a look-around");
            }
            b'K' => {
                self.skip_blank()?;
                if self.peek().is_some_and(|byte| matches!(byte, b'*' | b'+' | b'?' | b'{')) {
                    return self.refuse(self.at, "\\K cannot be repeated");
                }
                Node::Empty
            }
            b'b' | b'B' if self.peek() == Some(b'{') => {
                return self.refuse(start, "\\b{…} is not supported: write \\b for a word boundary");
            }
            b'b' => Node::Boundary { word: word(), negated: false },
            b'B' => Node::Boundary { word: word(), negated: true },
            b'R' => {
                let pair =
                    Node::Concat(vec![Node::Set(ByteSet::byte(b'\r')), Node::Set(ByteSet::byte(b'\n'))]);
                Node::Atomic(Box::new(Node::Alternatives(vec![pair, Node::Set(vertical())])))
            }
            b'X' => {
                return self.refuse(
                    start,
                    "\\X is not supported, because replies are matched byte by byte: write . instead",
                );
            }
            b'C' => return self.refuse(start, "\\C no longer exists: write . or (?s:.) for a byte"),
            b'1'..=b'9' => return self.number(start),
            b'g' => return self.relative(start),
            b'k' => {
                let end = match self.peek() {
                    Some(b'<') => b'>',
                    Some(b'\'') => b'\'',
                    Some(b'{') => b'}',
                    _ => return self.refuse(start, "\\k needs a name: write \\k<name>"),
                };
                self.at += 1;
                let name = self.name(end)?;
                return self.named_backref(&name, start);
            }
            _ => {
                self.at = start;
                let code = self.code(false)?;
                return self.literal(code, start, self.at);
            }
        })
    }

    /// Reads `\1`, or an octal number such as `\101`.
    fn number(&mut self, start: usize) -> Result<Node, PatternError> {
        let digits: Vec<u8> =
            self.bytes.iter().skip(start + 1).take_while(|byte| byte.is_ascii_digit()).copied().collect();
        let number =
            std::str::from_utf8(&digits).ok().and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
        if number > 9 && number > self.groups && digits.first().is_some_and(|digit| *digit < b'8') {
            self.at = start;
            let code = self.code(false)?;
            return self.literal(code, start, self.at);
        }
        self.at = start + 1 + digits.len();
        Ok(self.backref(number, start))
    }

    fn backref(&mut self, group: usize, at: usize) -> Node {
        self.wanted.push((group, at));
        Node::Backref { group, fold: self.flags.fold }
    }

    /// Reads `\g1`, `\g{-1}` or `\g{name}`.
    fn relative(&mut self, start: usize) -> Result<Node, PatternError> {
        let text = if self.take("{") {
            self.take_until(b'}').unwrap_or_default().trim_matches([' ', '\t'])
        } else {
            let from = self.at;
            self.take("-");
            self.at += self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
            std::str::from_utf8(self.bytes.get(from..self.at).unwrap_or_default()).unwrap_or_default()
        };
        let group = match (text.strip_prefix('-'), text.parse::<usize>()) {
            (Some(back), _) => back
                .parse::<usize>()
                .ok()
                .filter(|back| *back > 0)
                .and_then(|back| (self.groups + 1).checked_sub(back)),
            (None, Ok(group)) => Some(group),
            (None, Err(_)) if text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') => {
                let name = text.to_owned();
                return self.named_backref(&name, start);
            }
            (None, Err(_)) => None,
        };
        match group.filter(|group| *group > 0) {
            Some(group) => Ok(self.backref(group, start)),
            None => {
                self.refuse(start, "\\g needs the number or the name of a group: write \\g{1} or \\g{-1}")
            }
        }
    }

    /// Reads `\d`, `\p{…}` or another named set, inside a class or outside.
    pub(crate) fn named_set(&mut self) -> Result<Option<ByteSet>, PatternError> {
        let start = self.at;
        let Some(letter) = self.bytes.get(start + 1).copied() else { return Ok(None) };
        let negated = letter.is_ascii_uppercase();
        let set = match letter.to_ascii_lowercase() {
            b'd' => posix("digit", self.flags.charset).unwrap_or_default(),
            b'w' => posix("word", self.flags.charset).unwrap_or_default(),
            b's' => posix("space", self.flags.charset).unwrap_or_default(),
            b'h' => horizontal(),
            b'v' => vertical(),
            b'p' => {
                self.at = start + 2;
                return self.property(start, negated).map(Some);
            }
            _ => return Ok(None),
        };
        self.at = start + 2;
        Ok(Some(set.negated_if(negated)))
    }

    fn property(&mut self, start: usize, negated: bool) -> Result<ByteSet, PatternError> {
        let name = if self.take("{") {
            self.take_until(b'}').unwrap_or_default()
        } else {
            let name = self.rest().get(..1).and_then(|name| std::str::from_utf8(name).ok());
            self.at += 1;
            name.unwrap_or_default()
        };
        let name = name.trim_matches([' ', '\t']);
        let (name, negated) = name.strip_prefix('^').map_or((name, negated), |name| (name, !negated));
        self.unicode = true;
        if self.flags.fold {
            return self.refuse(start, "case-insensitive \\p{…} is not supported: remove the flag i");
        }
        match property(name.trim_start_matches([' ', '\t'])) {
            Some(set) => Ok(set.negated_if(negated)),
            None => self.refuse(
                start,
                "unknown property: use \\p{L}, \\p{Lu}, \\p{Ll}, \\p{N}, \\p{P}, \\p{S}, \\p{Z} or a POSIX name \
                 such as \\p{Alpha}",
            ),
        }
    }

    /// Reads a sequence for one character, and returns its code.
    pub(crate) fn code(&mut self, class: bool) -> Result<u32, PatternError> {
        let start = self.at;
        let Some(letter) = self.bytes.get(start + 1).copied() else {
            return self.refuse(start, "the pattern ends in a \\: write \\\\ for a literal backslash");
        };
        self.at = start + 2;
        Ok(match letter {
            b'a' => 0x07,
            b'b' if class => 0x08,
            b't' => 0x09,
            b'n' => 0x0A,
            b'f' => 0x0C,
            b'r' => 0x0D,
            b'e' => 0x1B,
            b'0'..=b'7' => {
                self.at = start + 1;
                let length =
                    self.rest().iter().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
                self.digits(length, 8)
            }
            b'x' if self.take("{") => self.braced(start, 16)?.unwrap_or(0),
            b'x' => {
                let length = self.rest().iter().take(2).take_while(|byte| byte.is_ascii_hexdigit()).count();
                self.digits(length, 16)
            }
            b'o' if self.take("{") => match self.braced(start, 8)? {
                Some(code) => code,
                None => return self.refuse(start, "\\o{} needs an octal number"),
            },
            b'N' if self.take("{U+") => {
                self.unicode = true;
                match self.braced(start, 16)? {
                    Some(code) => code,
                    None => return self.refuse(start, "\\N{U+} needs a hexadecimal number"),
                }
            }
            b'N' => {
                return self.refuse(start, "character names are not supported: write \\x{…} with the code");
            }
            b'o' => return self.refuse(start, "\\o needs braces: write \\o{101}"),
            b'c' => match self.peek() {
                Some(b'{') => return self.refuse(start, "\\c{ is not allowed: write ; instead"),
                Some(byte @ b' '..=b'~') => {
                    self.at += 1;
                    u32::from(byte.to_ascii_uppercase() ^ 0x40)
                }
                _ => return self.refuse(start, "\\c needs a letter: write \\cA"),
            },
            // Perl reads an unknown sequence as the character itself.
            other => u32::from(other),
        })
    }

    fn digits(&mut self, length: usize, radix: u32) -> u32 {
        let text = self.rest().get(..length).and_then(|digits| std::str::from_utf8(digits).ok());
        self.at += length;
        text.and_then(|text| u32::from_str_radix(text, radix).ok()).unwrap_or(0)
    }

    /// Reads the number in braces, after the opening brace.
    fn braced(&mut self, start: usize, radix: u32) -> Result<Option<u32>, PatternError> {
        let Some(text) = self.take_until(b'}') else {
            return self.refuse(start, "the } after this number is missing: add it");
        };
        let text = text.trim_matches([' ', '\t']);
        if text.is_empty() {
            return Ok(None);
        }
        match u32::from_str_radix(text, radix) {
            Ok(code) if code <= 0x0010_FFFF && !text.starts_with('+') => Ok(Some(code)),
            _ => self.refuse(start, "this number is not a character code"),
        }
    }
}
