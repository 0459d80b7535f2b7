//! A service manager that listens, as systemd does: which notifications it receives, and when.

use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::sandbox::{Foreground, Sandbox, WebServer, two_servers};

struct Manager(UnixDatagram);

impl Manager {
    fn listen(sandbox: &Sandbox) -> Manager {
        let socket = UnixDatagram::bind(sandbox.path("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Manager(socket)
    }

    /// Fills the queue of the socket with meaningless messages, so that the next sender has to wait.
    fn fill(&self, sandbox: &Sandbox) {
        let mut sent = 1;
        while sent > 0 {
            // Each socket has room for only some of the messages.
            let socket = UnixDatagram::unbound().unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.connect(sandbox.path("notify")).unwrap();
            sent = 0;
            while socket.send(b"STATUS=filler").is_ok() {
                sent += 1;
            }
        }
    }

    /// The next message with this beginning. Watchdog and status messages in between are skipped unless the test
    /// waits for one.
    fn expect(&self, beginning: &str) -> String {
        loop {
            let mut buffer = [0; 1024];
            let length = self.0.recv(&mut buffer).unwrap_or_else(|e| panic!("no {beginning}: {e}"));
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.starts_with(beginning) {
                return text;
            }
            let passing = ["WATCHDOG=1", "STATUS="].iter().any(|passing| text.starts_with(passing));
            assert!(passing, "{text} instead of {beginning}");
        }
    }
}

#[test]
fn the_manager_is_told_of_the_start_the_reload_and_the_end() {
    let (mut one, mut two) = (WebServer::start("all fine"), WebServer::start("all fine"));
    let sandbox = Sandbox::new("");
    let manager = Manager::listen(&sandbox);
    sandbox.write(&two_servers(&one, &two, ""));
    let start = |sandbox: &Sandbox| {
        sandbox
            .command(&["--foreground", "web.cf", "start"])
            .env("NOTIFY_SOCKET", sandbox.path("notify"))
            .env("WATCHDOG_USEC", "1500000")
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut daemon = Foreground(start(&sandbox));
    let ready = manager.expect("READY=1");
    assert!(ready.contains("STATUS=2 of 2 up"), "{ready}");
    // The pid file exists, so every other action finds it.
    assert_eq!(sandbox.pid(), i32::try_from(daemon.0.id()).ok());
    assert_eq!(sandbox.act("status"), 0);
    let mut second = Foreground(start(&sandbox));
    assert_eq!(second.0.wait().unwrap().code(), Some(1), "a second daemon is refused with a message");
    manager.expect("WATCHDOG=1");

    sandbox.signal(Signal::SIGHUP);
    assert!(manager.expect("RELOADING=1").contains("MONOTONIC_USEC="));
    manager.expect("READY=1");
    // A reload with a wrong file is confirmed, too.
    sandbox.write("nonsense\n");
    sandbox.signal(Signal::SIGHUP);
    manager.expect("RELOADING=1");
    manager.expect("READY=1");

    // The status line follows the state.
    one.stop();
    assert_eq!(manager.expect("STATUS=").trim_end(), "STATUS=1 of 2 up");
    two.stop();
    assert_eq!(manager.expect("STATUS=").trim_end(), "STATUS=0 of 2 up, fallback of 192.0.2.1:80 active");
    one.serve("all fine");
    assert_eq!(manager.expect("STATUS=").trim_end(), "STATUS=1 of 2 up");

    sandbox.signal(Signal::SIGTERM);
    manager.expect("STOPPING=1");
    assert_eq!(daemon.0.wait().unwrap().code(), Some(0));
    assert_eq!(sandbox.pid(), None);
}

/// The queue of its socket is full from the start, and no process reads from it.
#[test]
fn b3_a_manager_that_does_not_read_stops_no_check() {
    let (mut one, two) = (WebServer::start("all fine"), WebServer::start("all fine"));
    let sandbox = Sandbox::new("");
    let manager = Manager::listen(&sandbox);
    manager.fill(&sandbox);
    sandbox.write(&two_servers(&one, &two, ""));
    let mut command = sandbox.command(&["--foreground", "web.cf", "start"]);
    command.env("NOTIFY_SOCKET", sandbox.path("notify")).env("WATCHDOG_USEC", "300000").stdout(Stdio::null());
    let mut daemon = Foreground(command.spawn().unwrap());
    sandbox.expect("both in rotation", &[(one.address, 1), (two.address, 3)]);
    one.stop();
    sandbox.expect("one is out", &[(one.address, 0), (two.address, 3)]);

    // When it reads again it gets the current state: old lines are not queued for ever.
    assert!(manager.expect("READY=1").contains("STATUS=2 of 2 up"));
    assert_eq!(manager.expect("STATUS=").trim_end(), "STATUS=1 of 2 up");

    manager.fill(&sandbox);
    sandbox.signal(Signal::SIGTERM);
    let told = Instant::now();
    let mut ended = None;
    let is_over = || {
        ended = daemon.0.try_wait().unwrap();
        ended.is_some()
    };
    sandbox.wait_for("the end of the daemon", is_over, &String::new);
    assert_eq!(ended.unwrap().code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    assert_eq!(sandbox.pid(), None);
}
