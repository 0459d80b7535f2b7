//! Compares the recorded answers with the `perl` of this machine, if it has that version.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::io::Write as _;
use std::process::{Command, Stdio};

const PAIRS: &str = include_str!("pairs.txt");

/// The version that the table was recorded with. Others differ in a few details of the dialect.
const RECORDED: &str = "5.036";

/// Reads pairs and answers each with `=~`. In Perl the empty pattern means "the last one that matched"; here it
/// always matches.
const JUDGE: &str = r#"
    no warnings; $SIG{__WARN__} = sub {};
    printf "%.3f\n", $];
    while (my $line = <STDIN>) {
        chomp $line;
        my ($pattern, $subject) = map { s/%([0-9A-F]{2})/chr hex $1/ger } split /\t/, $line, -1;
        $pattern = "(?:)" if $pattern eq "";
        my $found = eval { $subject =~ /$pattern/ ? "match" : "no" };
        print defined $found ? $found : "refused", "\n";
    }
"#;

#[test]
fn recorded_answers_are_those_of_perl() {
    let rows: Vec<Vec<&str>> = PAIRS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("# "))
        .map(|line| line.split('\t').collect())
        .collect();
    let started =
        Command::new("perl").arg("-e").arg(JUDGE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut perl) = started else {
        println!("not run: this machine has no perl");
        return;
    };
    let mut input = perl.stdin.take().unwrap();
    let text: String = rows.iter().map(|row| format!("{}\t{}\n", row[0], row[1])).collect();
    // A thread writes while this one reads: no pipe can hold all of the data.
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = perl.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let mut verdicts = said.lines();
    let version = verdicts.next().unwrap_or_default().to_owned();
    let verdicts: Vec<&str> = verdicts.collect();
    assert_eq!(verdicts.len(), rows.len());
    let wrong: Vec<String> = rows
        .iter()
        .zip(&verdicts)
        .filter(|(row, verdict)| row[2] != **verdict)
        .map(|(row, verdict)| format!("{}\tperl {version}: {verdict}", row.join("\t")))
        .collect();
    println!("perl {version}: {} of {} as recorded", rows.len() - wrong.len(), rows.len());
    println!("{}", wrong.join("\n"));
    assert!(version != RECORDED || wrong.is_empty(), "{}", wrong.join("\n"));
}
