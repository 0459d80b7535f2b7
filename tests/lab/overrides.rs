//! Operators' overrides survive a restart, a crash and a reboot.

use std::fs;
use std::net::SocketAddr;
use std::process::Child;
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::director::{Director, Scene};
use crate::network::{Family, Path, Spec};
use crate::table::Table;
use crate::wait::until;

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

/// One server with all traffic, and another without.
fn with_one_server() -> (Scene, String) {
    let scene = Scene::new(&Spec::new(Path::Masq, Family::V4));
    let [one, two] = [0, 1].map(|index: usize| scene.network.servers[index].address);
    scene.directors[0].configure(&format!(
        "checkinterval=1\nlogfile=\"/var/log/ldirectord.log\"\nquiescent=no\nvirtual={}\n\treal={one} masq 4\n\t\
         real={two} masq 0\n\tchecktype=on\n\tscheduler=rr\n",
        scene.network.service(80)
    ));
    scene.directors[0].must("start");
    (scene, one.to_string())
}

/// A command that waits, after it has set its override.
struct Waiting<'a> {
    director: &'a Director,
    child: Child,
    output: NamedTempFile,
}

impl Waiting<'_> {
    fn start<'a>(director: &'a Director, words: &[&str]) -> Waiting<'a> {
        let output = NamedTempFile::new().unwrap();
        let file = output.reopen().unwrap();
        let child = director.spawn(words, file.try_clone().unwrap().into(), file.into());
        let waiting = Waiting { director, child, output };
        until("the override", SOON, || match waiting.text() {
            text if text.contains(": done in ") => Ok(()),
            text => Err(text),
        });
        waiting
    }

    fn text(&self) -> String {
        fs::read_to_string(self.output.path()).unwrap()
    }

    fn end(mut self) -> (Option<i32>, String) {
        let status = until("the end of the wait", SOON, || {
            self.child.try_wait().unwrap().ok_or_else(|| format!("{}\n{}", self.text(), self.director.log()))
        });
        (status.code(), self.text())
    }
}

#[test]
fn a_drain_waits_for_the_connections_of_clients() {
    let (scene, server) = with_one_server();
    let director = &scene.directors[0];
    scene.network.servers[0].web.freeze();
    let held = scene.network.hold();
    let drain = ["drain", &server, "-c", "lab.cf", "--force", "--wait"];
    let said = director.run(&[&drain[..], &["--timeout", "2s"]].concat());
    assert_eq!(said.status.code(), Some(4), "{said:?}");
    let left =
        format!("{server}: not empty after 2 s: 1 active connection, 0 inactive, 0 persistence templates");
    assert!(said.text.contains(&left) && said.text.contains("; the drain stays. To see them: "), "{said:?}");
    let waiting = Waiting::start(director, &drain);
    drop(held);
    let (code, text) = waiting.end();
    assert!(code == Some(0) && text.contains(&format!("{server}: empty: 0 active connections, ")), "{text}");
    // An operator ends the drain meanwhile.
    must(director, &["undo", &server, "-c", "lab.cf"]);
    let _held = scene.network.hold();
    let waiting = Waiting::start(director, &drain);
    // It waits through a restart.
    director.must("restart");
    must(director, &["undo", &server, "-c", "lab.cf"]);
    let (code, text) = waiting.end();
    assert!(code == Some(1) && text.contains("ended: it was undone"), "{text}");
    let waiting = Waiting::start(director, &drain);
    director.must("stop");
    let (code, text) = waiting.end();
    assert!(code == Some(3) && text.contains("no daemon for "), "{text}");
}

#[test]
fn a_start_names_a_drain_that_may_be_forgotten() {
    let (scene, server) = with_one_server();
    let director = &scene.directors[0];
    must(director, &["drain", &server, "-c", "lab.cf", "--force", "--note", "new kernel"]);
    must(director, &["weight", &server, "50%", "-c", "lab.cf", "--note", "slow disk"]);
    director.kill();
    let path = director.file("state/lab.cf.overrides");
    let mut saved: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(saved["version"], 2);
    saved["overrides"][0]["since"] = "2026-01-01T00:00:00Z".into();
    fs::write(&path, saved.to_string()).unwrap();
    let said = director.must("start");
    let begin =
        format!("Warning: Override weight 50% of real server without an end for more than a day: {server} (");
    assert!(said.contains(&begin) && said.contains(": by root since "), "{said}");
    let undo = format!(
        ": slow disk; if it is no longer needed: ldirectord-rs undo {server} --service tcp:10.1.0.100:80 -c /etc/ha.d/lab.cf"
    );
    assert!(said.contains(&undo) && director.log().contains(&undo), "{said}");
    let shown = must(director, &["show", "lab.cf"]);
    assert!(shown.contains("1 override older than a day without an end") && shown.contains("2/4"), "{shown}");
}
