//! Transfers: sending, watching, steering.

use axum::{Json, extract::State};
use sharekaro_proto::control::{
    routes,
    transfer::{Explanation, Receipt, ReceiptVerdict, Send, SetLimit, SetPriority, Transfer, Transfers},
};

use super::{
    Door,
    body::{Answer, Body, Id},
};

/// Those that have not ended and the newest of the others, newest first.
#[utoipa::path(get, path = routes::TRANSFERS, responses((status = 200, body = Transfers)))]
pub(super) async fn transfers(State(door): State<Door>) -> Answer<Transfers> {
    Ok(Json(door.engine.transfers()))
}

/// Records a transfer to each target; the work follows.
#[utoipa::path(post, path = routes::TRANSFERS, request_body = Send, responses((status = 200, body = Transfers)))]
pub(super) async fn send(State(door): State<Door>, Body(body): Body<Send>) -> Answer<Transfers> {
    Ok(Json(door.engine.send(body).await?))
}

/// One transfer.
#[utoipa::path(get, path = routes::TRANSFER, params(("id" = String, Path, description = "Transfer, as t8")), responses((status = 200, body = Transfer)))]
pub(super) async fn transfer(State(door): State<Door>, Id(id): Id) -> Answer<Transfer> {
    Ok(Json(door.engine.transfer(id)?))
}

/// Lets it rest until this side resumes it.
#[utoipa::path(post, path = routes::TRANSFER_PAUSE, params(("id" = String, Path, description = "Transfer, as t8")), responses((status = 200, body = Transfer)))]
pub(super) async fn pause(State(door): State<Door>, Id(id): Id) -> Answer<Transfer> {
    Ok(Json(door.engine.pause(id).await?))
}

/// Lets it go on that this side paused.
#[utoipa::path(post, path = routes::TRANSFER_RESUME, params(("id" = String, Path, description = "Transfer, as t8")), responses((status = 200, body = Transfer)))]
pub(super) async fn resume(State(door): State<Door>, Id(id): Id) -> Answer<Transfer> {
    Ok(Json(door.engine.resume(id).await?))
}

/// Ends it.
#[utoipa::path(post, path = routes::TRANSFER_CANCEL, params(("id" = String, Path, description = "Transfer, as t8")), responses((status = 200, body = Transfer)))]
pub(super) async fn cancel(State(door): State<Door>, Id(id): Id) -> Answer<Transfer> {
    Ok(Json(door.engine.cancel(id).await?))
}

/// Tries at once, or sends again what ended unfinished.
#[utoipa::path(post, path = routes::TRANSFER_RETRY, params(("id" = String, Path, description = "Transfer, as t8")), responses((status = 200, body = Transfer)))]
pub(super) async fn retry(State(door): State<Door>, Id(id): Id) -> Answer<Transfer> {
    Ok(Json(door.engine.retry(id).await?))
}

/// Sets how many bytes a second may go.
#[utoipa::path(post, path = routes::TRANSFER_LIMIT, params(("id" = String, Path, description = "Transfer, as t8")), request_body = SetLimit, responses((status = 200, body = Transfer)))]
pub(super) async fn limit(State(door): State<Door>, Id(id): Id, Body(body): Body<SetLimit>) -> Answer<Transfer> {
    Ok(Json(door.engine.set_limit(id, body).await?))
}

/// Sets which goes first.
#[utoipa::path(post, path = routes::TRANSFER_PRIORITY, params(("id" = String, Path, description = "Transfer, as t8")), request_body = SetPriority, responses((status = 200, body = Transfer)))]
pub(super) async fn priority(State(door): State<Door>, Id(id): Id, Body(body): Body<SetPriority>) -> Answer<Transfer> {
    Ok(Json(door.engine.set_priority(id, body).await?))
}

/// Why it is not faster.
#[utoipa::path(get, path = routes::TRANSFER_EXPLAIN, params(("id" = String, Path, description = "Transfer, as t8")), responses((status = 200, body = Explanation)))]
pub(super) async fn explain(State(door): State<Door>, Id(id): Id) -> Answer<Explanation> {
    Ok(Json(door.engine.explain(id)?))
}

/// The receiver's signed receipt.
#[utoipa::path(get, path = routes::TRANSFER_RECEIPT, params(("id" = String, Path, description = "Transfer, as t8")), responses((status = 200, body = Receipt)))]
pub(super) async fn receipt(State(door): State<Door>, Id(id): Id) -> Answer<Receipt> {
    Ok(Json(door.engine.receipt(id).await?))
}

/// Whether a receipt is true, whoever it is from.
#[utoipa::path(post, path = routes::RECEIPTS_VERIFY, request_body = Receipt, responses((status = 200, body = ReceiptVerdict)))]
pub(super) async fn verify_receipt(State(door): State<Door>, Body(body): Body<Receipt>) -> Answer<ReceiptVerdict> {
    Ok(Json(door.engine.verify_receipt(&body)))
}
