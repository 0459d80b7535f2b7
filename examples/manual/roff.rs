//! Converts Markdown to roff for man pages: headings, paragraphs, lists, examples, and three fonts.

use pulldown_cmark::{Event, HeadingLevel, Parser, Tag, TagEnd};
use roff::{Inline, Roff, bold, italic, roman};

/// Renders a page.
pub fn page(name: &str, section: u8, date: &str, markdown: &str) -> String {
    let mut writer =
        Writer { roff: Roff::new(), line: Vec::new(), letters: Letters::Roman, place: Place::Heading };
    let (section, source) = (section.to_string(), concat!("ldirectord-rs ", env!("CARGO_PKG_VERSION")));
    writer.roff.control("TH", [name.to_uppercase().as_str(), &section, date, source]);
    Parser::new(markdown).for_each(|event| writer.event(event));
    writer.roff.render()
}

#[derive(Clone, Copy)]
enum Letters {
    Roman,
    Bold,
    Italic,
}

/// The element that contains the text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Text,
    /// A heading, or directly after it: the first paragraph needs no `.PP`.
    Heading,
    Code,
    /// An item of a list, before its first colon: the term.
    Term,
    /// The rest of the item.
    Item,
}

struct Writer {
    roff: Roff,
    line: Vec<Inline>,
    letters: Letters,
    place: Place,
}

impl Writer {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.text(&text),
            Event::Code(text) => self.line.push(bold(text.as_ref())),
            Event::SoftBreak => self.line.push(roman("\n")),
            other => panic!("the manual has an unsupported element: {other:?}"),
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Paragraph if self.place == Place::Text => {
                self.roff.control("PP", []);
            }
            Tag::Paragraph if self.place == Place::Heading => self.place = Place::Text,
            Tag::Heading { .. } => self.place = Place::Heading,
            Tag::CodeBlock(_) => {
                self.place = Place::Code;
                self.roff.control("PP", []).control("RS", ["4"]).control("nf", []);
            }
            Tag::Item => {
                self.place = Place::Term;
                self.roff.control("TP", []);
            }
            Tag::Strong => self.letters = Letters::Bold,
            Tag::Emphasis => self.letters = Letters::Italic,
            Tag::List(None) | Tag::Paragraph => {}
            other => panic!("the manual has an unsupported element: {other:?}"),
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph if self.place == Place::Text => self.flush(),
            TagEnd::Heading(level) => {
                let words: String = self.line.iter().map(plain).collect();
                self.line.clear();
                match level {
                    HeadingLevel::H1 => self.roff.control("SH", [words.to_uppercase().as_str()]),
                    _ => self.roff.control("SS", [words.as_str()]),
                };
            }
            TagEnd::CodeBlock => {
                self.roff.control("fi", []).control("RE", []);
                self.place = Place::Text;
            }
            TagEnd::Item => {
                assert!(self.place == Place::Item, "an item without a colon: {:?}", self.line);
                self.flush();
                self.place = Place::Text;
            }
            TagEnd::Strong | TagEnd::Emphasis => self.letters = Letters::Roman,
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        match self.place {
            Place::Code => {
                for line in text.lines() {
                    self.roff.text([roman(line)]);
                }
            }
            Place::Term => match text.split_once(": ") {
                Some((term, rest)) => {
                    self.push(term);
                    self.flush();
                    self.place = Place::Item;
                    self.push(rest);
                }
                None => self.push(text),
            },
            Place::Text | Place::Heading | Place::Item => self.push(text),
        }
    }

    fn push(&mut self, text: &str) {
        self.line.push(match self.letters {
            Letters::Roman => roman(text),
            Letters::Bold => bold(text),
            Letters::Italic => italic(text),
        });
    }

    fn flush(&mut self) {
        self.roff.text(std::mem::take(&mut self.line));
    }
}

fn plain(part: &Inline) -> &str {
    match part {
        Inline::Roman(text) | Inline::Italic(text) | Inline::Bold(text) => text,
        Inline::LineBreak => "",
    }
}
