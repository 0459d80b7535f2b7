//! Operators' overrides survive a restart, a crash and a reboot.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use crate::director::{Director, Scene};
use crate::network::{Family, Path, Spec};
use crate::table::Table;

const SOON: Duration = Duration::from_secs(20);

const CONFIGURATION: &str = "checkinterval=1\nlogfile=\"/var/log/ldirectord.log\"\nquiescent=no\n\
    virtual=10.1.0.100:80\n\treal=10.1.0.11:80 gate 5\n\treal=10.1.0.12:80 gate 7\n\tchecktype=on\n\tscheduler=rr\n";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The table with these weights of the two servers.
fn table(weights: [u32; 2]) -> Table {
    let service = address("10.1.0.100:80");
    let [one, two] = weights;
    let table = Table::default().service(service, "rr");
    table.server(service, address("10.1.0.11:80"), "-g", one).server(
        service,
        address("10.1.0.12:80"),
        "-g",
        two,
    )
}

fn must(director: &Director, words: &[&str]) -> String {
    let said = director.run(words);
    assert!(said.status.success(), "{words:?}: {said:?}\n{}", director.log());
    said.text
}

#[test]
fn a_drain_outlives_the_daemon() {
    let scene = Scene::new(&Spec::new(Path::Direct, Family::V4));
    let director = &scene.directors[0];
    director.configure(CONFIGURATION);
    director.must("start");
    director.comes_to(&table([5, 7]), SOON);
    let said = must(director, &["drain", "10.1.0.11:80", "-c", "lab.cf", "--note", "new kernel"]);
    // "done" means that a crash does not lose it.
    let saved = fs::read_to_string(director.file("state/lab.cf.overrides")).unwrap();
    assert!(saved.contains("10.1.0.11:80"), "{saved}");
    assert!(said.contains("done in tcp:10.1.0.100:80"), "{said}");
    let drained = table([0, 7]);
    director.comes_to(&drained, SOON);
    // The last server in rotation needs --force.
    let refused = director.run(&["drain", "10.1.0.12:80", "-c", "lab.cf"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.text.contains("--force"), "{refused:?}");
    let counted = |words: &str| director.log().matches(words).count();
    let writes = counted("(Weight set to");
    director.must("reload");
    director.must("restart");
    director.comes_to(&drained, SOON);
    director.kill();
    director.must("start");
    director.comes_to(&drained, SOON);
    assert_eq!(counted("(Weight set to"), writes, "{}", director.log());
    let shown = must(director, &["show", "lab.cf"]);
    assert!(
        shown.contains("draining") && shown.contains("drain by root") && shown.contains("new kernel"),
        "{shown}"
    );
    // As after a reboot: no table, no run directory.
    director.must("stop");
    assert!(director.table().is_empty());
    fs::remove_dir_all(director.file("run/ldirectord-rs")).unwrap();
    director.must("start");
    director.comes_to(&drained, SOON);
    must(director, &["undo", "10.1.0.11:80", "-c", "lab.cf"]);
    director.comes_to(&table([5, 7]), SOON);
    director.must("restart");
    director.comes_to(&table([5, 7]), SOON);
    assert!(!director.file("state/lab.cf.overrides").exists());
}

/// If the overrides file is unreadable, servers at weight 0 stay there.
#[test]
fn an_unreadable_file_keeps_servers_out() {
    let scene = Scene::new(&Spec::new(Path::Direct, Family::V4));
    let director = &scene.directors[0];
    director.configure(CONFIGURATION);
    director.must("start");
    director.comes_to(&table([5, 7]), SOON);
    must(director, &["drain", "10.1.0.11:80", "-c", "lab.cf"]);
    director.comes_to(&table([0, 7]), SOON);
    director.kill();
    fs::write(director.file("state/lab.cf.overrides"), "{ half a fi").unwrap();
    let said = director.must("start");
    assert!(said.contains("lab.cf.overrides cannot be read") && said.contains("undo SERVER"), "{said}");
    director.comes_to(&table([0, 7]), SOON);
    assert!(director.file("state/lab.cf.overrides.unreadable").exists());
    must(director, &["undo", "10.1.0.11:80", "-c", "lab.cf"]);
    director.comes_to(&table([5, 7]), SOON);
}
