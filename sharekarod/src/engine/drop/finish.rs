//! What became of what was taken: filed away when everybody has it, sent again to whoever lacks it, or put into
//! `Failed` with the reason.
//!
//! The journal says first what is going to happen, then it happens, then the journal says that it has: killed in
//! between, the next start finds which.

use std::collections::BTreeSet;

use sharekaro_proto::{
    TransferId,
    control::{drop::DropItem, transfer::Skipped},
    nouns::{
        text::lossless,
        transfer::{SkipReason, TransferState},
    },
};
use tokio::time::Instant;

use super::{
    deed::{Deed, Done, Plan, carry_out},
    desk::{Desk, Unit},
    settle::Settle,
    table::Place,
};
use crate::{
    config::DropAfter,
    crash,
    engine::clock,
    files::dropped::Seen,
    store::{
        self, Durability,
        drops::{DropRow, Receiver, Stage},
        record::{Record, SKIPPED_NAMED_MAX},
    },
};

/// So many names of what was left out stand in a reason.
const NAMED_MAX: usize = 5;

/// What became of rows, until the journal has it: nothing that follows from it happens before.
#[derive(Default)]
pub(super) struct Unkept {
    /// Rows as they are now.
    saved: BTreeSet<i64>,
    /// Rows that are forgotten.
    removed: BTreeSet<i64>,
    /// Rows that are over, and whether something else lies there now.
    over: Vec<(i64, bool)>,
}

impl Unkept {
    fn is_empty(&self) -> bool {
        self.saved.is_empty() && self.removed.is_empty() && self.over.is_empty()
    }
}

/// What became of it for one receiver.
enum Outcome {
    /// Its transfer goes on.
    Open,
    /// The receipt is here.
    Done,
    /// Not by this transfer, but perhaps by another.
    Again,
    /// It will not go by itself.
    Failed(String),
}

impl Desk {
    /// Looks at the rows that something happened to.
    pub(super) async fn finish(&mut self) {
        if !self.keep_results().await {
            return self.check.clear(); // all are looked at when it is tried again
        }
        let mut deeds = Vec::new();
        let mut marked = Vec::new();
        for id in std::mem::take(&mut self.check) {
            let Some(plan) = self.plan(id) else { continue };
            let Some(row) = self.rows.get_mut(&id) else { continue };
            if let Plan::Fail(reason) = &plan
                && row.stage != Stage::Failed
            {
                (row.stage, row.reason, row.filed) = (Stage::Failed, Some(reason.clone()), None);
                marked.push(row.clone());
            }
            self.dirty.extend(self.rows.get(&id).and_then(|row| self.place_of(row)));
            deeds.extend(self.rows.get(&id).map(|row| Deed { row: row.clone(), plan }));
        }
        if !marked.is_empty()
            && let Err(e) = self.keep(marked).await
        {
            tracing::warn!("cannot keep what failed: {e}");
            return self.again_soon();
        }
        crash::point("drop-judged");
        let Ok(done) =
            tokio::task::spawn_blocking(move || deeds.into_iter().map(|deed| (deed.row.id, carry_out(&deed))).collect::<Vec<_>>()).await
        else {
            return;
        };
        crash::point("drop-filed");
        self.take_in_results(done).await;
    }

    /// What is to be done about a row, as its transfers stand.
    fn plan(&mut self, id: i64) -> Option<Plan> {
        let row = self.rows.get(&id)?.clone();
        match row.stage {
            Stage::Removing => return Some(Plan::Remove),
            Stage::Again => return Some(Plan::Again),
            Stage::Failed if row.filed.is_none() => return Some(Plan::Fail(row.reason.unwrap_or_default())),
            Stage::Sending => {}
            Stage::Failed | Stage::Kept | Stage::Sent => return None,
        }
        let name = lossless(row.travels_as.as_deref().or(row.place.file_name()).unwrap_or_default().as_encoded_bytes());
        let replaced = self.is_replaced(&row);
        let outcomes: Vec<Outcome> = row.receivers.iter().map(|it| self.outcome(it, &name, replaced)).collect();
        if let Some(row) = self.rows.get_mut(&id) {
            row.receivers.iter_mut().zip(&outcomes).for_each(|(it, outcome)| it.done |= matches!(outcome, Outcome::Done));
        }
        if outcomes.iter().any(|it| matches!(it, Outcome::Open)) {
            return Some(Plan::Watch);
        }
        let failures: Vec<String> = row
            .receivers
            .iter()
            .zip(&outcomes)
            .filter_map(|(it, outcome)| match outcome {
                Outcome::Failed(why) => Some(format!("{}: {why}", self.engine.label(it.peer))),
                _ => None,
            })
            .collect();
        Some(match failures.as_slice() {
            [] if outcomes.iter().all(|it| matches!(it, Outcome::Done)) => match self.after(&row, &name) {
                Ok(after) => Plan::Deliver(after),
                Err(_) => Plan::Watch,
            },
            [] => Plan::Again,
            some => Plan::Fail(some.join("; ")),
        })
    }

    /// What becomes of something that everybody has. Where anything of it did not travel, as a link, there is no other of
    /// that, and it is not deleted.
    ///
    /// # Errors
    /// Nobody knows now what travelled.
    fn after(&mut self, row: &DropRow, name: &str) -> Result<DropAfter, store::Error> {
        let after = self.engine.config().drop_after_in(&row.root);
        if after != DropAfter::Delete {
            return Ok(after);
        }
        for id in row.receivers.iter().filter_map(|it| it.transfer).collect::<Vec<_>>() {
            if self.record_of(id)?.is_none_or(|record| left_something_out(&record, name)) {
                tracing::info!(place = %row.place.display(), "not deleted, as not all of it could travel");
                return Ok(DropAfter::Move);
            }
        }
        Ok(after)
    }

    /// Whether something else lies now where it lay when its transfers were recorded: they may carry that instead.
    fn is_replaced(&self, row: &DropRow) -> bool {
        let Some(name) = row.travels_as.as_deref().filter(|name| Some(*name) != row.place.file_name()) else { return false };
        let Some((root, place)) = self.place_of(row) else { return false };
        let before = (root, place.with_file_name(name));
        self.units.contains_key(&before) || self.at.get(&before).is_some_and(|id| *id != row.id)
    }

    fn outcome(&mut self, receiver: &Receiver, name: &str, replaced: bool) -> Outcome {
        if receiver.done {
            return Outcome::Done;
        }
        let Some(id) = receiver.transfer else { return Outcome::Again };
        let Ok(record) = self.record_of(id) else { return Outcome::Open };
        match record.map_or(Outcome::Again, |record| outcome_of(&record, name)) {
            Outcome::Done if replaced => Outcome::Again,
            outcome => outcome,
        }
    }

    /// A transfer as it is, or was.
    ///
    /// # Errors
    /// Nobody knows now: the database failed, and is asked again a little later.
    fn record_of(&mut self, id: TransferId) -> Result<Option<Record>, store::Error> {
        let known = self.engine.record(id).map(|record| Ok(Some(record)));
        let found = known.unwrap_or_else(|| self.engine.store().now(|c| store::transfers::find(c, id)));
        if let Err(e) = &found {
            tracing::warn!("cannot look up what became of {id}: {e}");
            self.again_soon();
        }
        found
    }

    async fn take_in_results(&mut self, done: Vec<(i64, Done)>) {
        let now = Instant::now();
        let (mut saved, mut removed, mut over) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for (id, done) in done {
            let Some(row) = self.rows.get_mut(&id) else { continue };
            let was_failed = row.stage == Stage::Failed;
            if !matches!(done, Done::Refused(_)) {
                self.refused.remove(&id);
            }
            match done {
                Done::Nothing => continue,
                Done::Lacked => {
                    if row.stage != Stage::Again {
                        row.stage = Stage::Again;
                        saved.insert(id);
                    }
                    self.begin_again(id, now);
                    continue;
                }
                Done::Refused(why) => {
                    self.refused.insert(id, why);
                    self.again_soon();
                    continue;
                }
                Done::Renamed(place) => {
                    let before = self.drop_row(id);
                    if let Some(row) = before.map(|row| DropRow { place, filed: None, ..row }) {
                        saved.insert(id);
                        let again = row.stage == Stage::Again;
                        if let Some(place) = self.place_of(&row).filter(|_| !again) {
                            self.units.remove(&place);
                        }
                        self.take_row(row);
                        if again {
                            self.begin_again(id, now);
                        } else {
                            self.check.insert(id);
                        }
                    }
                    continue;
                }
                Done::Gone if was_failed || row.stage == Stage::Again || row.receivers.iter().any(|it| !it.done) => {
                    self.give_up_transfers(id).await;
                    removed.insert(id);
                    continue;
                }
                Done::Removable => {
                    row.stage = Stage::Removing;
                    saved.insert(id);
                    self.check.insert(id);
                    continue;
                }
                Done::Filed(place) if was_failed => {
                    let before = self.drop_row(id);
                    if let Some(row) = before.map(|row| DropRow { filed: Some(place), ..row }) {
                        saved.insert(id);
                        self.take_row(row);
                    }
                    continue;
                }
                Done::Changed => {
                    // the next version is something new; the one that was sent is done with
                    row.stage = Stage::Sent;
                    over.push((id, true));
                }
                Done::Filed(place) => {
                    (row.stage, row.filed) = (Stage::Sent, Some(place));
                    over.push((id, false));
                }
                Done::Stays => {
                    row.stage = Stage::Kept;
                    over.push((id, false));
                }
                Done::Gone | Done::Removed => {
                    row.stage = Stage::Sent;
                    over.push((id, false));
                }
            }
            saved.insert(id);
        }
        self.unkept.saved.extend(saved);
        self.unkept.removed.extend(removed);
        self.unkept.over.extend(over);
        self.keep_results().await;
    }

    /// Writes into the journal what became of rows, and goes on from there. Where that fails, all of it is kept and tried
    /// again a little later, and this is false: what the journal calls open would be sent once more.
    async fn keep_results(&mut self) -> bool {
        if self.unkept.is_empty() {
            return true;
        }
        let now = clock::now_ms();
        let as_now = |row: &DropRow| DropRow { changed_ms: now, ..row.clone() };
        let saved: Vec<DropRow> = self.unkept.saved.iter().filter_map(|id| self.rows.get(id)).map(as_now).collect();
        let removed = self.unkept.removed.clone();
        let written = self.engine.store().write(Durability::Durable, move |t| {
            saved.iter().try_for_each(|row| store::drops::save(t, row))?;
            removed.iter().try_for_each(|id| store::drops::remove(t, *id))?;
            store::drops::forget_oldest(t, sharekaro_proto::control::drop::SENT_SHOWN)
        });
        if let Err(e) = written.await {
            tracing::warn!("cannot keep what became of the drop folder: {e}");
            self.again_soon();
            return false;
        }
        let Unkept { removed, over, .. } = std::mem::take(&mut self.unkept);
        for id in removed {
            self.drop_row(id);
        }
        let now = Instant::now();
        for (id, changed) in over {
            self.is_sent(id, changed, now);
        }
        true
    }

    /// It goes again, once it is whole (again).
    fn begin_again(&mut self, id: i64, now: Instant) {
        if let Some(place) = self.rows.get(&id).and_then(|row| self.place_of(row)) {
            self.units.entry(place.clone()).or_insert_with(|| Unit::new(Settle::found(now)));
            self.dirty.insert(place);
        }
    }

    /// What a person took away before it was sent is no longer offered, where nothing else goes with it.
    async fn give_up_transfers(&mut self, id: i64) {
        let Some(row) = self.rows.get(&id) else { return };
        let transfers: Vec<_> = row.receivers.iter().filter(|it| !it.done).filter_map(|it| it.transfer).collect();
        for transfer in transfers {
            let alone = self.carried.get(&transfer).is_none_or(|rows| rows.iter().all(|other| *other == id));
            let open = self.engine.record(transfer).is_some_and(|record| !record.state.ended());
            if alone && open {
                // already over a moment later is as good
                let _ = self.engine.cancel(transfer).await;
            }
        }
    }

    /// Everybody has it.
    fn is_sent(&mut self, id: i64, changed: bool, now: Instant) {
        let Some(row) = self.drop_row(id) else { return };
        tracing::info!(place = %row.place.display(), target = %row.target, "dropped and sent");
        let Some(place) = self.roots.iter().position(|root| *root == row.root).map(|root| (root, row.place.clone())) else { return };
        let shown: DropItem = super::sent_item(&row);
        self.sent.push((place.clone(), shown));
        if changed {
            self.units.insert(place.clone(), Unit::new(Settle::found(now)));
            self.dirty.insert(place);
        }
        self.dispatch = true;
    }

    // ---- what never became a transfer ------------------------------------------------------------------------

    /// Puts what cannot be sent into `Failed`.
    pub(super) async fn fail_unsent(&mut self, unfit: Vec<(Place, Seen, String)>) {
        let now = clock::now_ms();
        let rows: Vec<DropRow> = unfit
            .into_iter()
            .map(|(place, seen, reason)| {
                let again = self.again_at(&place).and_then(|id| self.rows.get(&id)).cloned();
                let (id, receivers) = again.map_or((0, Vec::new()), |row| (row.id, row.receivers));
                self.units.remove(&place);
                DropRow {
                    id,
                    root: self.roots.get(place.0).cloned().unwrap_or_default(),
                    target: self.target_of(&place),
                    place: place.1,
                    travels_as: None,
                    print: seen.print,
                    ino: seen.ino,
                    stage: Stage::Failed,
                    reason: Some(reason),
                    filed: None,
                    changed_ms: now,
                    receivers,
                }
            })
            .collect();
        let kept = self.engine.store().write(Durability::Durable, move |t| Ok(store::drops::record(t, &[], rows)?.1)).await;
        match kept {
            Ok(rows) => {
                self.check.extend(rows.iter().map(|row| row.id));
                for row in rows {
                    self.drop_row(row.id);
                    self.take_row(row);
                }
                self.finish().await;
            }
            Err(e) => {
                tracing::warn!("cannot keep what failed: {e}");
                self.survey_again_soon();
            }
        }
    }
}

/// Whether anything that lay under this name did not travel, counted as missing or not.
fn left_something_out(record: &Record, name: &str) -> bool {
    record.skipped.len() >= SKIPPED_NAMED_MAX || record.skipped.iter().any(|it| is_of(it, name))
}

/// Whether something that was left out is, or lay in, what the transfer calls so.
fn is_of(skipped: &Skipped, name: &str) -> bool {
    skipped.path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What became of one of the things that a transfer carries.
fn outcome_of(record: &Record, name: &str) -> Outcome {
    let left_out: Vec<&Skipped> = record.skipped.iter().filter(|it| it.reason.counts() && is_of(it, name)).collect();
    match record.state {
        TransferState::Done | TransferState::Failed if left_out.iter().any(|it| !passes(it.reason)) => {
            Outcome::Failed(left_out_reason(&left_out))
        }
        TransferState::Done if left_out.is_empty() => Outcome::Done,
        TransferState::Done | TransferState::Failed | TransferState::Expired => Outcome::Again,
        TransferState::Declined | TransferState::Cancelled => {
            Outcome::Failed(record.error.as_ref().map_or_else(|| record.state.to_string(), |e| e.message.clone()))
        }
        _ => Outcome::Open,
    }
}

/// Whether the next try may find it otherwise, with nobody doing anything about it.
fn passes(reason: SkipReason) -> bool {
    matches!(reason, SkipReason::Changed | SkipReason::Vanished)
}

fn left_out_reason(left_out: &[&Skipped]) -> String {
    let lasting: Vec<&&Skipped> = left_out.iter().filter(|it| !passes(it.reason)).collect();
    let names: Vec<String> = lasting.iter().take(NAMED_MAX).map(|it| format!("{} ({})", it.path, it.reason)).collect();
    let more = if lasting.len() > NAMED_MAX { format!(" and {} more", lasting.len() - NAMED_MAX) } else { String::new() };
    format!("could not be sent: {}{more}", names.join(", "))
}
