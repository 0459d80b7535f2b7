//! Servers that repeat what they are told in their answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// The protocol of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Ftp,
    Imap,
    Pop,
    Ldap,
    Mysql,
    Pgsql,
    /// A mail relay.
    Relay,
}

impl Answer {
    /// Those that are checked.
    pub const ALL: [Answer; 6] =
        [Answer::Ftp, Answer::Imap, Answer::Pop, Answer::Ldap, Answer::Mysql, Answer::Pgsql];

    /// The value of `service`.
    pub fn service(self) -> &'static str {
        match self {
            Answer::Ftp => "ftp",
            Answer::Imap => "imap",
            Answer::Pop => "pop",
            Answer::Ldap => "ldap",
            Answer::Mysql => "mysql",
            Answer::Pgsql => "pgsql",
            Answer::Relay => "smtp",
        }
    }

    /// Starts it, for as long as the test process runs.
    pub fn serve(self) -> SocketAddr {
        serve(move |stream| match self {
            Answer::Ldap => ldap(stream),
            Answer::Pgsql => pgsql(stream),
            Answer::Mysql => mysql(stream),
            _ => self.lines(stream),
        })
    }

    /// Answers lines with themselves.
    fn lines(self, mut stream: TcpStream) -> std::io::Result<()> {
        let greeting: &[u8] = match self {
            Answer::Imap => b"* OK imap\r\n",
            Answer::Pop => b"+OK pop\r\n",
            _ => b"220 here\r\n",
        };
        stream.write_all(greeting)?;
        for line in BufReader::new(stream.try_clone()?).lines() {
            let line = line?;
            let reply = match (self, line.split(' ').next().unwrap_or_default()) {
                (Answer::Relay, "EHLO") => "250-here\r\n250 AUTH PLAIN LOGIN".to_owned(),
                (Answer::Ftp, "USER") => "331 password".to_owned(),
                (Answer::Pop, "USER") => "+OK".to_owned(),
                (Answer::Pop, _) => format!("-ERR wrong: {line}"),
                (Answer::Imap, tag) => format!("{tag} NO wrong: {line}"),
                (_, "QUIT") => "221 bye".to_owned(),
                (Answer::Relay, "AUTH") => format!("535 wrong: {line}"),
                _ => format!("530 wrong: {line}"),
            };
            stream.write_all(format!("{reply}\r\n").as_bytes())?;
        }
        Ok(())
    }
}

fn serve(talk: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + Copy + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            thread::spawn(move || drop(talk(stream)));
        }
    });
    address
}

/// A web server whose status line, header and page repeat the request.
pub fn web() -> SocketAddr {
    serve(|mut stream| {
        let mut head = [0; 4096];
        let length = stream.read(&mut head)?;
        let asked = String::from_utf8_lossy(&head[..length]).into_owned();
        let login = asked.lines().find(|line| line.starts_with("Authorization")).unwrap_or("none");
        let length = asked.len();
        write!(
            stream,
            "HTTP/1.1 500 {login}\r\nX-Asked: {login}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{asked}"
        )
    })
}

/// Refuses a bind with the request as its message.
fn ldap(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 256];
    let length = stream.read(&mut request)?;
    let text: String = request[..length]
        .iter()
        .map(|byte| char::from(*byte))
        .filter(char::is_ascii_graphic)
        .take(90)
        .collect();
    let text = text.as_bytes();
    let [whole, result] = [text.len() + 12, text.len() + 7].map(|length| u8::try_from(length).unwrap());
    let message = u8::try_from(text.len()).unwrap();
    stream.write_all(&[0x30, whole, 2, 1, request[4], 0x61, result, 10, 1, 49, 4, 0, 4, message])?;
    stream.write_all(text)
}

/// Asks for the password in plain text, and refuses it with itself as the message.
fn pgsql(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 512];
    // A request for TLS has 8 bytes.
    while stream.read(&mut request)? == 8 {
        stream.write_all(b"N")?;
    }
    stream.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3])?;
    let length = stream.read(&mut request)?;
    let password = request.get(5..length.saturating_sub(1)).unwrap_or_default();
    let mut fields = b"SFATAL\0C28P01\0Mwrong: ".to_vec();
    fields.extend_from_slice(password);
    fields.extend_from_slice(b"\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap();
    stream.write_all(&[&[b'E'][..], &length.to_be_bytes(), &fields].concat())
}

/// Asks for the password in plain text, and refuses it with itself as the message.
fn mysql(mut stream: TcpStream) -> std::io::Result<()> {
    let mut greeting = vec![10];
    greeting.extend_from_slice(b"8.0.0\0\x01\0\0\0abcdefgh\0");
    // Capabilities: protocol 4.1, secure connection, authentication by plug-in.
    greeting.extend_from_slice(&[0, 0x82, 33, 2, 0, 8, 0, 21]);
    greeting.extend_from_slice(&[0; 10]);
    greeting.extend_from_slice(b"abcdefghijkl\0mysql_native_password\0");
    packet(&mut stream, 0, &greeting)?;
    let mut request = [0; 512];
    let _login = stream.read(&mut request)?;
    packet(&mut stream, 2, b"\xfemysql_clear_password\0")?;
    let length = stream.read(&mut request)?;
    let told = request.get(4..length).unwrap_or_default();
    packet(&mut stream, 4, &[b"\xff\x15\x04#28000wrong: ", told].concat())
}

fn packet(stream: &mut TcpStream, number: u8, payload: &[u8]) -> std::io::Result<()> {
    let length = u8::try_from(payload.len()).unwrap();
    stream.write_all(&[&[length, 0, 0, number], payload].concat())
}
