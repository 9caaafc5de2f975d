//! Bodies and errors: what goes in is typed or refused, what goes wrong is one kind of JSON.

use std::time::Duration;

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Request, rejection::JsonRejection},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;
use sharekaro_proto::{ErrorBody, ErrorCode, TransferId, control::error::ErrorReply};
use tokio::time::timeout;

/// A client has to send its request's body within this; it is on the same machine.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// An error as an HTTP reply.
pub(super) struct Failure(pub(super) ErrorBody);

impl From<ErrorBody> for Failure {
    fn from(error: ErrorBody) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::error!("a request failed by our fault: {}", self.0.message);
        }
        (status, Json(ErrorReply { error: self.0 })).into_response()
    }
}

/// What a handler returns.
pub(super) type Answer<T> = Result<Json<T>, Failure>;

/// A JSON body; no body at all is an empty object.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        if request.headers().get("content-length").is_none_or(|length| length == "0")
            && !request.headers().contains_key("transfer-encoding")
        {
            let empty = serde_json::from_str("{}").map_err(|e| usage(format!("a body is missing: {e}")));
            return empty.map(Self);
        }
        let Ok(read) = timeout(BODY_WITHIN, Json::<T>::from_request(request, state)).await else {
            return Err(ErrorBody::new(ErrorCode::TimedOut, "the rest of the body did not come").into());
        };
        match read {
            Ok(Json(body)) => Ok(Self(body)),
            Err(JsonRejection::BytesRejection(e)) => Err(usage(format!("the body cannot be read: {}", e.body_text()))),
            Err(e) => Err(usage(format!("the body makes no sense: {}", e.body_text()))),
        }
    }
}

/// The parameters behind the `?`.
pub(super) struct Parameters<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query.map(|axum::extract::Query(parameters)| Self(parameters)).map_err(|e| usage(e.body_text()))
    }
}

/// The peer or other name in the path.
pub(super) struct Target(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(target)| Self(target)).map_err(|e| usage(e.body_text()))
    }
}

/// The number in the path.
pub(super) struct Number(pub(super) u64);

impl<S: Send + Sync> FromRequestParts<S> for Number {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Target(text) = Target::from_request_parts(parts, state).await?;
        text.parse().map(Self).map_err(|_| usage(format!("{text:?} is no number")))
    }
}

/// The transfer in the path.
pub(super) struct Id(pub(super) TransferId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Target(text) = Target::from_request_parts(parts, state).await?;
        text.parse()
            .map(Self)
            .map_err(|e| Failure(ErrorBody::new(ErrorCode::Usage, format!("{text:?}: {e}")).hint("`sharectl transfers` lists them")))
    }
}

fn usage(message: String) -> Failure {
    Failure(ErrorBody::new(ErrorCode::Usage, message).hint("GET /v1/openapi.json describes every request"))
}
