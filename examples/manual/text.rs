//! The Markdown of the pages, with options, settings and directives inserted from the program.

use std::fmt::Write;

use ldirectord_rs::config::{DIRECTIVES as TABLE, Directive, Scope};

/// A section for each directive.
pub const DIRECTIVES: &str = include_str!("../../docs/man/directives.md");
const SETTINGS: &str = include_str!("../../etc/ldirectord-rs.toml");

/// Replaces the placeholders for options, settings, directives and the address.
pub fn complete(text: &str) -> String {
    text.replace("<!-- options -->", &options())
        .replace("<!-- settings -->", &settings())
        .replace("<!-- directives -->", &directives())
        .replace("<!-- address -->", address())
}

/// The address for bug reports: from the line `authors` of Cargo.toml, without the name.
fn address() -> &'static str {
    let authors = env!("CARGO_PKG_AUTHORS");
    authors.split_once('<').and_then(|(_, rest)| rest.strip_suffix('>')).unwrap_or(authors)
}

fn options() -> String {
    let mut text = String::new();
    for argument in ldirectord_rs::cli::command().get_arguments().filter(|argument| !argument.is_hide_set()) {
        let short = argument.get_short_and_visible_aliases().unwrap_or_default();
        let long = argument.get_long_and_visible_aliases().unwrap_or_default();
        let names =
            short.iter().map(|c| format!("`-{c}`")).chain(long.iter().map(|word| format!("`--{word}`")));
        let names: Vec<String> = names.collect();
        let values: Vec<_> =
            argument.get_possible_values().iter().map(|v| format!("`{}`", v.get_name())).collect();
        let value = match argument.get_value_names() {
            Some(_) if argument.get_action().takes_values() && !values.is_empty() => {
                format!(" {}", values.join("|"))
            }
            Some(names) if argument.get_action().takes_values() => format!(" *{}*", names[0]),
            _ => String::new(),
        };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        writeln!(text, "- {}{value}: {help}.", names.join(", ")).unwrap();
    }
    text
}

/// Renders each section as a heading and each key as an item with the comment before it. Keys that share a comment
/// share an item.
fn settings() -> String {
    let mut text = String::new();
    let mut comment = String::new();
    let mut begun = false;
    for line in SETTINGS.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            // The comment before the first section is only for readers of the file.
            comment.clear();
            begun = true;
            write!(text, "\n\n## [{name}]\n").unwrap();
        } else if line == "#" && begun {
            write!(text, "\n{comment}\n").unwrap();
            comment.clear();
        } else if let Some(words) = line.strip_prefix("# ") {
            write!(comment, "{words} ").unwrap();
        } else if let Some(setting) = line.strip_prefix('#').filter(|_| begun) {
            if comment.is_empty() {
                // Two keys with one comment: add the second to the item of the first.
                let item = text.rfind("`: ").expect("a setting before one without a comment");
                text.insert_str(item + 1, &format!(", `{setting}`"));
            } else {
                write!(text, "\n- `{setting}`: {comment}").unwrap();
                comment.clear();
            }
        }
    }
    text
}

/// Adds the row of the table after the heading of each directive.
fn directives() -> String {
    let mut text = String::new();
    for line in DIRECTIVES.lines() {
        writeln!(text, "{line}").unwrap();
        if let Some(name) = line.strip_prefix("## ") {
            let directive = TABLE.iter().find(|directive| directive.name == name);
            let directive =
                directive.unwrap_or_else(|| panic!("{name} in docs/man/directives.md is not a directive"));
            write!(text, "\n{}", row(directive)).unwrap();
        }
    }
    text
}

fn row(directive: &Directive) -> String {
    let mark = if directive.extension { "#rs: " } else { "" };
    let mut help = directive.help.to_owned();
    help[..1].make_ascii_uppercase();
    let place = match directive.scope {
        Scope::Global => "Outside virtual services.",
        Scope::Virtual => "In a virtual service.",
        Scope::Both => "Outside as the default for all virtual services, or in one.",
    };
    let default = match directive.default.text() {
        "" => String::new(),
        default => format!(" Without it: {default}."),
    };
    format!("`{mark}{}={}`\n\n{help}. {place}{default}\n", directive.name, directive.kind)
}
