//! Messages, groups and presence.

use axum::{Json, extract::State};
use sharekaro_proto::control::{
    message::{Group, GroupPeers, Groups, HistoryQuery, MarkRead, Messages, WriteMessage, WrittenMessages},
    peer::PresenceBody,
    routes,
};

use super::{
    Door,
    body::{Answer, Body, Parameters, Target},
};

/// A part of the history, oldest first.
#[utoipa::path(get, path = routes::MESSAGES, params(HistoryQuery), responses((status = 200, body = Messages)))]
pub(super) async fn messages(State(door): State<Door>, Parameters(query): Parameters<HistoryQuery>) -> Answer<Messages> {
    Ok(Json(door.engine.messages(query).await?))
}

/// Records a text for each target; the rest follows.
#[utoipa::path(post, path = routes::MESSAGES, request_body = WriteMessage, responses((status = 200, body = WrittenMessages)))]
pub(super) async fn write(State(door): State<Door>, Body(body): Body<WriteMessage>) -> Answer<WrittenMessages> {
    Ok(Json(door.engine.write_message(body).await?))
}

/// A person has seen what a peer wrote.
#[utoipa::path(post, path = routes::MESSAGES_READ, request_body = MarkRead, responses((status = 200, description = "Done")))]
pub(super) async fn mark_read(State(door): State<Door>, Body(body): Body<MarkRead>) -> Answer<serde_json::Value> {
    door.engine.mark_read(body).await?;
    Ok(Json(serde_json::json!({})))
}

/// All groups.
#[utoipa::path(get, path = routes::GROUPS, responses((status = 200, body = Groups)))]
pub(super) async fn groups(State(door): State<Door>) -> Answer<Groups> {
    Ok(Json(door.engine.groups()))
}

/// Puts peers into a group, which is made where it is missing.
#[utoipa::path(post, path = routes::GROUP_ADD, params(("name" = String, Path, description = "Group")), request_body = GroupPeers, responses((status = 200, body = Group)))]
pub(super) async fn group_add(State(door): State<Door>, Target(name): Target, Body(body): Body<GroupPeers>) -> Answer<Group> {
    Ok(Json(door.engine.add_to_group(&name, &body).await?))
}

/// Takes peers out of a group; without peers, the group itself is gone.
#[utoipa::path(post, path = routes::GROUP_REMOVE, params(("name" = String, Path, description = "Group")), request_body = GroupPeers, responses((status = 200, body = Group)))]
pub(super) async fn group_remove(State(door): State<Door>, Target(name): Target, Body(body): Body<GroupPeers>) -> Answer<Group> {
    Ok(Json(door.engine.remove_from_group(&name, &body).await?))
}

/// What our person says of himself.
#[utoipa::path(get, path = routes::PRESENCE, responses((status = 200, body = PresenceBody)))]
pub(super) async fn presence(State(door): State<Door>) -> Answer<PresenceBody> {
    Ok(Json(door.engine.presence()))
}

/// Our person says something else from now on.
#[utoipa::path(post, path = routes::PRESENCE, request_body = PresenceBody, responses((status = 200, body = PresenceBody)))]
pub(super) async fn set_presence(State(door): State<Door>, Body(body): Body<PresenceBody>) -> Answer<PresenceBody> {
    Ok(Json(door.engine.set_presence(body).await?))
}
