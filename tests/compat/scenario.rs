//! The text of a scenario: groups of commands (`%…`), and after each group what was observed.
//!
//! `|` lines are recorded from the original. Where ours differs on purpose, `id B04 …` names the difference in
//! `docs/compat.md`, and `>` lines contain what ours does instead. A bare `|` or `>` means that nothing was observed.

use std::fmt::Write;

/// A scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// The name of its file without the extension.
    pub name: String,
    /// Settings for all groups: commands before the first group that control the observation.
    pub settings: Vec<Command>,
    /// The lines before the first command.
    head: Vec<String>,
    /// Its groups.
    pub groups: Vec<Group>,
    /// Comments after the last group.
    tail: Vec<String>,
}

/// Commands, and what is observed after them when nothing changes any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// Comments and empty lines before it.
    head: Vec<String>,
    /// What to do.
    pub commands: Vec<Command>,
    /// What the original does.
    pub original: Vec<String>,
    /// The id of the difference and its reason.
    pub id: Option<String>,
    /// What ours does, if it differs.
    pub ours: Option<Vec<String>>,
}

/// A command: `%name rest`, and the lines below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its name.
    pub name: String,
    /// The rest of its line.
    pub rest: String,
    /// The lines below it.
    pub body: Vec<String>,
}

impl Command {
    /// The rest as words.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.rest.split_whitespace()
    }

    /// The body as the text of a file.
    pub fn text(&self) -> String {
        self.body.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

/// Commands that are settings: they control how the whole scenario is observed.
const SETTINGS: [&str; 9] =
    ["pending", "quiet", "limit", "env", "log", "ignore", "sorted", "thresholds", "requests"];
/// Commands with lines below them.
const WITH_BODY: [&str; 3] = ["config", "write", "table"];

impl Group {
    /// What ours must do.
    pub fn expected(&self) -> &[String] {
        self.ours.as_ref().unwrap_or(&self.original)
    }

    /// Whether the commands only stop or start servers. Then the time until the table changes is measured.
    pub fn is_an_event(&self) -> bool {
        let kinds = ["up", "down", "touch", "remove"];
        self.commands.iter().all(|command| kinds.contains(&command.name.as_str()))
    }
}

impl Scenario {
    /// Parses a scenario. Errors name the line.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut scenario = Self {
            name: name.to_owned(),
            settings: Vec::new(),
            head: Vec::new(),
            groups: Vec::new(),
            tail: Vec::new(),
        };
        let mut group = Group::default();
        let mut blank: Vec<String> = Vec::new();
        let mut observed = false;
        for (number, line) in (1..).zip(text.lines()) {
            let wrong = |why: &str| format!("{name}.scenario, line {number}: {why}: {line}");
            if let Some(command) = line.strip_prefix('%') {
                if observed {
                    scenario.groups.push(std::mem::take(&mut group));
                    observed = false;
                }
                let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
                let command = Command { name: word.to_owned(), rest: rest.to_owned(), body: Vec::new() };
                if SETTINGS.contains(&word) {
                    if !scenario.groups.is_empty() || !group.commands.is_empty() {
                        return Err(wrong("a setting must precede all commands"));
                    }
                    scenario.settings.push(command);
                    scenario.head.append(&mut blank);
                    scenario.head.push(line.to_owned());
                } else {
                    if group.commands.is_empty() {
                        group.head = std::mem::take(&mut blank);
                    }
                    group.commands.push(command);
                }
            } else if let Some(seen) = observation(line, '|') {
                if group.commands.is_empty() || group.id.is_some() {
                    return Err(wrong("an observation follows a command"));
                }
                observed = true;
                group.original.extend(seen);
            } else if let Some(seen) = observation(line, '>') {
                if group.id.is_none() {
                    return Err(wrong("a difference has an id"));
                }
                group.ours.get_or_insert_default().extend(seen);
            } else if let Some(id) = line.strip_prefix("id ").filter(|_| observed) {
                group.id = Some(id.to_owned());
            } else if let Some(command) = group
                .commands
                .last_mut()
                .filter(|command| !observed && WITH_BODY.contains(&command.name.as_str()))
            {
                command.body.push(line.to_owned());
            } else if line.is_empty() || line.starts_with('#') {
                blank.push(line.to_owned());
            } else {
                return Err(wrong("neither a command nor an observation nor a comment"));
            }
        }
        if !observed {
            return Err(format!("{name}.scenario: nothing is observed after the last command"));
        }
        scenario.groups.push(group);
        scenario.tail = blank;
        Ok(scenario)
    }

    /// Its text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut lines = |lines: &[String]| lines.iter().for_each(|line| writeln!(text, "{line}").unwrap());
        lines(&self.head);
        for (number, group) in self.groups.iter().enumerate() {
            if number > 0 && group.head.is_empty() {
                lines(&[String::new()]);
            }
            lines(&group.head);
            for command in &group.commands {
                lines(&[format!("%{} {}", command.name, command.rest).trim_end().to_owned()]);
                lines(&command.body);
            }
            lines(&prefixed('|', &group.original));
            if let Some(id) = &group.id {
                lines(&[format!("id {id}")]);
                lines(&prefixed('>', group.expected()));
            }
        }
        lines(&self.tail);
        text
    }

    /// The first setting with this name.
    pub fn setting(&self, name: &str) -> Option<&Command> {
        self.settings.iter().find(|setting| setting.name == name)
    }

    /// Why it cannot be compared yet.
    pub fn pending(&self) -> Option<&str> {
        self.setting("pending").map(|setting| setting.rest.as_str())
    }
}

/// The text after a mark. A bare mark has none.
fn observation(line: &str, mark: char) -> Option<Option<String>> {
    let rest = line.strip_prefix(mark)?;
    match rest {
        "" => Some(None),
        _ => rest.strip_prefix(' ').map(|seen| Some(seen.to_owned())),
    }
}

fn prefixed(mark: char, lines: &[String]) -> Vec<String> {
    if lines.is_empty() {
        return vec![mark.to_string()];
    }
    lines.iter().map(|line| format!("{mark} {line}")).collect()
}

#[test]
fn a_scenario_is_written_as_it_was_read() {
    let text = "# what\n%quiet 5\n%config\na=1\n\n# b\n%start\n| exit 0\n\n# then\n%down 10.0.0.2:80\n|\nid B01 because\n> x\n>\n";
    let scenario = Scenario::parse("it", text).unwrap();
    assert_eq!(scenario.groups.len(), 2);
    assert_eq!(scenario.groups[0].commands[0].text(), "a=1\n\n# b\n");
    assert_eq!(scenario.groups[1].expected(), ["x"]);
    assert!(scenario.groups[1].original.is_empty() && scenario.groups[1].is_an_event());
    assert_eq!(scenario.text(), text.replace("> x\n>\n", "> x\n"));
}

#[test]
fn what_is_no_scenario_is_refused_with_its_line() {
    for (text, words) in [
        ("%start\n", "nothing is observed"),
        ("| exit 0\n", "line 1: an observation follows a command"),
        ("%start\n|\n> exit 0\n", "line 3: a difference has an id"),
        ("%start\n|\n%quiet 5\n|\n", "line 3: a setting must precede"),
        ("%start\nexit 0\n|\n", "line 2: neither"),
    ] {
        let error = Scenario::parse("it", text).unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
}
