//! Services by firewall mark: whether a rule of the firewall sets the mark.

use std::collections::BTreeSet;

use super::{Finding, Machine, Topic, names, services};
use crate::spec::Spec;
use crate::value::{Family, VirtualId};

/// A finding for each mark that no rule sets.
pub(super) fn judge(spec: &Spec, machine: &Machine) -> Vec<Finding> {
    let wanted: BTreeSet<u32> = spec.virtuals().iter().filter_map(|v| mark(v.id)).collect();
    if machine.dry_run || wanted.is_empty() {
        return Vec::new();
    }
    let list = |marks: &[u32]| marks.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let facts = match &machine.marks {
        Ok(facts) => facts,
        Err(why) => {
            let all: Vec<u32> = wanted.into_iter().collect();
            let what = format!("whether a rule sets mark {}", list(&all));
            return vec![Finding::unseen(Topic::Marks, &what, why)];
        }
    };
    let asked = facts.asked.join(" and ");
    let (set, unset): (Vec<u32>, Vec<u32>) = wanted.iter().partition(|mark| facts.set.contains(mark));
    let mut found = Vec::new();
    if !set.is_empty() {
        found.push(Finding::ok(Topic::Marks, format!("a rule sets {} ({asked})", list(&set))));
    }
    if !unset.is_empty() && facts.computed {
        let what = format!("no rule names mark {}, but one sets a computed mark ({asked})", list(&unset));
        found.push(Finding::note(Topic::Marks, what));
    } else if !unset.is_empty() && !facts.asked.iter().any(|program| program == "nft") {
        let what = format!("no rule of iptables sets mark {}", list(&unset));
        found.push(Finding::note(
            Topic::Marks,
            format!("{what}; nftables could not be looked at: nft gives no answer"),
        ));
    } else if let [first, ..] = unset[..] {
        let users = services(spec, |v| mark(v.id).is_some_and(|mark| unset.contains(&mark)));
        let ip = if users.iter().all(|v| v.id.family() == Family::V6) { "ip6" } else { "ip" };
        let rule = format!(
            "nft add rule {ip} mangle prerouting {ip} daddr ADDRESS tcp dport PORT meta mark set {first}"
        );
        found.push(
            Finding::warning(Topic::Marks, format!("no rule sets mark {} ({asked})", list(&unset)))
                .why(format!("without the mark no packet of a client belongs to {}", names(&users)))
                .remedy(rule),
        );
    }
    found
}

fn mark(id: VirtualId) -> Option<u32> {
    match id {
        VirtualId::Mark { mark, .. } => Some(mark),
        VirtualId::Address { .. } => None,
    }
}
