//! The control API over HTTP: the one table of routes, served to every HTTP door alike.
//!
//! Each handler turns a request into one call of the engine and its result into JSON. Errors are `{"error": {...}}` with
//! the status of the one table in `sharekaro-proto`, those of the framework too.

mod body;
mod events;
mod inbox;
mod pairing;
mod peers;
mod status;
mod transfers;

use axum::{Json, Router, routing::get};
use sharekaro_proto::{ErrorBody, ErrorCode, control::routes};
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes as each};

use self::body::Failure;
use crate::engine::Engine;

/// The longest body of a request, in bytes.
const BODY_MAX: usize = 1 << 20;

#[derive(OpenApi)]
#[openapi(info(title = "ShareKaro control API", description = "What frontends ask of the daemon, on this machine only."))]
struct Description;

/// What every handler gets.
#[derive(Clone)]
struct Door {
    engine: Engine,
    shutdown: CancellationToken,
}

/// All routes.
pub fn router(engine: Engine, shutdown: CancellationToken) -> Router {
    let (router, description) = table().split_for_parts();
    let description = Json(description);
    router
        .route(routes::OPENAPI, get(move || std::future::ready(description.clone())))
        .fallback(|| async {
            Failure(ErrorBody::new(ErrorCode::NotFound, "there is no such path").hint("GET /v1/openapi.json lists them"))
        })
        .method_not_allowed_fallback(|| async {
            Failure(ErrorBody::new(ErrorCode::Usage, "this path does not take this method").hint("GET /v1/openapi.json tells which"))
        })
        .layer(axum::extract::DefaultBodyLimit::max(BODY_MAX))
        .with_state(Door { engine, shutdown })
}

fn table() -> OpenApiRouter<Door> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(each!(status::status))
        .routes(each!(status::identity))
        .routes(each!(status::config))
        .routes(each!(events::events))
        .routes(each!(peers::peers, peers::add))
        .routes(each!(peers::peer, peers::forget))
        .routes(each!(peers::rename))
        .routes(each!(peers::trust))
        .routes(each!(peers::block))
        .routes(each!(peers::unblock))
        .routes(each!(peers::ping))
        .routes(each!(pairing::start))
        .routes(each!(pairing::pairing, pairing::give_up))
        .routes(each!(pairing::confirm))
        .routes(each!(pairing::invite))
        .routes(each!(pairing::join))
        .routes(each!(pairing::invitation, pairing::withdraw))
        .routes(each!(transfers::transfers, transfers::send))
        .routes(each!(transfers::transfer))
        .routes(each!(transfers::pause))
        .routes(each!(transfers::resume))
        .routes(each!(transfers::cancel))
        .routes(each!(transfers::retry))
        .routes(each!(transfers::limit))
        .routes(each!(transfers::priority))
        .routes(each!(transfers::receipt))
        .routes(each!(transfers::verify_receipt))
        .routes(each!(inbox::inbox))
        .routes(each!(inbox::accept))
        .routes(each!(inbox::decline))
}

/// The description of the API as it is committed.
///
/// # Errors
/// It cannot be written as JSON.
pub fn description() -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(&table().split_for_parts().1)?;
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
}
