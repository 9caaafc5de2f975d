//! The stream of events as the daemon sends it.

use std::time::Duration;

use bytes::Buf;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::{connection::Connection, sse::SseReader};
use crate::{ErrorBody, ErrorCode, control::event::Event};

/// The daemon sends at least a comment every 15 s; after four times this it is stuck.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A snapshot followed by every change. Dropping it closes its connection.
#[derive(Debug)]
pub struct EventStream {
    body: Incoming,
    reader: SseReader,
    heard: Instant,
    silence_max: Duration,
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
        Self { body, reader: SseReader::default(), heard: Instant::now(), silence_max: SILENCE_MAX, _connection: connection }
    }

    /// The next event; `None` when the daemon ends. Safe to cancel. Kinds that are not known here are passed over.
    ///
    /// # Errors
    /// A stream that broke or fell silent, or that is none of ours.
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
    /// A stream that broke or fell silent.
    pub async fn next_json(&mut self) -> Result<Option<String>, ErrorBody> {
        loop {
            if let Some(data) = self.reader.next().map_err(|e| broken(&e))? {
                return Ok(Some(data));
            }
            // from the last byte on, not from this call: who waits for events beside other things calls again and again
            let frame = timeout_at(self.heard + self.silence_max, self.body.frame()).await.map_err(|_| self.silent())?;
            let Some(frame) = frame else { return Ok(None) };
            self.heard = Instant::now();
            if let Ok(mut data) = frame.map_err(|e| broken(&e))?.into_data() {
                self.reader.feed(data.chunk());
                data.advance(data.remaining());
            }
        }
    }

    fn silent(&self) -> ErrorBody {
        let seconds = self.silence_max.as_secs();
        ErrorBody::new(ErrorCode::TimedOut, format!("the daemon said nothing for {seconds} s"))
            .hint("it is stuck or stopped; `systemctl --user restart sharekarod` starts it again, its transfers go on by themselves")
    }
}

fn broken(error: &dyn std::error::Error) -> ErrorBody {
    ErrorBody::new(ErrorCode::NoDaemon, format!("the daemon's events broke off: {error}"))
        .hint("`sharectl status` tells whether it still runs; its transfers go on by themselves")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use crate::{ErrorCode, client::Client};

    #[tokio::test]
    async fn a_daemon_that_fell_silent_is_not_waited_for_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let listener = tokio::net::UnixListener::bind(dir.path().join("control.sock")).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n: hello\n\n").await.unwrap();
            std::future::pending::<()>().await;
        });
        let mut events = Client::connect(&dir.path().join("control.sock")).await.unwrap().events().await.unwrap();
        events.silence_max = std::time::Duration::from_millis(20);

        let ended = loop {
            // as beside other work: each call is given up long before the bound
            match tokio::time::timeout(std::time::Duration::from_millis(1), events.next_json()).await {
                Ok(ended) => break ended,
                Err(_) => continue,
            }
        };

        assert_eq!(ended.unwrap_err().code, ErrorCode::TimedOut);
    }
}
