//! The source is away: what others of the crowd have is gathered from them, and stored when nothing else is missing.

use std::{sync::Arc, time::Duration};

use sharekaro_proto::{
    ErrorBody, ErrorCode,
    nouns::transfer::{Phase, TransferState},
};
use tokio::time::Instant;

use super::{gather, is_shared, share::Share};
use crate::{
    engine::{
        Engine,
        transfers::{
            ending,
            fetch::Fetch,
            pull,
            record::Record,
            stop::{Stop, blocking},
        },
    },
    files::Error,
};

/// Progress is shown so often.
const SHOW: Duration = Duration::from_millis(250);

/// Nothing came from anybody for so long: the transfer waits for its sender.
const QUIET: Duration = Duration::from_secs(3);

/// Goes on without the source as far as the others help; returns only when all is stored.
///
/// # Errors
/// The disk; `Lost` where too little is known to go on.
pub async fn without_source(engine: &Engine, record: &Record) -> Result<(), Stop> {
    let Some(crowd) = &record.crowd else { return Err(Stop::Lost) };
    let share = engine.inner.jobs.shares.of(record, crowd);
    let fetch = pull::prepare(engine, None, record).await?;
    tokio::select! {
        done = gather_all(&fetch, &share) => done?,
        never = watch(engine, record, &fetch) => return never,
    }
    pull::show(engine, record.id, &fetch.counters);
    ending::store(engine, record, &fetch.staging, fetch.destination.clone()).await
}

/// One shared file after the other. Where anything else is missing, it waits for the source.
async fn gather_all(fetch: &Fetch, share: &Arc<Share>) -> Result<(), Stop> {
    let (mut next, mut waits) = (1, false);
    loop {
        let staging = Arc::clone(&fetch.staging);
        let missing = blocking(move || match staging.first_missing(next) {
            Some(no) => Ok(Some((no, staging.manifest().get(no).map_err(Error::from)?))),
            None => Ok(None),
        });
        let Some((no, item)) = missing.await? else { break };
        next = no + 1;
        if !item.is_file() {
            continue;
        }
        let known = item.content.is_some_and(|content| share.file(&content, |file| file.layer.is_some()) == Some(true));
        if is_shared(&item) && known {
            gather(fetch, share, no, &item).await?;
        } else {
            waits = true;
        }
    }
    if waits {
        std::future::pending::<()>().await; // for the source, which ends this
    }
    Ok(())
}

/// Shows progress: active while something comes, waiting otherwise.
async fn watch(engine: &Engine, record: &Record, fetch: &Fetch) -> Result<(), Stop> {
    let (mut seen, mut since) = (0, Instant::now());
    let mut active = true;
    loop {
        tokio::time::sleep(SHOW).await;
        let now = pull::show(engine, record.id, &fetch.counters);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        let moves = since.elapsed() < QUIET;
        if moves != active {
            active = moves;
            let away = engine.label(record.peer);
            engine
                .note_transfer(record.id, |row| {
                    if moves {
                        row.enter(TransferState::Active, Phase::Transferring);
                    } else {
                        let why =
                            ErrorBody::new(ErrorCode::Offline, format!("{away} cannot be reached, and nobody else has what is missing"))
                                .hint("it goes on by itself when somebody is back");
                        row.enter_with(TransferState::Waiting, Phase::Connecting, why);
                    }
                })
                .await;
        }
    }
}
