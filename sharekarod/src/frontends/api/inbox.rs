//! The inbox: what waits for an answer and what came.

use axum::{Json, extract::State};
use sharekaro_proto::control::{
    inbox::{Accept, Decline, Inbox, Undone},
    routes,
    transfer::Transfer,
};

use super::{
    Door,
    body::{Answer, Body, Id},
};

/// What waits and what came.
#[utoipa::path(get, path = routes::INBOX, responses((status = 200, body = Inbox)))]
pub(super) async fn inbox(State(door): State<Door>) -> Answer<Inbox> {
    Ok(Json(door.engine.inbox()))
}

/// A person takes an offer, or lets out what lies in quarantine.
#[utoipa::path(post, path = routes::INBOX_ACCEPT, params(("id" = String, Path, description = "Transfer, as t8")), request_body = Accept, responses((status = 200, body = Transfer)))]
pub(super) async fn accept(State(door): State<Door>, Id(id): Id, Body(body): Body<Accept>) -> Answer<Transfer> {
    Ok(Json(door.engine.accept(id, body).await?))
}

/// A person does not take an offer, or removes what lies in quarantine.
#[utoipa::path(post, path = routes::INBOX_DECLINE, params(("id" = String, Path, description = "Transfer, as t8")), request_body = Decline, responses((status = 200, body = Transfer)))]
pub(super) async fn decline(State(door): State<Door>, Id(id): Id, Body(body): Body<Decline>) -> Answer<Transfer> {
    Ok(Json(door.engine.decline(id, body).await?))
}

/// Takes back what one receive wrote; what was edited since stays.
#[utoipa::path(post, path = routes::INBOX_UNDO, params(("id" = String, Path, description = "Transfer, as t8")), responses((status = 200, body = Undone)))]
pub(super) async fn undo(State(door): State<Door>, Id(id): Id) -> Answer<Undone> {
    Ok(Json(door.engine.undo(id).await?))
}
