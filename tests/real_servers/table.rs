//! The tables in `tests/real_servers/verdicts`: cases, the verdict of the original on each, and the expected verdict
//! of ours. `README.md` there describes the notation.

use std::fs;
use std::path::{Path, PathBuf};

use ldirectord_rs::value::Outcome;

/// The phases that a table can ask for, in their order.
pub const PHASES: [&str; 6] = ["answering", "unanswered", "frozen", "stopped", "restarted", "alone"];

/// A file of cases for one server.
pub struct Table {
    path: PathBuf,
    /// The recipe of the server and its arguments. None where no server is needed.
    pub server: Vec<String>,
    /// A second server that it needs, and that is stopped in the phase `alone`.
    pub beside: Vec<String>,
    pub cases: Vec<Case>,
}

/// A virtual block and its expected results.
pub struct Case {
    pub title: String,
    /// The name under which its CPU time is printed.
    pub measure: Option<String>,
    /// Whether many checks run at once in the phases without an answer.
    pub crowd: bool,
    /// A part of our reason if the check runs over TLS after STARTTLS.
    pub starttls: Option<String>,
    /// The lines of the virtual service.
    pub block: String,
    pub expected: Vec<Expected>,
}

/// A verdict in a phase.
pub struct Expected {
    pub phase: &'static str,
    /// The recorded result of the original. None if not recorded yet.
    pub original: Option<String>,
    pub outcome: Outcome,
    /// The ids in `docs/compat.md` if ours differs from the original.
    pub ids: Vec<String>,
    /// A part of our reason.
    pub reason: String,
}

/// The folder of the tables.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_servers/verdicts")
}

impl Table {
    /// Reads `NAME.txt`.
    pub fn read(name: &str) -> Table {
        let path = folder().join(format!("{name}.txt"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut table = Table { path, server: Vec::new(), beside: Vec::new(), cases: Vec::new() };
        let mut seen = None;
        for (number, line) in (1..).zip(text.lines()) {
            table.line(line, &mut seen).unwrap_or_else(|what| panic!("{name}.txt:{number}: {what}: {line}"));
        }
        assert!(seen.is_none(), "{name}.txt: the last `|` has no `>` after it");
        table
    }

    fn line(&mut self, line: &str, seen: &mut Option<(&'static str, String)>) -> Result<(), &'static str> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words = || rest.split(' ').map(str::to_owned).collect();
        match word {
            "server" => self.server = words(),
            "beside" => self.beside = words(),
            "case" => self.cases.push(Case {
                title: rest.to_owned(),
                measure: None,
                crowd: false,
                starttls: None,
                block: String::new(),
                expected: Vec::new(),
            }),
            _ if line.is_empty() || line.starts_with('#') => {}
            _ => {
                let case = self.cases.last_mut().ok_or("it belongs to no case")?;
                match word {
                    "measure" => case.measure = Some(rest.to_owned()),
                    "crowd" => case.crowd = true,
                    "starttls" => case.starttls = Some(rest.to_owned()),
                    "|" => {
                        let (name, said) = rest.split_once(' ').ok_or("no verdict")?;
                        *seen = Some((phase(name)?, said.to_owned()));
                    }
                    ">" => case.expected.push(Expected::read(rest, seen.take())?),
                    _ => case.block.push_str(&format!("{}\n", line.replace("@verdicts@", &here()))),
                }
            }
        }
        Ok(())
    }

    /// Writes the file again, with what was recorded.
    pub fn write(&self) {
        let text = fs::read_to_string(&self.path).unwrap();
        let mut expected = self.cases.iter().flat_map(|case| &case.expected);
        let mut new = String::new();
        for line in text.lines().filter(|line| !line.starts_with('|')) {
            if line.starts_with('>') {
                let expected = expected.next().unwrap();
                if let Some(original) = &expected.original {
                    new.push_str(&format!("| {} {original}\n", expected.phase));
                }
            }
            new.push_str(&format!("{line}\n"));
        }
        if new != text {
            fs::write(&self.path, new).unwrap();
        }
    }
}

impl Expected {
    /// `PHASE OUTCOME [ID…]: REASON`
    fn read(text: &str, seen: Option<(&'static str, String)>) -> Result<Expected, &'static str> {
        let (head, reason) = text.split_once(": ").ok_or("no reason")?;
        let mut words = head.split(' ');
        let phase = phase(words.next().unwrap_or_default())?;
        let outcome = match words.next() {
            Some("up") => Outcome::Up,
            Some("down") => Outcome::Down,
            _ => return Err("neither up nor down"),
        };
        let original = match seen {
            Some((recorded, _)) if recorded != phase => return Err("the `|` before it is of another phase"),
            seen => seen.map(|(_, said)| said),
        };
        let ids = words.map(str::to_owned).collect();
        Ok(Expected { phase, original, outcome, ids, reason: reason.to_owned() })
    }

    /// What is wrong with the comparison of the two programs. None if they agree or an id explains the difference.
    pub fn fault(&self) -> Option<String> {
        let ours = if self.outcome == Outcome::Up { "up" } else { "down" };
        let Some(original) = &self.original else {
            return Some(format!("{}: not recorded; run `make verdicts`", self.phase));
        };
        let theirs = original.split(' ').next().unwrap_or_default();
        match (theirs == ours, self.ids.is_empty()) {
            (true, true) | (false, false) => None,
            (true, false) => Some(format!("{}: both are {ours}, no id is needed", self.phase)),
            (false, true) => Some(format!("{}: the original {theirs}, ours {ours}, and no id", self.phase)),
        }
    }
}

fn here() -> String {
    folder().display().to_string()
}

fn phase(name: &str) -> Result<&'static str, &'static str> {
    PHASES.into_iter().find(|phase| *phase == name).ok_or("unknown phase")
}
