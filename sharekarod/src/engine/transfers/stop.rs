//! Why a transfer that comes in stops before its end: what disks, sessions and the sender's answers turn into.

use sharekaro_proto::{
    ErrorBody, ErrorCode,
    wire::{Reply, Status, reply},
};

use super::sources::with_causes;
use crate::{files, net::SessionError};

/// Why a pull stopped before its end.
pub enum Stop {
    /// The session broke.
    Lost,
    /// The sender paused it.
    Paused,
    /// The sender cancelled it.
    Cancelled,
    /// What the sender says makes no sense, and will not later.
    Senseless(ErrorBody),
    /// It cannot go on now.
    Wait(ErrorBody),
}

impl From<SessionError> for Stop {
    fn from(_: SessionError) -> Self {
        Self::Lost
    }
}

impl From<files::Error> for Stop {
    fn from(error: files::Error) -> Self {
        local(with_causes(&error))
    }
}

impl From<ErrorBody> for Stop {
    fn from(error: ErrorBody) -> Self {
        Self::Wait(error)
    }
}

/// Work that may block, on a thread that may.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Stop> + Send + 'static) -> Result<T, Stop> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(Stop::Wait(ErrorBody::new(ErrorCode::Unexpected, "disk work was interrupted"))),
    }
}

/// A reply that grants what was asked.
pub fn granted(reply: Reply) -> Result<Reply, Stop> {
    match reply.status() {
        Status::Ok => Ok(reply),
        Status::Paused => Err(Stop::Paused),
        Status::Cancelled => Err(Stop::Cancelled),
        Status::Busy => Err(Stop::Wait(
            ErrorBody::new(ErrorCode::LocalFile, format!("the sender cannot read it now: {}", reply.message))
                .hint("it goes on by itself when it can"),
        )),
        _ => Err(Stop::Wait(
            ErrorBody::new(ErrorCode::NotFound, format!("the sender does not give it: {}", reply.message))
                .hint("it is tried again; `sharectl transfer cancel` ends it"),
        )),
    }
}

/// Our disk refused; it is tried again. Told to the sender, whose own files are another matter.
pub fn local(message: String) -> Stop {
    Stop::Wait(ErrorBody::new(ErrorCode::NoSpace, message).hint("it goes on by itself when it can"))
}

/// What a reply has to carry.
pub fn odd() -> Stop {
    Stop::Wait(ErrorBody::new(ErrorCode::Integrity, "the sender answered something else than it was asked"))
}

/// The kind of a reply, where it is the one that belongs there.
pub fn kind_of<T>(reply: Reply, pick: impl FnOnce(reply::Kind) -> Option<T>) -> Result<T, Stop> {
    reply.kind.and_then(pick).ok_or_else(odd)
}
