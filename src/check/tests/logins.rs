//! Servers that offer one login method and accept another.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::servers::{Server, acceptor};
use super::starttls::{MYSQL_WITHOUT_TLS, sql};
use super::*;
use crate::spec::SqlProbe;

fn plain() -> SqlProbe {
    SqlProbe { starttls: false, ..sql(Tls::default()) }
}

/// PostgreSQL's `SSLRequest` packet.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// A PostgreSQL server that refuses the password in TLS, and accepts the same login without TLS.
async fn only_without_tls() -> Server {
    let acceptor = acceptor();
    Server::start(LOOPBACKS[0], move |mut stream| {
        let acceptor = acceptor.clone();
        async move {
            let (mut head, mut buffer) = ([0; 8], [0; 1024]);
            let _ = stream.read_exact(&mut head).await;
            if head == SSL_REQUEST {
                drop(stream.write_all(b"S").await);
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let _ = stream.read(&mut buffer).await;
                let refusal = b"SFATAL\0C28P01\0Mpassword authentication failed\0\0";
                drop(
                    stream
                        .write_all(&[&[b'E', 0, 0, 0, 4 + refusal.len() as u8], &refusal[..]].concat())
                        .await,
                );
                drop(stream.shutdown().await);
                return;
            }
            let _ = stream.read(&mut buffer).await;
            drop(stream.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await);
            let _ = stream.read(&mut buffer).await;
            let row = b"T\0\0\0\x06\0\0D\0\0\0\x06\0\0C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";
            drop(stream.write_all(row).await);
            let _ = stream.read(&mut buffer).await;
        }
    })
    .await
}

/// Like the library of the original: it prefers TLS, and repeats without TLS a login that is refused in TLS.
#[tokio::test]
async fn a8_pgsql_goes_on_without_tls() {
    let server = only_without_tls().await;
    let verdict = run(&probe(server.address, PATIENCE, ProbeAction::Pgsql(plain()))).await;
    assert_says(&verdict, Outcome::Up, "the query returns rows");
    // If TLS is required, the refusal counts.
    let verdict = run(&probe(server.address, PATIENCE, ProbeAction::Pgsql(sql(Tls::default())))).await;
    assert_says(&verdict, Outcome::Down, "login: FATAL 28P01 \"password authentication failed\"");
}

/// A server that chooses as many rounds as the library allows, and then is full. This refusal has no second attempt.
#[tokio::test]
async fn a11_a_dear_password_hash_does_not_stop_the_loop() {
    let server = Server::start(LOOPBACKS[0], |mut stream| async move {
        let mut buffer = [0; 1024];
        let _ = stream.read(&mut buffer).await;
        drop(stream.write_all(b"N").await);
        let _ = stream.read(&mut buffer).await;
        drop(stream.write_all(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0").await);
        let length = stream.read(&mut buffer).await.unwrap_or(0);
        let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
        // The nonce may contain `r=`, but no comma.
        let nonce = said.split_once(",r=").map_or("", |(_, nonce)| nonce);
        let first = format!("r={nonce}x,s=c2FsdA==,i=100000");
        let size = u32::try_from(first.len() + 8).unwrap().to_be_bytes();
        drop(stream.write_all(&[b"R", &size[..], &[0, 0, 0, 11], first.as_bytes()].concat()).await);
        let _ = stream.read(&mut buffer).await;
        let refusal = b"SFATAL\0C53300\0Mfull\0\0";
        drop(stream.write_all(&[&[b'E', 0, 0, 0, 4 + refusal.len() as u8], &refusal[..]].concat()).await);
    })
    .await;
    let sql = SqlProbe { tls: Tls::default(), ..plain() };
    let check = probe(server.address, PATIENCE, ProbeAction::Pgsql(sql));
    let (longest, verdict) = endless::while_watched(run(&check)).await;
    assert!(verdict.reason.contains("login: FATAL 53300"), "{verdict:?}");
    // The rounds take 35 ms.
    assert!(longest < Duration::from_millis(20), "the loop's thread was busy for {longest:?}");
}

/// R75: these methods are not supported, and the reason names the method.
#[tokio::test]
async fn a8_mysql_names_a_login_method_not_spoken() {
    for method in ["client_ed25519", "dialog", "mysql_clear_password", "sha256_password"] {
        let server = Server::start(LOOPBACKS[0], move |mut stream| async move {
            drop(stream.write_all(MYSQL_WITHOUT_TLS).await);
            let _ = stream.read(&mut [0; 1024]).await;
            let wish = [&[0xfe], method.as_bytes(), b"\0abcdefghijklmnopqrst\0"].concat();
            drop(stream.write_all(&[&[wish.len() as u8, 0, 0, 2], &wish[..]].concat()).await);
            let _ = stream.read(&mut [0; 1024]).await;
        })
        .await;
        let verdict = run(&probe(server.address, PATIENCE, ProbeAction::Mysql(plain()))).await;
        let words = format!("the server requires the login method \"{method}\", which is not supported");
        assert_says(&verdict, Outcome::Down, &words);
    }
}
