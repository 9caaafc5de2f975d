//! The drop folder: what lies in it, and another try.

use axum::{Json, extract::State};
use sharekaro_proto::control::{
    drop::{Drops, RetryDrop},
    routes,
};

use super::{
    Door,
    body::{Answer, Body},
};

/// What lies in the drop folders, and what was sent from them.
#[utoipa::path(get, path = routes::DROP, responses((status = 200, body = Drops)))]
pub(super) async fn drops(State(door): State<Door>) -> Answer<Drops> {
    Ok(Json(door.engine.drops().await?))
}

/// Tries again what failed, and at once what waits.
#[utoipa::path(post, path = routes::DROP_RETRY, request_body = RetryDrop, responses((status = 200, body = Drops)))]
pub(super) async fn retry(State(door): State<Door>, Body(body): Body<RetryDrop>) -> Answer<Drops> {
    Ok(Json(door.engine.retry_drops(body.path.map(|path| path.0)).await?))
}
