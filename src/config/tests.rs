//! Tests of the whole reader: no input makes it panic, and its diagnostics are in `tests/data/config`, one
//! `.expected` for each `.cf`. `UPDATE_GOLDEN=1 cargo test config` writes them again.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use proptest::sample::Index;

use super::source::SourceText;
use super::{Answers, Config, NameLookup, NameQuestion, Redirects, Severity, load, questions, render, write};
use crate::value::{Family, Protocol};

#[path = "../../tests/it/cases.rs"]
mod cases;

fn data(directory: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(directory)
}

fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(data(directory)).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == extension)).collect();
    paths.sort();
    paths
}

/// The texts of the corpus.
fn corpus() -> Vec<Vec<u8>> {
    let read = |path: &PathBuf| cases::File::parse(&fs::read_to_string(path).unwrap()).cases;
    files("corpus", "txt").iter().flat_map(read).map(|case| case.text).collect()
}

/// The texts of the corpus, and those of the diagnostics, which also have the extensions.
fn samples() -> Vec<Vec<u8>> {
    let read = |path: &PathBuf| fs::read(path).unwrap();
    corpus().into_iter().chain(files("config", "cf").iter().map(read)).collect()
}

/// The samples that are short enough to be changed and read many times.
static SEEDS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| samples().into_iter().filter(|text| text.len() < 2000).collect());

/// Resolves every name, and records the questions.
#[derive(Default)]
struct Everybody(RefCell<BTreeSet<NameQuestion>>);

impl NameLookup for Everybody {
    fn host(&self, name: &str, family: Family) -> Option<IpAddr> {
        self.0.borrow_mut().insert(NameQuestion::Host { name: name.to_owned(), family });
        Some(match family {
            Family::V4 => Ipv4Addr::new(192, 0, 2, 1).into(),
            Family::V6 => Ipv6Addr::LOCALHOST.into(),
        })
    }

    fn port(&self, name: &str, protocol: Option<Protocol>) -> Option<u16> {
        self.0.borrow_mut().insert(NameQuestion::Port { name: name.to_owned(), protocol });
        Some(80)
    }

    fn hostname(&self) -> String {
        "director.example".to_owned()
    }

    fn file(&self, path: &str) -> Result<Arc<[u8]>, String> {
        self.0.borrow_mut().insert(NameQuestion::File(path.to_owned()));
        Ok(b"content".as_slice().into())
    }
}

/// Checks what must be true for every text and every resolver.
fn check(content: &[u8], names: &dyn NameLookup) {
    let source = SourceText::decode(content);
    let (text, lines) = (source.text(), source.text().split('\n').count());
    let loaded = load(content, names);
    for found in &loaded.diagnostics {
        let span = found.span.clone();
        assert!(text.get(span.clone()).is_some(), "{span:?} is not part of {content:?}");
        assert!((1..=lines).contains(&found.line), "{found:?} of {lines} lines");
        let before = text[..span.start].matches('\n').count();
        assert_eq!(found.line, before + 1, "{found:?}");
        assert!(found.column >= 1);
        assert!(!found.message.is_empty());
        assert!(!found.one_line(1, "x.cf").is_empty());
    }
    let errors = loaded.diagnostics.iter().any(|found| found.severity == Severity::Error);
    assert_eq!(loaded.config.is_none(), errors, "{:?}", loaded.diagnostics);
    let shown = render(&loaded.diagnostics, "x.cf", false);
    assert_eq!(shown.is_empty(), loaded.diagnostics.is_empty());
    assert!(render(&loaded.diagnostics, "x.cf", true).len() >= shown.len());
}

/// The configuration of a text, if it has no error, with a resolver that knows all names. Line numbers are removed.
fn load_without_lines(text: &[u8]) -> Option<Config> {
    let mut config = load(text, &Everybody::default()).config?;
    for v in &mut config.virtuals {
        v.line = 0;
        v.reals.iter_mut().for_each(|real| real.line = 0);
    }
    Some(config)
}

/// Checks a text with two resolvers: the first knows no name, the second knows all. The second must not ask for more
/// than the first.
fn check_all(content: &[u8]) {
    check(content, &Answers::new("director.example"));
    let everybody = Everybody::default();
    check(content, &everybody);
    let asked: BTreeSet<NameQuestion> = questions(content).into_iter().collect();
    let missed: Vec<NameQuestion> = everybody.0.borrow().difference(&asked).cloned().collect();
    assert!(missed.is_empty(), "{missed:?} are not among the questions of {content:?}");
}

#[test]
fn b2_a_file_of_errors_has_each_and_few_are_rendered() {
    let loaded = load("x\n".repeat(5000).as_bytes(), &Answers::new("director"));
    assert!(loaded.config.is_none());
    assert_eq!(loaded.diagnostics.len(), 5000);
    let shown = render(&loaded.diagnostics, "x.cf", false);
    assert!(shown.lines().count() < 1000, "{}", shown.lines().count());
    assert!(shown.ends_with("4900 more findings are not shown; ldirectord-rs check x.cf --json lists all"));
    // A file of garbage does not take gigabytes of memory.
    let loaded = load("x\n".repeat(100_010).as_bytes(), &Answers::new("director"));
    assert_eq!(loaded.diagnostics.len(), 100_001);
    assert_eq!(loaded.diagnostics[100_000].message, "10 more findings are not shown");
}

/// Counts what takes the time, the search for the nearest directive, instead of measuring the time.
#[test]
fn b2_only_the_first_findings_get_a_suggestion() {
    let loaded = load("autorelod=yes\n".repeat(5000).as_bytes(), &Answers::new("director"));
    let suggested = loaded
        .diagnostics
        .iter()
        .filter(|found| found.help.as_ref().is_some_and(|help| help.contains("did you mean")));
    assert_eq!(suggested.count(), 100);
}

#[test]
fn each_sample_is_written_and_read_as_the_same() {
    let mut count = 0;
    for text in samples() {
        let Some(config) = load_without_lines(&text) else { continue };
        count += 1;
        let written = write(&config).unwrap();
        assert_eq!(load_without_lines(written.as_bytes()), Some(config), "{written}");
    }
    assert!(count > 500, "{count}");
}

#[test]
fn every_case_of_the_corpus_is_survived() {
    for text in corpus() {
        check_all(&text);
    }
}

/// A change to a text: where, what kind, and with what.
type Change = (Index, u8, Index, u8);

/// Makes the changes, one after the other.
fn mutate(text: &mut Vec<u8>, changes: &[Change], other: &[u8]) {
    for &(place, kind, length, byte) in changes {
        let at = place.index(text.len() + 1);
        let end = (at + length.index(12)).min(text.len());
        match kind % 6 {
            0 => text.insert(at, byte),
            1 => drop(text.drain(at..end)),
            2 => text.truncate(at),
            3 => {
                let piece: Vec<u8> = text[at..end].to_vec();
                text.splice(at..at, piece);
            }
            4 => {
                let from = length.index(other.len() + 1);
                let to = (from + usize::from(byte)).min(other.len());
                text.splice(at..at, other[from..to].iter().copied());
            }
            _ => text[at..end].fill(byte),
        }
    }
}

/// Bytes that have a meaning for the reader, more often than by chance.
fn telling_byte() -> impl Strategy<Value = u8> {
    prop_oneof![proptest::sample::select(b"\n\t \r#=\":[].->,0195lux\\\0\xc3\xa4".to_vec()), any::<u8>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(content in proptest::collection::vec(telling_byte(), 0..400)) {
        check_all(&content);
    }

    #[test]
    fn any_change_to_a_configuration_is_survived(
        first in any::<Index>(),
        second in any::<Index>(),
        changes in proptest::collection::vec((any::<Index>(), any::<u8>(), any::<Index>(), telling_byte()), 1..6),
    ) {
        let mut text = SEEDS[first.index(SEEDS.len())].clone();
        mutate(&mut text, &changes, &SEEDS[second.index(SEEDS.len())]);
        check_all(&text);
    }

    #[test]
    fn what_is_accepted_is_written_and_read_as_the_same(
        first in any::<Index>(),
        second in any::<Index>(),
        changes in proptest::collection::vec((any::<Index>(), any::<u8>(), any::<Index>(), telling_byte()), 0..3),
    ) {
        let mut text = SEEDS[first.index(SEEDS.len())].clone();
        mutate(&mut text, &changes, &SEEDS[second.index(SEEDS.len())]);
        if let Some(config) = load_without_lines(&text) {
            let written = write(&config);
            let again = written.as_ref().ok().and_then(|text| load_without_lines(text.as_bytes()));
            prop_assert_eq!(again, Some(config), "{:?} is written as {:?}", text, written);
        }
    }

    #[test]
    fn no_secret_is_ever_shown(
        name in proptest::sample::select(vec!["passwd", "secret", "Passwd", "pasword", "secrets", "db_passwd"]),
        indent in proptest::sample::select(vec!["", "\t", "   ", "    ", "\t\t", "#rs:", "\t#rs: "]),
        sign in proptest::sample::select(vec!["=", " = ", "", " ", "==", "=\t"]),
        open in proptest::sample::select(vec!["\"", "", "'", "\"\""]),
        close in proptest::sample::select(vec!["\"", "", "#", "\" x", "\r"]),
        before in proptest::sample::select(vec!["virtual=10.0.0.1:80\n", "", "virtual=10.0.0.1:80\n\n", "virtual=x\n"]),
    ) {
        // A name that is misspelt and has no end cannot be distinguished from any other word.
        prop_assume!(!sign.is_empty() || !open.is_empty() || ["passwd", "secret"].contains(&name));
        let text = format!("{before}{indent}{name}{sign}{open}hunter2{close}\n");
        let loaded = load(text.as_bytes(), &Answers::new("director.example"));
        let mut shown = render(&loaded.diagnostics, "x.cf", false);
        for found in &loaded.diagnostics {
            shown.push_str(&found.one_line(1, "x.cf"));
            shown.push_str(&format!("{found:?}"));
        }
        prop_assert!(!shown.contains("hunter"), "{text:?}\n{shown}");
    }
}

#[test]
fn diagnostics_read_as_expected() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for path in files("config", "cf") {
        let content = fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let found =
            render(&load(&content, &Answers::new("director.example")).diagnostics, &name, false) + "\n";
        let golden = path.with_extension("expected");
        if update {
            fs::write(&golden, found).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != found {
            wrong.push(format!("{name} reads\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The installed sample can be used unchanged, without a diagnostic.
#[test]
fn the_sample_is_clean() {
    let text = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/ldirectord.cf")).unwrap();
    let loaded = load(&text, &Answers::new("director"));
    assert_eq!(loaded.diagnostics, Vec::new());
    assert_eq!(loaded.config.unwrap().virtuals.len(), 1);
}

/// Files are looked up and become part of the configuration. Values outside apply inside, pairs as pairs.
#[test]
fn tls_is_inherited_and_equal_policies_are_one() {
    let text = "#rs: tlsverify=yes\n#rs: tlsca=\"/ca\"\n#rs: tlscert=\"/c\"\n#rs: tlskey=\"/k\"\n\
                virtual=10.0.0.1:443\n\treal=10.0.0.2:443 masq\n\tvirtualhost=www\n\
                virtual=10.0.0.1:25\n\treal=10.0.0.2:25 masq\n\t#rs: starttls=yes\n\t#rs: tlsname=\"mail\"\n\t#rs: tlswarn=0\n\
                virtual=10.0.0.1:993\n\treal=10.0.0.2:993 masq\n\t#rs: tlsverify=no\n\t#rs: tlslegacy=yes\n\
                virtual=10.0.0.1:995\n\treal=10.0.0.2:995 masq\n\t#rs: tlscert=\"/c2\"\n\t#rs: tlskey=\"/k2\"\n";
    let asked: Vec<NameQuestion> =
        ["/c", "/c2", "/ca", "/k", "/k2"].map(|path| NameQuestion::File(path.to_owned())).to_vec();
    assert_eq!(questions(text.as_bytes()), asked);
    let mut answers = Answers::new("director");
    for path in ["/c", "/c2", "/ca", "/k", "/k2"] {
        answers.add_file(path, Ok(path.as_bytes().into()));
    }
    let loaded = load(text.as_bytes(), &answers);
    assert_eq!(loaded.diagnostics, Vec::new());
    let virtuals = loaded.config.unwrap().virtuals;
    let tls: Vec<_> = virtuals.iter().map(|v| &v.tls).collect();
    assert!(Arc::ptr_eq(&tls[0].policy, &tls[1].policy));
    assert_eq!(
        tls.iter().map(|tls| tls.server_name.as_deref()).collect::<Vec<_>>(),
        [Some("www"), Some("mail"), None, None]
    );
    assert_eq!(tls.iter().map(|tls| tls.warn_days).collect::<Vec<_>>(), [14, 0, 14, 14]);
    assert_eq!(
        tls.iter().map(|tls| tls.policy.verify.is_some()).collect::<Vec<_>>(),
        [true, true, false, true]
    );
    assert_eq!(tls.iter().map(|tls| tls.policy.legacy).collect::<Vec<_>>(), [false, false, true, false]);
    let certificates =
        |tls: &crate::value::Tls| tls.policy.identity.as_ref().unwrap().certificates.path().to_owned();
    assert_eq!(
        tls.iter().map(|tls| certificates(tls)).collect::<Vec<_>>(),
        ["/c", "/c", "/c", "/c2"].map(PathBuf::from)
    );
    assert_eq!(virtuals.iter().map(|v| v.check.starttls).collect::<Vec<_>>(), [false, true, false, false]);
}

#[test]
fn each_word_of_redirects_is_read() {
    for (word, redirects) in
        [("any", Redirects::Any), ("same-host", Redirects::SameHost), ("no", Redirects::No)]
    {
        let text = format!("virtual=10.0.0.1:80\n\t#rs: redirects={word}\n");
        let config = load(text.as_bytes(), &Answers::new("director")).config.expect(word);
        assert_eq!(config.virtuals[0].check.redirects, redirects);
    }
}

/// R66
#[test]
fn a12_two_lines_for_one_destination_are_warned_of() {
    let warnings = |reals: &str| {
        let text = format!("virtual=10.0.0.1:80\n{reals}");
        let loaded = load(text.as_bytes(), &Answers::new("director"));
        let warnings = loaded.diagnostics.iter().filter(|warning| !warning.is_advice());
        warnings.map(|warning| warning.one_line(1, "test.cf")).collect::<Vec<_>>()
    };
    let one =
        warnings("\treal=10.0.0.2:80 masq\n\treal=10.0.0.2:81 masq\n\treal=10.0.0.1->10.0.0.1:80 gate\n");
    assert_eq!(one, [""; 0]);
    let two = warnings("\treal=10.0.0.2:80 gate 1 \"a\", \"x\"\n\treal=10.0.0.1->10.0.0.3:81 gate\n");
    assert_eq!(two.len(), 1, "{two:?}");
    let line = &two[0];
    assert!(line.contains("10.0.0.2:80 is also the destination of line 2"), "{line}");
    assert!(line.contains("line 3") || line.contains(":3"), "{line}");
}

/// What comes before the name, or a letter that only looks like another one, must not show a password.
#[test]
fn c3_a_password_is_hidden_also_behind_odd_characters() {
    for line in [
        "\t\u{a0}passwd=\"geheim\"",
        "\t\u{200b}passwd=\"geheim\"",
        "\tp\u{430}sswd=\"geheim\"",
        "\t\"passwd\"=\"geheim\"",
        "\t- passwd: geheim",
        "\treal=10.0.0.2:80 gate 1 passwd=\"geheim\"",
    ] {
        let loaded = load(format!("virtual=10.0.0.1:80\n{line}\n").as_bytes(), &Answers::new("director"));
        assert!(loaded.config.is_none(), "{line}");
        let shown = render(&loaded.diagnostics, "x.cf", false);
        let lines: Vec<String> = loaded.diagnostics.iter().map(|found| found.one_line(1, "x.cf")).collect();
        assert!(!shown.contains("geheim"), "{line}: {shown}");
        assert!(!lines.concat().contains("geheim"), "{line}: {lines:?}");
    }
}

/// Arguments of commands and logins of URLs, also where the directive is misspelt or the message quotes the value.
#[test]
fn c3_arguments_and_logins_are_hidden_in_wrong_lines() {
    for line in [
        "\tfallbackcomand=/x -p geheim",
        "checkcomand=\"/x -p geheim\"",
        "callbak=\"/x --word geheim\"",
        "\tchecktype=external /x --password geheim",
        "\tsmtp=smtp://joe:geheim@relay.example.net",
        "emailalertfrom=smtp://joe:geheim@relay.example.net",
        "\trequest=\"/x?page=1&token=geheim",
    ] {
        let loaded = load(format!("virtual=10.0.0.1:80\n{line}\n").as_bytes(), &Answers::new("director"));
        let shown = render(&loaded.diagnostics, "x.cf", false);
        assert!(!shown.is_empty() && !shown.contains("geheim"), "{line}: {shown}");
    }
}
