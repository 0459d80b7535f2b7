//! Recognises the configuration of other load balancers, which gets one explanation instead of one for each line.

/// A program whose configuration this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ForeignProgram {
    Keepalived,
    HaProxy,
}

/// Words with which a block of keepalived begins.
const KEEPALIVED: &[&str] = &[
    "virtual_server",
    "virtual_server_group",
    "real_server",
    "vrrp_instance",
    "vrrp_sync_group",
    "global_defs",
];

/// Words with which a section of HAProxy begins.
const HAPROXY: &[&str] = &["global", "defaults", "frontend", "backend", "listen", "peers", "resolvers"];

/// What to do about a text that has the syntax of another program. None where it has not.
#[must_use]
pub(super) fn advice(text: &str) -> Option<String> {
    let name = match program(text)? {
        ForeignProgram::Keepalived => "keepalived",
        ForeignProgram::HaProxy => "HAProxy",
    };
    Some(format!(
        "this is the syntax of {name}; ldirectord.cf has a line `virtual=ADDRESS:PORT` for each service and below it, indented, \
         lines such as `real=ADDRESS:PORT gate`"
    ))
}

fn program(text: &str) -> Option<ForeignProgram> {
    let words = || text.lines().filter_map(|line| Some((line, line.split_ascii_whitespace().next()?)));
    if words().any(|(_, word)| {
        word.starts_with("virtual=")
            || word.starts_with("virtual6=")
            || ["virtual", "virtual6"].contains(&word)
    }) {
        return None;
    }
    if words().any(|(line, word)| line.trim_end().ends_with('{') && KEEPALIVED.contains(&word)) {
        return Some(ForeignProgram::Keepalived);
    }
    let sections = words().filter(|(line, word)| line.starts_with(*word) && HAPROXY.contains(word)).count();
    let has_lines = words().any(|(_, word)| ["server", "bind", "default_backend"].contains(&word));
    (sections > 0 && has_lines).then_some(ForeignProgram::HaProxy)
}

#[cfg(test)]
mod tests {
    use super::{ForeignProgram, program};

    #[test]
    fn the_syntax_of_other_programs_is_recognised() {
        for (text, expected) in [
            ("virtual_server 10.0.0.1 80 {\n  delay_loop 6\n}\n", Some(ForeignProgram::Keepalived)),
            ("vrrp_instance VI_1 {\n}\n", Some(ForeignProgram::Keepalived)),
            (
                "defaults\n  mode tcp\nbackend b\n  server s1 10.0.0.2:80 check\n",
                Some(ForeignProgram::HaProxy),
            ),
            ("virtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\nglobal\n  server x\n", None),
            ("global\n", None),
            ("chektimeout=3\n", None),
        ] {
            assert_eq!(program(text), expected, "{text}");
        }
    }
}
