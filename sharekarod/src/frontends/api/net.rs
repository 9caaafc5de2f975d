//! The network: interfaces, history, anomalies, files of others' networks, live captures.

use std::path::PathBuf;

use axum::{Json, extract::State};
use jiff::{SignedDuration, Timestamp};
use sharekaro_proto::{
    ErrorBody, ErrorCode,
    control::{
        net::{Anomalies, Anomaly, Findings, History, Interfaces, NetHistoryQuery, Networks, ReadRecording, Scores, WriteCsv},
        packets::{BeginCapture, Capture, Packets, ReadPackets},
        routes,
        transfer::RawPath,
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    Door,
    body::{Answer, Body, Failure, Number, Parameters, Target},
};
use crate::monitor::{
    Monitor,
    network_csv::{Mode, Target as CsvTarget},
    offline,
};

/// The history that is told where nobody says from when on.
const SINCE: SignedDuration = SignedDuration::from_hours(1);

/// Every interface with its totals.
#[utoipa::path(get, path = routes::NET, responses((status = 200, body = Interfaces)))]
pub(super) async fn interfaces(State(door): State<Door>) -> Answer<Interfaces> {
    Ok(Json(watching(&door)?.interfaces()))
}

/// What passed on an interface.
#[utoipa::path(get, path = routes::NET_HISTORY, params(NetHistoryQuery), responses((status = 200, body = History)))]
pub(super) async fn history(State(door): State<Door>, Parameters(query): Parameters<NetHistoryQuery>) -> Answer<History> {
    let monitor = watching(&door)?.clone();
    let since = query.since.unwrap_or_else(|| Timestamp::now().saturating_sub(SINCE).unwrap_or(Timestamp::MIN));
    let named = query.interface.clone();
    let found = away(move || monitor.history_of(named.as_deref(), since).map_err(|error| error.into())).await?;
    found.map(Json).ok_or_else(|| no_interface(query.interface.as_deref()))
}

/// Writes `Network.csv` from now on.
#[utoipa::path(post, path = routes::NET_CSV, request_body = WriteCsv, responses((status = 200, description = "It is written")))]
pub(super) async fn write_csv(State(door): State<Door>, Body(body): Body<WriteCsv>) -> Answer<serde_json::Value> {
    let monitor = watching(&door)?.clone();
    let path = absolute(body.path)?;
    let target = CsvTarget { path: path.clone(), mode: if body.append { Mode::Append } else { Mode::Replace } };
    away(move || {
        monitor.write_csv(Some(target)).map_err(|error| {
            let message = format!("cannot write {}: {error}", path.display());
            ErrorBody::new(ErrorCode::LocalFile, message).hint("name a file in a folder that you may write")
        })
    })
    .await?;
    Ok(Json(serde_json::json!({})))
}

/// Writes no `Network.csv` any more; what is there stays.
#[utoipa::path(delete, path = routes::NET_CSV, responses((status = 200, description = "It is written no more")))]
pub(super) async fn end_csv(State(door): State<Door>) -> Answer<serde_json::Value> {
    // Without a target nothing is written, so nothing can fail.
    let _ = watching(&door)?.write_csv(None);
    Ok(Json(serde_json::json!({})))
}

/// What was out of the ordinary, newest last.
#[utoipa::path(get, path = routes::NET_ANOMALIES, responses((status = 200, body = Anomalies)))]
pub(super) async fn anomalies(State(door): State<Door>) -> Answer<Anomalies> {
    Ok(Json(watching(&door)?.anomalies()))
}

/// One of them.
#[utoipa::path(get, path = routes::NET_ANOMALY, params(("id" = String, Path, description = "Anomaly")), responses((status = 200, body = Anomaly)))]
pub(super) async fn anomaly(State(door): State<Door>, Target(id): Target) -> Answer<Anomaly> {
    watching(&door)?.anomaly(&id).map(Json).ok_or_else(|| no_anomaly(&id))
}

/// This is normal from now on: this level, this pause, this device; not more.
#[utoipa::path(post, path = routes::NET_ANOMALY_NORMAL, params(("id" = String, Path, description = "Anomaly")), responses((status = 200, body = Anomaly)))]
pub(super) async fn normal(State(door): State<Door>, Target(id): Target) -> Answer<Anomaly> {
    watching(&door)?.acknowledge(&id).map(Json).ok_or_else(|| no_anomaly(&id))
}

/// The networks that were learnt.
#[utoipa::path(get, path = routes::NET_NETWORKS, responses((status = 200, body = Networks)))]
pub(super) async fn networks(State(door): State<Door>) -> Answer<Networks> {
    Ok(Json(watching(&door)?.networks()))
}

/// Forgets a network: it will be learnt anew.
#[utoipa::path(delete, path = routes::NET_NETWORK, params(("id" = u64, Path, description = "Network")), responses((status = 200, description = "Forgotten")))]
pub(super) async fn forget(State(door): State<Door>, Number(id): Number) -> Answer<serde_json::Value> {
    if !watching(&door)?.forget_network(id) {
        return Err(not_found(format!("no network has the number {id}"), "`sharectl net networks` lists them"));
    }
    Ok(Json(serde_json::json!({})))
}

/// A file judged as if it happened now.
#[utoipa::path(post, path = routes::NET_REPLAY, request_body = ReadRecording, responses((status = 200, body = Findings)))]
pub(super) async fn replay(State(door): State<Door>, Body(body): Body<ReadRecording>) -> Answer<Findings> {
    let (path, warm_up) = (absolute(body.path)?, door.engine.config().net_warmup);
    while_asked(move |abandoned| offline::replay(&path, warm_up, abandoned)).await.map(Json)
}

/// How unlike the rows before it each row of a CSV is.
#[utoipa::path(post, path = routes::NET_SCORES, request_body = ReadRecording, responses((status = 200, body = Scores)))]
pub(super) async fn scores(State(_door): State<Door>, Body(body): Body<ReadRecording>) -> Answer<Scores> {
    let path = absolute(body.path)?;
    while_asked(move |abandoned| offline::scores(&path, abandoned)).await.map(Json)
}

/// What the packets of a capture are. A capture that breaks gives what stands before that place, and `error`.
#[utoipa::path(post, path = routes::NET_PACKETS, request_body = ReadPackets, responses((status = 200, body = Packets)))]
pub(super) async fn packets(State(_door): State<Door>, Body(body): Body<ReadPackets>) -> Answer<Packets> {
    let path = absolute(body.path)?;
    let write = body.write.map(absolute).transpose()?;
    let options = offline::options(body.filter.as_deref(), body.top, write)?;
    while_asked(move |abandoned| offline::packets(&path, &options, abandoned).map_err(ErrorBody::from)).await.map(Json)
}

/// Begins a live capture.
#[utoipa::path(post, path = routes::NET_CAPTURES, request_body = BeginCapture, responses((status = 200, body = Capture)))]
pub(super) async fn begin_capture(State(door): State<Door>, Body(body): Body<BeginCapture>) -> Answer<Capture> {
    let monitor = watching(&door)?.clone();
    let write = body.write.map(absolute).transpose()?;
    let options = offline::options(body.filter.as_deref(), body.top, write)?;
    let duration = body.duration_ms.map(std::time::Duration::from_millis);
    away(move || monitor.begin_capture(&body.interface, options, duration)).await.map(Json)
}

/// What a live capture brought so far.
#[utoipa::path(get, path = routes::NET_CAPTURE, params(("id" = u64, Path, description = "Capture")), responses((status = 200, body = Capture)))]
pub(super) async fn capture(State(door): State<Door>, Number(id): Number) -> Answer<Capture> {
    watching(&door)?.capture(id).map(Json).ok_or_else(|| no_capture(id))
}

/// Ends a live capture, and all that it brought.
#[utoipa::path(delete, path = routes::NET_CAPTURE, params(("id" = u64, Path, description = "Capture")), responses((status = 200, body = Capture)))]
pub(super) async fn end_capture(State(door): State<Door>, Number(id): Number) -> Answer<Capture> {
    let monitor = watching(&door)?.clone();
    away(move || Ok(monitor.end_capture(id))).await?.map(Json).ok_or_else(|| no_capture(id))
}

fn watching(door: &Door) -> Result<&Monitor, Failure> {
    door.monitor.as_ref().ok_or_else(|| {
        Failure(
            ErrorBody::new(ErrorCode::Unavailable, "the network is not watched")
                .hint("`net = true` in config.toml switches it on; `sharectl status` tells where it cannot be"),
        )
    })
}

/// Long work that ends when nobody waits for it: a client that goes away drops this future, and with it the guard.
async fn while_asked<T: Send + 'static>(
    work: impl FnOnce(&CancellationToken) -> Result<T, ErrorBody> + Send + 'static,
) -> Result<T, Failure> {
    let abandoned = CancellationToken::new();
    let _guard = abandoned.clone().drop_guard();
    away(move || work(&abandoned)).await
}

/// Work that reads files or waits for a program, away from the threads that serve.
async fn away<T: Send + 'static>(work: impl FnOnce() -> Result<T, ErrorBody> + Send + 'static) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Failure),
        Err(e) => Err(Failure(ErrorBody::new(ErrorCode::Unexpected, format!("the work broke off: {e}")).hint("see the daemon's log"))),
    }
}

fn absolute(RawPath(path): RawPath) -> Result<PathBuf, Failure> {
    if path.is_absolute() {
        return Ok(path);
    }
    let message = format!("{} is no absolute path", path.display());
    Err(Failure(ErrorBody::new(ErrorCode::Usage, message).hint("name the file from / on")))
}

fn not_found(message: String, hint: &str) -> Failure {
    Failure(ErrorBody::new(ErrorCode::NotFound, message).hint(hint))
}

fn no_interface(name: Option<&str>) -> Failure {
    let message = name.map_or_else(|| "no interface is watched".to_owned(), |name| format!("no interface was ever called {name:?}"));
    not_found(message, "`sharectl net` lists them")
}

fn no_anomaly(id: &str) -> Failure {
    not_found(format!("no anomaly has the id {id:?}"), "`sharectl net anomalies` lists them")
}

fn no_capture(id: u64) -> Failure {
    not_found(format!("no capture has the number {id}, or it has ended"), "begin another one")
}
