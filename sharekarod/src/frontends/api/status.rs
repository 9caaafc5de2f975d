//! The daemon itself.

use axum::{Json, extract::State};
use sharekaro_proto::control::{
    routes,
    status::{Identity, Status},
};

use super::Door;

/// How the daemon is.
#[utoipa::path(get, path = routes::STATUS, responses((status = 200, body = Status)))]
pub(super) async fn status(State(door): State<Door>) -> Json<Status> {
    Json(door.engine.status())
}

/// Who we are.
#[utoipa::path(get, path = routes::IDENTITY, responses((status = 200, body = Identity)))]
pub(super) async fn identity(State(door): State<Door>) -> Json<Identity> {
    Json(door.engine.identity())
}

/// Every key in force and its value.
#[utoipa::path(get, path = routes::CONFIG, responses((status = 200, body = serde_json::Value)))]
pub(super) async fn config(State(door): State<Door>) -> Json<serde_json::Value> {
    Json(door.engine.config_values())
}
