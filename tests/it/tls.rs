//! TLS as the operator sees it: a warning is shown and logged once, and a missing or broken file changes nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::sandbox::Sandbox;

/// A web server in TLS whose certificate ends in this many days, and the certificate.
fn tls_server(days: u64) -> (SocketAddr, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "www.example.net");
    params.not_after = (SystemTime::now() + Duration::from_secs(days * 86_400 + 3600)).into();
    let certificate = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream =
                StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream.unwrap());
            if stream.read(&mut [0; 2048]).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine");
                let _ = stream.flush();
            }
        }
    });
    (address, certificate.pem())
}

fn https(address: SocketAddr, more: &str) -> String {
    format!(
        "checkinterval=1\nquiescent=yes\nvirtual=192.0.2.1:443\n\treal={address} masq 1\n\treceive=\"fine\"\n{more}"
    )
}

#[test]
fn the_end_of_a_certificate_is_shown_and_logged_once() {
    let (address, _) = tls_server(9);
    let sandbox = Sandbox::new(&https(address, ""));
    let warning = "the certificate of CN=www.example.net expires in 9 days, on 20";
    let json = |words: &[&str]| -> Value { serde_json::from_slice(&sandbox.run(words).stdout).unwrap() };
    let text = |words: &[&str]| String::from_utf8(sandbox.run(words).stdout).unwrap();
    assert_eq!(sandbox.run(&["check", "web.cf"]).status.code(), Some(0));
    assert!(text(&["check", "web.cf"]).contains(warning), "{}", text(&["check", "web.cf"]));
    let found = json(&["check", "web.cf", "--json"]);
    let found = &found["virtuals"][0]["servers"][0]["last_check"]["warning"];
    assert!(found.as_str().unwrap().starts_with(warning), "{found}");
    assert_eq!(sandbox.act("start"), 0);
    let line = format!("Real server {address}: {warning}");
    sandbox.expect_log(&line);
    // Several checks later it was not logged again.
    thread::sleep(Duration::from_millis(2500));
    assert_eq!(sandbox.log().matches(&line).count(), 1, "{}", sandbox.log());
    assert!(text(&["show", "web.cf"]).contains(warning));
    assert_eq!(sandbox.act("stop"), 0);
}

#[test]
fn a_broken_file_changes_nothing() {
    let (address, pem) = tls_server(300);
    let sandbox = Sandbox::new("");
    let (ca, gone) = (sandbox.path("ca.pem"), sandbox.path("gone.pem"));
    fs::write(&ca, &pem).unwrap();
    fs::write(sandbox.path("empty.pem"), "nothing\n").unwrap();
    let with = |file: &str| {
        let path = sandbox.path(file);
        https(address, &format!("\t#rs: tlsverify=yes\n\t#rs: tlsca=\"{}\"\n", path.display()))
    };
    sandbox.write(&with("ca.pem"));
    assert_eq!(sandbox.act("start"), 0);
    sandbox.expect("verified", &[(address, 1)]);
    let before = sandbox.pid();
    for (file, cause) in [
        ("gone.pem", format!("tlsca: {} cannot be read: no such file or directory", gone.display())),
        (
            "empty.pem",
            format!("tlsca: {}: no certificate in PEM form found", sandbox.path("empty.pem").display()),
        ),
    ] {
        sandbox.write(&with(file));
        for words in [&["check", "web.cf"], &["web.cf", "reload"]] {
            let output = sandbox.run(words);
            assert_eq!(output.status.code(), Some(2), "{words:?} {output:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains(&cause), "{words:?} {output:?}");
        }
        sandbox.signal(nix::sys::signal::Signal::SIGHUP);
        sandbox.expect_log(&cause);
        sandbox.expect_log("The configuration was not reloaded");
        sandbox.expect("as it was", &[(address, 1)]);
        let (code, _, told) = sandbox.told("status");
        assert!(code == 0 && told.contains("the configuration file is now invalid"), "{code} {told}");
    }
    assert_eq!(sandbox.pid(), before);
    // A file with another content is another policy, even under the same name.
    fs::write(&ca, tls_server(300).1).unwrap();
    sandbox.write(&with("ca.pem"));
    assert_eq!(sandbox.act("reload"), 0);
    sandbox.expect_log("the certificate has an invalid signature, or another CA of the same name signed it");
    sandbox.expect("another root", &[(address, 0)]);
    fs::remove_file(&ca).unwrap();
    assert_eq!(sandbox.act("stop"), 0);
    // The daemon does not start with such a file.
    let (code, _, told) = sandbox.told("start");
    assert!(code == 2 && told.contains("ca.pem cannot be read"), "{code} {told}");
}

#[test]
fn a_key_that_is_none_is_named() {
    let (address, pem) = tls_server(300);
    let sandbox = Sandbox::new("");
    fs::write(sandbox.path("own.pem"), &pem).unwrap();
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let pair = |key: &str| {
        let (own, key) = (sandbox.path("own.pem"), sandbox.path(key));
        https(
            address,
            &format!("\t#rs: tlscert=\"{}\"\n\t#rs: tlskey=\"{}\"\n", own.display(), key.display()),
        )
    };
    for (content, cause) in [
        (pem.as_str(), "no private key in PEM form found"),
        (other.as_str(), "does not match the certificate in tlscert"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n", "passphrase"),
    ] {
        fs::write(sandbox.path("own.key"), content).unwrap();
        sandbox.write(&pair("own.key"));
        let output = sandbox.run(&["check", "web.cf"]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("own.key: ") && told.contains(cause), "{told}");
        assert!(!told.contains(content.lines().nth(1).unwrap()), "{told}");
    }
    sandbox.write(&pair("own.key").replace("tlskey", "tlswarn").replace("own.key", "14"));
    let output = sandbox.run(&["check", "web.cf"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("tlscert without tlskey"), "{output:?}");
}

/// The daemon reads them again after it has become another user.
#[test]
fn a_file_that_the_user_cannot_read_is_told_at_the_start() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let sandbox = Sandbox::new("");
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["us".to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::write(sandbox.path("key.pem"), key.serialize_pem()).unwrap();
    for name in ["ca.pem", "cert.pem"] {
        fs::write(sandbox.path(name), certificate.pem()).unwrap();
    }
    fs::write(sandbox.path("password"), "secret\n").unwrap();
    let path = |name: &str| sandbox.path(name).display().to_string();
    sandbox.write(&format!(
        "virtual=192.0.2.1:443\n\treal=127.0.0.1:1 masq\n\tservice=https\n\
         #rs: tlsverify=yes\n#rs: tlsca=\"{}\"\n#rs: tlscert=\"{}\"\n#rs: tlskey=\"{}\"\n",
        path("ca.pem"),
        path("cert.pem"),
        path("key.pem")
    ));
    let start = |login: &str| {
        let mut command = sandbox.command(&["web.cf", "start"]);
        command
            .env("LDIRECTORD_RS_PRIVILEGES__USER", "nobody")
            .env("LDIRECTORD_RS_MAIL__USERNAME", login)
            .env("LDIRECTORD_RS_MAIL__PASSWORD_FILE", sandbox.path("password"));
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(sandbox.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    for name in ["web.cf", "ca.pem", "cert.pem", "key.pem", "password"] {
        mode(name, 0o644);
    }
    for name in ["web.cf", "ca.pem", "cert.pem", "key.pem", "password"] {
        mode(name, 0o600);
        let (code, err) = start("us");
        assert_eq!(code, Some(1), "{name}: {err}");
        assert!(
            err.contains(&format!("{name} cannot be read by nobody: ")) && err.contains("chgrp"),
            "{err}"
        );
        mode(name, 0o644);
    }
    // Without a login it needs no password.
    mode("password", 0o600);
    assert_eq!(start("").0, Some(0));
    assert_eq!(sandbox.act("stop"), 0);
}
