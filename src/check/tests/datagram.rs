//! `udpprobe` against fake UDP services.

use tokio::net::UdpSocket;

use super::*;
use crate::spec::DatagramProbe;

fn datagram(payload: &[u8], reply: Option<&str>) -> ProbeAction {
    let reply = reply.map(|pattern| Pattern::parse(pattern).unwrap());
    ProbeAction::Datagram(DatagramProbe { payload: payload.to_vec(), reply })
}

#[tokio::test]
async fn an_answer_must_match() {
    for loopback in LOOPBACKS {
        let socket = UdpSocket::bind(loopback).await.unwrap();
        let address = socket.local_addr().unwrap();
        let echo = tokio::spawn(async move {
            let mut buffer = [0; 2048];
            // The first datagram is lost.
            drop(socket.recv_from(&mut buffer).await);
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                socket.send_to(&buffer[..length], peer).await.unwrap();
            }
        });
        let verdict = run(&probe(address, PATIENCE, datagram(b"hello\0\n", Some("^hello\\0$")))).await;
        assert_says(&verdict, Outcome::Up, "the answer \"hello\\u{0}\\n\" matches /^hello\\0$/");
        let verdict = run(&probe(address, PATIENCE, datagram(b"hello", Some("world")))).await;
        assert_says(&verdict, Outcome::Down, "the answer \"hello\" does not match /world/");
        let verdict = run(&probe(address, PATIENCE, datagram(b"", Some("^$")))).await;
        assert_says(&verdict, Outcome::Up, "the answer \"\" matches");
        echo.abort();
    }
}

#[tokio::test]
async fn silence_is_good_unless_an_answer_is_asked_for() {
    for loopback in LOOPBACKS {
        let silent = UdpSocket::bind(loopback).await.unwrap();
        let address = silent.local_addr().unwrap();
        let verdict = run(&probe(address, IMPATIENCE, datagram(b"x", None))).await;
        assert_says(&verdict, Outcome::Up, "sent, not refused within");
        let verdict = run(&probe(address, IMPATIENCE, datagram(b"x", Some("y")))).await;
        assert_says(&verdict, Outcome::Down, "no answer from ");
        drop(silent);
        for reply in [None, Some("y")] {
            let verdict = run(&probe(address, PATIENCE, datagram(b"x", reply))).await;
            assert_says(&verdict, Outcome::Down, "connection refused");
        }
    }
}
