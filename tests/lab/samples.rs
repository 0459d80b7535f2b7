//! Two set-ups from the field (tests/data/samples), loaded unchanged: one substitution moves their network into the
//! lab's. The tests do what their operators do.

use std::time::Duration;

use crate::director::{Director, Scene};
use crate::network::{Family, Network, Path, Spec};
use crate::table::Table;
use crate::wait::until;

/// The book's configuration.
pub const BOOK: &str = include_str!("../data/samples/book/ldirectord.cf");
/// The school's configuration.
pub const SCHOOL: &str = include_str!("../data/samples/school/ldirectord.cf");

/// The book checks every 10 s with a limit of 20 s.
const BOOK_SOON: Duration = Duration::from_secs(60);
const SCHOOL_SOON: Duration = Duration::from_secs(20);

fn spec<'a>(vip: u8, servers: &'a [u8], directors: u8) -> Spec<'a> {
    Spec { vip, servers, directors, ..Spec::new(Path::Direct, Family::V4) }
}

/// The table of a sample with these weights of its servers. If none is up, the director itself is in it as the
/// fallback.
pub fn table(network: &Network, scheduler: &str, weights: [u32; 2]) -> Table {
    let service = network.service(80);
    let mut table = Table::default().service(service, scheduler);
    for (server, weight) in network.servers.iter().zip(weights) {
        table = table.server(service, server.address, "-g", weight);
    }
    if weights == [0, 0] {
        table = table.server(service, ([127, 0, 0, 1], 80).into(), "-g", 1);
    }
    table
}

/// The checks ask for this path with this host name.
fn asked_for(scene: &Scene, path: &str, host: &str) {
    for server in &scene.network.servers {
        let asked = server.web.asked();
        let check = asked
            .iter()
            .find(|asked| asked.path == path)
            .unwrap_or_else(|| panic!("{path} was never requested"));
        assert_eq!(check.host, host);
    }
}

#[test]
fn book() {
    let mut scene = Scene::new(&spec(200, &[132, 133], 2));
    for server in &scene.network.servers {
        server.web.page("/index.html", "This is the Test Page.");
    }
    for director in &scene.directors {
        director.configure(&BOOK.replace("192.168.12.", "10.1.0."));
    }
    let (both, one) = (table(&scene.network, "rr", [1, 1]), table(&scene.network, "rr", [0, 1]));

    scene.directors[0].must("start");
    scene.directors[0].comes_to(&both, BOOK_SOON);
    let client = scene.network.client("/index.html");
    client.answered_by(&["s132", "s133"], 10);
    asked_for(&scene, "/index.html", "www.example.net");

    // A server is stopped and started again.
    scene.network.servers[0].web.stop();
    scene.directors[0].comes_to(&one, BOOK_SOON);
    client.answered_by(&["s133"], 10);
    scene.network.servers[0].web.start();
    scene.directors[0].comes_to(&both, BOOK_SOON);
    client.answered_by(&["s132", "s133"], 10);

    // The active director is halted: the cluster stops its daemon, moves the address, and starts the other daemon.
    scene.directors[0].must("stop");
    scene.directors[0].comes_to(&Table::default(), BOOK_SOON);
    scene.network.move_vip(0, 1);
    scene.directors[1].must("start");
    scene.directors[1].comes_to(&both, BOOK_SOON);
    client.answered_by(&["s132", "s133"], 10);
}

fn school_scene(page: &str) -> Scene {
    let scene = Scene::new(&spec(100, &[191, 192], 1));
    for server in &scene.network.servers {
        server.web.page(page, "OK");
    }
    let director = &scene.directors[0];
    director.web.page("/", "Server is repairing");
    director.configure(&SCHOOL.replace("192.168.18.", "10.1.0."));
    director.must("start");
    scene
}

#[test]
fn school() {
    let mut scene = school_scene("/.test.html");
    let up = table(&scene.network, "wrr", [1, 3]);
    scene.directors[0].comes_to(&up, SCHOOL_SOON);
    let client = scene.network.client("/");

    // The page is reloaded: both servers answer, in the ratio of the weights.
    let answers = client.answers(40);
    assert_eq!((answers["s191"], answers["s192"]), (10, 30), "wrr with weights 1 and 3");
    asked_for(&scene, "/.test.html", "www.example.com");

    scene.network.servers[0].web.stop();
    scene.directors[0].comes_to(&table(&scene.network, "wrr", [0, 3]), SCHOOL_SOON);
    client.answered_by(&["s192"], 10);

    scene.network.servers[1].web.stop();
    scene.directors[0].comes_to(&table(&scene.network, "wrr", [0, 0]), SCHOOL_SOON);
    client.answered_by(&["d1"], 10);
    assert!(client.last_page().contains("Server is repairing"));

    scene.network.servers.iter_mut().for_each(|server| server.web.start());
    scene.directors[0].comes_to(&up, SCHOOL_SOON);
    client.answered_by(&["s191", "s192"], 10);

    scene.directors[0].must("stop");
    scene.directors[0].comes_to(&Table::default(), SCHOOL_SOON);
}

/// Both servers have `.test.hmtl`, a typing error: the log must name the requested path.
#[test]
fn school_with_a_mistyped_page() {
    let scene = school_scene("/.test.hmtl");
    let director: &Director = &scene.directors[0];
    director.comes_to(&table(&scene.network, "wrr", [0, 0]), SCHOOL_SOON);
    until("the reason in the log", SCHOOL_SOON, || {
        let log = director.log();
        let named = log.lines().any(|line| line.contains("/.test.html") && line.contains("404"));
        if named { Ok(()) } else { Err(log) }
    });
    scene.network.client("/").answered_by(&["d1"], 5);
}
