//! The end of a transfer that came in: stored and told, or let go.

use std::{path::PathBuf, sync::Arc};

use sharekaro_proto::{
    ErrorBody, ErrorCode, TransferId,
    control::transfer::{RawPath, Skipped},
    nouns::{
        text::lossless,
        transfer::{Conflict, Phase, TransferState},
    },
    wire::SKIPPED_TOLD_MAX,
};

use super::{
    pull::manifest_path,
    record::{Record, SKIPPED_NAMED_MAX},
    stop::{Stop, blocking, local},
};
use crate::{
    crash,
    engine::Engine,
    files::{self, Manifest, Staging},
    store::Durability,
};

/// Durable, into its place, recorded; then the sender hears it.
pub async fn store(engine: &Engine, record: &Record, staging: &Arc<Staging>, destination: PathBuf) -> Result<(), Stop> {
    engine.update(|state| state.transfers.edit(record.id).map(|row| row.phase = Phase::Storing));
    engine.tell_progress(record.id);
    let (cage, placed_in) = (Arc::clone(staging), RawPath(destination.clone()));
    let (staging, conflict) = (Arc::clone(staging), record.conflict.filter(|it| *it != Conflict::Ask).unwrap_or(Conflict::Rename));
    let listing = listing_path(engine, record);
    let (placed, skipped, skipped_entries) = engine
        .inner
        .jobs
        .of(record.id)
        .make(move || {
            if let Some(dir) = listing.parent() {
                std::fs::create_dir_all(dir).map_err(|e| local(format!("cannot make {}: {e}", dir.display())))?;
            }
            let placed = staging.commit(&destination, conflict, &listing)?;
            let mut numbers = staging.skipped();
            numbers.sort_by_key(|(_, reason)| !reason.counts());
            let named = numbers
                .iter()
                .take(SKIPPED_NAMED_MAX)
                .map(|(no, reason)| Ok(Skipped { path: path_of(staging.manifest(), *no)?, reason: *reason }));
            let named = named.collect::<Result<Vec<_>, files::Error>>()?;
            Ok((placed, named, numbers))
        })
        .await?;
    engine.write_receipt(record, cage).await?;
    crash::point("receipt-written");
    let placed: Vec<RawPath> = placed.into_iter().map(|it| RawPath(it.path)).collect();
    let nothing = record.entries == 1 && skipped.iter().any(|it| it.reason.counts());
    engine
        .change_transfer(record.id, Durability::Durable, |row| {
            if row.record.state.ended() {
                return; // it was cancelled meanwhile, and `let_go` takes back what is there
            }
            row.record.placed.clone_from(&placed);
            row.record.destination = Some(placed_in.clone()); // the inbox may be another one some day
            row.record.skipped.clear();
            row.record.leave_out(skipped.iter().cloned(), (skipped_entries.len() - skipped.len()) as u64);
            row.record.skipped_entries = skipped_entries.iter().take(SKIPPED_TOLD_MAX).copied().collect();
            row.record.untold = true;
            if nothing {
                let why =
                    ErrorBody::new(ErrorCode::LocalFile, "the file changed or went away while it was sent").hint("it has to be sent again");
                row.enter_with(TransferState::Failed, Phase::Resting, why);
            } else {
                row.enter(TransferState::Done, Phase::Resting);
            }
        })
        .await?;
    crash::point("end-kept");
    if engine.record(record.id).is_none_or(|now| !matches!(now.state, TransferState::Done | TransferState::Failed)) {
        return Ok(());
    }
    tracing::info!(id = %record.id, peer = %engine.label(record.peer), bytes = record.bytes_total, "received");
    engine.tell_the_end(record.id);
    engine.share_placed(record.id).await;
    engine.run_after(record.id);
    if !record.quarantined {
        engine.remember_contents(listing_path(engine, record), engine.destination(record)).await;
    }
    Ok(())
}

/// The transfer ended: its partials go, unless the daemon only stops.
pub async fn let_go(engine: &Engine, id: TransferId) {
    let Some(record) = engine.record(id).filter(|record| record.state.ended()) else { return };
    let made = Arc::clone(&engine.inner.jobs.of(id).making);
    let _made = made.lock().await; // what was under way when it ended makes no more files now
    engine.inner.jobs.end(id);
    if record.state != TransferState::Done {
        engine.inner.jobs.shares.end(id);
    }
    let (manifest, root, key) = (manifest_path(engine, &record), record.staging.clone(), record.key);
    let (listing, destination) = (listing_path(engine, &record), engine.destination(&record));
    let unwanted = record.state == TransferState::Cancelled; // it may have come into its place while it was
    let receipt = engine.receipt_path(&record);
    let gone = blocking(move || {
        if unwanted {
            let _ = std::fs::remove_file(&receipt); // nothing is there that it would prove
        }
        if unwanted && listing.exists() {
            files::cage::undo(&destination, &listing)?;
            std::fs::remove_file(&listing).map_err(|e| local(format!("cannot remove {}: {e}", listing.display())))?;
        }
        if let Some(RawPath(root)) = root {
            files::cage::discard(&root, key)?;
        }
        match std::fs::remove_file(&manifest) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(local(format!("cannot remove {}: {e}", manifest.display()))),
            _ => Ok(()),
        }
    });
    if let Err(Stop::Wait(e)) = gone.await {
        tracing::warn!(%id, "partials were left: {}", e.message);
    }
}

/// What one receive wrote, so that it can be taken back.
pub fn listing_path(engine: &Engine, record: &Record) -> PathBuf {
    engine.config().state_dir.join("received").join(record.key.to_string())
}

/// The path of an entry within its transfer, for people.
pub fn path_of(manifest: &Manifest, no: u32) -> Result<String, files::Error> {
    let names = manifest.path(no)?;
    Ok(names.iter().map(|name| lossless(name.as_bytes())).collect::<Vec<_>>().join("/"))
}
