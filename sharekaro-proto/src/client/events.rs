//! The stream of events as the daemon sends it.

use bytes::Buf;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;

use super::{connection::Connection, sse::SseReader};
use crate::{ErrorBody, ErrorCode, control::event::Event};

/// A snapshot followed by every change. Dropping it closes its connection.
#[derive(Debug)]
pub struct EventStream {
    body: Incoming,
    reader: SseReader,
    _connection: Connection,
}

/// What every event has, also those of a daemon that is newer than we are.
#[derive(Deserialize)]
struct AnyEvent {
    #[serde(rename = "seq")]
    _seq: u64,
    #[serde(rename = "type")]
    _kind: String,
}

impl EventStream {
    pub(super) fn new(connection: Connection, body: Incoming) -> Self {
        Self { body, reader: SseReader::default(), _connection: connection }
    }

    /// The next event; `None` when the daemon ends. Safe to cancel. Kinds that are not known here are passed over.
    ///
    /// # Errors
    /// A stream that broke, or that is none of ours.
    pub async fn next(&mut self) -> Result<Option<Event>, ErrorBody> {
        while let Some(json) = self.next_json().await? {
            match serde_json::from_str(&json) {
                Ok(event) => return Ok(Some(event)),
                Err(_) if serde_json::from_str::<AnyEvent>(&json).is_ok() => {}
                Err(error) => return Err(broken(&error)),
            }
        }
        Ok(None)
    }

    /// The next event as the daemon wrote it, of every kind: JSON without line feeds. Safe to cancel.
    ///
    /// # Errors
    /// A stream that broke.
    pub async fn next_json(&mut self) -> Result<Option<String>, ErrorBody> {
        loop {
            if let Some(data) = self.reader.next().map_err(|e| broken(&e))? {
                return Ok(Some(data));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(mut data) = frame.map_err(|e| broken(&e))?.into_data() {
                self.reader.feed(data.chunk());
                data.advance(data.remaining());
            }
        }
    }
}

fn broken(error: &dyn std::error::Error) -> ErrorBody {
    ErrorBody::new(ErrorCode::NoDaemon, format!("the daemon's events broke off: {error}"))
        .hint("`sharectl status` tells whether it still runs; its transfers go on by themselves")
}
