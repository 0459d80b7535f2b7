//! A loop that is away while checks are running: a task blocks it by a sleep without yielding.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::*;
use crate::value::UnknownCause;

/// The deadline of the checks, and the absence, which is much longer, so that a busy machine makes no difference.
const DEADLINE: Duration = Duration::from_secs(1);
const AWAY: Duration = Duration::from_millis(2500);

/// Serves one client on a separate thread, which the blocked loop does not delay.
fn serve(serve: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || serve(listener.accept().unwrap().0));
    address
}

/// The verdict of a check during which the loop is away.
async fn check_with_absence(probe: Probe) -> Verdict {
    let checker = Arc::new(Checker::new().unwrap());
    let check = tokio::spawn(async move { checker.run(&probe).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!check.is_finished());
    thread::sleep(AWAY);
    check.await.unwrap()
}

fn smtp(target: SocketAddr) -> Probe {
    probe(target, DEADLINE, ProbeAction::Dialogue(dialogue_with(Dialogue::Smtp)))
}

#[tokio::test]
async fn a1_a_healthy_server_has_its_time_after_an_absence() {
    let target = serve(|mut stream| {
        thread::sleep(Duration::from_millis(300));
        let _ = stream.write_all(b"220 ready\r\n");
        for line in BufReader::new(stream.try_clone().unwrap()).lines() {
            let answer = if line.unwrap().starts_with("QUIT") { "221 bye\r\n" } else { "250 fine\r\n" };
            thread::sleep(Duration::from_millis(50));
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let verdict = check_with_absence(smtp(target)).await;
    assert_eq!(verdict.outcome, Outcome::Up, "{verdict:?}");
}

#[tokio::test]
async fn a1_a_failure_after_an_absence_says_nothing() {
    let target = serve(|stream| {
        thread::sleep(Duration::from_millis(300));
        drop(stream);
    });
    let verdict = check_with_absence(smtp(target)).await;
    assert_says(&verdict, Outcome::Unknown(UnknownCause::DirectorLate), "the daemon did not run for 2.");
}

#[tokio::test]
async fn a1_a_silent_server_is_down_after_the_attended_time() {
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let target = serve(move |_stream| {
        let _ = wait.recv();
    });
    let verdict = check_with_absence(smtp(target)).await;
    assert_says(&verdict, Outcome::Down, "no answer from");
    assert!(verdict.took >= AWAY && verdict.took < AWAY + DEADLINE + MARGIN, "{verdict:?}");
    drop(done);
}
