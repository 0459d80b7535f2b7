//! The login at Oracle, in a process of its own (feature `oracle`), as far as it gets without an Oracle server:
//! refused, broken, silent. No Oracle server is available here to test a successful login.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::sandbox::Sandbox;

/// Accepts the first CONNECT, as a listener does. `answer` handles the login; then it waits for the other end.
fn listener(answer: &'static [u8]) -> (SocketAddr, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (gone, left) = mpsc::channel();
    thread::spawn(move || {
        const ACCEPT: &[u8] = b"\x00\x20\x00\x00\x02\x00\x00\x00\x01\x3a\x00\x00\x20\x00\x7f\xff\x00\x01\x00\x00\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
        let mut buffer = [0; 4096];
        let (mut knock, _) = listener.accept().unwrap();
        assert!(knock.read(&mut buffer).unwrap() > 8);
        knock.write_all(ACCEPT).unwrap();
        let (mut login, _): (TcpStream, _) = listener.accept().unwrap();
        assert!(login.read(&mut buffer).unwrap() > 8);
        login.write_all(answer).unwrap();
        while login.read(&mut buffer).is_ok_and(|length| length > 0) {}
        gone.send(()).unwrap();
    });
    (address, left)
}

/// The output of `check` for a server with such a listener.
fn verdict(answer: &'static [u8]) -> String {
    let (address, left) = listener(answer);
    let sandbox = Sandbox::new(&format!(
        "negotiatetimeout=2\nvirtual=192.0.2.1:1521\n\treal={address} masq\n\tservice=oracle\n\tlogin=\"scott\"\n\tpasswd=\"tiger\"\n\
         \tdatabase=\"XE\"\n\trequest=\"SELECT 1 FROM dual\"\n"
    ));
    let output = sandbox.run(&["check", "web.cf"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    // The process that logged in is gone with its connection.
    left.recv_timeout(Duration::from_secs(10)).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("tiger") && !text.contains("login not checked"), "{text}");
    text
}

#[test]
fn a_login_that_is_refused_says_why() {
    let text =
        verdict(b"\x00\x33\x00\x00\x04\x00\x00\x00\x22\x00\x00\x27(DESCRIPTION=(TMP=)(ERR=12514)(ALIAS=))");
    assert!(text.contains("login:") && text.contains("12514"), "{text}");
}

#[test]
fn a_broken_answer_is_down() {
    let text = verdict(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert!(text.contains("DOWN") && text.contains("127.0.0.1:"), "{text}");
}

#[test]
fn a_silent_server_is_down_in_time_and_its_process_killed() {
    let text = verdict(b"");
    assert!(text.contains("within 2 s") && text.contains("waiting for the login and the query"), "{text}");
}
