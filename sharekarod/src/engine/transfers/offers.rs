//! An offer comes in: refused, declined, or recorded; then policy or a person answers.

use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode, TransferId, TransferKey,
    control::transfer::RawPath,
    nouns::{
        text::lossless,
        transfer::{Conflict, Direction, Phase, Priority, TransferState},
        trust::Trust,
    },
    wire::{INLINE_MANIFEST_MAX, Offer, Status, reply},
};

use super::{
    crowd::Crowd,
    progress::progress_of,
    record::{Record, SendOptions},
    send::TRANSFER_LASTS_MS,
    table::Row,
};
use crate::{
    crash,
    engine::{Engine, clock, peers::serve::Answer},
    files::FileName,
    net::Session,
};

/// Offers of a peer that wait for an answer at once: a stranger gets few.
const WAITING_MAX_STRANGER: usize = 3;

/// A paired peer gets more, and is asked to come again later after that.
const WAITING_MAX_PAIRED: usize = 500;

/// Transfers from one peer that have not ended: more is a defect or an attack.
const OPEN_MAX: usize = 5_000;

/// The most entries of an offer.
pub const ENTRIES_MAX: u64 = 4_000_000;

/// The most bytes of an offer: 64 TiB.
const BYTES_MAX: u64 = 64 << 40;

/// The longest title and note, in characters.
const TEXT_MAX: usize = 1_000;

impl Engine {
    /// A peer offers something, or asks where an offer of his stands.
    pub(crate) async fn offered(&self, session: &Session, offer: Offer) -> Answer {
        let peer = session.peer();
        let Some(key) = TransferKey::from_slice(&offer.key) else { return Answer::no(Status::Invalid, "a transfer key has 16 bytes") };
        if let Some(record) = self.look(|state| state.transfers.by_key(Direction::In, peer, key).cloned()) {
            return self.offered_again(record, &offer).await;
        }
        if let Err(why) = check(&offer) {
            return Answer::no(Status::Invalid, why);
        }
        let verdict = match self.judge(peer) {
            // the sender leaves it to our person what happens where a name is taken
            Ok(Verdict::Accept) if offer.conflict == Conflict::Ask.word() => Verdict::Ask,
            Ok(verdict) => verdict,
            Err(answer) => return *answer,
        };
        // a client that waits for the next file of this peer said yes to it
        let turn = if verdict != Verdict::Decline && offer.entries == 1 && offer.files == 1 { self.turn_of(peer).await } else { None };
        let mut record = self.incoming_record(peer, key, &offer, if turn.is_some() { Verdict::Accept } else { verdict });
        record.destination = turn.as_ref().map(|turn| RawPath(turn.dir.clone()));
        match self.take_in(record, offer.manifest).await {
            Ok(id) => {
                if let Some(turn) = turn {
                    self.your_turn(turn, id);
                }
                self.standing(id)
            }
            Err(e) => Answer::no(Status::Failed, e.message),
        }
    }

    /// What to do with an offer of this peer.
    fn judge(&self, peer: DeviceId) -> Result<Verdict, Box<Answer>> {
        self.look(|state| {
            let trust = state.peers.get(&peer).map_or(Trust::Unknown, |known| known.trust);
            let open = || {
                state
                    .transfers
                    .iter()
                    .map(|row| &row.record)
                    .filter(|record| record.direction == Direction::In && record.peer == peer && !record.state.ended())
            };
            let waiting = open().filter(|record| !record.accepted).count();
            let limit = if trust.paired() { WAITING_MAX_PAIRED } else { WAITING_MAX_STRANGER };
            if waiting >= limit || open().count() >= OPEN_MAX {
                return Err(Box::new(Answer::no(Status::Busy, "too many offers wait here already")));
            }
            Ok(match trust {
                Trust::Accept => Verdict::Accept,
                Trust::Decline | Trust::Blocked => Verdict::Decline,
                Trust::Ask | Trust::Unknown | Trust::Pending | Trust::Changed => Verdict::Ask,
            })
        })
    }

    fn incoming_record(&self, peer: DeviceId, key: TransferKey, offer: &Offer, verdict: Verdict) -> Record {
        let now = clock::now_ms();
        let waits = i64::try_from(self.config().offer_expiry.as_millis()).unwrap_or(TRANSFER_LASTS_MS);
        let mut row = Row::of(Record {
            id: TransferId(0),
            key,
            set: key,
            direction: Direction::In,
            peer,
            state: TransferState::Queued,
            title: title(offer),
            note: offer.note.chars().take(TEXT_MAX).collect(),
            bytes_total: offer.bytes,
            files_total: offer.files,
            entries: offer.entries,
            bytes_confirmed: 0,
            bytes_reused: 0,
            files_done: 0,
            error: None,
            sources: Vec::new(),
            options: SendOptions::default(),
            conflict: Conflict::from_word(&offer.conflict),
            placed: Vec::new(),
            destination: None,
            staging: None,
            crowd: offer.crowd.clone().and_then(|crowd| Crowd::from_offer(crowd, self.id())),
            skipped: Vec::new(),
            skipped_entries: Vec::new(),
            limit_here: None,
            limit_there: Some(offer.limit).filter(|rate| *rate > 0),
            priority: Priority::from_word(&offer.priority).unwrap_or(Priority::Normal),
            paused_here: false,
            paused_there: offer.paused,
            accepted: verdict == Verdict::Accept,
            rule: "default".to_owned(),
            untold: false,
            scanned: false,
            created_ms: now,
            changed_ms: now,
            expires_ms: Some(now + if verdict == Verdict::Ask { waits } else { TRANSFER_LASTS_MS }),
        });
        match verdict {
            Verdict::Accept => row.enter(TransferState::Active, Phase::Connecting),
            Verdict::Ask => row.enter(TransferState::Offered, Phase::Asking),
            Verdict::Decline => row.enter_with(
                TransferState::Declined,
                Phase::Resting,
                ErrorBody::new(ErrorCode::Declined, "this device does not take files from you"),
            ),
        }
        row.record
    }

    async fn take_in(&self, record: Record, manifest: Vec<u8>) -> Result<TransferId, ErrorBody> {
        let kept = record.clone();
        let id = self.store().write(crate::store::Durability::Soon, move |t| crate::store::transfers::insert(t, &kept)).await?;
        crash::point("offer-kept");
        tracing::info!(%id, peer = %self.label(record.peer), files = record.files_total, bytes = record.bytes_total, state = %record.state, "an offer");
        let ended = record.state.ended();
        self.update(|state| state.transfers.insert(Record { id, ..record }));
        if !ended {
            let job = self.inner.jobs.of(id);
            *job.inline_manifest.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(manifest).filter(|it| !it.is_empty());
            self.spawn_transfer(id);
        }
        Ok(id)
    }

    /// The same offer after a reconnection: where does it stand?
    async fn offered_again(&self, record: Record, offer: &Offer) -> Answer {
        let limit = Some(offer.limit).filter(|rate| *rate > 0);
        let priority = Priority::from_word(&offer.priority).unwrap_or(record.priority);
        if !record.state.ended() && (record.paused_there != offer.paused || record.limit_there != limit || record.priority != priority) {
            self.note_transfer(record.id, |row| {
                row.record.paused_there = offer.paused;
                row.record.limit_there = limit;
                row.record.priority = priority;
            })
            .await;
        }
        let crowd = offer.crowd.clone().and_then(|crowd| Crowd::from_offer(crowd, self.id()));
        if crowd.is_some() && crowd != record.crowd {
            self.note_transfer(record.id, |row| row.record.crowd.clone_from(&crowd)).await;
        }
        if record.state == TransferState::Done && !record.untold {
            self.note_transfer(record.id, |row| row.record.untold = true).await; // the receipt got lost there
        }
        self.inner.jobs.of(record.id).wake();
        if record.state.ended() {
            self.tell_the_end(record.id);
        }
        self.standing(record.id)
    }

    fn standing(&self, id: TransferId) -> Answer {
        match self.look(|state| state.transfers.get(id).map(progress_of)) {
            Some(progress) => Answer::ok(Some(reply::Kind::Progress(progress))),
            None => Answer::no(Status::NotFound, "this transfer is over"),
        }
    }

    /// Where a transfer's files go: where a person said, else the inbox.
    pub(crate) fn destination(&self, record: &Record) -> std::path::PathBuf {
        record.destination.as_ref().map_or_else(|| self.config().inbox_dir.clone(), |RawPath(path)| path.clone())
    }
}

/// What is done with an offer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accept,
    Ask,
    Decline,
}

fn title(offer: &Offer) -> String {
    let first = offer.names.first().map(|name| lossless(name));
    first.unwrap_or_else(|| offer.title.clone()).chars().take(TEXT_MAX).collect()
}

fn check(offer: &Offer) -> Result<(), &'static str> {
    if offer.entries == 0 || offer.entries > ENTRIES_MAX || offer.files > offer.entries {
        return Err("an offer has 1 to 4,000,000 entries, and no more files than these");
    }
    if offer.bytes > BYTES_MAX {
        return Err("an offer has at most 64 TiB");
    }
    if offer.manifest.len() > INLINE_MANIFEST_MAX {
        return Err("a manifest inside the offer has at most 16 KiB");
    }
    if offer.names.iter().any(|name| FileName::parse(name).is_err()) {
        return Err("a name in the offer is no file name");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_that_cannot_be_are_refused() {
        let good = Offer { entries: 2, files: 1, bytes: 5, names: vec![b"a".to_vec()], ..Offer::default() };
        let bad = [
            Offer { entries: 0, ..good.clone() },
            Offer { entries: u64::MAX, ..good.clone() },
            Offer { files: 3, ..good.clone() },
            Offer { bytes: u64::MAX, ..good.clone() },
            Offer { manifest: vec![0; INLINE_MANIFEST_MAX + 1], ..good.clone() },
            Offer { names: vec![b"../x".to_vec()], ..good.clone() },
            Offer { names: vec![b"a\0b".to_vec()], ..good.clone() },
        ];

        assert!(check(&good).is_ok());
        for offer in bad {
            assert!(check(&offer).is_err(), "{offer:?}");
        }
    }
}
