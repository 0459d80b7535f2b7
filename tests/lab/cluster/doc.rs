//! The documentation's own files and commands: the code blocks of a page, found by the title after the language.

/// The page whose blocks the test runs, as its readers do.
pub struct Page(pub &'static str);

impl Page {
    /// The text of the block whose fence has a language and then `title`.
    #[track_caller]
    pub fn block(&self, title: &str) -> String {
        let mut lines = self.0.lines();
        let found = lines.any(|line| {
            line.strip_prefix("```")
                .and_then(|mark| mark.split_once(' '))
                .is_some_and(|(_, rest)| rest == title)
        });
        assert!(found, "no block {title:?} in the documentation");
        lines.take_while(|line| *line != "```").flat_map(|line| [line, "\n"]).collect()
    }
}
