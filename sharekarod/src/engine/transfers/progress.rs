//! How far a transfer is: the receiver knows and tells, the sender believes only that.

use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode, TransferId, TransferKey,
    nouns::transfer::{Direction, Phase, TransferState},
    wire::{self, Note, Progress, Standing, Trouble, note},
};

use super::{
    crowd::{Given, HOLDERS_MAX},
    record::Record,
    table::Row,
};
use crate::{
    engine::Engine,
    net::Session,
    store::{self, Durability},
};

/// The longest text of a peer's error or reason that is kept, in characters.
const REASON_MAX: usize = 500;

impl Engine {
    /// A transfer's record as it is now.
    pub(crate) fn record(&self, id: TransferId) -> Option<Record> {
        self.look(|state| state.transfers.get(id).map(|row| row.record.clone()))
    }

    /// Changes a transfer in the store, then here; `change` is applied to each.
    pub(crate) async fn change_transfer(&self, id: TransferId, durability: Durability, change: impl Fn(&mut Row)) -> Result<(), ErrorBody> {
        let _one_at_a_time = self.inner.jobs.changing(id).await;
        let Some(record) = self.record(id) else { return Ok(()) };
        let mut row = Row::of(record);
        change(&mut row);
        let record = row.record;
        let line = self.store().write(durability, move |t| store::transfers::save(t, &record)).await?;
        self.update(|state| {
            if let Some(row) = state.transfers.edit(id) {
                change(row);
            }
            state.messages.came(line);
        });
        Ok(())
    }

    /// As `change_transfer`, where the work goes on whether or not it could be kept.
    pub(crate) async fn note_transfer(&self, id: TransferId, change: impl Fn(&mut Row)) {
        if let Err(e) = self.change_transfer(id, Durability::Soon, &change).await {
            tracing::warn!(%id, "cannot keep where a transfer stands: {}", e.message);
            self.update(|state| state.transfers.edit(id).map(change));
        }
    }

    /// Tells the sender how far we are, if there is a way to it.
    pub(crate) fn tell_progress(&self, id: TransferId) {
        let told = self.look(|state| {
            let row = state.transfers.get(id)?;
            let session = state.peers.get(&row.record.peer)?.open_session()?.clone();
            Some((session, progress_of(row)))
        });
        if let Some((session, mut progress)) = told {
            if progress.standing() == Standing::Active {
                progress.figures = Some(self.inner.jobs.of(id).gauge.figures(session.stats(), self.inner.jobs.cpu.permille()));
            }
            session.notify(Note { kind: Some(note::Kind::Progress(progress)) });
        }
    }

    /// The receiver tells how far it is.
    pub(crate) fn progress_told(&self, session: &Session, progress: Progress) {
        let Some(key) = TransferKey::from_slice(&progress.key) else { return };
        let Some(id) = self.look(|state| state.transfers.by_key(Direction::Out, session.peer(), key).map(|record| record.id)) else {
            return;
        };
        let before = self.look(|state| state.transfers.get(id).map(|row| row.record.state));
        if progress.figures.is_some() && before.is_some_and(|state| !state.ended()) {
            self.inner.jobs.of(id).gauge.heard(progress.figures);
        }
        let own = self.id();
        self.update(|state| {
            if let Some(row) = state.transfers.edit(id) {
                apply(row, &progress, own);
            }
        });
        if self.record(id).is_some_and(|after| Some(after.state) != before) {
            let engine = self.clone();
            self.spawn(async move {
                engine.note_transfer(id, |_| ()).await; // as it is then: it may have ended meanwhile
                engine.inner.jobs.of(id).wake();
            });
        }
    }
}

/// What the receiver tells of a transfer.
pub fn progress_of(row: &Row) -> Progress {
    let record = &row.record;
    Progress {
        key: record.key.0.to_vec(),
        standing: standing(record).into(),
        bytes_confirmed: record.bytes_confirmed,
        bytes_reused: record.bytes_reused,
        files_done: record.files_done,
        phase: row.phase.word().to_owned(),
        figures: None, // told while it runs, see `tell_progress`
        given: record.given.iter().map(told_given).collect(),
        trouble: record.error.as_ref().map(|e| Trouble { code: e.code.word().to_owned(), message: e.message.clone() }),
    }
}

fn told_given(given: &Given) -> wire::Given {
    wire::Given { device: given.device.as_bytes().to_vec(), pieces: given.pieces, bytes: given.bytes, wrong: given.wrong }
}

fn heard_given(told: &wire::Given, own: DeviceId) -> Option<Given> {
    let device = DeviceId::from_bytes(told.device.as_slice().try_into().ok()?);
    Some(Given { device, sender: device == own, pieces: told.pieces, bytes: told.bytes, wrong: told.wrong })
}

fn standing(record: &Record) -> Standing {
    match record.state {
        TransferState::Queued | TransferState::Offered if !record.accepted => Standing::Asked,
        TransferState::Queued | TransferState::Offered | TransferState::Active => Standing::Active,
        // who paused it says so; that the other side did, it knows itself
        TransferState::Paused if record.paused_here => Standing::Paused,
        TransferState::Paused => Standing::Active,
        TransferState::Waiting => Standing::Waiting,
        TransferState::Done => Standing::Done,
        TransferState::Declined => Standing::Declined,
        TransferState::Cancelled => Standing::Cancelled,
        TransferState::Expired | TransferState::Failed => Standing::Expired,
    }
}

/// Makes the sender's row say what the receiver told. An end stays; "done" waits for the receipt.
pub fn apply(row: &mut Row, progress: &Progress, own: DeviceId) {
    if row.record.state.ended() {
        return;
    }
    let phase = Phase::from_word(&progress.phase).unwrap_or(Phase::Transferring);
    let paused = progress.standing() == Standing::Paused;
    row.record.paused_there = paused;
    if row.record.crowd.is_some() {
        row.record.given = progress.given.iter().take(HOLDERS_MAX).filter_map(|given| heard_given(given, own)).collect();
    }
    row.confirmed(progress.bytes_confirmed, progress.bytes_reused, progress.files_done);
    match progress.standing() {
        Standing::Asked if row.record.paused_here => row.enter(TransferState::Paused, Phase::Resting),
        Standing::Asked => row.enter(TransferState::Offered, Phase::Asking),
        Standing::Active if row.record.paused_here => row.enter(TransferState::Paused, Phase::Resting),
        Standing::Active => row.enter(TransferState::Active, phase),
        Standing::Done => row.enter(TransferState::Active, Phase::Storing),
        Standing::Paused => row.enter(TransferState::Paused, Phase::Resting),
        Standing::Waiting => {
            row.enter_with(TransferState::Waiting, Phase::Resting, reason(progress, ErrorCode::Unexpected, "the receiver waits"))
        }
        Standing::Declined => {
            row.enter_with(TransferState::Declined, Phase::Resting, reason(progress, ErrorCode::Declined, "the receiver did not want it"))
        }
        Standing::Cancelled => {
            row.enter_with(TransferState::Cancelled, Phase::Resting, reason(progress, ErrorCode::Cancelled, "the receiver cancelled it"))
        }
        Standing::Expired => {
            row.enter_with(TransferState::Expired, Phase::Resting, reason(progress, ErrorCode::TimedOut, "nobody answered there in time"))
        }
        Standing::Unspecified | Standing::Unheard => {}
    }
    if matches!(row.record.state, TransferState::Active | TransferState::Paused | TransferState::Waiting) {
        row.record.accepted = true;
    }
}

fn reason(progress: &Progress, code: ErrorCode, otherwise: &str) -> ErrorBody {
    let said = progress.trouble.as_ref();
    let message = said.map(|it| it.message.chars().take(REASON_MAX).collect::<String>()).filter(|text| !text.is_empty());
    let code = match said.and_then(|it| ErrorCode::from_word(&it.code)) {
        Some(said) if progress.standing() == Standing::Waiting => said,
        _ => code,
    };
    let hint = if code == ErrorCode::NoSpace { "it goes on by itself when it can be stored there" } else { "" };
    ErrorBody::new(code, message.unwrap_or_else(|| otherwise.to_owned())).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::transfers::{crowd::Crowd, table::tests::record};

    const OWN: DeviceId = DeviceId::from_bytes([9; 32]);

    fn told(standing: Standing, bytes: u64) -> Progress {
        Progress { standing: standing.into(), bytes_confirmed: bytes, ..Progress::default() }
    }

    #[test]
    fn an_end_is_never_undone_by_a_late_note() {
        let mut row = Row::of(record(1, TransferState::Cancelled));

        apply(&mut row, &told(Standing::Active, 500), OWN);

        assert_eq!((row.record.state, row.record.bytes_confirmed), (TransferState::Cancelled, 0));
    }

    #[test]
    fn what_our_person_paused_stays_paused_while_theirs_is_asked() {
        let mut row = Row::of(Record { paused_here: true, ..record(1, TransferState::Paused) });

        apply(&mut row, &told(Standing::Asked, 0), OWN);
        assert_eq!(row.record.state, TransferState::Paused);
        row.record.paused_here = false;
        apply(&mut row, &told(Standing::Asked, 0), OWN);
        assert_eq!(row.record.state, TransferState::Offered);
    }

    #[test]
    fn that_all_is_stored_is_believed_only_with_the_receipt() {
        let mut row = Row::of(record(1, TransferState::Active));

        apply(&mut row, &told(Standing::Done, 1_000), OWN);

        assert_eq!((row.record.state, row.phase), (TransferState::Active, Phase::Storing));
    }

    #[test]
    fn a_full_disk_there_is_waited_for_with_its_reason() {
        let mut row = Row::of(record(1, TransferState::Active));
        let trouble = Some(Trouble { code: "no_space".into(), message: "no room".into() });

        apply(&mut row, &Progress { trouble, ..told(Standing::Waiting, 5) }, OWN);

        assert_eq!(row.record.state, TransferState::Waiting);
        assert_eq!(row.record.error.as_ref().map(|e| (e.code, e.message.as_str())), Some((ErrorCode::NoSpace, "no room")));
    }

    #[test]
    fn who_paused_resumes() {
        let mut row = Row::of(record(1, TransferState::Active));
        row.record.paused_here = true;

        apply(&mut row, &told(Standing::Active, 5), OWN);

        assert_eq!(row.record.state, TransferState::Paused);
    }

    #[test]
    fn whom_the_pieces_came_from_is_told_where_several_receive_the_same() {
        let given = |device: u8, wrong| wire::Given { device: vec![device; 32], pieces: 3, bytes: 3 << 20, wrong };
        let odd = wire::Given { device: vec![1; 31], ..given(1, 0) };
        let progress = Progress { given: vec![given(9, 0), given(2, 1), odd], ..told(Standing::Active, 5) };
        let (mut alone, mut row) = (Row::of(record(1, TransferState::Active)), Row::of(record(2, TransferState::Active)));
        row.record.crowd = Some(Crowd::fresh());

        apply(&mut row, &progress, OWN);
        apply(&mut alone, &progress, OWN);

        let heard: Vec<_> = row.record.given.iter().map(|it| (it.device == OWN, it.sender, it.pieces, it.wrong)).collect();
        assert_eq!(heard, [(true, true, 3, 0), (false, false, 3, 1)]);
        assert!(alone.record.given.is_empty());
    }
}
