//! Writes the manual pages: `cargo run --example manual -- DIRECTORY [DATE]`.
//!
//! Their text is in `docs/man`. Some parts come from the program itself: directives from their table, options from the
//! definition of the command line, settings from the annotated sample.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a build tool: a panic stops the build")]

mod roff;
mod text;

use std::env;
use std::fs;
use std::path::PathBuf;

/// A page of the manual.
struct Page {
    name: &'static str,
    section: u8,
    /// The text in Markdown.
    text: &'static str,
}

const PAGES: &[Page] = &[
    Page { name: "ldirectord-rs", section: 8, text: include_str!("../../docs/man/ldirectord-rs.md") },
    Page {
        name: "ldirectord-rs-switch",
        section: 8,
        text: include_str!("../../docs/man/ldirectord-rs-switch.md"),
    },
    Page { name: "ldirectord-rs.cf", section: 5, text: include_str!("../../docs/man/ldirectord-rs.cf.md") },
];

impl Page {
    fn render(&self, date: &str) -> String {
        roff::page(self.name, self.section, date, &text::complete(self.text))
    }
}

fn main() {
    let mut arguments = env::args().skip(1);
    let directory = PathBuf::from(arguments.next().expect("usage: manual DIRECTORY [DATE]"));
    let date = arguments.next().unwrap_or_default();
    fs::create_dir_all(&directory).unwrap();
    for page in PAGES {
        let path = directory.join(format!("{}.{}", page.name, page.section));
        fs::write(&path, page.render(&date)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        println!("{}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use ldirectord_rs::config::DIRECTIVES;

    use super::*;

    #[test]
    fn each_directive_has_a_section_and_each_section_a_directive() {
        let sections: Vec<&str> =
            text::DIRECTIVES.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        let table: Vec<&str> = DIRECTIVES.iter().map(|directive| directive.name).collect();
        assert_eq!(sections, table, "docs/man/directives.md against src/config/directive/table.rs");
    }

    #[test]
    fn the_pages_are_complete() {
        let pages: Vec<String> = PAGES.iter().map(|page| page.render("2000-01-01")).collect();
        let plain = |page: &str| page.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "");
        let [program, _, configuration] = &pages[..] else { panic!("three pages") };
        for directive in DIRECTIVES {
            assert!(configuration.contains(&format!(".SS {}\n", directive.name)), "{}", directive.name);
        }
        let program = plain(program);
        for argument in ldirectord_rs::cli::command().get_arguments().filter(|a| !a.is_hide_set()) {
            let long = format!("--{}", argument.get_long().unwrap());
            assert!(program.contains(&long), "{long}");
        }
        assert!(program.contains("report bugs to ") && program.contains('@'), "no address for bugs");
        for word in ["verify_interval = \"60s\"", "LDIRECTORD_RS_TABLE__BACKEND", "try-restart", "alert-test"]
        {
            assert!(program.contains(word), "{word}");
        }
        for page in &pages {
            assert!(page.starts_with(".ie") && page.contains("\n.TH "), "{}", &page[..40]);
            assert!(!page.contains("<!--") && !plain(page).contains('`'), "Markdown markup is left");
        }
    }
}
