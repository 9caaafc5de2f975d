//! Policy: what becomes of offers, and what was decided.

use axum::{Json, extract::State};
use sharekaro_proto::control::{
    policy::{AddRule, Decisions, LogQuery, Rules, TestOffer, Verdict},
    routes,
};

use super::{
    Door,
    body::{Answer, Body, Parameters, Target},
};

/// All rules, in their order.
#[utoipa::path(get, path = routes::POLICY, responses((status = 200, body = Rules)))]
pub(super) async fn rules(State(door): State<Door>) -> Answer<Rules> {
    Ok(Json(door.engine.rules()))
}

/// Adds a rule behind those that there are, or before one that was added.
#[utoipa::path(post, path = routes::POLICY, request_body = AddRule, responses((status = 200, body = Rules)))]
pub(super) async fn add(State(door): State<Door>, Body(body): Body<AddRule>) -> Answer<Rules> {
    Ok(Json(door.engine.add_rule(body).await?))
}

/// Removes a rule that was added.
#[utoipa::path(delete, path = routes::POLICY_RULE, params(("name" = String, Path, description = "Rule")), responses((status = 200, body = Rules)))]
pub(super) async fn remove(State(door): State<Door>, Target(name): Target) -> Answer<Rules> {
    Ok(Json(door.engine.remove_rule(&name).await?))
}

/// What would become of such an offer.
#[utoipa::path(post, path = routes::POLICY_TEST, request_body = TestOffer, responses((status = 200, body = Verdict)))]
pub(super) async fn test(State(door): State<Door>, Body(body): Body<TestOffer>) -> Answer<Verdict> {
    Ok(Json(door.engine.test_policy(body).await?))
}

/// What was decided, oldest first.
#[utoipa::path(get, path = routes::POLICY_LOG, params(LogQuery), responses((status = 200, body = Decisions)))]
pub(super) async fn log(State(door): State<Door>, Parameters(query): Parameters<LogQuery>) -> Answer<Decisions> {
    Ok(Json(door.engine.policy_log(query).await?))
}
