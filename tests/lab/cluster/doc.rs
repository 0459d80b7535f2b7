//! The documentation's own files and commands: the text of the code blocks of a page, by what stands behind their first mark.

/// Runs of this page are what its readers run.
pub struct Page(pub &'static str);

impl Page {
    /// The text of the block whose mark is followed by a language and then `title`.
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
