//! A low limit of open files: the operator is warned, and checks wait for a place instead of failing.

use std::fmt::Write as _;
use std::process::Command;

use crate::sandbox::Sandbox;

/// A hundred commands where twelve can run at a time.
#[test]
fn a11_few_descriptors_are_warned_of_and_enough() {
    let mut config = String::from(
        "checkinterval=2\nvirtual=192.0.2.1:80\n\tchecktype=external\n\tcheckcommand=\"/bin/true\"\n",
    );
    for host in 1..=100 {
        let _ = writeln!(config, "\treal=192.0.2.{}:80 masq 1", host + 100);
    }
    let sandbox = Sandbox::new(&config);
    let own = sandbox.command(&["web.cf", "start"]);
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", "ulimit -n 200; exec \"$0\" \"$@\""]).arg(own.get_program()).args(own.get_args());
    for (name, value) in own.get_envs() {
        limited.env(name, value.unwrap());
    }
    let output = limited.current_dir(sandbox.path("")).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("this process may open 200 files only"), "{told}");
    let in_rotation = || sandbox.table().map_or(0, |table| table[0].1.iter().filter(|d| d.1 == 1).count());
    sandbox.wait_for("all servers in rotation", || in_rotation() == 100, &|| in_rotation().to_string());
    assert!(!sandbox.log().contains("Check failed"), "{}", sandbox.log());
    assert!(!sandbox.log().contains("is down"), "{}", sandbox.log());
}
