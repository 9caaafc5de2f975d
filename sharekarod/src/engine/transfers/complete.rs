//! The end that everybody wants: stored there, acknowledged here.

use std::time::Duration;

use sharekaro_proto::{
    ErrorBody, ErrorCode, TransferKey,
    control::transfer::Skipped,
    nouns::transfer::{Direction, Phase, SkipReason, TransferState},
    wire::{Complete, Request, SKIPPED_TOLD_MAX, Status, request},
};

use super::{ending::path_of, record::Record};
use crate::{
    crash,
    engine::{Engine, clock, peers::serve::Answer},
    net::{Session, SessionError},
    store::Durability,
};

/// A sender that could not keep the receipt is told again after this, and more and more rarely.
const TELL_AGAIN: Duration = Duration::from_secs(2);
const TELL_AGAIN_MAX: Duration = Duration::from_secs(60);

impl Engine {
    /// Tells the sender that all is stored.
    pub(crate) async fn tell_complete(&self, session: &Session, record: &Record) -> Result<(), SessionError> {
        let complete = Complete {
            key: record.key.0.to_vec(),
            bytes: record.bytes_confirmed,
            files: record.files_done,
            reused: record.bytes_reused,
            skipped: record.skipped_entries.iter().take(SKIPPED_TOLD_MAX).flat_map(|(no, reason)| [*no, place(*reason)]).collect(),
            at_ms: record.changed_ms.unsigned_abs(),
            receipt: self.short_receipt(record),
        };
        let (reply, _) = session.request(Request { kind: Some(request::Kind::Complete(complete)) }).await?;
        match reply.status() {
            Status::Ok => Ok(()),
            _ => Err(SessionError::GivenUp(reply.status as u64)),
        }
    }

    /// The same, again and again while the session stands: the sender may have no room for the receipt right now.
    pub(crate) async fn tell_stored(&self, session: &Session, record: &Record) -> Result<(), SessionError> {
        let mut pause = TELL_AGAIN;
        loop {
            let told = self.tell_complete(session, record).await;
            let is_untold = || self.record(record.id).is_some_and(|now| now.untold);
            if told.is_ok() || !session.is_open() || !is_untold() {
                return told;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(TELL_AGAIN_MAX);
        }
    }

    /// The receiver says that all is stored.
    pub(crate) async fn completed(&self, session: &Session, complete: Complete) -> Answer {
        let Some(key) = TransferKey::from_slice(&complete.key) else { return Answer::no(Status::Invalid, "a transfer key has 16 bytes") };
        let Some(record) = self.look(|state| state.transfers.by_key(Direction::Out, session.peer(), key).cloned()) else {
            return Answer::ok(None); // long over and forgotten: nothing to do, and the receiver need not ask again
        };
        if record.state.ended() {
            return Answer::ok(None);
        }
        // After a restart it may be told over two sessions at once: whoever comes second finds it done.
        let job = self.inner.jobs.of(record.id);
        let _alone = job.making.lock().await;
        let Some(record) = self.record(record.id).filter(|record| !record.state.ended()) else { return Answer::ok(None) };
        crash::point("completion-heard");
        if let Err(e) = self.take_receipt(session, &record, complete.receipt.clone()).await {
            tracing::warn!(id = %record.id, "no receipt: {}", e.message);
            return Answer::no(Status::Invalid, e.message); // the receiver tells again
        }
        let skipped = self.skipped_there(&record, &complete.skipped).await;
        let nothing = record.entries == 1 && skipped.iter().any(|it| it.reason.counts());
        let kept = self
            .change_transfer(record.id, Durability::Durable, |row| {
                row.record.leave_out(skipped.iter().cloned(), 0);
                if nothing {
                    let why = ErrorBody::new(ErrorCode::LocalFile, "the file changed or went away while it was sent").hint("send it again");
                    row.enter_with(TransferState::Failed, Phase::Resting, why);
                } else {
                    row.confirmed(complete.bytes, complete.reused, complete.files);
                    row.enter(TransferState::Done, Phase::Resting);
                }
            })
            .await;
        if let Err(e) = kept {
            return Answer::no(Status::Failed, e.message); // the receiver tells again
        }
        crash::point("completion-kept");
        let took = (clock::now_ms() - record.created_ms) as f64 / 1e3;
        tracing::info!(id = %record.id, peer = %self.label(record.peer), bytes = record.bytes_total, seconds = took, "sent");
        if let Ok(source) = self.source(&record).await {
            let (engine, record) = (self.clone(), self.record(record.id).unwrap_or(record.clone()));
            self.spawn(async move { engine.remember_hashes(&record, source).await });
        }
        self.inner.jobs.of(record.id).wake();
        Answer::ok(None)
    }

    /// What the receiver could not store, by name.
    async fn skipped_there(&self, record: &Record, told: &[u32]) -> Vec<Skipped> {
        if told.is_empty() {
            return Vec::new();
        }
        let Ok(source) = self.source(record).await else { return Vec::new() };
        let told: Vec<(u32, SkipReason)> = told.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, reason(*pair.get(1)?)?))).collect();
        let named = tokio::task::spawn_blocking(move || {
            let name = |(no, reason): (u32, SkipReason)| path_of(source.tree.manifest(), no).ok().map(|path| Skipped { path, reason });
            told.into_iter().filter_map(name).collect()
        });
        named.await.unwrap_or_default()
    }
}

/// The place of a reason in the order of all reasons: what travels.
fn place(reason: SkipReason) -> u32 {
    SkipReason::ALL.iter().position(|it| *it == reason).unwrap_or_default() as u32
}

fn reason(place: u32) -> Option<SkipReason> {
    SkipReason::ALL.get(place as usize).copied()
}
