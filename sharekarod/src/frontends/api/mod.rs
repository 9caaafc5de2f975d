//! The control API over HTTP: the one table of routes, served to every HTTP door alike.
//!
//! Each handler turns a request into one call of the engine and its result into JSON. Errors are `{"error": {...}}` with
//! the status of the one table in `sharekaro-proto`, those of the framework too.

mod body;
mod codes;
mod doctor;
mod drop;
mod events;
mod inbox;
mod messages;
mod net;
mod pairing;
mod peers;
mod pipes;
mod policy;
mod status;
mod transfers;

use axum::{Router, extract::State, http::header::CONTENT_TYPE, response::IntoResponse};
use bytes::Bytes;
use sharekaro_proto::{
    ErrorBody, ErrorCode,
    control::{error::ErrorReply, routes, transfer::RECEIPT_MAX},
};
use tokio_util::sync::CancellationToken;
use utoipa::{
    OpenApi,
    openapi::{ContentBuilder, Ref, ResponseBuilder},
};
use utoipa_axum::{router::OpenApiRouter, routes as each};

use self::body::Failure;
use crate::{engine::Engine, monitor::Monitor};

/// The longest body of a request, in bytes.
const BODY_MAX: usize = 1 << 20;

/// The same where it names what is sent: as many paths as one transfer takes, of the length that paths have. The bus takes
/// as much.
const PATHS_BODY_MAX: usize = 16 << 20;

#[derive(OpenApi)]
#[openapi(
    info(title = "ShareKaro control API", description = "What frontends ask of the daemon, on this machine only."),
    components(schemas(ErrorReply))
)]
struct Description;

/// What every handler gets.
#[derive(Clone)]
struct Door {
    engine: Engine,
    monitor: Option<Monitor>,
    shutdown: CancellationToken,
    description: Bytes,
}

/// All routes. Without a monitor those of the network say that it is switched off.
pub fn router(engine: Engine, monitor: Option<Monitor>, shutdown: CancellationToken) -> Router {
    let (router, description) = described();
    let description = serde_json::to_vec(&description).unwrap_or_default(); // our own types: they are JSON
    router
        .fallback(|| async {
            Failure(ErrorBody::new(ErrorCode::NotFound, "there is no such path").hint("GET /v1/openapi.json lists them"))
        })
        .method_not_allowed_fallback(|| async {
            Failure(ErrorBody::new(ErrorCode::Usage, "this path does not take this method").hint("GET /v1/openapi.json tells which"))
        })
        .layer(axum::extract::DefaultBodyLimit::max(BODY_MAX))
        .with_state(Door { engine, monitor, shutdown, description: description.into() })
}

/// This API as OpenAPI 3.
#[utoipa::path(get, path = routes::OPENAPI, responses((status = 200, body = serde_json::Value)))]
async fn openapi(State(door): State<Door>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], door.description)
}

/// The routes, and their description with what every one of them may answer instead.
fn described() -> (Router<Door>, utoipa::openapi::OpenApi) {
    let (router, mut description) = table().split_for_parts();
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorReply"))).build();
    let refused = ResponseBuilder::new().description("What went wrong").content("application/json", body).build();
    for item in description.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten() {
            operation.responses.responses.insert("default".to_owned(), refused.clone().into());
        }
    }
    (router, description)
}

fn table() -> OpenApiRouter<Door> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(each!(openapi))
        .routes(each!(status::status))
        .routes(each!(status::identity))
        .routes(each!(status::config))
        .routes(each!(doctor::diagnose))
        .routes(each!(events::events))
        .routes(each!(peers::peers, peers::add))
        .routes(each!(peers::peer, peers::forget))
        .routes(each!(peers::rename))
        .routes(each!(peers::trust))
        .routes(each!(peers::block))
        .routes(each!(peers::unblock))
        .routes(each!(peers::ping))
        .routes(each!(peers::bench))
        .routes(each!(pairing::start))
        .routes(each!(pairing::pairing, pairing::give_up))
        .routes(each!(pairing::confirm))
        .routes(each!(pairing::invite))
        .routes(each!(pairing::join))
        .routes(each!(pairing::invitation, pairing::withdraw))
        .routes(each!(codes::receive))
        .routes(each!(pipes::send))
        .routes(each!(pipes::receive))
        .routes(each!(transfers::transfer))
        .routes(each!(transfers::pause))
        .routes(each!(transfers::resume))
        .routes(each!(transfers::cancel))
        .routes(each!(transfers::retry))
        .routes(each!(transfers::limit))
        .routes(each!(transfers::priority))
        .routes(each!(transfers::explain))
        .routes(each!(transfers::receipt))
        .merge(long_lists().layer(axum::extract::DefaultBodyLimit::max(PATHS_BODY_MAX)))
        .merge(OpenApiRouter::new().routes(each!(transfers::verify_receipt)).layer(axum::extract::DefaultBodyLimit::max(RECEIPT_MAX)))
        .routes(each!(messages::messages, messages::write))
        .routes(each!(messages::mark_read))
        .routes(each!(messages::groups))
        .routes(each!(messages::group_add))
        .routes(each!(messages::group_remove))
        .routes(each!(messages::presence, messages::set_presence))
        .routes(each!(drop::drops))
        .routes(each!(drop::retry))
        .routes(each!(inbox::inbox))
        .routes(each!(inbox::accept))
        .routes(each!(inbox::decline))
        .routes(each!(net::interfaces))
        .routes(each!(net::history))
        .routes(each!(net::write_csv, net::end_csv))
        .routes(each!(net::anomalies))
        .routes(each!(net::anomaly))
        .routes(each!(net::normal))
        .routes(each!(net::networks))
        .routes(each!(net::forget))
        .routes(each!(net::replay))
        .routes(each!(net::scores))
        .routes(each!(net::packets))
        .routes(each!(net::begin_capture))
        .routes(each!(net::capture, net::end_capture))
        .routes(each!(inbox::undo))
        .routes(each!(policy::rules, policy::add))
        .routes(each!(policy::remove))
        .routes(each!(policy::test))
        .routes(each!(policy::log))
}

/// Requests that name everything that a person selected.
fn long_lists() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(each!(codes::send)).routes(each!(transfers::transfers, transfers::send))
}

/// The description of the API as it is committed.
///
/// # Errors
/// It cannot be written as JSON.
pub fn description() -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(&described().1)?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_description_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let now = description().unwrap();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &now).unwrap();
        }

        let committed = std::fs::read_to_string(path).unwrap_or_default();

        assert!(committed == now, "openapi.json is not current: run UPDATE=1 cargo test -p sharekarod the_committed_description");
    }

    #[test]
    fn every_agreed_path_is_served_and_described() {
        let source = include_str!("../../../../sharekaro-proto/src/control/routes.rs");
        let agreed = source.split('"').filter(|text| text.starts_with("/v1/"));
        let (_, description) = described();

        let missing: Vec<&str> = agreed.filter(|path| !path.contains('%') && !description.paths.paths.contains_key(*path)).collect();

        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn every_request_may_be_refused_in_the_one_way() {
        let description: serde_json::Value = serde_json::from_str(&description().unwrap()).unwrap();

        for name in ["ErrorReply", "ErrorBody", "ErrorCode"] {
            assert!(description["components"]["schemas"][name].is_object(), "{name} is not described");
        }
        for (path, item) in description["paths"].as_object().unwrap() {
            for operation in item.as_object().unwrap().values() {
                let refused = &operation["responses"]["default"]["content"]["application/json"]["schema"]["$ref"];
                assert_eq!(refused, "#/components/schemas/ErrorReply", "{path}");
            }
        }
    }
}
