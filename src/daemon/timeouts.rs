//! `timeouts`: for how long the kernel keeps idle connections. They are set where they differ, and nothing is written else.

use ipvs_rs::{Ipvs, Timeouts};

use crate::notify::Notice;

/// Makes the kernel's time-outs what they should be. One that is wanted as 0 stays as it is.
pub(super) fn keep(ipvs: &mut dyn Ipvs, wanted: Timeouts) -> Option<Notice> {
    let found = match ipvs.timeouts() {
        Ok(found) => found,
        Err(error) => return Some(refused(wanted, &error)),
    };
    if !differ(wanted, found) {
        return None;
    }
    match ipvs.set_timeouts(wanted) {
        Ok(()) => Some(Notice::TimeoutsSet { from: words(found), to: words(filled(wanted, found)) }),
        Err(error) => Some(refused(wanted, &error)),
    }
}

fn differ(wanted: Timeouts, found: Timeouts) -> bool {
    filled(wanted, found) != found
}

fn filled(wanted: Timeouts, found: Timeouts) -> Timeouts {
    let of = |wanted: u32, found: u32| if wanted == 0 { found } else { wanted };
    Timeouts {
        tcp: of(wanted.tcp, found.tcp),
        tcp_fin: of(wanted.tcp_fin, found.tcp_fin),
        udp: of(wanted.udp, found.udp),
    }
}

fn refused(wanted: Timeouts, error: &ipvs_rs::Error) -> Notice {
    let operation = format!("set the time-outs of idle connections to {}", words(wanted));
    Notice::Refused { operation, error: error.to_string() }
}

fn words(timeouts: Timeouts) -> String {
    let Timeouts { tcp, tcp_fin, udp } = timeouts;
    format!("tcp {tcp} s, tcpfin {tcp_fin} s, udp {udp} s")
}

#[cfg(test)]
mod tests {
    use ipvs_rs::Memory;

    use super::*;

    #[test]
    fn only_timeouts_that_differ_are_set() {
        let mut memory = Memory::new();
        let wanted = Timeouts { tcp: 7200, tcp_fin: 0, udp: 300 };
        let told = keep(&mut memory, wanted).unwrap().to_string();
        assert_eq!(
            told,
            "Set the kernel's time-outs of idle connections to tcp 7200 s, tcpfin 120 s, udp 300 s (before: tcp 900 s, tcpfin 120 s, \
             udp 300 s)"
        );
        assert_eq!(memory.timeouts(), Ok(Timeouts { tcp: 7200, tcp_fin: 120, udp: 300 }));
        let writes = memory.operations();
        assert_eq!(keep(&mut memory, wanted), None);
        assert_eq!(memory.operations(), writes, "a time-out that is right costs no write");
        memory.set_timeouts(Timeouts { tcp: 1, ..Timeouts::default() }).unwrap();
        memory.fail_next(1, ipvs_rs::Error::NoSuchService);
        assert!(keep(&mut memory, wanted).unwrap().is_refusal());
    }
}
