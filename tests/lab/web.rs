//! A small web server that names itself in its answers, and that can be stopped, frozen and started again.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};

use crate::netns::NetNs;

/// A web server on port 80 of every address of its network namespace, IPv4 and IPv6.
pub struct Web {
    netns: Arc<NetNs>,
    site: Arc<Site>,
    listening: Option<(TcpListener, JoinHandle<()>)>,
}

/// A request as the server received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The path.
    pub path: String,
    /// The header `Host`, empty if missing.
    pub host: String,
}

/// Which requests get no answer for now.
#[derive(PartialEq, Eq)]
enum Frozen {
    None,
    All,
    Path(String),
}

struct Site {
    name: String,
    pages: Mutex<BTreeMap<String, String>>,
    asked: Mutex<Vec<Asked>>,
    frozen: Mutex<Frozen>,
    thawed: Condvar,
}

impl Web {
    /// Starts the server. Its only page is `/` with its name.
    pub fn start_in(netns: &Arc<NetNs>) -> Self {
        let name = netns.name().to_owned();
        let pages = Mutex::new(BTreeMap::from([("/".to_owned(), name.clone())]));
        let site = Site {
            name,
            pages,
            asked: Mutex::default(),
            frozen: Mutex::new(Frozen::None),
            thawed: Condvar::new(),
        };
        let mut web = Self { netns: netns.clone(), site: Arc::new(site), listening: None };
        web.start();
        web
    }

    /// Listens (again).
    pub fn start(&mut self) {
        if self.listening.is_some() {
            return;
        }
        let listener = self.netns.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 80))).unwrap();
        let (own, site) = (listener.try_clone().unwrap(), self.site.clone());
        let thread = thread::spawn(move || {
            // The shutdown of the listener makes `accept` fail.
            while let Ok((stream, _)) = own.accept() {
                let site = site.clone();
                thread::spawn(move || site.answer(stream));
            }
        });
        self.listening = Some((listener, thread));
    }

    /// Stops listening: connections are refused when this returns.
    pub fn stop(&mut self) {
        if let Some((listener, thread)) = self.listening.take() {
            shutdown(listener.as_raw_fd(), Shutdown::Both).unwrap();
            thread.join().unwrap();
        }
    }

    /// Accepts connections without an answer, until `thaw`.
    pub fn freeze(&self) {
        *self.site.frozen.lock().unwrap() = Frozen::All;
    }

    /// Leaves requests for this path without an answer, until `thaw`.
    pub fn hold(&self, path: &str) {
        *self.site.frozen.lock().unwrap() = Frozen::Path(path.to_owned());
    }

    /// Answers again, including requests that arrived meanwhile.
    pub fn thaw(&self) {
        *self.site.frozen.lock().unwrap() = Frozen::None;
        self.site.thawed.notify_all();
    }

    /// Adds a page at `path`.
    pub fn page(&self, path: &str, body: &str) {
        self.site.pages.lock().unwrap().insert(path.to_owned(), body.to_owned());
    }

    /// Removes the page at `path`: it is a 404 from now on.
    pub fn remove_page(&self, path: &str) {
        self.site.pages.lock().unwrap().remove(path);
    }

    /// All requests so far, with and without an answer.
    pub fn asked(&self) -> Vec<Asked> {
        self.site.asked.lock().unwrap().clone()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.thaw();
        self.stop();
    }
}

impl Site {
    /// Serves one request. Errors are ignored: the client notices them.
    fn answer(&self, mut stream: TcpStream) {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let Some(asked) = read_request(&stream) else { return };
        self.asked.lock().unwrap().push(asked.clone());
        {
            let is_held = |frozen: &mut Frozen| match frozen {
                Frozen::None => false,
                Frozen::All => true,
                Frozen::Path(path) => *path == asked.path,
            };
            let frozen = self.frozen.lock().unwrap();
            drop(self.thawed.wait_while(frozen, is_held).unwrap());
        }
        let page = self.pages.lock().unwrap().get(&asked.path).cloned();
        let (status, body) =
            page.map_or(("404 Not Found", "no such page".to_owned()), |body| ("200 OK", body));
        let reply = format!(
            "HTTP/1.1 {status}\r\nServer: {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.name,
            body.len()
        );
        let _ = stream.write_all(reply.as_bytes());
    }
}

fn read_request(stream: &TcpStream) -> Option<Asked> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut host = String::new();
    loop {
        let line = lines.next()?.ok()?;
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("host") => value.trim().clone_into(&mut host),
            None if line.is_empty() => return Some(Asked { path, host }),
            _ => {}
        }
    }
}
