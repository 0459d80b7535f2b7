//! Servers that only speak what rustls no longer supports. The verdict names the remedy, and `tlslegacy=yes` reaches
//! them in a program that was built with the feature `legacy-tls`. `cargo test` runs this without the feature, `make
//! features` with it.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use ldirectord_rs::check::Checker;
use ldirectord_rs::daemon;
use ldirectord_rs::value::{Outcome, Verdict};
use tempfile::TempDir;

/// `openssl s_server`, which answers each request with a page about the connection.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(files: &Files, options: &[&str]) -> Server {
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-www"])
            .arg("-cert")
            .arg(files.path("server.crt"))
            .arg("-key")
            .arg(files.path("server.key"))
            .args(options)
            .current_dir(&files.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned)).unwrap();
        // Later output is discarded, but must be read so that the server does not block.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, address }
    }

    /// The verdict of a check with these directives, separated by `; `.
    fn checked(&self, files: &Files, directives: &str) -> Verdict {
        check(files, &self.address, directives)
    }
}

fn check(files: &Files, address: &str, directives: &str) -> Verdict {
    let config = files.config(address, directives);
    let loaded = daemon::load(&config).unwrap_or_else(|error| panic!("{}", error.render(false)));
    let probe = &loaded.spec.checks()[0].key.probe;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Checker::new().unwrap().run(probe))
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Certificates: `ca` has signed `server` (for www.example.net and 127.0.0.1), but not `other`.
struct Files(TempDir);

impl Files {
    fn new() -> Files {
        let files = Files(TempDir::new().unwrap());
        for name in ["ca", "other"] {
            files.openssl(&format!("req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN={name} -keyout {name}.key -out {name}.crt"));
        }
        files.openssl(
            "req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=www.example.net -CA ca.crt -CAkey ca.key -keyout server.key \
             -out server.crt -addext subjectAltName=DNS:www.example.net,IP:127.0.0.1 -addext basicConstraints=CA:FALSE",
        );
        files.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:secp521r1 -nodes -days 9 -subj /CN=www.example.net -keyout p521.key \
             -out p521.crt",
        );
        files
    }

    fn openssl(&self, words: &str) {
        let output =
            Command::new("openssl").args(words.split_whitespace()).current_dir(&self.0).output().unwrap();
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn config(&self, real: &str, directives: &str) -> PathBuf {
        let lines: String = directives.split("; ").map(|line| format!("\t{line}\n")).collect();
        let lines = lines.replace("DIR", &self.0.path().display().to_string());
        let path = self.path("web.cf");
        let text = format!(
            "virtual=192.0.2.1:443\n\treal={real} masq\n\tservice=https\n\treceive=\"Protocol\"\n{lines}"
        );
        fs::write(&path, text).unwrap();
        path
    }
}

#[track_caller]
fn assert_says(verdict: &Verdict, outcome: Outcome, words: &str) {
    assert_eq!(verdict.outcome, outcome, "{verdict:?}");
    assert!(verdict.reason.contains(words), "{words:?} is missing in {verdict:?}");
}

const OLD_VERSION: &str = "the server offers only TLS 1.0 or 1.1";
const NO_CIPHER: &str = "no common cipher or key type";

/// What rustls does not support, a server that offers nothing else, and what the reason says about it.
const OLD: [(&str, &[&str], &str); 5] = [
    ("TLS 1.0", &["-tls1", "-cipher", "ALL:@SECLEVEL=0"], OLD_VERSION),
    ("TLS 1.1", &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], OLD_VERSION),
    ("CBC", &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA:@SECLEVEL=0"], NO_CIPHER),
    ("static RSA", &["-tls1_2", "-cipher", "AES128-GCM-SHA256"], NO_CIPHER),
    ("DHE", &["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"], NO_CIPHER),
];

#[test]
fn old_servers_are_named_with_the_cure() {
    let files = Files::new();
    for (what, options, reason) in OLD {
        let server = Server::start(&files, options);
        let verdict = server.checked(&files, "request=\"/\"");
        assert_says(&verdict, Outcome::Down, reason);
        assert_says(&verdict, Outcome::Down, "#rs: tlslegacy=yes");
        let needs_a_build = verdict.reason.contains("built with the feature legacy-tls");
        assert_eq!(needs_a_build, !cfg!(feature = "legacy-tls"), "{what}: {verdict:?}");
    }
}

/// rustls cannot verify the signature of such a key. A check without `tlsverify` need not.
#[test]
fn a_p521_key_is_not_old_tls() {
    let files = Files::new();
    let server = Server::start(&files, &["-cert", "p521.crt", "-key", "p521.key"]);
    assert_says(&server.checked(&files, "request=\"/\""), Outcome::Up, "matches");
    let verified = server.checked(&files, "#rs: tlsverify=yes; #rs: tlsca=\"DIR/p521.crt\"");
    assert_says(&verified, Outcome::Down, NO_CIPHER);
    assert_says(&verified, Outcome::Down, "a key of type P-521 with tlsverify=yes");
}

#[cfg(not(feature = "legacy-tls"))]
#[test]
fn without_the_feature_the_directive_is_an_error() {
    let files = Files::new();
    let error = daemon::load(&files.config("127.0.0.1:443", "#rs: tlslegacy=yes")).unwrap_err();
    let said = error.lines().join("\n");
    assert!(
        said.contains("at line 1: tlslegacy=yes, but this program was built without legacy-tls"),
        "{said}"
    );
}

#[cfg(feature = "legacy-tls")]
#[test]
fn old_servers_are_reached() {
    let files = Files::new();
    for (what, options, _) in OLD {
        let server = Server::start(&files, options);
        let verdict = server.checked(&files, "#rs: tlslegacy=yes");
        assert_eq!(verdict.outcome, Outcome::Up, "{what}: {verdict:?}");
        // The expiry of the certificate is read here, too.
        assert_says(&verdict, Outcome::Up, "warning: the certificate of CN=www.example.net expires in ");
    }
    // A modern server and a server without TLS are not reported as old.
    let server = Server::start(&files, &["-tls1_3"]);
    assert_says(&server.checked(&files, "#rs: tlslegacy=yes"), Outcome::Up, "matches /Protocol/");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let closing = std::thread::spawn(move || listener.accept().map(drop));
    assert_says(&check(&files, &address, "#rs: tlslegacy=yes"), Outcome::Down, "TLS handshake");
    closing.join().unwrap().unwrap();
}

#[cfg(feature = "legacy-tls")]
#[test]
fn old_servers_are_verified() {
    const VERIFY: &str = "#rs: tlslegacy=yes; #rs: tlsverify=yes";
    let files = Files::new();
    let server = Server::start(&files, OLD[0].1);
    for (more, outcome, words) in [
        ("#rs: tlsca=\"DIR/ca.crt\"", Outcome::Up, "matches"),
        ("#rs: tlsca=\"DIR/ca.crt\"; #rs: tlsname=\"www.example.net\"", Outcome::Up, "matches"),
        ("#rs: tlsca=\"DIR/ca.crt\"; #rs: tlsname=\"other.example.net\"", Outcome::Down, "hostname mismatch"),
        ("#rs: tlsca=\"DIR/ca.crt\"; #rs: tlsname=\"127.0.0.2\"", Outcome::Down, "IP address mismatch"),
        ("#rs: tlsca=\"DIR/other.crt\"", Outcome::Down, "unable to get local issuer certificate"),
        ("#rs: tlswarn=0", Outcome::Down, "unable to get local issuer certificate"),
    ] {
        let verdict = server.checked(&files, &format!("{VERIFY}; {more}"));
        assert_eq!(verdict.outcome, outcome, "{more}: {verdict:?}");
        assert!(verdict.reason.to_lowercase().contains(&words.to_lowercase()), "{more}: {verdict:?}");
    }
    // A server that requires a client certificate.
    let ca = files.path("ca.crt").display().to_string();
    let options = [OLD[0].1, &["-Verify", "1", "-verify_return_error", "-CAfile", &ca]].concat();
    let server = Server::start(&files, &options);
    let own = "#rs: tlslegacy=yes; #rs: tlscert=\"DIR/server.crt\"; #rs: tlskey=\"DIR/server.key\"";
    assert_says(&server.checked(&files, own), Outcome::Up, "matches");
    let stranger = "#rs: tlslegacy=yes; #rs: tlscert=\"DIR/other.crt\"; #rs: tlskey=\"DIR/other.key\"";
    assert_says(&server.checked(&files, stranger), Outcome::Down, "TLS handshake: ");
    assert_says(&server.checked(&files, "#rs: tlslegacy=yes"), Outcome::Down, "TLS handshake: ");
}

#[cfg(feature = "legacy-tls")]
#[test]
fn files_that_are_wrong_are_errors() {
    let files = Files::new();
    fs::write(files.path("empty.pem"), "nothing\n").unwrap();
    let error = |directives: &str| {
        daemon::load(&files.config("127.0.0.1:443", directives)).unwrap_err().lines().join("\n")
    };
    let said = error("#rs: tlslegacy=yes; #rs: tlsverify=yes; #rs: tlsca=\"DIR/empty.pem\"");
    assert!(
        said.contains("tlsca: ") && said.contains("empty.pem: no certificate in PEM form found"),
        "{said}"
    );
    let said = error("#rs: tlslegacy=yes; #rs: tlscert=\"DIR/server.crt\"; #rs: tlskey=\"DIR/other.key\"");
    assert!(said.contains("tlskey: ") && said.contains("key values mismatch"), "{said}");
}
