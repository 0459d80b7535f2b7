//! Requests and answers over one socket.
//!
//! The kernel executes a request while it is sent, so all answers are available when `send` returns.

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

/// Number of requests that are sent at once. An answer occupies about 800 bytes of the receive buffer. The smallest
/// default of Linux, 208 KiB, loses answers from 257 on.
pub(super) const BATCH: usize = 64;

/// Requested size of the receive buffer, in bytes.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Maximum length of one `recv`, in bytes: the kernel sends dumps in pieces of at most 32 KiB.
const DATAGRAM: usize = 64 << 10;

/// Time limit for an answer, in seconds. Answers are available at once; this guards against a kernel that sends none.
const PATIENCE: i64 = 5;

/// Why a request failed.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// The kernel refused it.
    Refused(Refusal),
    /// There was no usable answer.
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

/// A socket that is connected to the kernel, so that it receives no messages from other processes.
pub(super) struct Channel {
    socket: Socket,
    sequence: u32,
    /// Data of the last `recv`.
    received: Vec<u8>,
    /// Whether answers of an abandoned exchange may be left.
    leftovers: bool,
}

impl Channel {
    /// Opens a socket in the network namespace of the calling thread.
    pub(super) fn open() -> Result<Self, Error> {
        let socket = Socket::new(NETLINK_GENERIC).map_err(os_error)?;
        // Without privileges the limit of the system (net.core.rmem_max) applies, which is enough for a batch.
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER))
            .map_err(errno_error)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE)).map_err(errno_error)?;
        // Old kernels do not support these two. Their errors have no text and repeat the request.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        socket.connect(&SocketAddr::new(0, 0)).map_err(os_error)?;
        Ok(Self { socket, sequence: 0, received: Vec::with_capacity(DATAGRAM), leftovers: false })
    }

    /// Sends at most [`BATCH`] requests at once and returns the end of each. `data` gets the messages before the end.
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

    /// Sends one request and returns its end. `data` gets the messages before the end.
    pub(super) fn ask(
        &mut self,
        family: u16,
        request: Request,
        data: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Failure> {
        let end = self.exchange(family, &[request], data).pop();
        end.unwrap_or(Err(Failure::Failed(Error::NoAnswer)))
    }

    /// Requests a list. `data` gets each entry.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the kernel reports that the list changed meanwhile.
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

    /// Sends requests and passes each message to `take` with the index of the request that it answers, until
    /// `take` reports that it has all.
    fn send_and_receive(
        &mut self,
        family: u16,
        flags: u16,
        requests: &[Request],
        mut take: impl FnMut(usize, Message<'_>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        self.discard_leftovers();
        // Until the exchange is complete, further messages must not be read as answers to the next request.
        self.leftovers = true;
        let first = self.sequence.wrapping_add(1);
        self.send(family, flags, requests)?;
        // After a loss no more answers arrive. Those that have arrived are still valid.
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
                // With MSG_TRUNC the result is the whole length, even if only a part was received.
                Ok(length) if length > self.received.len() => return Err(Errno::EMSGSIZE),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(errno(&error)),
            }
        }
    }

    /// Discards what is left of an abandoned exchange, including the rest of a dump, which would prevent the
    /// kernel from starting another one.
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

#[cfg(test)]
mod tests {
    //! The controller of generic netlink answers every process on every Linux, so it replaces IPVS in these tests.

    use netlink_packet_generic::constants::{CTRL_ATTR_FAMILY_NAME, CTRL_CMD_GETFAMILY, GENL_ID_CTRL};

    use super::*;
    use crate::wire::attribute::put_text;

    fn family(name: &str) -> Request {
        let mut request = Request::new(CTRL_CMD_GETFAMILY);
        put_text(&mut request.attributes, CTRL_ATTR_FAMILY_NAME, name);
        request
    }

    /// Whether the channel still answers correctly.
    fn assert_sound(channel: &mut Channel) {
        let mut number = None;
        let end = channel.ask(GENL_ID_CTRL, family("nlctrl"), |bytes| {
            number = Some(Request::decode_family(bytes)?);
            Ok(())
        });
        assert!(end.is_ok(), "{end:?}");
        assert_eq!(number, Some(GENL_ID_CTRL));
    }

    fn refused(end: &Result<(), Failure>) -> Option<&Refusal> {
        match end {
            Err(Failure::Refused(refusal)) => Some(refusal),
            _ => None,
        }
    }

    #[test]
    fn each_answer_finds_its_request() {
        let mut channel = Channel::open().unwrap();
        let mut requests = vec![family("nlctrl"); BATCH];
        requests[7] = family("no such family");
        requests[40] = family("a name of many more bytes than the sixteen that a family may have");
        let mut answers = 0;
        let ends = channel.exchange(GENL_ID_CTRL, &requests, |_| {
            answers += 1;
            Ok(())
        });
        assert_eq!(answers, BATCH - 2);
        assert_eq!(refused(&ends[7]).unwrap().errno, Errno::ENOENT as i32);
        // The text comes only with the kernel's extended acknowledgement.
        let refusal = refused(&ends[40]).unwrap();
        assert_eq!(refusal.errno, Errno::EINVAL as i32);
        assert!(refusal.message.as_ref().is_some_and(|words| words.contains("policy")), "{refusal:?}");
        assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), BATCH - 2);
        assert_sound(&mut channel);
    }

    #[test]
    fn lost_answers_are_told() {
        let mut channel = Channel::open().unwrap();
        setsockopt(&channel.socket, sockopt::RcvBuf, &4096).unwrap();
        let ends = channel.exchange(GENL_ID_CTRL, &vec![family("nlctrl"); BATCH], |_| Ok(()));
        assert_eq!(ends.len(), BATCH);
        assert!(ends[0].is_ok());
        assert!(matches!(ends[BATCH - 1], Err(Failure::Failed(Error::AnswersLost))), "{:?}", ends[BATCH - 1]);
        assert_sound(&mut channel);
    }

    #[test]
    fn a_list_is_read_to_its_end() {
        let mut channel = Channel::open().unwrap();
        let mut numbers = Vec::new();
        let end = channel.dump(GENL_ID_CTRL, Request::new(CTRL_CMD_GETFAMILY), |bytes| {
            numbers.push(Request::decode_family(bytes)?);
            Ok(())
        });
        assert!(end.is_ok(), "{end:?}");
        assert!(numbers.contains(&GENL_ID_CTRL));
        assert_sound(&mut channel);
    }

    #[test]
    fn a_list_that_was_given_up_is_not_taken_for_an_answer() {
        let mut channel = Channel::open().unwrap();
        for _ in 0..3 {
            let end = channel
                .dump(GENL_ID_CTRL, Request::new(CTRL_CMD_GETFAMILY), |_| Err(Error::malformed("enough")));
            assert!(matches!(end, Err(Failure::Failed(Error::Malformed { .. }))));
        }
        assert_sound(&mut channel);
    }
}
