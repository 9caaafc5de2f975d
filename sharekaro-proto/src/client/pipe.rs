//! Bodies that are streams: one that is sent as its parts come, one that is read as the daemon writes it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, Incoming};
use tokio::sync::mpsc;

use super::{
    broken,
    connection::{self, Connection},
};
use crate::ErrorBody;

/// Parts from a channel: whoever fills it waits while the daemon does not read.
struct Parts(mpsc::Receiver<io::Result<Bytes>>);

impl Body for Parts {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|part| part.map(|part| part.map(Frame::data)))
    }
}

pub(super) fn body(parts: mpsc::Receiver<io::Result<Bytes>>) -> connection::Body {
    UnsyncBoxBody::new(Parts(parts))
}

/// Raw bytes on their way from the daemon. Dropping it closes its connection: the daemon learns that nobody reads on.
#[derive(Debug)]
pub struct Download {
    body: Incoming,
    _connection: Connection,
}

impl Download {
    pub(super) fn new(connection: Connection, body: Incoming) -> Self {
        Self { body, _connection: connection }
    }

    /// The next part; `None` at the end of a body that is whole.
    ///
    /// # Errors
    /// The daemon went away before the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ErrorBody> {
        loop {
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(part) = frame.map_err(|e| broken("with the rest of the file", &e))?.into_data() {
                return Ok(Some(part));
            }
        }
    }
}
