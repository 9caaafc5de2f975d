//! Files for whoever types a code.

use axum::{Json, extract::State};
use sharekaro_proto::control::{
    pairing::Invitation,
    routes,
    transfer::{ReceiveCode, SendCode, Transfer},
};

use super::{
    Door,
    body::{Answer, Body},
};

/// A one-shot code for files; `/v1/invitations/{id}` tells what became of it and withdraws it.
#[utoipa::path(post, path = routes::CODES, request_body = SendCode, responses((status = 200, body = Invitation)))]
pub(super) async fn send(State(door): State<Door>, Body(body): Body<SendCode>) -> Answer<Invitation> {
    Ok(Json(door.engine.offer_by_code(body).await?))
}

/// Uses a code: the transfer that it grants, once it is offered and taken.
#[utoipa::path(post, path = routes::CODES_RECEIVE, request_body = ReceiveCode, responses((status = 200, body = Transfer)))]
pub(super) async fn receive(State(door): State<Door>, Body(body): Body<ReceiveCode>) -> Answer<Transfer> {
    Ok(Json(door.engine.receive_by_code(body).await?))
}
