//! Requests and their answers over one socket.
//!
//! The kernel carries a request out while it is being sent, so all answers are there when `send` returns.

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_packet_generic::GenlHeader;
use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::error::Error;
use crate::wire::Request;
use crate::wire::message::{Body, Message, Refusal, messages, put_request};

/// How many requests are sent at once. An answer occupies about 800 bytes of the receive buffer, and the
/// smallest that Linux has by default, 208 KiB, loses answers from 257 on.
pub(super) const BATCH: usize = 64;

/// The size of the receive buffer that is asked for, in bytes.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The longest that one `recv` gives, in bytes: the kernel makes dumps in pieces of at most 32 KiB.
const DATAGRAM: usize = 64 << 10;

/// How long an answer may take, in seconds. It is there already; this guards against a kernel that forgets.
const PATIENCE: i64 = 5;

/// Why a request came to nothing.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// The kernel said no.
    Refused(Refusal),
    /// There was no answer that could be used.
    Failed(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => Self::from_errno(refusal.errno, refusal.message),
            Failure::Failed(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A socket that is connected to the kernel, so that nobody else's messages get in.
pub(super) struct Channel {
    socket: Socket,
    sequence: u32,
    /// What the last `recv` gave.
    received: Vec<u8>,
    /// Whether answers may be left over from an exchange that was given up.
    leftovers: bool,
}

impl Channel {
    /// Opens a socket in the network namespace of the calling thread.
    pub(super) fn open() -> Result<Self, Error> {
        let socket = Socket::new(NETLINK_GENERIC).map_err(os_error)?;
        // Without privileges the limit of the system (net.core.rmem_max) holds, and it is enough for a batch.
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER))
            .map_err(errno_error)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE)).map_err(errno_error)?;
        // Old kernels do not know these two; then errors come without words and repeat the request.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        socket.connect(&SocketAddr::new(0, 0)).map_err(os_error)?;
        Ok(Self { socket, sequence: 0, received: Vec::with_capacity(DATAGRAM), leftovers: false })
    }

    /// Sends at most [`BATCH`] requests at once and gives the end of each; `data` gets what comes before it.
    pub(super) fn exchange(
        &mut self,
        family: u16,
        requests: &[Request],
        mut data: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Vec<Result<(), Failure>> {
        let mut ends: Vec<Option<Result<(), Failure>>> = vec![None; requests.len()];
        let failure = self.send_and_receive(family, NLM_F_ACK, requests, |index, message| {
            let Some(slot) = ends.get_mut(index) else { return Ok(false) };
            match message.body {
                Body::End(end) => *slot = Some(end.map_err(Failure::Refused)),
                Body::Data(bytes) => data(bytes)?,
                Body::Nothing => {}
            }
            Ok(ends.iter().all(Option::is_some))
        });
        let error = failure.err().unwrap_or(Error::NoAnswer);
        ends.into_iter().map(|end| end.unwrap_or(Err(Failure::Failed(error.clone())))).collect()
    }

    /// Sends one request and gives its end; `data` gets what comes before it.
    pub(super) fn ask(
        &mut self,
        family: u16,
        request: Request,
        data: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Failure> {
        let end = self.exchange(family, &[request], data).pop();
        end.unwrap_or(Err(Failure::Failed(Error::NoAnswer)))
    }

    /// Asks for a list; `data` gets each entry.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the kernel noticed that the list changed meanwhile.
    pub(super) fn dump(
        &mut self,
        family: u16,
        request: Request,
        mut data: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Failure> {
        let mut interrupted = false;
        let mut end = Ok(());
        self.send_and_receive(family, NLM_F_DUMP, &[request], |_, message| {
            interrupted |= message.interrupted;
            match message.body {
                Body::End(last) => {
                    end = last.map_err(Failure::Refused);
                    return Ok(true);
                }
                Body::Data(bytes) => data(bytes)?,
                Body::Nothing => {}
            }
            Ok(false)
        })?;
        end?;
        if interrupted { Err(Error::Interrupted.into()) } else { Ok(()) }
    }

    /// Sends requests and hands each message over with the index of the request that it answers, until
    /// `take` says that it has all.
    fn send_and_receive(
        &mut self,
        family: u16,
        flags: u16,
        requests: &[Request],
        mut take: impl FnMut(usize, Message<'_>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        self.discard_leftovers();
        // Until all is well, what is still to come must not be taken for an answer to the next request.
        self.leftovers = true;
        let first = self.sequence.wrapping_add(1);
        self.send(family, flags, requests)?;
        // After a loss no more answers are coming; those that are there still count.
        let mut lost = false;
        loop {
            match self.receive(lost) {
                Err(Errno::ENOBUFS) => lost = true,
                Err(Errno::EAGAIN) if lost => return Err(Error::AnswersLost),
                Err(errno) => return Err(errno_error(errno)),
                Ok(()) => {
                    for message in messages(&self.received) {
                        let message = message?;
                        let index = message.sequence.wrapping_sub(first) as usize;
                        if index < requests.len() && take(index, message)? {
                            self.leftovers = false;
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    fn send(&mut self, family: u16, flags: u16, requests: &[Request]) -> Result<(), Error> {
        let mut buffer = Vec::new();
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            let header = GenlHeader { cmd: request.command, version: 1 };
            put_request(
                &mut buffer,
                family,
                NLM_F_REQUEST | flags,
                self.sequence,
                header,
                &request.attributes,
            );
        }
        loop {
            match self.socket.send(&buffer, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(os_error(error)),
            }
        }
    }

    /// Receives once into `received`.
    fn receive(&mut self, only_what_is_there: bool) -> Result<(), Errno> {
        let wait = if only_what_is_there { MsgFlags::MSG_DONTWAIT } else { MsgFlags::empty() };
        loop {
            self.received.clear();
            match self.socket.recv(&mut self.received, (wait | MsgFlags::MSG_TRUNC).bits()) {
                // With MSG_TRUNC the whole length is given, also when only a part of it was there to be taken.
                Ok(length) if length > self.received.len() => return Err(Errno::EMSGSIZE),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(errno(&error)),
            }
        }
    }

    /// Reads away what an exchange that was given up has left, also the rest of a dump, which would keep the
    /// kernel from starting another.
    fn discard_leftovers(&mut self) {
        if !self.leftovers {
            return;
        }
        while let Ok(()) | Err(Errno::ENOBUFS | Errno::EMSGSIZE) = self.receive(true) {}
        self.leftovers = false;
    }
}

fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

fn os_error(error: std::io::Error) -> Error {
    errno_error(errno(&error))
}

fn errno_error(errno: Errno) -> Error {
    Error::from_errno(errno as i32, None)
}
