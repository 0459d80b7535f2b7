//! `[http]`: where the daemon listens, and for which host names.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// The place of the daemon's name in the path of a socket.
const NAME: &str = "%n";

/// `[http]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Where the daemon listens.
    pub listen: HttpAddress,
    /// Accepted host names, in addition to those of this machine. In lower case.
    #[serde(deserialize_with = "hosts")]
    pub hosts: Vec<String>,
}

/// Where a daemon listens for HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HttpAddress {
    /// Nowhere.
    #[default]
    Off,
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl HttpAddress {
    /// The address of the daemon of this name: `%n` in a path is replaced.
    #[must_use]
    pub fn of_instance(&self, name: &str) -> HttpAddress {
        match self {
            // The path came from a text.
            HttpAddress::Unix(path) => HttpAddress::Unix(path.to_string_lossy().replace(NAME, name).into()),
            other => other.clone(),
        }
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpAddress::Off => Ok(()),
            HttpAddress::Tcp(address) => address.fmt(f),
            HttpAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for HttpAddress {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<HttpAddress, D::Error> {
        let text = String::deserialize(value)?;
        let wrong = |why: &str| Err(D::Error::custom(format!("\"{text}\" is not valid: {why}")));
        if text.is_empty() {
            return Ok(HttpAddress::Off);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.starts_with('/') && !path.ends_with('/') {
                true => Ok(HttpAddress::Unix(path.into())),
                false => wrong("after unix: must be an absolute path"),
            };
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() > 0 => Ok(HttpAddress::Tcp(address)),
            _ if text.contains(NAME) => {
                wrong("%n is possible only in the path of a Unix socket (unix:/PATH)")
            }
            _ => wrong(
                "must be an IP address and a port, such as \"127.0.0.1:9754\" or \"[::1]:9754\", or \"unix:/PATH\"",
            ),
        }
    }
}

/// Reads a list of names. The environment has no lists, so a text with commas is one.
fn hosts<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        One(String),
        Many(Vec<String>),
    }
    let names = match Names::deserialize(value) {
        Ok(Names::One(text)) => text.split(',').map(|name| name.trim().to_owned()).collect(),
        Ok(Names::Many(names)) => names,
        Err(_) => {
            return Err(D::Error::custom("must be a list of host names, such as [\"lb1.example.net\"]"));
        }
    };
    let names = names.into_iter().filter(|name| !name.is_empty());
    names
        .map(|name| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            match name.chars().all(is_part) {
                true => Ok(name.trim_end_matches('.').to_ascii_lowercase()),
                false => {
                    let why = "must be host names without a port, such as [\"lb1.example.net\"]";
                    Err(D::Error::custom(format!("\"{name}\" is not valid: {why}")))
                }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<HttpSettings, String> {
        let source = config_file::File::from_str(text, config_file::FileFormat::Toml);
        let built = config_file::Config::builder().add_source(source).build().unwrap();
        built.try_deserialize().map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_are_ports_or_unix_sockets() {
        let listen = |value: &str| read(&format!("listen = \"{value}\"")).map(|settings| settings.listen);
        assert_eq!(listen(""), Ok(HttpAddress::Off));
        for address in ["127.0.0.1:9754", "[::1]:80", "0.0.0.0:9754", "[::]:9754"] {
            assert_eq!(listen(address), Ok(HttpAddress::Tcp(address.parse().unwrap())));
            assert_eq!(listen(address).unwrap().to_string(), address);
        }
        let socket = listen("unix:/run/x/%n.http.sock").unwrap();
        let of = socket.of_instance("web.cf");
        assert_eq!(of, HttpAddress::Unix("/run/x/web.cf.http.sock".into()));
        assert_eq!(of.to_string(), "unix:/run/x/web.cf.http.sock");
        for wrong in
            ["9754", ":9754", "localhost:9754", "::1:80", "127.0.0.1:0", "127.0.0.1:99999", "unix:run"]
        {
            let error = listen(wrong).unwrap_err();
            assert!(error.contains(&format!("\"{wrong}\" is not valid: ")), "{wrong}: {error}");
        }
        assert!(listen("127.0.0.1:%n").unwrap_err().contains("only in the path"));
        assert!(listen("unix:/run/").unwrap_err().contains("absolute path"));
    }

    #[test]
    fn hosts_are_a_list_or_a_text_with_commas() {
        let hosts = |value: &str| read(&format!("hosts = {value}")).map(|settings| settings.hosts);
        assert_eq!(hosts("[]"), Ok(vec![]));
        assert_eq!(hosts("\"\""), Ok(vec![]));
        assert_eq!(hosts("[\"LB1.example.net.\"]"), Ok(vec!["lb1.example.net".to_owned()]));
        assert_eq!(hosts("\"a.example, b\""), Ok(vec!["a.example".to_owned(), "b".to_owned()]));
        for wrong in ["[\"lb1:80\"]", "[\"http://lb1/\"]", "\"*\""] {
            assert!(hosts(wrong).unwrap_err().contains("host names without a port"), "{wrong}");
        }
        assert!(hosts("{ a = 1 }").unwrap_err().contains("must be a list of host names"));
    }
}
