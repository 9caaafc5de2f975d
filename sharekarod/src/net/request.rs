//! One question, one stream: asking it, reading it, answering it.

use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};
use sharekaro_proto::wire::{self, Reply, Request, Status};
use tokio::time::timeout;

use crate::net::{
    Body, SessionError, limits,
    stream::{Reader, Writer},
};

/// A request with what goes along with it.
#[derive(Clone, Debug)]
pub struct Ask {
    request: Request,
    body: Bytes,
    priority: i32,
    patience: Duration,
}

impl Ask {
    /// A request without a body, at priority 0, with half a minute for the first byte of the reply.
    pub fn new(request: Request) -> Self {
        Self { request, body: Bytes::new(), priority: 0, patience: limits::STALL }
    }

    /// Raw bytes that follow the request; the request itself says how many. At most `PAGE_MAX`.
    pub fn body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }

    /// Streams of a higher priority are sent first. Notes have 1000.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// How long the first byte of the reply may take.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl From<Request> for Ask {
    fn from(request: Request) -> Self {
        Self::new(request)
    }
}

/// Asks on a stream of its own and waits for the head of the reply.
pub(super) async fn ask(line: &Connection, ask: Ask) -> Result<(Reply, Body), SessionError> {
    let opened = timeout(limits::STALL, line.open_bi()).await;
    let (send, receive) = opened.map_err(|_| SessionError::Stalled(limits::STALL))??;
    let (mut writer, mut reader) = (Writer::new(send, line.clone()), Reader::new(receive, line.clone()));
    writer.set_priority(ask.priority);
    writer.write(wire::encode_frame(&ask.request).into()).await?;
    writer.write(ask.body).await?;
    writer.finish()?;

    let frame = reader.frame(wire::FRAME_MAX, ask.patience).await?.ok_or(SessionError::CutShort)?;
    let reply: Reply = wire::decode_frame(frame)?;
    let length = page_length(reply.body_len)?;
    Ok((reply, reader.into_body(length)))
}

fn page_length(claimed: u32) -> Result<usize, SessionError> {
    match usize::try_from(claimed) {
        Ok(length) if length <= wire::PAGE_MAX => Ok(length),
        _ => Err(SessionError::TooLong { claimed: claimed.into(), limit: wire::PAGE_MAX }),
    }
}

/// A request of the peer. Dropping it unanswered resets its stream.
pub struct Incoming {
    /// What is asked; its kind is there.
    pub request: Request,
    writer: Writer,
    reader: Option<Reader>,
}

impl Incoming {
    /// Reads a request from a stream that the peer opened. One of a later version is answered right here: `None`.
    pub(super) async fn read(line: &Connection, send: SendStream, receive: RecvStream, limit: usize) -> Result<Option<Self>, SessionError> {
        let (writer, mut reader) = (Writer::new(send, line.clone()), Reader::new(receive, line.clone()));
        let reading = timeout(limits::REQUEST_DEADLINE, reader.frame(limit, limits::REQUEST_DEADLINE)).await;
        let frame = reading.map_err(|_| SessionError::Stalled(limits::REQUEST_DEADLINE))??;
        let request: Request = wire::decode_frame(frame.ok_or(SessionError::CutShort)?)?;
        reader.take_end()?;
        let incoming = Self { request, writer, reader: Some(reader) };
        if incoming.request.kind.is_some() {
            return Ok(Some(incoming));
        }
        incoming.respond(Reply { status: Status::Unsupported.into(), ..Reply::default() }, None).await?;
        Ok(None)
    }

    /// The raw bytes after the request, of which it says that there are `length`. To be taken once; then it is empty.
    ///
    /// # Errors
    /// Where it claims more than `PAGE_MAX`.
    pub fn body(&mut self, length: u32) -> Result<Option<Body>, SessionError> {
        let length = page_length(length)?;
        Ok(self.reader.take().map(|reader| reader.into_body(length)))
    }

    /// Replies of a higher priority are sent first.
    pub fn set_priority(&self, priority: i32) {
        self.writer.set_priority(priority);
    }

    /// Returns when nobody waits for the answer any more: the peer gave the request up, or the session ended.
    pub fn given_up(&self) -> impl Future<Output = ()> + Send + use<> {
        self.writer.stopped()
    }

    /// Answers; the reply's `body_len` is set to that of `body`. Returns when all of it is on its way, which says nothing
    /// about its arrival.
    ///
    /// # Errors
    /// Where the peer gave the request up or the session ended: nobody waits for the answer any more.
    pub async fn respond(mut self, mut reply: Reply, body: Option<Bytes>) -> Result<(), SessionError> {
        let body = body.unwrap_or_default();
        if body.len() > wire::PAGE_MAX {
            return Err(SessionError::TooLong { claimed: body.len() as u64, limit: wire::PAGE_MAX });
        }
        reply.body_len = u32::try_from(body.len()).unwrap_or(0);
        self.writer.write(wire::encode_frame(&reply).into()).await?;
        self.writer.write(body).await?;
        self.writer.finish()
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("request", &self.request).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_announced_too_long_is_refused_before_anything_is_allocated() {
        assert_eq!(page_length(1 << 20).unwrap(), wire::PAGE_MAX);
        assert!(matches!(page_length((1 << 20) + 1), Err(SessionError::TooLong { claimed: 1_048_577, .. })));
        assert!(matches!(page_length(u32::MAX), Err(SessionError::TooLong { .. })));
    }
}
