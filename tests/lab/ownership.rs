//! A virtual service moves from the configuration of one daemon to that of another, and is in the table at every moment (R93).

use std::fs;
use std::time::Duration;

use crate::director::{Director, Scene};
use crate::table::Table;
use crate::wait::until;
use crate::world::{Family, Path, Plan};

const SOON: Duration = Duration::from_secs(20);
const MOVED: &str = "virtual=10.1.0.100:80\n\treal=10.1.0.11:80 gate 5\n\tchecktype=on\n";

fn write(director: &Director, name: &str, port: u16, more: &str) {
    let own = format!("virtual=10.1.0.100:{port}\n\treal=10.1.0.11:{port} gate\n\tchecktype=on\n");
    let text = format!("checkinterval=1\nlogfile=\"/var/log/{name}.log\"\n{own}{more}");
    fs::write(director.file("ha.d").join(name), text).unwrap();
}

fn must(director: &Director, name: &str, action: &str) -> String {
    let said = director.run(&[name, action]);
    assert!(
        said.status.success(),
        "{name} {action}: {said:?}\n{}{}",
        log(director, "a.cf"),
        log(director, "b.cf")
    );
    said.text
}

fn log(director: &Director, name: &str) -> String {
    fs::read_to_string(director.file("log").join(format!("{name}.log"))).unwrap_or_default()
}

/// Waits until the log of a daemon has these words so often.
fn expect(director: &Director, name: &str, words: &str, count: usize) {
    until(words, SOON, || match log(director, name).matches(words).count() {
        found if found == count => Ok(()),
        found => Err(format!(
            "{found} times in\n{}\nthe other\n{}{}",
            log(director, name),
            log(director, "a.cf"),
            log(director, "b.cf")
        )),
    });
}

/// What was written about the service that moves, in both logs together.
fn writes(director: &Director) -> usize {
    let both = log(director, "a.cf") + &log(director, "b.cf");
    both.lines()
        .filter(|line| ["Added", "Deleted", "Purged", "Changed"].iter().any(|word| line.contains(word)))
        .filter(|line| line.contains("10.1.0.100:80"))
        .count()
}

fn services(table: &Table) -> usize {
    format!("{table:?}").lines().filter(|line| line.trim().starts_with("-A")).count()
}

#[test]
fn a_service_moves_between_two_daemons_without_a_write() {
    let scene = Scene::new(&Plan::new(Path::Direct, Family::V4));
    let director = &scene.directors[0];
    write(director, "a.cf", 81, MOVED);
    write(director, "b.cf", 82, MOVED);
    must(director, "a.cf", "start");
    must(director, "b.cf", "start");
    expect(director, "b.cf", "10.1.0.100:80 is owned by the daemon a.cf and left to it", 1);
    assert_eq!((services(&director.table()), writes(director)), (3, 2), "{}", log(director, "a.cf"));
    assert!(must_show(director, "b.cf").contains("owned by a.cf"), "{}", must_show(director, "b.cf"));
    // The other one has it already: it gets it as soon as the owner gives it up.
    write(director, "a.cf", 81, "");
    must(director, "a.cf", "reload");
    expect(director, "a.cf", "10.1.0.100:80 stays in the table for the daemon b.cf", 1);
    expect(director, "b.cf", "10.1.0.100:80 is owned by the daemon a.cf no more", 1);
    until("its owner", SOON, || match must_show(director, "b.cf") {
        text if text.contains("10.1.0.100:80") && !text.contains("owned by") => Ok(()),
        text => Err(text),
    });
    // Back, the new owner first: it waits for the old one.
    write(director, "a.cf", 81, MOVED);
    must(director, "a.cf", "reload");
    expect(director, "a.cf", "10.1.0.100:80 is owned by the daemon b.cf and left to it", 1);
    write(director, "b.cf", 82, "");
    must(director, "b.cf", "reload");
    expect(director, "a.cf", "10.1.0.100:80 is owned by the daemon b.cf no more", 1);
    // And again, the old owner first: the service stands without one until the new one has read its file.
    write(director, "b.cf", 82, MOVED);
    write(director, "a.cf", 81, "");
    must(director, "a.cf", "reload");
    expect(director, "a.cf", "10.1.0.100:80 stays in the table for the daemon b.cf", 2);
    must(director, "b.cf", "reload");
    until("its owner", SOON, || match must_show(director, "b.cf") {
        text if text.contains("10.1.0.100:80") => Ok(()),
        text => Err(text),
    });
    assert_eq!(
        (services(&director.table()), writes(director)),
        (3, 2),
        "{}{}",
        log(director, "a.cf"),
        log(director, "b.cf")
    );
    // At a stop, too; what nobody else has goes.
    write(director, "a.cf", 81, MOVED);
    must(director, "a.cf", "reload");
    expect(director, "a.cf", "10.1.0.100:80 is owned by the daemon b.cf and left to it", 2);
    must(director, "b.cf", "stop");
    expect(director, "a.cf", "10.1.0.100:80 is owned by the daemon b.cf no more", 2);
    assert_eq!(
        (services(&director.table()), writes(director)),
        (2, 2),
        "{}{}",
        log(director, "a.cf"),
        log(director, "b.cf")
    );
    must(director, "a.cf", "stop");
    assert_eq!(services(&director.table()), 0);
}

fn must_show(director: &Director, name: &str) -> String {
    let said = director.run(&["show", name]);
    assert!(said.status.success(), "{said:?}");
    said.text
}
