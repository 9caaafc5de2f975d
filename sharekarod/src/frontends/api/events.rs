//! Server-sent events: a snapshot, then every change.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::sse::{Event as Sse, KeepAlive, Sse as Events},
};
use futures_util::Stream;
use sharekaro_proto::control::{event::Event, routes};

use super::Door;

/// A comment keeps the connection open so often.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Facts as they happen; the first is a snapshot, and again where this listener fell behind.
#[utoipa::path(get, path = routes::EVENTS, responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub(super) async fn events(State(door): State<Door>) -> Events<impl Stream<Item = Result<Sse, Infallible>>> {
    let (subscription, shutdown) = (door.engine.subscribe(), door.shutdown);
    let stream = futures_util::stream::unfold((subscription, shutdown), |(mut subscription, shutdown)| async move {
        let event = tokio::select! {
            event = subscription.next() => event?,
            () = shutdown.cancelled() => return None, // or a graceful end would wait for this stream for ever
        };
        let json = serde_json::to_string(&*event).unwrap_or_default(); // our own types: they are JSON
        Some((Ok(Sse::default().id(event.seq.to_string()).data(json)), (subscription, shutdown)))
    });
    Events::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}
