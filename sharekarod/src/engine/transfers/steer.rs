//! Steering a transfer: pause, resume, cancel, retry, by either side. What one side does, the other is told, at once or
//! when it is back.

use sharekaro_proto::{
    ErrorBody, ErrorCode, TransferId, TransferKey,
    control::transfer::{Send, SetLimit, SetPriority, Transfer, Transfers},
    nouns::transfer::{Direction, Phase, Priority, TransferState},
    wire::{Change, ChangeKind, Request, Status, request},
};

use super::{
    record::Record,
    table::{Row, not_found},
};
use crate::{
    engine::{Engine, only, peers::serve::Answer},
    net::Session,
    store::{self, Durability},
};

/// The longest reason of a peer, in characters.
const REASON_MAX: usize = 500;

/// A person does not wait longer than this for the other side to hear of a change; it learns it later.
const TOLD_WITHIN: std::time::Duration = std::time::Duration::from_secs(3);

impl Engine {
    /// Those that have not ended and the newest of the others, newest first.
    pub fn transfers(&self) -> Transfers {
        self.look(|state| Transfers { transfers: state.transfers.views(&state.peers) })
    }

    /// One transfer.
    ///
    /// # Errors
    /// There is none of that number.
    pub fn transfer(&self, id: TransferId) -> Result<Transfer, ErrorBody> {
        let here = self.look(|state| state.transfers.get(id).map(|row| row.whole(&state.peers)));
        match here {
            Some(transfer) => Ok(transfer),
            None => {
                let record = self.store().now(|c| store::transfers::find(c, id))?.ok_or_else(|| not_found(id))?;
                Ok(self.look(|state| Row::of(record).whole(&state.peers)))
            }
        }
    }

    /// Lets a transfer rest until the same side resumes it.
    ///
    /// # Errors
    /// There is none of that number, or it has ended.
    pub async fn pause(&self, id: TransferId) -> Result<Transfer, ErrorBody> {
        self.open_record(id)?;
        self.change_transfer(id, Durability::Durable, |row| row.record.paused_here = true).await?;
        self.comes_to_rest(id).await;
        self.tell_change(id, ChangeKind::Pause).await;
        self.note_transfer(id, rest).await;
        if self.record(id).is_some_and(|record| record.direction == Direction::In) {
            self.tell_progress(id); // behind whatever was told before
        }
        self.transfer(id)
    }

    /// Wakes the job of a receiver that has to pause and waits, within bounds, until nothing comes in any more.
    async fn comes_to_rest(&self, id: TransferId) {
        self.inner.jobs.of(id).wake();
        let mut events = self.subscribe();
        let rests = |engine: &Self| {
            engine
                .record(id)
                .is_none_or(|record| record.direction == Direction::Out || !record.accepted || record.state != TransferState::Active)
        };
        let resting = async { while !rests(self) && events.next().await.is_some() {} };
        let _ = tokio::time::timeout(TOLD_WITHIN, resting).await;
    }

    /// Lets a transfer go on that this side paused.
    ///
    /// # Errors
    /// There is none of that number, it has ended, or the other side paused it.
    pub async fn resume(&self, id: TransferId) -> Result<Transfer, ErrorBody> {
        let record = self.open_record(id)?;
        if record.paused_there && !record.paused_here {
            let name = self.label(record.peer);
            return Err(ErrorBody::new(ErrorCode::WrongState, format!("{name} paused {id}")).hint(format!("{name} has to resume it")));
        }
        self.change_transfer(id, Durability::Durable, |row| {
            row.record.paused_here = false;
            wake_up(row);
        })
        .await?;
        self.tell_change(id, ChangeKind::Resume).await;
        self.spawn_transfer(id);
        self.transfer(id)
    }

    /// Ends a transfer.
    ///
    /// # Errors
    /// There is none of that number, or it ended otherwise.
    pub async fn cancel(&self, id: TransferId) -> Result<Transfer, ErrorBody> {
        let record = self.record(id).ok_or_else(|| not_found(id))?;
        if record.state == TransferState::Cancelled {
            return self.transfer(id);
        }
        self.open_record(id)?;
        self.change_transfer(id, Durability::Durable, |row| {
            if !row.record.state.ended() {
                row.record.untold = true;
                row.enter_with(TransferState::Cancelled, Phase::Resting, ErrorBody::new(ErrorCode::Cancelled, "it was cancelled here"));
            }
        })
        .await?;
        if self.record(id).is_some_and(|record| record.state != TransferState::Cancelled) {
            self.open_record(id)?; // another end was faster
        }
        self.inner.jobs.of(id).wake();
        self.tell_the_end(id);
        self.transfer(id)
    }

    /// Sets how many bytes a second may go; the lower limit of both sides counts.
    ///
    /// # Errors
    /// There is none of that number, or it has ended; a limit of nothing.
    pub async fn set_limit(&self, id: TransferId, limit: SetLimit) -> Result<Transfer, ErrorBody> {
        self.open_record(id)?;
        if limit.rate == Some(0) {
            return Err(ErrorBody::new(ErrorCode::Usage, "no bytes a second is a pause").hint(format!("`sharectl transfer pause {id}`")));
        }
        self.steer(id, ChangeKind::Limit, |row| row.record.limit_here = limit.rate).await?;
        self.transfer(id)
    }

    /// Sets which goes first.
    ///
    /// # Errors
    /// There is none of that number, or it has ended.
    pub async fn set_priority(&self, id: TransferId, wanted: SetPriority) -> Result<Transfer, ErrorBody> {
        self.open_record(id)?;
        self.steer(id, ChangeKind::Priority, |row| row.record.priority = wanted.priority).await?;
        self.transfer(id)
    }

    /// Keeps what a person set, obeys it and tells it. A sender that cannot be told says it with its next offer; a receiver
    /// has to remember to.
    async fn steer(&self, id: TransferId, kind: ChangeKind, set: impl Fn(&mut Row)) -> Result<(), ErrorBody> {
        self.change_transfer(id, Durability::Durable, |row| {
            set(row);
            row.record.steered |= row.record.direction == Direction::In;
        })
        .await?;
        self.obey_limit(id);
        if self.record(id).is_some_and(|record| record.steered) {
            self.tell_steering(id).await;
        } else {
            self.tell_change(id, kind).await;
        }
        Ok(())
    }

    /// Tells the sender what our person set, where it can be told now.
    pub(crate) async fn tell_steering(&self, id: TransferId) {
        if self.tell_change(id, ChangeKind::Limit).await && self.tell_change(id, ChangeKind::Priority).await {
            self.note_transfer(id, |row| row.record.steered = false).await;
        }
    }

    /// What runs of a transfer obeys its limit from now on.
    fn obey_limit(&self, id: TransferId) {
        let Some(record) = self.record(id).filter(|record| !record.state.ended()) else { return };
        let job = self.inner.jobs.of(id);
        job.limiter.set(record.limit());
        if record.direction == Direction::In && record.crowd.is_some() {
            job.wake(); // the sender keeps a limit: while there is one, nobody else helps
        }
    }

    /// Lets one that waits try at once, or sends one that ended unfinished again.
    ///
    /// # Errors
    /// There is none of that number, or there is nothing to try again.
    pub async fn retry(&self, id: TransferId) -> Result<Transfer, ErrorBody> {
        let record = self.record(id).ok_or_else(|| not_found(id))?;
        if !record.state.ended() {
            self.hurry(id);
            return self.transfer(id);
        }
        if record.direction == Direction::In || record.state == TransferState::Done {
            return Err(ErrorBody::new(ErrorCode::WrongState, format!("{id} is {}", record.state))
                .hint("only the sender of an unfinished transfer can send it again"));
        }
        let again = Send {
            target: format!("k:{}", record.peer),
            paths: record.sources,
            note: record.note,
            exclude: record.options.exclude,
            conflict: record.conflict,
            limit: record.limit_here,
            priority: Some(record.priority),
            ignore_files: record.options.ignore_files,
            xattrs: record.options.xattrs,
            apart: false,
        };
        only(self.send(again).await?.transfers).ok_or_else(|| not_found(id))
    }

    /// Lets one that waits try at once; nothing happens to one that ended.
    pub(crate) fn hurry(&self, id: TransferId) {
        if let Some(record) = self.record(id).filter(|record| !record.state.ended()) {
            self.keep_connected(record.peer);
            self.inner.jobs.of(id).wake();
        }
    }

    /// The record of a transfer that has not ended.
    pub(crate) fn open_record(&self, id: TransferId) -> Result<Record, ErrorBody> {
        let record = self.record(id).ok_or_else(|| not_found(id))?;
        if record.state.ended() {
            let message = format!("{id} has ended: it is {}", record.state);
            return Err(ErrorBody::new(ErrorCode::WrongState, message).hint("`sharectl transfers` shows what is under way"));
        }
        Ok(record)
    }

    /// Nobody answered, or nothing moved, for too long.
    pub(crate) async fn expire_transfer(&self, id: TransferId) {
        self.note_transfer(id, |row| {
            row.record.untold = true;
            row.enter_with(
                TransferState::Expired,
                Phase::Resting,
                ErrorBody::new(ErrorCode::TimedOut, "nobody answered in time").hint("send it again"),
            );
        })
        .await;
        self.tell_the_end(id);
    }

    /// Tells the peer what changed here, if there is a way to it; otherwise it learns it with the next offer. Says whether
    /// it heard.
    pub(crate) async fn tell_change(&self, id: TransferId, kind: ChangeKind) -> bool {
        let Some(record) = self.record(id) else { return false };
        let Some(session) = self.open_session(&record.peer) else { return false };
        match tokio::time::timeout(TOLD_WITHIN, change(&session, &record, kind)).await {
            Ok(Ok(())) => return true,
            Ok(Err(e)) => tracing::debug!(%id, "the peer was not told: {e}"),
            Err(_) => tracing::debug!(%id, "the peer was not told in time"),
        }
        false
    }

    /// Tells the peer of an end that it does not know of yet, now or when it is back.
    pub(crate) fn tell_the_end(&self, id: TransferId) {
        let Some(record) = self.record(id).filter(|record| record.untold && record.state.ended()) else { return };
        let Some(session) = self.open_session(&record.peer) else { return };
        let engine = self.clone();
        self.spawn(async move {
            let told = match record.state {
                TransferState::Done | TransferState::Failed => engine.tell_stored(&session, &record).await,
                TransferState::Declined => decline(&session, &record).await,
                TransferState::Expired => change(&session, &record, ChangeKind::Expire).await,
                _ => change(&session, &record, ChangeKind::Cancel).await,
            };
            match told {
                Ok(()) => engine.note_transfer(id, |row| row.record.untold = false).await,
                Err(e) => tracing::debug!(%id, "the peer was not told of the end: {e}"),
            }
        });
    }

    /// A session with a peer stands: it hears of every end that it missed.
    pub(crate) fn session_opened(&self, session: &Session) {
        let untold: Vec<TransferId> = self.look(|state| {
            state.transfers.iter().map(|row| &row.record).filter(|it| it.untold && it.peer == session.peer()).map(|it| it.id).collect()
        });
        for id in untold {
            self.tell_the_end(id);
        }
        self.tell_presence(session);
        self.note_new_address(session);
    }

    /// A stranger was reached elsewhere than what is open with it remembers.
    fn note_new_address(&self, session: &Session) {
        let Some(address) = self.address_of_stranger(session.peer()) else { return };
        let is_stale = |it: &Record| it.peer == session.peer() && !it.state.ended() && it.peer_address != Some(address);
        let stale: Vec<TransferId> =
            self.look(|state| state.transfers.iter().map(|row| &row.record).filter(|it| is_stale(it)).map(|it| it.id).collect());
        for id in stale {
            let engine = self.clone();
            self.spawn(async move { engine.note_transfer(id, |row| row.record.peer_address = Some(address)).await });
        }
    }

    /// A session ended.
    pub(crate) fn session_closed(&self, session: &Session) {
        self.pairing_fails(session.peer(), "the connection broke");
    }

    /// The other side changes a transfer.
    pub(crate) async fn changed_by_peer(&self, session: &Session, change: Change) -> Answer {
        let (kind, peer) = (change.kind(), session.peer());
        let Some(key) = TransferKey::from_slice(&change.key) else { return Answer::no(Status::Invalid, "a transfer key has 16 bytes") };
        let found = self.look(|state| {
            let of = |direction| state.transfers.by_key(direction, peer, key).cloned();
            of(Direction::In).or_else(|| of(Direction::Out))
        });
        let Some(record) = found else { return Answer::no(Status::NotFound, "there is no such transfer here") };
        if record.state.ended() {
            return Answer::ok(None); // already so
        }
        let said: String = change.reason.chars().take(REASON_MAX).collect();
        let kept = self.change_transfer(record.id, Durability::Durable, |row| take_change(row, &change, kind, &said)).await;
        match kind {
            ChangeKind::Limit => self.obey_limit(record.id),
            ChangeKind::Priority => {}
            ChangeKind::Pause => self.comes_to_rest(record.id).await,
            _ => self.inner.jobs.of(record.id).wake(),
        }
        match kept {
            Ok(()) => Answer::ok(None),
            Err(e) => Answer::no(Status::Failed, e.message),
        }
    }
}

fn take_change(row: &mut Row, change: &Change, kind: ChangeKind, said: &str) {
    let or = |text: &str| if said.is_empty() { text.to_owned() } else { said.to_owned() };
    match kind {
        ChangeKind::Pause => {
            row.record.paused_there = true;
            if row.record.direction == Direction::Out {
                rest(row);
            } // a receiver rests when its pull has stopped
        }
        ChangeKind::Resume => {
            row.record.paused_there = false;
            wake_up(row);
        }
        ChangeKind::Cancel => row.enter_with(
            TransferState::Cancelled,
            Phase::Resting,
            ErrorBody::new(ErrorCode::Cancelled, or("the other side cancelled it")),
        ),
        ChangeKind::Expire => row.enter_with(
            TransferState::Expired,
            Phase::Resting,
            ErrorBody::new(ErrorCode::TimedOut, or("it took too long for the other side")),
        ),
        ChangeKind::Limit => row.record.limit_there = Some(change.rate).filter(|rate| *rate > 0),
        ChangeKind::Priority => row.record.priority = Priority::from_word(&change.priority).unwrap_or(row.record.priority),
        ChangeKind::Decline => {
            row.enter_with(TransferState::Declined, Phase::Resting, ErrorBody::new(ErrorCode::Declined, or("the receiver did not want it")))
        }
        ChangeKind::Unspecified => {}
    }
}

/// Into a pause, unless it ended or waits for an answer.
fn rest(row: &mut Row) {
    if !row.record.state.ended() && row.record.paused() && (row.record.accepted || row.record.direction == Direction::Out) {
        row.enter(TransferState::Paused, Phase::Resting);
    }
}

/// Out of a pause, if nobody pauses it any more.
fn wake_up(row: &mut Row) {
    if row.record.state != TransferState::Paused || row.record.paused() {
        return;
    }
    match (row.record.direction, row.record.accepted) {
        (Direction::In, false) => row.enter(TransferState::Offered, Phase::Asking),
        (Direction::Out, false) => row.enter(TransferState::Queued, Phase::Connecting),
        (_, true) => row.enter(TransferState::Active, Phase::Connecting),
    }
}

async fn decline(session: &Session, record: &Record) -> Result<(), crate::net::SessionError> {
    change(session, record, ChangeKind::Decline).await
}

async fn change(session: &Session, record: &Record, kind: ChangeKind) -> Result<(), crate::net::SessionError> {
    let reason = match kind {
        ChangeKind::Decline => record.error.as_ref().map(|e| e.message.clone()).unwrap_or_default(),
        _ => String::new(),
    };
    let change = Change {
        key: record.key.0.to_vec(),
        kind: kind.into(),
        reason,
        rate: record.limit_here.unwrap_or_default(),
        priority: record.priority.word().to_owned(),
    };
    session.request(Request { kind: Some(request::Kind::Change(change)) }).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::transfers::table::tests::record;

    #[test]
    fn what_both_paused_goes_on_when_both_resumed() {
        let mut row = Row::of(record(1, TransferState::Paused));
        row.record.accepted = true;
        row.record.paused_here = true;
        row.record.paused_there = true;

        take_change(&mut row, &Change::default(), ChangeKind::Resume, "");
        assert_eq!(row.record.state, TransferState::Paused);

        row.record.paused_here = false;
        wake_up(&mut row);
        assert_eq!(row.record.state, TransferState::Active);
    }

    #[test]
    fn a_reason_reaches_the_other_side() {
        let mut row = Row::of(record(1, TransferState::Offered));

        take_change(&mut row, &Change::default(), ChangeKind::Decline, "too big, नहीं");

        assert_eq!(row.record.error.map(|e| e.message), Some("too big, नहीं".to_owned()));
    }
}
