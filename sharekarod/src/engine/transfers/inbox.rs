//! The inbox: offers that wait for a person, and what came.

use std::path::Path;

use sharekaro_proto::{
    ErrorBody, ErrorCode, TransferId,
    control::{
        inbox::{Accept, Decline, Inbox, Received, WaitingOffer},
        policy::Action,
        transfer::{RawPath, Transfer},
    },
    nouns::{
        text::lossless,
        transfer::{Direction, Phase, TransferState},
    },
};

use super::{record::Record, send::TRANSFER_LASTS_MS, table::not_found};
use crate::{
    engine::{
        Engine, clock, key_words,
        policy::{log::Decided, rule::PERSON},
    },
    store::{self, Durability},
};

/// The longest reason, in characters.
const REASON_MAX: usize = 500;

impl Engine {
    /// What waits and what came.
    pub fn inbox(&self) -> Inbox {
        self.look(|state| {
            let incoming = || state.transfers.iter().map(|row| &row.record).filter(|record| record.direction == Direction::In);
            let waiting = incoming().filter(|record| waits(record) && record.judged).map(|record| WaitingOffer {
                id: record.id,
                peer: state.peers.label(&record.peer),
                key: record.peer.short(),
                words: key_words(&record.peer),
                name: record.title.clone(),
                files: record.files_total,
                bytes: record.bytes_total,
                expires_at: clock::timestamp(record.expires_ms.unwrap_or_default()),
                rule: record.rule.clone(),
                note: record.note.clone(),
            });
            let came = incoming().filter(|record| record.state == TransferState::Done && !record.undone);
            let mut received: Vec<Received> = came.map(|record| self.received(record, state.peers.label(&record.peer))).collect();
            received.reverse();
            Inbox { waiting: waiting.collect(), received }
        })
    }

    fn received(&self, record: &Record, peer: String) -> Received {
        Received {
            id: record.id,
            peer,
            at: clock::timestamp(record.changed_ms),
            paths: record.placed.iter().map(|path| lossless(path.0.as_os_str().as_encoded_bytes())).collect(),
            dir: RawPath(self.destination(record)),
            files: record.files_done,
            bytes: record.bytes_confirmed,
            rule: record.rule.clone(),
            quarantined: record.quarantined,
        }
    }

    /// A person takes an offer, or lets out what lies in quarantine.
    ///
    /// # Errors
    /// No such offer waits, and nothing of it lies in quarantine; the folder cannot be used, and then all is as before.
    pub async fn accept(&self, id: TransferId, accept: Accept) -> Result<Transfer, ErrorBody> {
        if self.quarantined(id).await?.is_some() {
            return self.release(id, accept).await;
        }
        self.judged_offer(id)?;
        if let Some(RawPath(dir)) = accept.dir.clone() {
            let usable = tokio::task::spawn_blocking(move || usable_dir(&dir)).await;
            usable.unwrap_or_else(|_| Err(ErrorBody::new(ErrorCode::Unexpected, "looking at the folder was interrupted")))?;
        }
        let record = self.judged_offer(id)?; // somebody else may have answered meanwhile
        self.change_transfer(id, Durability::Durable, |row| {
            row.record.accepted = true;
            row.record.judged = true;
            if accept.dir.is_some() {
                row.record.destination.clone_from(&accept.dir);
            }
            row.record.expires_ms = Some(clock::now_ms() + TRANSFER_LASTS_MS);
            row.enter(TransferState::Active, Phase::Connecting);
        })
        .await?;
        self.note_decision(by_person(&record, Action::Accept, ""));
        self.tell_progress(id);
        self.spawn_transfer(id);
        self.transfer(id)
    }

    /// A person does not take an offer, or removes what lies in quarantine.
    ///
    /// # Errors
    /// No such offer waits, and nothing of it lies in quarantine.
    pub async fn decline(&self, id: TransferId, decline: Decline) -> Result<Transfer, ErrorBody> {
        if let Some(record) = self.quarantined(id).await? {
            self.undo(id).await?;
            self.note_decision(by_person(&record, Action::Decline, &decline.reason));
            return self.transfer(id);
        }
        let record = self.waiting_offer(id)?;
        let said: String = decline.reason.chars().take(REASON_MAX).collect();
        let message = if said.is_empty() { "the receiver did not want it".to_owned() } else { said };
        self.change_transfer(id, Durability::Durable, |row| {
            row.record.judged = true;
            row.record.untold = true;
            row.enter_with(TransferState::Declined, Phase::Resting, ErrorBody::new(ErrorCode::Declined, message.clone()));
        })
        .await?;
        self.note_decision(by_person(&record, Action::Decline, &decline.reason));
        tracing::info!(%id, peer = %self.label(record.peer), "declined");
        self.inner.jobs.of(id).wake();
        self.tell_the_end(id);
        self.transfer(id)
    }

    /// What lies in quarantine under this number. Where that is so long ago that it is not listed, it is again from now on.
    pub(super) async fn quarantined(&self, id: TransferId) -> Result<Option<Record>, ErrorBody> {
        let record = match self.record(id) {
            Some(record) => Some(record),
            None => self.store().read(move |c| store::transfers::find(c, id)).await?,
        };
        let apart = record.filter(Record::lies_apart);
        if let Some(record) = apart.clone() {
            self.update(|state| state.transfers.insert_to_change(record));
        }
        Ok(apart)
    }

    /// An offer that a person may take: its rules have said that he is asked. Declined, it may be at any time.
    fn judged_offer(&self, id: TransferId) -> Result<Record, ErrorBody> {
        let record = self.waiting_offer(id)?;
        if record.is_unjudged() {
            return Err(ErrorBody::new(ErrorCode::WrongState, format!("the rules are still being asked about {id}"))
                .hint("try again in a moment; `sharectl inbox` lists what waits for a person"));
        }
        Ok(record)
    }

    fn waiting_offer(&self, id: TransferId) -> Result<Record, ErrorBody> {
        let record = self.record(id).ok_or_else(|| not_found(id))?;
        if waits(&record) {
            return Ok(record);
        }
        Err(ErrorBody::new(ErrorCode::WrongState, format!("{id} does not wait for an answer: it is {}", record.state))
            .hint("`sharectl inbox` lists what waits"))
    }
}

fn waits(record: &Record) -> bool {
    record.direction == Direction::In && !record.accepted && !record.state.ended()
}

/// A person's answer, for the log.
pub(super) fn by_person<'a>(record: &Record, action: Action, reason: &str) -> Decided<'a> {
    let what = format!("{}, {} files, {} bytes", record.title, record.files_total, record.bytes_total);
    let note = if reason.is_empty() { what } else { format!("{what}: {reason}") };
    Decided { peer: record.peer, rule: PERSON, action: action.word(), transfer: Some(record.id), note }
}

/// Makes the folder where it is missing, and tries whether it can be written to.
pub(super) fn usable_dir(dir: &Path) -> Result<(), ErrorBody> {
    let unusable = |e: std::io::Error| {
        ErrorBody::new(ErrorCode::LocalFile, format!("cannot put files into {}: {e}", lossless(dir.as_os_str().as_encoded_bytes())))
            .hint("name another folder; the offer still waits")
    };
    if !dir.is_absolute() {
        return Err(ErrorBody::new(ErrorCode::Usage, "the folder has to be an absolute path"));
    }
    std::fs::create_dir_all(dir).map_err(unusable)?;
    let probe = dir.join(format!(".sharekaro-{}", uuid::Uuid::now_v7().as_simple()));
    std::fs::File::create_new(&probe).and_then(|_| std::fs::remove_file(&probe)).map_err(unusable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{tests::quiet, transfers::table::tests::record};

    fn accept() -> Accept {
        serde_json::from_str("{}").unwrap()
    }

    #[tokio::test]
    async fn an_offer_that_rules_still_look_at_is_nobodys_to_take() {
        let (engine, _dir) = quiet();
        let offer = Record { direction: Direction::In, judged: false, ..record(1, TransferState::Offered) };
        engine.update(|state| state.transfers.insert(offer));

        let refused = engine.accept(TransferId(1), accept()).await.unwrap_err();

        assert_eq!(refused.code, ErrorCode::WrongState);
        assert!(!engine.record(TransferId(1)).unwrap().accepted);
    }

    #[tokio::test]
    async fn what_lies_in_quarantine_is_found_when_it_is_no_longer_listed() {
        let (engine, _dir) = quiet();
        let apart = Record { direction: Direction::In, quarantined: true, ..record(0, TransferState::Done) };
        let id = engine.store().write(Durability::Soon, move |t| store::transfers::insert(t, &apart)).await.unwrap();

        let found = engine.quarantined(id).await.unwrap();

        assert!(found.is_some() && engine.record(id).is_some());
        assert!(engine.quarantined(TransferId(id.0 + 1)).await.unwrap().is_none());
    }
}
