//! Peers: other devices that we know.

use axum::{Json, extract::State};
use sharekaro_proto::control::{
    peer::{AddPeer, Peer, Peers, Pong, Rename, SetTrust},
    routes,
    transfer::Bench,
};

use super::{
    Door,
    body::{Answer, Body, Target},
};

/// All peers.
#[utoipa::path(get, path = routes::PEERS, responses((status = 200, body = Peers)))]
pub(super) async fn peers(State(door): State<Door>) -> Answer<Peers> {
    Ok(Json(door.engine.peers()))
}

/// Reaches a device that announcements do not show, and remembers where.
#[utoipa::path(post, path = routes::PEERS, request_body = AddPeer, responses((status = 200, body = Peer)))]
pub(super) async fn add(State(door): State<Door>, Body(body): Body<AddPeer>) -> Answer<Peer> {
    Ok(Json(door.engine.add_peer(body).await?))
}

/// One peer.
#[utoipa::path(get, path = routes::PEER, params(("target" = String, Path, description = "Alias, name or the first characters of the key")), responses((status = 200, body = Peer)))]
pub(super) async fn peer(State(door): State<Door>, Target(target): Target) -> Answer<Peer> {
    Ok(Json(door.engine.peer(&target)?))
}

/// Everything that a person said of it is gone.
#[utoipa::path(delete, path = routes::PEER, params(("target" = String, Path, description = "Alias, name or the first characters of the key")), responses((status = 200, description = "Done")))]
pub(super) async fn forget(State(door): State<Door>, Target(target): Target) -> Answer<serde_json::Value> {
    door.engine.forget(&target).await?;
    Ok(Json(serde_json::json!({})))
}

/// Gives it another alias.
#[utoipa::path(post, path = routes::PEER_RENAME, params(("target" = String, Path, description = "Alias, name or the first characters of the key")), request_body = Rename, responses((status = 200, body = Peer)))]
pub(super) async fn rename(State(door): State<Door>, Target(target): Target, Body(body): Body<Rename>) -> Answer<Peer> {
    Ok(Json(door.engine.rename(&target, body).await?))
}

/// Says what it may do without asking.
#[utoipa::path(post, path = routes::PEER_TRUST, params(("target" = String, Path, description = "Alias, name or the first characters of the key")), request_body = SetTrust, responses((status = 200, body = Peer)))]
pub(super) async fn trust(State(door): State<Door>, Target(target): Target, Body(body): Body<SetTrust>) -> Answer<Peer> {
    Ok(Json(door.engine.set_trust(&target, body).await?))
}

/// It may not even connect.
#[utoipa::path(post, path = routes::PEER_BLOCK, params(("target" = String, Path, description = "Alias, name or the first characters of the key")), responses((status = 200, body = Peer)))]
pub(super) async fn block(State(door): State<Door>, Target(target): Target) -> Answer<Peer> {
    Ok(Json(door.engine.block(&target).await?))
}

/// It is again what it was before it was blocked.
#[utoipa::path(post, path = routes::PEER_UNBLOCK, params(("target" = String, Path, description = "Alias, name or the first characters of the key")), responses((status = 200, body = Peer)))]
pub(super) async fn unblock(State(door): State<Door>, Target(target): Target) -> Answer<Peer> {
    Ok(Json(door.engine.unblock(&target).await?))
}

/// Is it there, and how far away?
#[utoipa::path(post, path = routes::PEER_PING, params(("target" = String, Path, description = "Alias, name or the first characters of the key")), responses((status = 200, body = Pong)))]
pub(super) async fn ping(State(door): State<Door>, Target(target): Target) -> Answer<Pong> {
    Ok(Json(door.engine.ping(&target).await?))
}

/// What each part of the way to it can do; takes some ten seconds.
#[utoipa::path(post, path = routes::PEER_BENCH, params(("target" = String, Path, description = "Alias, name or the first characters of the key")), responses((status = 200, body = Bench)))]
pub(super) async fn bench(State(door): State<Door>, Target(target): Target) -> Answer<Bench> {
    Ok(Json(door.engine.bench(&target).await?))
}
