//! Why sessions end and requests fail, as numbers on the wire and as types here.

use std::time::Duration;

use quinn::{ClosedStream, ConnectionError, ReadError, VarInt, WriteError};
use sharekaro_proto::wire::FrameError;

/// What the side that closes a session says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// Nothing more to say.
    Ok,
    /// Not wanted, or too many: the same word for both, so that who is blocked does not learn it.
    Refused,
    /// There is another session of the two.
    Duplicate,
    /// Too much waits for a side that does not read.
    Slow,
    /// The other broke the protocol.
    Protocol,
    /// The daemon ends.
    Shutdown,
    /// No common version.
    Version,
    /// A code of a later version.
    Other(u32),
}

impl Code {
    pub(super) fn number(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Ok => 0,
            Self::Refused => 1,
            Self::Duplicate => 2,
            Self::Slow => 3,
            Self::Protocol => 4,
            Self::Shutdown => 5,
            Self::Version => 6,
            Self::Other(number) => number,
        })
    }

    fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::Refused,
            2 => Self::Duplicate,
            3 => Self::Slow,
            4 => Self::Protocol,
            5 => Self::Shutdown,
            6 => Self::Version,
            other => Self::Other(u32::try_from(other).unwrap_or(u32::MAX)),
        }
    }
}

/// How a session ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// We closed it.
    ByUs,
    /// The peer closed it.
    ByPeer(Code),
    /// The peer was not heard for too long, or came back without its memory of us.
    Vanished,
    /// The transport gave up; for the log.
    Broken(String),
}

impl From<ConnectionError> for Ended {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::LocallyClosed => Self::ByUs,
            ConnectionError::ApplicationClosed(close) => Self::ByPeer(Code::from_number(close.error_code.into_inner())),
            ConnectionError::TimedOut | ConnectionError::Reset => Self::Vanished,
            other => Self::Broken(other.to_string()),
        }
    }
}

/// Why a request got no reply, or a reply no body.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The session is over; nothing asked on it will be answered.
    #[error("the session ended: {0:?}")]
    Ended(Ended),
    /// The other side gave this one up.
    #[error("the peer gave the request up (code {0})")]
    GivenUp(u64),
    /// Nothing moved for too long.
    #[error("nothing arrived or left for {} s", .0.as_secs())]
    Stalled(Duration),
    /// What came is no frame of ours.
    #[error("the peer sent {0}")]
    Frame(#[from] FrameError),
    /// It ended before it was whole.
    #[error("the peer stopped in the middle")]
    CutShort,
    /// It goes on where it should have ended.
    #[error("the peer sent more than it announced")]
    Surplus,
    /// It says that it is longer than anything may be.
    #[error("the peer announced {claimed} bytes where {limit} are allowed")]
    TooLong {
        /// Bytes that it announced.
        claimed: u64,
        /// Bytes that are allowed.
        limit: usize,
    },
}

impl From<ConnectionError> for SessionError {
    fn from(error: ConnectionError) -> Self {
        Self::Ended(error.into())
    }
}

impl From<ReadError> for SessionError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::GivenUp(code.into_inner()),
            ReadError::ConnectionLost(error) => error.into(),
            // The others are about streams that we closed ourselves, or early data, which we do not use.
            _ => Self::CutShort,
        }
    }
}

impl From<WriteError> for SessionError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::GivenUp(code.into_inner()),
            WriteError::ConnectionLost(error) => error.into(),
            _ => Self::CutShort,
        }
    }
}

impl From<ClosedStream> for SessionError {
    fn from(_: ClosedStream) -> Self {
        Self::CutShort
    }
}
