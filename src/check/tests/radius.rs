//! A fake RADIUS server. The unit tests of the encryption and the signature are next to the code.

use md5::{Digest, Md5};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::*;
use crate::spec::RadiusProbe;

/// Loses the first datagram, accepts `nemo`, rejects others, and sends a forged answer before each real one.
async fn server(loopback: &str) -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind(loopback).await.unwrap();
    let address = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        drop(socket.recv_from(&mut buffer).await);
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            let request = &buffer[..length];
            let good = request.windows(6).any(|window| window == b"\x01\x06nemo");
            let text: &[u8] = if good { b"\x12\x04hi" } else { b"\x12\x04no" };
            let mut answer = vec![if good { 2 } else { 3 }, request[1], 0, 24];
            answer.extend([0; 16]);
            answer.extend(text);
            socket.send_to(&answer, peer).await.unwrap();
            let digest = Md5::new()
                .chain_update(&answer[..4])
                .chain_update(&request[4..20])
                .chain_update(text)
                .chain_update("s3cret")
                .finalize();
            answer[4..20].copy_from_slice(&digest);
            socket.send_to(&answer, peer).await.unwrap();
        }
    });
    (address, task)
}

fn login(login: &str, secret: &str) -> ProbeAction {
    ProbeAction::Radius(RadiusProbe {
        login: login.to_owned(),
        passwd: Secret::new("arctangent"),
        secret: Secret::new(secret),
    })
}

/// R33: an answer that is not authenticated by the secret is ignored.
#[tokio::test]
async fn who_may_come_in_and_who_not() {
    for loopback in LOOPBACKS {
        let (address, task) = server(loopback).await;
        let verdict = run(&probe(address, PATIENCE, login("nemo", "s3cret"))).await;
        assert_says(&verdict, Outcome::Up, "as nemo: Access-Accept \"hi\"");
        let verdict = run(&probe(address, PATIENCE, login("omen", "s3cret"))).await;
        assert_says(&verdict, Outcome::Down, "as omen: Access-Reject \"no\"");
        // R33: with another secret no answer is authentic.
        let verdict = run(&probe(address, IMPATIENCE, login("nemo", "other"))).await;
        assert_says(&verdict, Outcome::Down, "waiting for the answer to Access-Request");
        assert!(!verdict.reason.contains("arctangent") && !verdict.reason.contains("other"), "{verdict:?}");
        task.abort();
        drop(task.await);
        let verdict = run(&probe(address, PATIENCE, login("nemo", "s3cret"))).await;
        assert_says(&verdict, Outcome::Down, "connection refused");
    }
}
