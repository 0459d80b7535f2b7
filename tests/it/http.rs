//! The HTTP listener, as `docs/monitoring.md` describes it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::sandbox::{Sandbox, WebServer, two_servers};

const LIMIT: Duration = Duration::from_secs(20);

/// A daemon with a listener.
struct Listening {
    sandbox: Sandbox,
    address: SocketAddr,
}

/// A response.
struct Response {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

/// A free port of a loopback address.
fn free(ip: &str) -> SocketAddr {
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

impl Listening {
    /// A daemon that listens on this loopback address.
    fn start(ip: &str, config: &str) -> Listening {
        let listening = Listening { sandbox: Sandbox::new(config), address: free(ip) };
        listening.sandbox_starts();
        listening.sandbox.expect_log(&format!("HTTP: listening on {}", listening.address));
        listening
    }

    fn sandbox_starts(&self) {
        start(&self.sandbox, &self.address.to_string());
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    fn send(&self, method: &str, target: &str, host: &str) -> Response {
        exchange(self.connect(), method, target, host)
    }

    fn get(&self, target: &str) -> Response {
        self.send("GET", target, &self.address.to_string())
    }
}

fn start(sandbox: &Sandbox, listen: &str) {
    let settings = sandbox.path("settings.toml");
    fs::write(&settings, format!("[http]\nlisten = \"{listen}\"\n")).unwrap();
    let output = sandbox.run(&["--settings", settings.to_str().unwrap(), "web.cf", "start"]);
    assert!(output.status.success(), "{output:?}");
}

/// Sends a request on a connection, and reads to its end.
fn exchange(mut stream: impl Read + Write, method: &str, target: &str, host: &str) -> Response {
    let request = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    parse(&String::from_utf8(bytes).unwrap())
}

fn parse(text: &str) -> Response {
    let (head, rest) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("not a response: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let pairs = lines.map(|line| line.split_once(": ").unwrap());
    let headers: BTreeMap<String, String> =
        pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let is_chunked = headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
    let body = if is_chunked && !rest.is_empty() { unchunked(rest) } else { rest.to_owned() };
    Response { status, headers, body }
}

/// The content of a complete chunked body.
fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    loop {
        let (length, after) = rest.split_once("\r\n").unwrap_or_else(|| panic!("incomplete: {rest:?}"));
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            assert_eq!(after, "\r\n");
            return body;
        }
        body.push_str(&after[..length]);
        rest = after[length..].strip_prefix("\r\n").unwrap();
    }
}

#[test]
fn each_endpoint_answers_on_ipv4_and_ipv6() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    for ip in ["127.0.0.1", "::1"] {
        let daemon = Listening::start(ip, &two_servers(&one, &two, ""));
        let health = daemon.get("/healthz");
        assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
        let metrics = daemon.get("/metrics");
        assert_eq!(metrics.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        assert!(metrics.body.contains("\nldirectord_config_last_reload_success 1.0\n"), "{}", metrics.body);
        let state = daemon.get("/api/v1/state");
        assert_eq!(state.headers["content-type"], "application/json");
        let value: Value = serde_json::from_str(&state.body).unwrap();
        assert_eq!(
            (&value["name"], &value["virtuals"][0]["id"]),
            (&json!("web.cf"), &json!("tcp:192.0.2.1:80"))
        );
        assert_eq!(value["virtuals"][0]["servers"].as_array().unwrap().len(), 2);
        let story = daemon.get(&format!("/api/v1/state?server={}", one.address));
        let value: Value = serde_json::from_str(&story.body).unwrap();
        let server = &value["servers"][0];
        assert_eq!((&server["address"], &server["state"]), (&json!(one.address.to_string()), &json!("up")));
        assert!(server["events"].is_array() && server["checks"].is_array(), "{value}");
        for response in [health, metrics, state, story, daemon.get("/other")] {
            assert_eq!(response.headers["cache-control"], "no-store");
            assert_eq!(response.headers["x-content-type-options"], "nosniff");
            assert_eq!(response.headers["content-security-policy"], "default-src 'none'");
        }
    }
}

#[test]
fn other_hosts_methods_and_paths_are_refused() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let daemon = Listening::start("127.0.0.1", &two_servers(&one, &two, ""));
    for (method, target, host, status) in [
        ("GET", "/metrics", "localhost", 200),
        ("GET", "/metrics", "evil.example", 421),
        ("GET", "http://evil.example/metrics", "localhost", 421),
        ("GET", "/", "localhost", 404),
        ("GET", "/api/v1/state?verbose=1", "localhost", 400),
        ("GET", "/api/v1/state?server=web1", "localhost", 400),
        ("GET", "/api/v1/state?server=192.0.2.77:80", "localhost", 404),
        ("POST", "/api/v1/state", "localhost", 405),
        ("DELETE", "/metrics", "localhost", 405),
    ] {
        let response = daemon.send(method, target, host);
        assert_eq!(response.status, status, "{method} {target} {host}: {}", response.body);
        let allow = response.headers.get("allow").map(String::as_str);
        assert_eq!(allow, (status == 405).then_some("GET, HEAD"));
        assert!(!response.body.contains("evil"), "{}", response.body);
    }
    for target in ["/metrics", "/api/v1/state", "/api/v1/events", "/healthz"] {
        let head = daemon.send("HEAD", target, "localhost");
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{target}");
        assert_ne!(head.headers.get("content-length").map(String::as_str), Some("0"), "{target}");
    }
    // A client that sends nothing more, as `nc -N` does, gets its answer.
    let mut stream = daemon.connect();
    stream.write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("ok\n"), "{text:?}");
    // A head that is too large.
    let mut stream = daemon.connect();
    let mut request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n".to_owned();
    for number in 0..100 {
        write!(request, "X-{number}: y\r\n").unwrap();
    }
    stream.write_all((request + "\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(parse(&text).status, 431);
}

#[test]
fn a_unix_socket_has_the_name_of_the_daemon() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    let pattern = sandbox.path("run/ldirectord-rs/%n.http.sock");
    start(&sandbox, &format!("unix:{}", pattern.display()));
    let path = sandbox.path("run/ldirectord-rs/web.cf.http.sock");
    sandbox.expect_log(&format!("HTTP: listening on unix:{}", path.display()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // Only programs of this machine can connect, so the name does not matter.
    let response = exchange(UnixStream::connect(&path).unwrap(), "GET", "/healthz", "any.example");
    assert_eq!((response.status, response.body.as_str()), (200, "ok\n"));
    assert_eq!(sandbox.act("stop"), 0);
    assert!(!path.exists());
}

#[test]
fn a_port_in_use_is_an_error_line_and_is_tried_again() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    start(&sandbox, &address.to_string());
    sandbox.expect_log(&format!("HTTP: cannot listen on {address}: address already in use"));
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    drop(other);
    let daemon = Listening { sandbox, address };
    daemon.sandbox.expect_log(&format!("HTTP: listening on {address}"));
    assert_eq!(daemon.get("/healthz").status, 200);
    // Each error is logged once.
    assert_eq!(daemon.sandbox.log().matches("cannot listen").count(), 1);
}

#[test]
fn a_wrong_setting_is_refused_before_the_start() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let sandbox = Sandbox::new(&two_servers(&one, &two, ""));
    let start = |key: &str, value: &str| {
        let mut command = sandbox.command(&["web.cf", "start"]);
        let output = command.env(format!("LDIRECTORD_RS_HTTP__{key}"), value).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (key, value) in [("LISTEN", "localhost:80"), ("LISTEN", "127.0.0.1:%n"), ("HOSTS", "a,b:80")] {
        let (code, error) = start(key, value);
        assert_eq!(code, Some(2), "{value}: {error}");
        assert!(error.contains(&format!("LDIRECTORD_RS_HTTP__{key}")), "{error}");
    }
}

/// The port is opened before the daemon becomes another user, a Unix socket belongs to that user.
#[test]
fn a_low_port_is_opened_before_root_is_given_up() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can open a port below 1024 and become another user");
        return;
    }
    // In a range without well-known services.
    let address = (700..1000).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let address = address.into_iter().find(|address| TcpListener::bind(address).is_ok()).unwrap();
    for listen in [address.to_string(), "unix:SOCKET".to_owned()] {
        let sandbox = Sandbox::new(&crowd(1));
        fs::set_permissions(sandbox.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        let socket = sandbox.path("run/ldirectord-rs/web.cf.http.sock");
        let listen = listen.replace("SOCKET", socket.to_str().unwrap());
        let mut command = sandbox.command(&["web.cf", "start"]);
        command.env("LDIRECTORD_RS_PRIVILEGES__USER", "nobody").env("LDIRECTORD_RS_HTTP__LISTEN", &listen);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        sandbox.expect_log(&format!("HTTP: listening on {listen}"));
        let response = match socket.exists() {
            true => exchange(UnixStream::connect(&socket).unwrap(), "GET", "/healthz", "any.example"),
            false => exchange(TcpStream::connect(address).unwrap(), "GET", "/healthz", "localhost"),
        };
        assert_eq!((response.status, response.body.as_str()), (200, "ok\n"));
        if let Ok(found) = fs::metadata(&socket) {
            assert_eq!((found.uid(), found.mode() & 0o777), (65534, 0o600));
        }
        let status = fs::read_to_string(format!("/proc/{}/status", sandbox.pid().unwrap())).unwrap();
        assert!(status.contains("Uid:\t65534\t65534\t65534\t65534\n"), "{status}");
    }
}

/// A client that sends its request slowly is dropped, and delays no other.
#[test]
fn a_client_with_half_a_request_is_dropped() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let daemon = Listening::start("127.0.0.1", &two_servers(&one, &two, ""));
    let begin = Instant::now();
    let mut slow: Vec<TcpStream> = (0..3).map(|_| daemon.connect()).collect();
    slow[1].write_all(b"GET /metrics HTTP/1.1\r\nHost:").unwrap();
    // A finished request, and then an idle connection.
    slow[2].write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(daemon.get("/healthz").status, 200);
    for stream in &mut slow {
        let mut text = String::new();
        // Dropped, with or without a reset.
        let _ = stream.read_to_string(&mut text);
        assert!(text.is_empty() || text.ends_with("ok\n"), "{text}");
        assert!(begin.elapsed() > Duration::from_secs(4) && begin.elapsed() < LIMIT);
    }
}

/// Follows the events of a daemon. Returns after the head of the response.
fn follow(daemon: &Listening) -> BufReader<TcpStream> {
    let mut stream = daemon.connect();
    stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    reader
}

#[test]
fn events_are_followed_with_heartbeats_until_the_stop() {
    let (one, mut two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let daemon = Listening::start("127.0.0.1", &two_servers(&one, &two, ""));
    daemon.sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    let mut lines = follow(&daemon).lines().map(Result::unwrap);
    let address = two.address.to_string();
    two.stop();
    let mut next = |begin: &str| lines.find_map(|line| line.strip_prefix(begin).map(str::to_owned)).unwrap();
    let down: Value = serde_json::from_str(&next("data: ")).unwrap();
    assert_eq!((&down["event"], &down["server"]), (&json!("down"), &json!(address)));
    let changed: Value = serde_json::from_str(&next("data: ")).unwrap();
    assert_eq!(changed["event"], "table-server");
    // The first is sent at once.
    assert_eq!([next(": "), next(": ")], ["heartbeat", "heartbeat"]);
    assert_eq!(daemon.sandbox.act("stop"), 0);
    assert!(lines.any(|line| line == "0"), "the stream has no end");
}

/// Clients that have sent their request are answered, even if the daemon stops at the same moment.
#[test]
fn requests_in_flight_are_answered_at_a_stop() {
    let (one, two) = (WebServer::start("I am fine"), WebServer::start("I am fine"));
    let daemon = Listening::start("127.0.0.1", &two_servers(&one, &two, ""));
    let sandbox = &daemon.sandbox;
    sandbox.expect("both are up", &[(one.address, 1), (two.address, 3)]);
    sandbox.signal(Signal::SIGSTOP);
    let web = ["/metrics", "/api/v1/state", "/healthz"].map(|target| {
        let mut stream = daemon.connect();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream
    });
    let socket = sandbox.path("run/ldirectord-rs/web.cf.sock");
    let control = ["plan", "metrics", "show", "status"].map(|request| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        writeln!(stream, "{{\"v\":1,\"request\":\"{request}\"}}").unwrap();
        stream
    });
    sandbox.signal(Signal::SIGTERM);
    sandbox.signal(Signal::SIGCONT);
    for mut stream in web {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let response = parse(&text);
        assert!([200, 503].contains(&response.status), "{}", response.body);
    }
    for mut stream in control {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text:?}"));
        assert!(answer.get("answer").is_some() || answer["error"]["code"] == "stopping", "{answer}");
    }
    sandbox.wait_for("the end", || !sandbox.pid_file().exists(), &String::new);
}

/// A virtual service with many servers that are never checked.
fn crowd(count: usize) -> String {
    let mut text = "virtual=192.0.2.1:80\n\tchecktype=off\n".to_owned();
    for number in 0..count {
        writeln!(text, "\treal=10.0.{}.{}:80 masq", number / 250, number % 250 + 1).unwrap();
    }
    text
}

/// The number of open files of the daemon.
fn open_files(sandbox: &Sandbox) -> usize {
    fs::read_dir(format!("/proc/{}/fd", sandbox.pid().unwrap())).unwrap().count()
}

#[test]
fn clients_that_never_read_are_dropped() {
    let daemon = Listening::start("127.0.0.1", &crowd(4000));
    let sandbox = &daemon.sandbox;
    let before = open_files(sandbox);
    let control = sandbox.path("run/ldirectord-rs/web.cf.sock");
    let begin = Instant::now();
    let silent = (0..4).map(|_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&daemon.address.into()).unwrap();
        let mut web = TcpStream::from(socket);
        web.write_all(b"GET /api/v1/state HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut show = UnixStream::connect(&control).unwrap();
        show.write_all(b"{\"v\":1,\"request\":\"show\"}\n").unwrap();
        (web, show)
    });
    let silent: Vec<_> = silent.collect();
    sandbox.wait_for("all are connected", || open_files(sandbox) >= before + 8, &String::new);
    // Others are answered meanwhile, with all servers.
    let state: Value = serde_json::from_str(&daemon.get("/api/v1/state").body).unwrap();
    assert_eq!(state["virtuals"][0]["servers"].as_array().unwrap().len(), 4000);
    let found = || format!("{} of {before} open files", open_files(sandbox));
    sandbox.wait_for("all are dropped", || open_files(sandbox) <= before, &found);
    assert!(begin.elapsed() > Duration::from_secs(4), "dropped after {:?}", begin.elapsed());
    drop(silent);
    assert_eq!(daemon.get("/healthz").status, 200);
}
