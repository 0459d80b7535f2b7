//! A drained server under live traffic: no request fails, whatever then happens to the daemon, and the drain outlives
//! all of it.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::shares;
use crate::director::{Director, Scene};
use crate::network::{Family, Network, Path, Spec};
use crate::table::Table;
use crate::wait::until;

const SOON: Duration = Duration::from_secs(60);

/// With `cleanstop=no` a stop leaves the table, so that clients do not notice it.
const CONFIGURATION: &str = "checkinterval=1\nchecktimeout=3\nlogfile=\"/var/log/ldirectord.log\"\nquiescent=no\ncleanstop=no\n\
    virtual=10.1.0.100:80\n\treal=10.2.0.11:80 masq 5\n\treal=10.2.0.12:80 masq 7\n\tchecktype=connect\n\tscheduler=rr\n";

/// The path of requests that wait for the end of the drain.
const LONG: &str = "/long";

fn table(weights: [u32; 2]) -> Table {
    let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
    let service = address("10.1.0.100:80");
    let [one, two] = weights;
    Table::default().service(service, "rr").server(service, address("10.2.0.11:80"), "-m", one).server(
        service,
        address("10.2.0.12:80"),
        "-m",
        two,
    )
}

fn must(director: &Director, words: &[&str]) -> String {
    let said = director.run(words);
    assert!(said.status.success(), "{words:?}: {said:?}\n{}", director.log());
    said.text
}

/// The requests of clients at the first server. Its check only connects.
fn asked(network: &Network, path: &str) -> usize {
    network.servers[0].web.asked().iter().filter(|asked| asked.path == path).count()
}

/// Runs `work` while each server holds requests that began before. Returns who answered them afterwards.
fn during_long_requests(network: &Network, work: impl FnOnce()) -> Vec<String> {
    for server in &network.servers {
        server.web.page(LONG, "at last");
        server.web.hold(LONG);
    }
    thread::scope(|scope| {
        let mut requests = Vec::new();
        until("a long request at the server that will be drained", SOON, || {
            requests.push(scope.spawn(|| network.ask(LONG, Duration::from_secs(120))));
            thread::sleep(Duration::from_millis(500));
            if asked(network, LONG) > 0 { Ok(()) } else { Err(format!("{} requests", requests.len())) }
        });
        work();
        for server in &network.servers {
            server.web.thaw();
        }
        requests.into_iter().map(|request| request.join().unwrap().expect("a long request").by).collect()
    })
}

/// What the daemon goes through, each with the same table before and after.
fn trouble(director: &Director, still_drained: &dyn Fn(&str)) {
    director.must("reload");
    still_drained("reload");
    // A file with another weight is applied, and the drain stays.
    director.configure(&CONFIGURATION.replace("masq 5", "masq 6"));
    director.must("reload");
    still_drained("reload of a changed file");
    director.must("restart");
    still_drained("restart");
    director.must("stop");
    still_drained("stop");
    director.must("start");
    still_drained("start");
    director.kill();
    still_drained("kill -9");
    director.must("start");
    still_drained("start after kill -9");
}

#[test]
fn a_drain_under_traffic_fails_no_request() {
    let mut scene = Scene::new(&Spec::new(Path::Masq, Family::V4));
    let network = &scene.network;
    let director = &scene.directors[0];
    director.configure(CONFIGURATION);
    director.must("start");
    director.comes_to(&table([5, 7]), SOON);
    let client = network.client("/");
    client.answered_by(&["s11", "s12"], 20);

    let calm = Instant::now();
    let drained = table([0, 7]);
    let mut before = 0;
    let long = during_long_requests(network, || {
        must(director, &["drain", "10.2.0.11:80", "-c", "lab.cf", "--note", "new kernel"]);
        director.comes_to(&drained, SOON);
        // The last request that the kernel gave to the server.
        client.answered_by(&["s12"], 20);
        before = asked(network, "/");
        trouble(director, &|what| {
            assert_eq!(director.table(), drained, "{what}: {}", director.log());
            client.answered_by(&["s12"], 10);
        });
    });
    // Connections that a server has when it is drained end there.
    assert!(long.contains(&"s11".to_owned()), "{long:?}");
    let answers = shares(&client.since(calm));
    println!("answers since the drain: {answers:?}, long requests: {long:?}");
    drop(client);
    assert_eq!(asked(network, "/"), before, "the drained server got a request");

    // A reboot. The emulated machine ends with its job, so this is what a reboot leaves of a director: no process, no
    // table, an empty /run, another boot id, and /var/lib.
    director.kill();
    network.directors[0].feed(&["ipvsadm", "-C"], "");
    for entry in fs::read_dir(director.file("run")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }
    scene.directors[0].settings.push(("BOOT_ID", "00000000-0000-4000-8000-000000000002".to_owned()));
    let (network, director) = (&scene.network, &scene.directors[0]);
    director.must("start");
    director.comes_to(&drained, SOON);
    let client = network.client("/");
    client.answered_by(&["s12"], 20);
    let shown = must(director, &["show", "lab.cf"]);
    assert!(shown.contains("drain by root") && shown.contains("new kernel"), "{shown}");
    assert_eq!(asked(network, "/"), before, "the drained server got a request after a reboot");

    must(director, &["undo", "10.2.0.11:80", "-c", "lab.cf"]);
    director.comes_to(&table([6, 7]), SOON);
    client.comes_to_be_answered_by(&["s11", "s12"], 20);
}
