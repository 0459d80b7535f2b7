//! A host and a port in one text, as a Host header has them (RFC 9112, 3.2).

/// The host without its port and without brackets: `www.example.net:80`, `[2001:db8::1]:80`, `2001:db8::1`.
#[must_use]
pub fn without_port(text: &str) -> &str {
    if let Some((host, _)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host;
    }
    match text.split_once(':') {
        // An IPv6 address without brackets has more than one colon.
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::without_port;

    #[test]
    fn the_host_loses_its_port_and_brackets() {
        for (text, expected) in [
            ("www.example.net", "www.example.net"),
            ("www.example.net:8080", "www.example.net"),
            ("www.example.net:", "www.example.net"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::1", "::1"),
            ("a:b", "a:b"),
        ] {
            assert_eq!(without_port(text), expected, "{text}");
        }
    }
}
