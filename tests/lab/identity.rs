//! One file has one daemon, whatever name the operator uses for the file (R92).

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Child, Stdio};

use crate::director::{Director, Scene};
use crate::network::{Family, Path, Spec};

const CONFIGURATION: &str = "checkinterval=1\nlogfile=\"/var/log/ldirectord.log\"\n\
    virtual=10.1.0.100:80\n\treal=10.1.0.11:80 gate\n\tchecktype=on\n";

/// The existing pid files.
fn pid_files(director: &Director) -> Vec<String> {
    let entries = fs::read_dir(director.file("run")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".pid")).collect()
}

fn told(director: &Director, words: &[&str], code: i32, part: &str) {
    let said = director.run(words);
    assert_eq!(said.status.code(), Some(code), "{words:?}: {said:?}\n{}", director.log());
    assert!(said.text.contains(part), "{words:?}: {said:?}");
}

/// R92: the default name, the name of the file, and a link to it.
#[test]
fn a_daemon_is_reached_under_each_name_of_its_file() {
    let scene = Scene::new(&Spec::new(Path::Direct, Family::V4));
    let director = &scene.directors[0];
    director.configure(CONFIGURATION);
    for link in ["ldirectord.cf", "other.cf"] {
        symlink("lab.cf", director.file("ha.d").join(link)).unwrap();
    }
    director.must("start");
    let pid = director.pid().unwrap();
    let running = format!("is already running as lab.cf with pid {pid}; nothing was started");
    told(director, &["start"], 0, &running);
    told(director, &["other.cf", "start"], 0, &running);
    assert_eq!(pid_files(director), ["ldirectord.lab.cf.pid"]);
    let pid_is = format!("is running with pid: {pid}");
    told(director, &["status"], 0, &pid_is);
    told(director, &["ldirectord.cf", "status"], 0, &pid_is);
    told(director, &["status", "--all"], 0, &format!("lab.cf {pid_is}, for /etc/ha.d/lab.cf\n"));
    told(director, &["show", "other.cf"], 0, "10.1.0.11:80");
    told(director, &["show"], 0, "10.1.0.11:80");
    told(director, &["reload"], 0, "");
    // A dry run is a separate daemon, unless it would need the same files.
    told(director, &["--table", "memory", "other.cf", "start"], 0, "");
    assert_eq!(pid_files(director).len(), 2);
    told(director, &["other.cf", "start"], 1, "with the table in memory; nothing was started");
    told(director, &["--table", "memory", "other.cf", "stop"], 0, "");
    told(director, &["--table", "memory", "lab.cf", "start"], 1, "with the table of the kernel");
    told(
        director,
        &["--table", "memory", "lab.cf", "restart"],
        1,
        "keeps the table of the kernel; nothing was done",
    );
    told(director, &["restart"], 0, "");
    assert!(director.pid().is_some_and(|new| new != pid), "{}", director.log());
    assert_eq!(pid_files(director), ["ldirectord.lab.cf.pid"], "the name it was started with");
    told(director, &["other.cf", "stop"], 0, "");
    assert!(director.pid().is_none() && pid_files(director).is_empty(), "{}", director.log());
    told(director, &["status"], 3, "is stopped");
}

/// R92
#[test]
fn of_two_starts_with_two_names_one_gives_a_daemon() {
    let scene = Scene::new(&Spec::new(Path::Direct, Family::V4));
    let director = &scene.directors[0];
    director.configure(CONFIGURATION);
    symlink("lab.cf", director.file("ha.d").join("ldirectord.cf")).unwrap();
    for _ in 0..5 {
        let starts: Vec<Child> = [&["start"][..], &["lab.cf", "start"], &["start"], &["lab.cf", "start"]]
            .into_iter()
            .map(|words| director.spawn(words, Stdio::null(), Stdio::null()))
            .collect();
        for mut start in starts {
            assert_eq!(start.wait().unwrap().code(), Some(0), "{}", director.log());
        }
        assert_eq!(pid_files(director).len(), 1, "{}", director.log());
        told(director, &["status"], 0, "is running with pid");
        told(director, &["lab.cf", "status"], 0, "is running with pid");
        told(director, &["lab.cf", "stop"], 0, "");
        assert_eq!(pid_files(director), [""; 0], "{}", director.log());
    }
}
