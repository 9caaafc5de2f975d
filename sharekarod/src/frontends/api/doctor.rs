//! What is wrong.

use axum::{Json, extract::State};
use sharekaro_proto::control::{
    doctor::{Diagnosis, DoctorQuery},
    routes,
};

use super::{
    Door,
    body::{Answer, Parameters},
};

/// Named verdicts on this machine and the ways to peers; takes up to some twenty seconds.
#[utoipa::path(get, path = routes::DOCTOR, params(DoctorQuery), responses((status = 200, body = Diagnosis)))]
pub(super) async fn diagnose(State(door): State<Door>, Parameters(query): Parameters<DoctorQuery>) -> Answer<Diagnosis> {
    Ok(Json(door.engine.diagnose(query).await?))
}
