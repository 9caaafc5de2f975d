//! An offer comes in: refused, declined, or recorded; then policy or a person answers.

use std::sync::{Arc, PoisonError};

use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode, TransferId, TransferKey,
    control::{policy::Action, transfer::RawPath},
    nouns::{
        text::lossless,
        transfer::{Conflict, Direction, Phase, Priority, TransferState},
    },
    wire::{INLINE_MANIFEST_MAX, Offer, Status, reply},
};

use super::{
    crowd::Crowd,
    progress::progress_of,
    record::{Record, SendOptions},
    send::TRANSFER_LASTS_MS,
    table::{Row, TransferTable},
};
use crate::{
    crash,
    engine::{
        Engine, clock,
        peers::{serve::Answer, table::PeerTable},
        pipes::taking::Turn,
        policy::{
            facts::{Folders, Names, Seeing},
            judge::{Judgement, Verdict, judge},
            log::Decided,
            rule::{PERSON, ParsedRule},
        },
    },
    files::{FileName, Manifest, manifest::ENTRIES_MAX},
    net::Session,
    store::{Durability, decisions::DecisionRow, record::Otherwise},
};

/// Offers of a peer that wait for an answer at once: a stranger gets few.
const WAITING_MAX_STRANGER: usize = 3;

/// ... and all strangers together not many more, as a new key costs nothing.
const WAITING_MAX_STRANGERS: usize = 60;

/// A paired peer gets more, and is asked to come again later after that.
const WAITING_MAX_PAIRED: usize = 500;

/// Transfers from one peer that have not ended: more is a defect or an attack.
const OPEN_MAX: usize = 5_000;

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
        if let Err(answer) = self.has_place_for(peer) {
            return *answer;
        }
        let rules = self.look(|state| state.policy.all());
        let _alone = self.one_offer_at_a_time(&rules).await;
        let record = self.incoming_record(peer, key, &offer);
        let judgement = match self.facts(&rules, peer, offer.bytes, offer.files).await {
            Ok(facts) => judge(&rules, &facts),
            Err(e) => return Answer::no(Status::Failed, e.message),
        };
        let (settled, turn) = match judgement {
            Judgement::Verdict(verdict) => self.settle(record, verdict).await,
            Judgement::NamesNeeded => (Settled::Later(record), None),
        };
        match self.take_in(settled, offer.manifest).await {
            Ok(id) => {
                if let Some(turn) = turn {
                    self.your_turn(turn, id);
                }
                self.standing(id)
            }
            Err(e) => Answer::no(Status::Failed, e.message),
        }
    }

    /// Whether another offer of this peer may wait, or come in, here.
    fn has_place_for(&self, peer: DeviceId) -> Result<(), Box<Answer>> {
        let (full, paired) = self.look(|state| {
            let paired = state.peers.get(&peer).is_some_and(|known| known.trust.paired());
            (is_full(&state.transfers, &state.peers, &peer), paired)
        });
        if full {
            self.note_refusal(peer, "too many of its offers wait here already");
            return Err(Box::new(Answer::no(Status::Busy, "too many offers wait here already")));
        }
        if !paired && !self.inner.pace.lock().unwrap_or_else(PoisonError::into_inner).admits(peer, clock::now_ms()) {
            self.note_refusal(peer, "it, or all strangers together, offer too much in a short time");
            return Err(Box::new(Answer::no(Status::Busy, "offers come too fast; it goes on by itself")));
        }
        Ok(())
    }

    /// What a verdict means for an offer that is not recorded yet, and whose turn it is to take it.
    async fn settle(&self, record: Record, mut verdict: Verdict) -> (Settled, Option<Turn>) {
        let turn = self.turn_for(&record, &mut verdict).await;
        let mut row = Row::of(record);
        settle(&mut row, &verdict, &self.folders(), self.offer_lasts_ms());
        row.record.otherwise = turn.as_ref().map(|turn| turn.otherwise.clone()).unwrap_or_default();
        (Settled::Now(row.record, verdict), turn)
    }

    /// The turn of a client that waits for the next file of this peer, and by that said yes to it.
    async fn turn_for(&self, record: &Record, verdict: &mut Verdict) -> Option<Turn> {
        if !goes_to_who_waits(record, verdict) {
            return None;
        }
        let mut turn = self.turn_of(record.peer).await?;
        turn.otherwise = Otherwise { dir: verdict.dir.clone().map(RawPath), run: verdict.run.clone() };
        *verdict = Verdict {
            rule: PERSON.to_owned(),
            action: Action::Accept,
            dir: Some(turn.dir.clone()),
            conflict: Some(Conflict::Rename),
            run: Vec::new(),
            why: "somebody waits for the next file of this peer".to_owned(),
            ..verdict.clone()
        };
        Some(turn)
    }

    /// Judges an offer that was taken in without a verdict, as rules have to know the names of its files: they are in its
    /// manifest, if that was to be had.
    pub(super) async fn judge_by_names(&self, id: TransferId, manifest: Option<Arc<Manifest>>) -> Result<(), ErrorBody> {
        let Some(record) = self.record(id) else { return Ok(()) };
        let rules = self.look(|state| state.policy.all());
        let _alone = self.one_offer_at_a_time(&rules).await;
        let mut facts = self.facts(&rules, record.peer, record.bytes_total, record.files_total).await?;
        facts.names = Names::Withheld;
        if let Some(manifest) = manifest {
            let looked_at = Arc::clone(&rules);
            let seen = tokio::task::spawn_blocking(move || names_of(&manifest, &looked_at));
            let interrupted = |_| Err(ErrorBody::new(ErrorCode::Unexpected, "looking at the names was interrupted"));
            facts.names = seen.await.unwrap_or_else(interrupted)?;
        }
        let Judgement::Verdict(verdict) = judge(&rules, &facts) else { return Ok(()) };
        self.settle_later(record, verdict).await
    }

    /// Gives an offer that is recorded already its verdict, unless a person was faster.
    pub(super) async fn settle_later(&self, record: Record, mut verdict: Verdict) -> Result<(), ErrorBody> {
        let id = record.id;
        let turn = self.turn_for(&record, &mut verdict).await;
        let otherwise = turn.as_ref().map(|turn| turn.otherwise.clone()).unwrap_or_default();
        let (folders, lasts) = (self.folders(), self.offer_lasts_ms());
        let open = |row: &Row| !row.record.judged && !row.record.state.ended();
        self.change_transfer(id, Durability::Soon, |row| {
            if open(row) {
                settle(row, &verdict, &folders, lasts);
                row.record.otherwise.clone_from(&otherwise);
                row.record.untold = row.record.state.ended();
            }
        })
        .await?;
        if let Some(turn) = turn {
            self.your_turn(turn, id);
        }
        self.note_decision(decided(&record, &verdict));
        self.inner.jobs.of(id).wake();
        self.tell_progress(id);
        self.tell_the_end(id);
        Ok(())
    }

    /// How long an offer waits for a person, in milliseconds.
    fn offer_lasts_ms(&self) -> i64 {
        i64::try_from(self.config().offer_expiry.as_millis()).unwrap_or(TRANSFER_LASTS_MS)
    }

    /// An offer as it is before anybody judged it.
    fn incoming_record(&self, peer: DeviceId, key: TransferKey, offer: &Offer) -> Record {
        let now = clock::now_ms();
        Record {
            id: TransferId(0),
            key,
            set: key,
            direction: Direction::In,
            peer,
            peer_address: self.address_of_stranger(peer),
            state: TransferState::Offered,
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
            otherwise: Otherwise::default(),
            staging: None,
            crowd: offer.crowd.clone().and_then(|crowd| Crowd::from_offer(crowd, self.id())),
            given: Vec::new(),
            skipped: Vec::new(),
            skipped_more: 0,
            skipped_entries: Vec::new(),
            limit_here: None,
            limit_there: Some(offer.limit).filter(|rate| *rate > 0),
            priority: Priority::from_word(&offer.priority).unwrap_or(Priority::Normal),
            steered: false,
            paused_here: false,
            paused_there: offer.paused,
            accepted: false,
            rule: String::new(),
            judged: false,
            quarantined: false,
            undone: false,
            run: Vec::new(),
            untold: false,
            unoffered: false,
            scanned: false,
            created_ms: now,
            changed_ms: now,
            expires_ms: Some(now + self.offer_lasts_ms()),
        }
    }

    async fn take_in(&self, settled: Settled, manifest: Vec<u8>) -> Result<TransferId, ErrorBody> {
        let (record, decision) = match settled {
            Settled::Now(record, verdict) => {
                let row = self.decision_row(decided(&record, &verdict));
                (record, Some(row))
            }
            Settled::Later(record) => (record, None),
        };
        let kept = record.clone();
        let recorded = self.store().write(Durability::Soon, move |t| {
            let id = crate::store::transfers::insert(t, &kept)?;
            let decision = decision.map(|row| DecisionRow { transfer: Some(id), ..row });
            let no = decision.as_ref().map(|row| crate::store::decisions::add(t, row)).transpose()?;
            Ok((id, decision.zip(no).map(|(row, no)| DecisionRow { no, ..row })))
        });
        let (id, decision) = recorded.await?;
        if let Some(row) = decision {
            self.tell_decision(row);
        }
        crash::point("offer-kept");
        tracing::info!(%id, peer = %self.label(record.peer), files = record.files_total, bytes = record.bytes_total, state = %record.state, rule = record.rule, "an offer");
        let ended = record.state.ended();
        self.update(|state| state.transfers.insert(Record { id, ..record }));
        if !ended {
            let job = self.inner.jobs.of(id);
            *job.inline_manifest.lock().unwrap_or_else(PoisonError::into_inner) = Some(manifest).filter(|it| !it.is_empty());
            self.spawn_transfer(id);
        }
        Ok(id)
    }

    /// The same offer after a reconnection: where does it stand?
    async fn offered_again(&self, record: Record, offer: &Offer) -> Answer {
        let limit = Some(offer.limit).filter(|rate| *rate > 0);
        let offered = Priority::from_word(&offer.priority).filter(|_| !record.steered);
        let priority = offered.unwrap_or(record.priority);
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

    /// Where a transfer's files go: where a person or a rule said, else the inbox.
    pub(crate) fn destination(&self, record: &Record) -> std::path::PathBuf {
        record.destination.as_ref().map_or_else(|| self.config().inbox_dir.clone(), |RawPath(path)| path.clone())
    }
}

/// Whether no more offers of this peer may wait, or come in.
fn is_full(transfers: &TransferTable, peers: &PeerTable, peer: &DeviceId) -> bool {
    let is_paired = |peer: &DeviceId| peers.get(peer).is_some_and(|known| known.trust.paired());
    let open = || transfers.iter().map(|row| &row.record).filter(|it| it.direction == Direction::In && !it.state.ended());
    let (theirs, waiting) = (|it: &&Record| it.peer == *peer, |it: &&Record| !it.accepted);
    if open().filter(theirs).count() >= OPEN_MAX {
        return true;
    }
    let of_peer = open().filter(theirs).filter(waiting).count();
    if is_paired(peer) {
        return of_peer >= WAITING_MAX_PAIRED;
    }
    let of_strangers = open().filter(waiting).filter(|it| !is_paired(&it.peer)).count();
    of_peer >= WAITING_MAX_STRANGER || of_strangers >= WAITING_MAX_STRANGERS
}

/// Whether a client that waits for a file may have this one: a single file, which no rule keeps from everybody until a
/// person has looked at it.
fn goes_to_who_waits(record: &Record, verdict: &Verdict) -> bool {
    matches!(verdict.action, Action::Accept | Action::Ask) && record.entries == 1 && record.files_total == 1
}

/// An offer that is about to be recorded.
enum Settled {
    /// With its verdict.
    Now(Record, Verdict),
    /// Its verdict follows when the names of its files are known.
    Later(Record),
}

/// What a verdict means for an offer. An offer that waits for a person waits so many milliseconds.
fn settle(row: &mut Row, verdict: &Verdict, folders: &Folders, lasts_ms: i64) {
    let record = &mut row.record;
    let asks = record.conflict == Some(Conflict::Ask) && verdict.conflict.is_none();
    let action = match verdict.action {
        // the sender leaves it to our person what happens where a name is taken
        Action::Accept if asks => Action::Ask,
        action => action,
    };
    record.judged = true;
    record.rule.clone_from(&verdict.rule);
    record.run.clone_from(&verdict.run);
    record.limit_here = verdict.rate;
    record.quarantined = action == Action::Quarantine;
    record.destination = if record.quarantined { Some(folders.of(verdict.dir.as_ref(), action)) } else { verdict.dir.clone() }.map(RawPath);
    record.conflict = if record.quarantined { verdict.conflict } else { verdict.conflict.or(record.conflict) };
    record.accepted = matches!(action, Action::Accept | Action::Quarantine);
    record.expires_ms = Some(record.created_ms + if action == Action::Ask { lasts_ms } else { TRANSFER_LASTS_MS });
    match action {
        Action::Accept | Action::Quarantine => row.enter(TransferState::Active, Phase::Connecting),
        Action::Ask => row.enter(TransferState::Offered, Phase::Asking),
        Action::Decline => row.enter_with(
            TransferState::Declined,
            Phase::Resting,
            ErrorBody::new(ErrorCode::Declined, "this device does not take such files from you"),
        ),
    }
}

/// A verdict, for the log.
fn decided<'a>(record: &Record, verdict: &'a Verdict) -> Decided<'a> {
    let note = format!("{}, {} files, {} bytes: {}", record.title, record.files_total, record.bytes_total, verdict.why);
    Decided { peer: record.peer, rule: &verdict.rule, action: verdict.action.word(), transfer: Some(record.id), note }
}

fn names_of(manifest: &Manifest, rules: &[Arc<ParsedRule>]) -> Result<Names, ErrorBody> {
    let mut seeing = Seeing::new(rules);
    for item in manifest.iter_from(1) {
        let (_, item) =
            item.map_err(|e| ErrorBody::new(ErrorCode::Integrity, format!("the sender's list of files makes no sense: {e}")))?;
        if !item.is_folder() {
            seeing.see(item.name.as_bytes());
        }
    }
    Ok(seeing.done())
}

fn title(offer: &Offer) -> String {
    let first = offer.names.first().map(|name| lossless(name));
    first.unwrap_or_else(|| offer.title.clone()).chars().take(TEXT_MAX).collect()
}

fn check(offer: &Offer) -> Result<(), &'static str> {
    if offer.entries == 0 || offer.entries > ENTRIES_MAX.into() || offer.files > offer.entries {
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
    use crate::engine::transfers::table::tests::record;

    #[test]
    fn strangers_with_ever_new_keys_do_not_fill_the_inbox() {
        let id = |no: usize| DeviceId::from_bytes([u8::try_from(no).unwrap(); 32]);
        let (mut transfers, mut peers) = (TransferTable::default(), PeerTable::new(id(0), Vec::new()));
        let friend = id(200);
        peers.meet(friend, "friend").unwrap().trust = sharekaro_proto::nouns::trust::Trust::Accept;
        let offered = |no: usize, peer| Record {
            id: TransferId(no as u64),
            peer,
            direction: Direction::In,
            accepted: false,
            ..record(no as u64, TransferState::Offered)
        };

        for no in 1..=WAITING_MAX_STRANGERS {
            assert!(!is_full(&transfers, &peers, &id(no)), "{no}");
            transfers.insert(offered(no, id(no)));
        }

        assert!(is_full(&transfers, &peers, &id(100)), "one stranger more");
        assert!(!is_full(&transfers, &peers, &friend), "a paired peer is not kept out by strangers");
    }

    #[test]
    fn one_stranger_waits_with_few_offers() {
        let stranger = DeviceId::from_bytes([7; 32]);
        let (mut transfers, peers) = (TransferTable::default(), PeerTable::new(DeviceId::from_bytes([0; 32]), Vec::new()));
        for no in 1..=WAITING_MAX_STRANGER as u64 {
            assert!(!is_full(&transfers, &peers, &stranger));
            transfers.insert(Record { peer: stranger, direction: Direction::In, accepted: false, ..record(no, TransferState::Offered) });
        }

        assert!(is_full(&transfers, &peers, &stranger));
    }

    #[tokio::test]
    async fn offers_that_nobody_took_fill_no_disk_and_push_out_nothing_that_went() {
        use crate::store::transfers::{FORGOTTEN_EVERY, KEPT_OF_REFUSED, insert, load};
        let (engine, _dir) = crate::engine::tests::quiet();
        let many = KEPT_OF_REFUSED + 3 * FORGOTTEN_EVERY;
        let of = |no: i64| {
            let key = TransferKey(i128::from(no).to_le_bytes());
            match no {
                0..10 => Record { key, ..record(0, TransferState::Done) },
                _ => Record { key, direction: Direction::In, ..record(0, TransferState::Cancelled) },
            }
        };
        let written = engine.store().write(Durability::Soon, move |t| (0..many).try_for_each(|no| insert(t, &of(no)).map(drop)));
        written.await.unwrap();

        let (all, loaded) = engine.store().read(|c| Ok((load(c, usize::MAX)?.len() as i64, load(c, 20)?))).await.unwrap();

        assert!((KEPT_OF_REFUSED + 10..KEPT_OF_REFUSED + 10 + FORGOTTEN_EVERY).contains(&all), "{all}");
        assert_eq!(loaded.iter().filter(|it| it.state == TransferState::Done).count(), 10);
    }

    #[test]
    fn what_is_to_lie_in_quarantine_goes_past_no_client_that_waits() {
        let file = Record { entries: 1, files_total: 1, ..record(1, TransferState::Offered) };
        let verdict = |action| Verdict {
            rule: String::new(),
            action,
            dir: None,
            conflict: None,
            rate: None,
            run: Vec::new(),
            why: String::new(),
            passed: Vec::new(),
        };
        let goes = |file: &Record, action| goes_to_who_waits(file, &verdict(action));

        assert!(goes(&file, Action::Accept) && goes(&file, Action::Ask));
        assert!(!goes(&file, Action::Quarantine) && !goes(&file, Action::Decline));
        assert!(!goes(&Record { entries: 2, ..file }, Action::Accept));
    }

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
