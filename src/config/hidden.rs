//! Characters that look like other characters or are invisible. They come from web pages and word processors.

/// The text, its name, and what to write instead.
const CONFUSING: &[(&str, &str, &str)] = &[
    ("\u{feff}", "U+FEFF BYTE ORDER MARK", "nothing"),
    ("\u{a0}", "U+00A0 NO-BREAK SPACE", "a plain space"),
    ("\u{2007}", "U+2007 FIGURE SPACE", "a plain space"),
    ("\u{2009}", "U+2009 THIN SPACE", "a plain space"),
    ("\u{200b}", "U+200B ZERO WIDTH SPACE", "nothing"),
    ("\u{200c}", "U+200C ZERO WIDTH NON-JOINER", "nothing"),
    ("\u{200d}", "U+200D ZERO WIDTH JOINER", "nothing"),
    ("\u{202f}", "U+202F NARROW NO-BREAK SPACE", "a plain space"),
    ("\u{2060}", "U+2060 WORD JOINER", "nothing"),
    ("\u{3000}", "U+3000 IDEOGRAPHIC SPACE", "a plain space"),
    ("\u{ad}", "U+00AD SOFT HYPHEN", "nothing"),
    ("\u{2010}", "U+2010 HYPHEN", "a plain -"),
    ("\u{2011}", "U+2011 NON-BREAKING HYPHEN", "a plain -"),
    ("\u{2013}", "U+2013 EN DASH", "a plain -"),
    ("\u{2014}", "U+2014 EM DASH", "a plain -"),
    ("\u{2212}", "U+2212 MINUS SIGN", "a plain -"),
    ("\u{2192}", "U+2192 RIGHTWARDS ARROW", "->"),
    ("\u{2018}", "U+2018 LEFT SINGLE QUOTATION MARK", "a plain '"),
    ("\u{2019}", "U+2019 RIGHT SINGLE QUOTATION MARK", "a plain '"),
    ("\u{201c}", "U+201C LEFT DOUBLE QUOTATION MARK", "a plain \""),
    ("\u{201d}", "U+201D RIGHT DOUBLE QUOTATION MARK", "a plain \""),
    ("\u{201e}", "U+201E DOUBLE LOW-9 QUOTATION MARK", "a plain \""),
    ("\u{ab}", "U+00AB LEFT-POINTING DOUBLE ANGLE QUOTATION MARK", "a plain \""),
    ("\u{bb}", "U+00BB RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK", "a plain \""),
    ("\u{ff1a}", "U+FF1A FULLWIDTH COLON", "a plain :"),
    ("\u{ff1d}", "U+FF1D FULLWIDTH EQUALS SIGN", "a plain ="),
    ("&quot;", "the HTML entity &quot;", "a plain \""),
    ("&amp;", "the HTML entity &amp;", "a plain &"),
    ("&gt;", "the HTML entity &gt;", "a plain >"),
    ("&nbsp;", "the HTML entity &nbsp;", "a plain space"),
];

/// What to do about the first such character of a text. None where it has none.
#[must_use]
pub(super) fn advice(text: &str) -> Option<String> {
    if text.is_ascii() && !text.contains('&') {
        return None;
    }
    let first = |(what, name, instead): &(&str, &'static str, &'static str)| {
        text.find(what).map(|at| (at, *name, *instead))
    };
    let (_, name, instead) = CONFUSING.iter().filter_map(first).min_by_key(|(at, ..)| *at)?;
    Some(match instead {
        "nothing" => format!("the text contains {name}, which is invisible: remove it"),
        _ => format!("the text contains {name}: write {instead}"),
    })
}

#[cfg(test)]
mod tests {
    use super::advice;

    #[test]
    fn the_first_confusing_character_is_named() {
        for (text, expected) in [
            (
                "real=10.0.0.2:80\u{a0}gate",
                Some("the text contains U+00A0 NO-BREAK SPACE: write a plain space"),
            ),
            (
                "\u{201c}ok\u{201d}",
                Some("the text contains U+201C LEFT DOUBLE QUOTATION MARK: write a plain \""),
            ),
            (
                "a\u{200b}b\u{a0}",
                Some("the text contains U+200B ZERO WIDTH SPACE, which is invisible: remove it"),
            ),
            ("&quot;ok&quot;", Some("the text contains the HTML entity &quot;: write a plain \"")),
            ("10.0.0.2 gate", None),
            ("request=\"/?a=1&b=2\"", None),
            ("grün", None),
        ] {
            assert_eq!(advice(text).as_deref(), expected, "{text}");
        }
    }
}
