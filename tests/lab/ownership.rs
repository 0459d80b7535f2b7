//! A virtual service moves from the configuration of one daemon to that of another, and is in the table at every
//! moment (R93).

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::director::{Director, Scene};
use crate::network::{Family, Path, Spec};
use crate::table::Table;
use crate::wait::until;

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

/// Waits until a daemon's log contains these words this many times.
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

/// The log lines about the moving service, of both daemons together.
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

/// Waits until one daemon owns the moving service and the other one has released it.
fn is_that_of(director: &Director, owner: &str, other: &str) {
    until("the new owner", SOON, || {
        let (has, had) = (must_show(director, owner), must_show(director, other));
        let is_its = |text: &str| text.contains("10.1.0.100:80") && !text.contains("owned by");
        if is_its(&has) && !is_its(&had) { Ok(()) } else { Err(format!("{owner}:\n{has}{other}:\n{had}")) }
    });
}

#[test]
fn a_service_moves_between_two_daemons_without_a_write() {
    let scene = Scene::new(&Spec::new(Path::Direct, Family::V4));
    let director = &scene.directors[0];
    let untouched = |services_wanted: usize| {
        let found = (services(&director.table()), writes(director));
        assert_eq!(found, (services_wanted, 2), "{}{}", log(director, "a.cf"), log(director, "b.cf"));
    };
    write(director, "a.cf", 81, MOVED);
    write(director, "b.cf", 82, MOVED);
    must(director, "a.cf", "start");
    must(director, "b.cf", "start");
    expect(director, "b.cf", "10.1.0.100:80 is owned by the daemon a.cf and not managed here", 1);
    assert!(must_show(director, "b.cf").contains("owned by a.cf"), "{}", must_show(director, "b.cf"));
    untouched(3);
    // A restart or a crash of the owner does not end its ownership.
    must(director, "a.cf", "restart");
    let pid = fs::read_to_string(director.file("run/ldirectord.a.cf.pid")).unwrap();
    kill(Pid::from_raw(pid.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
    must(director, "a.cf", "start");
    is_that_of(director, "a.cf", "b.cf");
    untouched(3);
    // The other daemon waits for the service, and gets it as soon as the owner releases it.
    write(director, "a.cf", 81, "");
    must(director, "a.cf", "reload");
    expect(director, "a.cf", "10.1.0.100:80 is checked until the daemon b.cf takes it", 1);
    is_that_of(director, "b.cf", "a.cf");
    // Back, the new owner first: it waits for the old owner.
    write(director, "a.cf", 81, MOVED);
    must(director, "a.cf", "reload");
    expect(director, "a.cf", "10.1.0.100:80 is owned by the daemon b.cf and not managed here", 1);
    write(director, "b.cf", 82, "");
    must(director, "b.cf", "reload");
    is_that_of(director, "a.cf", "b.cf");
    untouched(3);
    // Again, the old owner first: it keeps the service until the new owner has read its file.
    write(director, "b.cf", 82, MOVED);
    write(director, "a.cf", 81, "");
    must(director, "a.cf", "reload");
    expect(director, "a.cf", "10.1.0.100:80 is checked until the daemon b.cf takes it", 2);
    is_that_of(director, "a.cf", "b.cf");
    must(director, "b.cf", "reload");
    is_that_of(director, "b.cf", "a.cf");
    untouched(3);
    // Also at a stop. A service that no other daemon wants is removed.
    write(director, "a.cf", 81, MOVED);
    must(director, "a.cf", "reload");
    expect(director, "a.cf", "10.1.0.100:80 is owned by the daemon b.cf and not managed here", 2);
    must(director, "b.cf", "stop");
    untouched(2);
    must(director, "a.cf", "stop");
    assert_eq!(services(&director.table()), 0, "{}{}", log(director, "a.cf"), log(director, "b.cf"));
}

/// The `stop` of a crashed daemon, as a cluster manager runs it, must not take a service from the daemon that waits
/// for it.
#[test]
fn a_service_outlives_its_owner_for_the_daemon_that_waits() {
    let scene = Scene::new(&Spec::new(Path::Direct, Family::V4));
    let director = &scene.directors[0];
    write(director, "a.cf", 81, MOVED);
    write(director, "b.cf", 82, MOVED);
    must(director, "a.cf", "start");
    must(director, "b.cf", "start");
    expect(director, "b.cf", "10.1.0.100:80 is owned by the daemon a.cf and not managed here", 1);
    let pid = fs::read_to_string(director.file("run/ldirectord.a.cf.pid")).unwrap();
    kill(Pid::from_raw(pid.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
    must(director, "a.cf", "stop");
    assert_eq!((services(&director.table()), writes(director)), (2, 2), "{}", log(director, "b.cf"));
    until("the new owner", SOON, || match must_show(director, "b.cf") {
        text if text.contains("owned by") => Err(text),
        _ => Ok(()),
    });
    assert_eq!((services(&director.table()), writes(director)), (2, 2), "{}", log(director, "b.cf"));
    // Two daemons that stop at the same moment leave no services to each other.
    must(director, "a.cf", "start");
    expect(director, "a.cf", "10.1.0.100:80 is owned by the daemon b.cf and not managed here", 1);
    std::thread::scope(|scope| {
        for name in ["a.cf", "b.cf"] {
            scope.spawn(move || must(director, name, "stop"));
        }
    });
    assert_eq!(services(&director.table()), 0, "{}{}", log(director, "a.cf"), log(director, "b.cf"));
}

fn must_show(director: &Director, name: &str) -> String {
    let said = director.run(&["show", name]);
    assert!(said.status.success(), "{said:?}");
    said.text
}
