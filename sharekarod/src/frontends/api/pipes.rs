//! Pipes: raw bytes as bodies, both ways. Neither is bounded: a pipe is as long as it is.

use std::io;

use axum::{
    Json,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use sharekaro_proto::{
    ErrorBody, ErrorCode,
    control::{
        routes,
        transfer::{ReceivePipe, SendPipe, Transfers},
    },
};

use super::{
    Door,
    body::{Answer, Body as Json_, Failure},
};

/// Sends the body under a name, once all of it is here.
#[utoipa::path(post, path = routes::PIPES_SEND, params(SendPipe), request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses((status = 200, body = Transfers)))]
pub(super) async fn send(State(door): State<Door>, query: Result<Query<SendPipe>, QueryRejection>, body: Body) -> Answer<Transfers> {
    let Query(wanted) = query.map_err(|e| Failure(ErrorBody::new(ErrorCode::Usage, e.body_text())))?;
    Ok(Json(door.engine.send_pipe(wanted, body.into_data_stream()).await?))
}

/// Waits for the next file of a peer; the reply's body is its content, and no copy is kept.
#[utoipa::path(post, path = routes::PIPES_RECEIVE, request_body = ReceivePipe, responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
pub(super) async fn receive(State(door): State<Door>, Json_(wanted): Json_<ReceivePipe>) -> Result<Response, Failure> {
    let taken = tokio::select! {
        taken = door.engine.take_next(wanted) => taken?,
        () = door.shutdown.cancelled() => return Err(Failure(ErrorBody::new(ErrorCode::NoDaemon, "the daemon ends"))),
    };
    let parts = futures_util::stream::unfold(taken, |mut taken| async move {
        let part: io::Result<bytes::Bytes> = taken.next().await?;
        Some((part, taken))
    });
    Ok(([(CONTENT_TYPE, "application/octet-stream")], Body::from_stream(parts)).into_response())
}
