//! What a killed daemon left in the kernel's table: `stop` removes entries that are surely its own (R83).

use std::os::unix::fs::symlink;
use std::time::Duration;

use crate::director::Scene;
use crate::network::{Family, Path, Spec};
use crate::table::Table;
use crate::wait::until;

const SOON: Duration = Duration::from_secs(20);

/// Two services are removed with the daemon, one stays.
const CONFIGURATION: &str = "checkinterval=1\nlogfile=\"/var/log/ldirectord.log\"\n\
    virtual=10.1.0.100:80\n\treal=10.1.0.11:80 gate\n\tchecktype=on\n\
    virtual=10.1.0.100:81\n\treal=10.1.0.11:81 gate\n\tchecktype=on\n\
    virtual=10.1.0.100:82\n\treal=10.1.0.11:82 gate\n\tchecktype=on\n\tcleanstop=no\n";

fn services(table: &Table) -> usize {
    format!("{table:?}").lines().filter(|line| line.trim().starts_with("-A")).count()
}

#[test]
fn a_stop_after_a_crash_removes_what_is_left() {
    let scene = Scene::new(&Spec::new(Path::Direct, Family::V4));
    let director = &scene.directors[0];
    director.configure(CONFIGURATION);
    director.must("start");
    until("three services", SOON, || match services(&director.table()) {
        3 => Ok(()),
        count => Err(format!("{count} services: {:?}\n{}", director.table(), director.log())),
    });
    director.kill();
    assert_eq!(services(&director.table()), 3);
    // Also under another name of the file.
    symlink("lab.cf", director.file("ha.d").join("other.cf")).unwrap();
    let said = director.run(&["other.cf", "stop"]).text;
    assert!(said.contains("removed 2 virtual services"), "{said}");
    assert!(format!("{:?}", director.table()).contains("10.1.0.100:82"), "{:?}", director.table());
    assert_eq!(services(&director.table()), 1);
    let said = director.must("stop");
    assert!(said.contains("nothing to stop"), "{said}");
    assert_eq!(services(&director.table()), 1, "it is not owned any more, so not a leftover");
}
