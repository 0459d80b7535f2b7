//! What `plan` prints, given to `ipvsadm -R`, makes the table that the reload makes.

use std::fs::{self, File};
use std::process::Stdio;
use std::time::Duration;

use ipvs_rs::{Ipvs, Kernel, Table, diff};

use crate::director::{Director, Scene};
use crate::netns::NetNs;
use crate::network::{Family, Path, Spec};
use crate::wait::until;

const SOON: Duration = Duration::from_secs(20);

/// No server has these addresses: in the new configuration no check ends before the test does, so that the table stays
/// as the reload makes it.
const GLOBALS: &str =
    "checktimeout=100\nnegotiatetimeout=100\ncheckinterval=100\nlogfile=\"/var/log/ldirectord.log\"\n";

/// The changed lines of a service: its name, and the configuration before and after. Without one it has no service.
const PAIRS: [(&str, &str, &str); 10] = [
    ("weight", "real=10.1.0.201:80 gate 5\n", "real=10.1.0.201:80 gate 50\n"),
    (
        "server added and removed",
        "real=10.1.0.201:80 masq\n\treal=10.1.0.202:80 masq\n",
        "real=10.1.0.202:80 masq\n\treal=10.1.0.203:8080 masq 3\n",
    ),
    (
        "scheduler with flags",
        "real=10.1.0.201:80 gate\n\tscheduler=rr\n",
        "real=10.1.0.201:80 gate\n\tscheduler=sh\n\tschedflags=sh-fallback,sh-port\n",
    ),
    (
        "persistence",
        "real=10.1.0.201:80 gate\n\tpersistent=300\n",
        "real=10.1.0.201:80 gate\n\tpersistent=600\n\tnetmask=255.255.255.0\n",
    ),
    ("persistence ends", "real=10.1.0.201:80 gate\n\tpersistent=300\n", "real=10.1.0.201:80 gate\n"),
    (
        "tunnels",
        "real=10.1.0.201:80 ipip\n\treal=10.1.0.202:80 ipip\n",
        "real=10.1.0.201:80 ipip\n\treal=10.1.0.202:80 gate\n\t#rs: tunnel=gue:5555,csum\n",
    ),
    ("method", "real=10.1.0.201:80 masq\n", "real=10.1.0.201:80 gate\n"),
    (
        "quiescent and fallback",
        "real=10.1.0.201:80 masq\n\tquiescent=no\n",
        "real=10.1.0.202:80 masq\n\tquiescent=yes\n\tfallback=127.0.0.1:80\n",
    ),
    ("new service", "", "real=10.1.0.201:80 gate 7\n\tfallback=127.0.0.1:80\n"),
    ("removed service", "real=10.1.0.201:80 gate 7\n", ""),
];

/// The services of each pair: TCP, UDP, and marks of both families.
fn configuration(reals: &str, check: &str) -> String {
    let mut text = GLOBALS.to_owned();
    // A service that stays: a file without a service would not be a reload that an operator makes.
    text.push_str("virtual=10.1.0.100:9\n\treal=10.1.0.209:9 gate\n\tchecktype=on\n");
    if reals.is_empty() {
        return text;
    }
    let six = |line: &str| {
        line.replace("real=10.1.0.", "real6=[fd00:9::").replace(":80 ", "]:80 ").replace(":8080 ", "]:8080 ")
    };
    for (head, tail) in
        [("virtual=10.1.0.100:80", ""), ("virtual=10.1.0.100:80", "\tprotocol=udp\n"), ("virtual=5", "")]
    {
        text.push_str(&format!("{head}\n\t{reals}{tail}\t{check}\n"));
    }
    // A netmask and the addresses of a fallback are of one family.
    if !reals.contains("netmask") && !reals.contains("fallback") {
        text.push_str(&format!("virtual6=6\n\t{}\t{check}\n", six(reals)));
    }
    text
}

fn dump(netns: &NetNs) -> Table {
    netns.run(|| Kernel::open().unwrap().dump().unwrap())
}

/// The standard output of `plan`, and its exit code.
fn plan(director: &Director) -> (Option<i32>, String) {
    let path = director.file("plan");
    let out = File::create(&path).unwrap();
    let mut child = director.spawn(&["plan", "-c", "lab.cf"], out.into(), Stdio::null());
    let status = child.wait().unwrap();
    (status.code(), fs::read_to_string(path).unwrap())
}

#[test]
fn a_plan_for_ipvsadm_makes_the_table_of_the_reload() {
    for (number, (name, old, new)) in PAIRS.iter().enumerate() {
        let scene = Scene::new(&Spec::new(Path::Direct, Family::V4));
        let director = &scene.directors[0];
        director.configure(&configuration(old, "checktype=on"));
        director.must("start");
        until("a table as the configuration wants it", SOON, || match plan(director) {
            (Some(0), _) => Ok(()),
            found => Err(format!("{name}: {found:?}\n{}", director.log())),
        });
        let netns = &scene.network.directors[0];
        let before = dump(netns);
        let copy = NetNs::new(&format!("plan{number}"));
        let results = copy.run(|| Kernel::open().unwrap().apply(&diff(&Table::default(), &before)));
        assert!(results.iter().all(Result::is_ok), "{name}: {results:?}");
        assert_eq!(dump(&copy), before, "{name}");

        director.configure(&configuration(new, "checktype=connect"));
        let (code, text) = plan(director);
        assert_eq!(code, Some(2), "{name}: {text}");
        copy.feed(&["ipvsadm", "-R"], &text);
        let made = dump(&copy);
        assert_ne!(made, before, "{name}: {text}");
        assert_eq!(dump(netns), before, "{name}: the plan changed the table");

        director.must("reload");
        until("the table of the plan", SOON, || {
            let found = dump(netns);
            match found == made {
                true => Ok(()),
                false => Err(format!("{name}\nplan:\n{text}still to do: {:?}", diff(&found, &made))),
            }
        });
    }
}
