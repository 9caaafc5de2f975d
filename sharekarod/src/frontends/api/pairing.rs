//! Pairing by words and by code.

use axum::{Json, extract::State};
use sharekaro_proto::control::{
    pairing::{Invitation, JoinInvitation, Pairing, StartPairing},
    peer::Peer,
    routes,
};

use super::{
    Door,
    body::{Answer, Body, Number},
};

/// Begins to pair, or joins the pairing that the peer began; the reply has the words.
#[utoipa::path(post, path = routes::PAIRINGS, request_body = StartPairing, responses((status = 200, body = Pairing)))]
pub(super) async fn start(State(door): State<Door>, Body(body): Body<StartPairing>) -> Answer<Pairing> {
    Ok(Json(door.engine.start_pairing(body).await?))
}

/// One pairing.
#[utoipa::path(get, path = routes::PAIRING, params(("id" = String, Path, description = "Number")), responses((status = 200, body = Pairing)))]
pub(super) async fn pairing(State(door): State<Door>, Number(id): Number) -> Answer<Pairing> {
    Ok(Json(door.engine.pairing(id)?))
}

/// Our person says that the words differ, or does not want to any more.
#[utoipa::path(delete, path = routes::PAIRING, params(("id" = String, Path, description = "Number")), responses((status = 200, body = Pairing)))]
pub(super) async fn give_up(State(door): State<Door>, Number(id): Number) -> Answer<Pairing> {
    Ok(Json(door.engine.give_up_pairing(id).await?))
}

/// Our person says that the words are the same.
#[utoipa::path(post, path = routes::PAIRING_CONFIRM, params(("id" = String, Path, description = "Number")), responses((status = 200, body = Pairing)))]
pub(super) async fn confirm(State(door): State<Door>, Number(id): Number) -> Answer<Pairing> {
    Ok(Json(door.engine.confirm_pairing(id).await?))
}

/// A one-shot code that pairs whoever types it.
#[utoipa::path(post, path = routes::INVITATIONS, responses((status = 200, body = Invitation)))]
pub(super) async fn invite(State(door): State<Door>) -> Answer<Invitation> {
    Ok(Json(door.engine.invite().await?))
}

/// Uses a code.
#[utoipa::path(post, path = routes::JOIN, request_body = JoinInvitation, responses((status = 200, body = Peer)))]
pub(super) async fn join(State(door): State<Door>, Body(body): Body<JoinInvitation>) -> Answer<Peer> {
    Ok(Json(door.engine.join(body).await?))
}

/// One invitation.
#[utoipa::path(get, path = routes::INVITATION, params(("id" = String, Path, description = "Number")), responses((status = 200, body = Invitation)))]
pub(super) async fn invitation(State(door): State<Door>, Number(id): Number) -> Answer<Invitation> {
    Ok(Json(door.engine.invitation(id)?))
}

/// Withdraws an invitation.
#[utoipa::path(delete, path = routes::INVITATION, params(("id" = String, Path, description = "Number")), responses((status = 200, body = Invitation)))]
pub(super) async fn withdraw(State(door): State<Door>, Number(id): Number) -> Answer<Invitation> {
    Ok(Json(door.engine.withdraw_invitation(id).await?))
}
