//! Pings of the loopback addresses, with and without answers and permission.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::network::{in_own_network, skip};
use super::*;

/// The environment variable that marks the run of [`without_the_right_nothing_is_known`] as another user.
const AS_NOBODY: &str = "LDIRECTORD_TEST_AS_NOBODY";

fn ping(address: &str, deadline: Duration, attempts: u32) -> Probe {
    probe(SocketAddr::new(address.parse().unwrap(), 0), deadline, ProbeAction::Ping { attempts })
}

fn may_not_ping(verdict: &Verdict) -> bool {
    verdict.is_unknown() && verdict.reason.contains("not permitted to send pings")
}

/// Makes the kernel ignore echo requests, in this network namespace only. Never call it outside a test namespace.
fn answer_no_echo() {
    std::fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1").unwrap();
    std::fs::write("/proc/sys/net/ipv6/icmp/echo_ignore_all", "1").unwrap();
}

#[tokio::test]
async fn loopback_answers() {
    for address in ["127.0.0.1", "::1"] {
        let verdict = run(&ping(address, PATIENCE, 2)).await;
        if may_not_ping(&verdict) {
            return skip("this process is not permitted to send pings");
        }
        assert_says(&verdict, Outcome::Up, &format!("ping {address}: answered"));
        assert_eq!(verdict.monitor, None);
    }
}

/// With the default socket buffer replies are lost from 256 pending requests on.
#[test]
fn of_two_thousand_in_flight_none_is_lost() {
    let lost = in_own_network(async || {
        let checker = Arc::new(Checker::new().unwrap());
        let mut lost = Vec::new();
        for address in ["127.0.0.1", "::1"] {
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..2000 {
                let (checker, probe) = (Arc::clone(&checker), ping(address, PATIENCE, 1));
                tasks.spawn(async move { checker.run(&probe).await });
            }
            let verdicts = tasks.join_all().await;
            lost.extend(verdicts.into_iter().filter(|verdict| verdict.outcome != Outcome::Up));
        }
        lost
    });
    match lost {
        Some(lost) => assert!(lost.is_empty(), "{} lost, the first: {:?}", lost.len(), lost[0]),
        None => skip("a network namespace and `ip` are needed, so root"),
    }
}

#[test]
fn who_does_not_answer_is_down_at_the_deadline() {
    let verdicts = in_own_network(async || {
        answer_no_echo();
        let mut verdicts = Vec::new();
        for address in ["127.0.0.1", "::1"] {
            verdicts.push(run(&ping(address, Duration::from_millis(300), 3)).await);
        }
        verdicts
    });
    let Some(verdicts) = verdicts else { return skip("a network namespace and `ip` are needed, so root") };
    assert_says(&verdicts[0], Outcome::Down, "ping 127.0.0.1: no answer within 300 ms (3 attempts)");
    assert_says(&verdicts[1], Outcome::Down, "ping ::1: no answer within 300 ms (3 attempts)");
    assert!(verdicts.iter().all(|verdict| verdict.took >= Duration::from_millis(300)));
}

/// The second attempt has its own share of the deadline, and its answer counts.
#[test]
fn a_later_attempt_may_succeed() {
    let verdict = in_own_network(async || {
        answer_no_echo();
        let checker = Checker::new().unwrap();
        let probe = ping("127.0.0.1", PATIENCE, 10);
        let recover = async {
            // Once sent, the first request is lost; its share of the deadline has not passed yet.
            tokio::time::sleep(Duration::from_millis(100)).await;
            std::fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "0").unwrap();
        };
        tokio::join!(checker.run(&probe), recover).0
    });
    let Some(verdict) = verdict else { return skip("a network namespace and `ip` are needed, so root") };
    assert_says(&verdict, Outcome::Up, "ping 127.0.0.1: answered at attempt ");
}

#[test]
fn no_way_to_the_server_is_down_at_the_deadline() {
    let verdicts = in_own_network(async || {
        // Only the loopback interface exists, so there is no route.
        [run(&ping("10.1.2.3", IMPATIENCE, 1)).await, run(&ping("fd00::3", IMPATIENCE, 1)).await]
    });
    let Some([v4, v6]) = verdicts else { return skip("a network namespace and `ip` are needed, so root") };
    assert_says(&v4, Outcome::Down, "ping 10.1.2.3: network is unreachable");
    assert_says(&v6, Outcome::Down, "ping fd00::3: ");
}

#[test]
fn without_the_right_nothing_is_known() {
    const NAME: &str = "check::tests::ping::without_the_right_nothing_is_known";
    if std::env::var_os(AS_NOBODY).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let verdict = runtime.block_on(run(&ping("127.0.0.1", PATIENCE, 1)));
        println!("unknown: {}: {}", verdict.is_unknown(), verdict.reason);
        return;
    }
    // Run this test binary as a user without privileges.
    let child = Command::new("/proc/self/exe")
        .args(["--exact", NAME, "--nocapture"])
        .env(AS_NOBODY, "1")
        .uid(65534)
        .gid(65534)
        .output();
    let Ok(output) = child else { return skip("only root can change the user") };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() || text.contains("ping 127.0.0.1: answered") {
        return skip("every user may ping here, or other users cannot run this file");
    }
    assert!(
        text.contains("unknown: true: ping 127.0.0.1: this process is not permitted to send pings"),
        "{text}"
    );
    assert!(text.contains("CAP_NET_RAW") && text.contains("net.ipv4.ping_group_range"), "{text}");
}
