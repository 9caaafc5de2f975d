//! What became of what was taken: filed away when everybody has it, sent again to whoever lacks it, or put into
//! `Failed` with the reason.
//!
//! The journal says first what is going to happen, then it happens, then the journal says that it has: killed in
//! between, the next start finds which.

use std::path::{Path, PathBuf};

use sharekaro_proto::{
    ErrorBody,
    control::{
        drop::{DropItem, DropState},
        transfer::Skipped,
    },
    nouns::{
        text::lossless,
        transfer::{SkipReason, TransferState},
    },
};
use tokio::time::Instant;

use super::{
    desk::{Desk, Unit},
    settle::Settle,
    table::Place,
};
use crate::{
    config::DropAfter,
    crash,
    engine::clock,
    files::dropped::{DropDir, FAILED, FilingError, Print, SENT, Seen, Trouble},
    store::{
        self, Durability,
        drops::{DropRow, Receiver, Stage},
        record::Record,
    },
};

/// So many names of what was left out stand in a reason.
const NAMED_MAX: usize = 5;

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

/// What is to be done about a row.
enum Plan {
    /// Nothing but to see whether it is still there.
    Watch,
    /// Everybody has it.
    Deliver(DropAfter),
    /// It is marked to be removed.
    Remove,
    /// It is marked as failed.
    Fail(String),
    /// Some lack it still.
    Again,
}

/// What was done.
enum Done {
    Nothing,
    /// It is there, and some lack it still.
    Lacked,
    /// It is in `Sent` or `Failed` now.
    Filed(PathBuf),
    /// It stays where it is.
    Stays,
    /// It is as it was sent, and may be removed.
    Removable,
    Removed,
    /// It is not there any more.
    Gone,
    /// It is called otherwise now.
    Renamed(PathBuf),
    /// It is no longer what was sent.
    Changed,
    /// Not now.
    Refused(String),
}

struct Job {
    row: DropRow,
    plan: Plan,
}

impl Desk {
    /// Looks at the rows that something happened to.
    pub(super) async fn finish(&mut self) {
        let mut jobs = Vec::new();
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
            jobs.extend(self.rows.get(&id).map(|row| Job { row: row.clone(), plan }));
        }
        if !marked.is_empty()
            && let Err(e) = self.keep(marked).await
        {
            tracing::warn!("cannot keep what failed: {e}");
            return self.again_soon();
        }
        crash::point("drop-judged");
        let Ok(done) =
            tokio::task::spawn_blocking(move || jobs.into_iter().map(|job| (job.row.id, carry_out(&job))).collect::<Vec<_>>()).await
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
        let name = lossless(row.place.file_name().unwrap_or_default().as_encoded_bytes());
        let outcomes: Vec<Outcome> = row.receivers.iter().map(|it| self.outcome(it, &name)).collect();
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
            [] if outcomes.iter().all(|it| matches!(it, Outcome::Done)) => Plan::Deliver(self.engine.config().drop_after_in(&row.root)),
            [] => Plan::Again,
            some => Plan::Fail(some.join("; ")),
        })
    }

    fn outcome(&self, receiver: &Receiver, name: &str) -> Outcome {
        if receiver.done {
            return Outcome::Done;
        }
        let Some(id) = receiver.transfer else { return Outcome::Again };
        let record = self.engine.record(id).or_else(|| self.engine.store().now(|c| store::transfers::find(c, id)).ok().flatten());
        record.map_or(Outcome::Again, |record| outcome_of(&record, name))
    }

    async fn take_in_results(&mut self, done: Vec<(i64, Done)>) {
        let now = Instant::now();
        let (mut saved, mut removed, mut over) = (Vec::new(), Vec::new(), Vec::new());
        for (id, done) in done {
            let Some(row) = self.rows.get_mut(&id) else { continue };
            let was_failed = row.stage == Stage::Failed;
            match done {
                Done::Nothing => continue,
                Done::Lacked => {
                    if row.stage != Stage::Again {
                        row.stage = Stage::Again;
                        saved.push(row.clone());
                    }
                    self.begin_again(id, now);
                    continue;
                }
                Done::Refused(why) => {
                    row.reason = Some(why);
                    self.again_soon();
                    continue;
                }
                Done::Renamed(place) => {
                    let before = self.drop_row(id);
                    if let Some(row) = before.map(|row| DropRow { place, filed: None, ..row }) {
                        saved.push(row.clone());
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
                    removed.push(id);
                    continue;
                }
                Done::Removable => {
                    row.stage = Stage::Removing;
                    saved.push(row.clone());
                    self.check.insert(id);
                    continue;
                }
                Done::Filed(place) if was_failed => {
                    let before = self.drop_row(id);
                    if let Some(row) = before.map(|row| DropRow { filed: Some(place), ..row }) {
                        saved.push(row.clone());
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
            saved.extend(self.rows.get(&id).cloned());
        }
        self.keep_results(saved, removed.clone()).await;
        for id in removed {
            self.drop_row(id);
        }
        for (id, changed) in over {
            self.is_sent(id, changed, now);
        }
    }

    async fn keep_results(&mut self, saved: Vec<DropRow>, removed: Vec<i64>) {
        if saved.is_empty() && removed.is_empty() {
            return;
        }
        let now = clock::now_ms();
        let written = self.engine.store().write(Durability::Durable, move |t| {
            saved.iter().try_for_each(|row| store::drops::save(t, &DropRow { changed_ms: now, ..row.clone() }))?;
            removed.iter().try_for_each(|id| store::drops::remove(t, *id))?;
            store::drops::forget_oldest(t, sharekaro_proto::control::drop::SENT_SHOWN)
        });
        if let Err(e) = written.await {
            // what was moved is where the next start finds it; nothing is sent twice for that
            tracing::warn!("cannot keep what became of the drop folder: {e}");
        }
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
                let again = self.again_at(&place).and_then(|id| self.drop_row(id));
                let (id, receivers) = again.map_or((0, Vec::new()), |row| (row.id, row.receivers));
                self.units.remove(&place);
                DropRow {
                    id,
                    root: self.roots.get(place.0).cloned().unwrap_or_default(),
                    target: self.target_of(&place),
                    place: place.1,
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
                rows.into_iter().for_each(|row| self.take_row(row));
                self.finish().await;
            }
            Err(e) => {
                tracing::warn!("cannot keep what failed: {e}");
                self.survey_again_soon();
            }
        }
    }

    // ---- for people ------------------------------------------------------------------------------------------

    /// Where a row stands.
    pub(super) fn state_of(&self, row: &DropRow) -> DropState {
        match row.stage {
            Stage::Failed => DropState::Failed,
            Stage::Again => DropState::Settling,
            Stage::Kept | Stage::Sent => DropState::Sent,
            Stage::Removing => DropState::Sending,
            Stage::Sending if self.lacking(row).iter().all(|(_, why)| why.is_some()) => DropState::Waiting,
            Stage::Sending => DropState::Sending,
        }
    }

    /// Why a row does not go on, and who lacks it until then.
    pub(super) fn reason_of(&self, row: &DropRow) -> Option<String> {
        if row.stage != Stage::Sending || row.reason.is_some() {
            return row.reason.clone();
        }
        let lacking = self.lacking(row);
        let several = row.receivers.len() > 1;
        let told: Vec<String> = lacking
            .into_iter()
            .filter(|(_, why)| several || why.is_some())
            .map(|(name, why)| match (several, why) {
                (true, Some(why)) => format!("{name} lacks it: {why}"),
                (true, None) => format!("{name} lacks it"),
                (false, why) => why.unwrap_or_default(),
            })
            .collect();
        if told.is_empty() { None } else { Some(told.join("; ")) }
    }

    /// Who has no receipt sent yet, and what each waits for.
    fn lacking(&self, row: &DropRow) -> Vec<(String, Option<String>)> {
        let lacks = row.receivers.iter().filter(|it| !it.done);
        lacks
            .map(|it| {
                (self.engine.label(it.peer), it.transfer.and_then(|id| self.engine.record(id)).and_then(|record| self.waits_for(&record)))
            })
            .collect()
    }

    /// What a transfer waits for; `None` where it goes on or is over.
    fn waits_for(&self, record: &Record) -> Option<String> {
        let label = self.engine.label(record.peer);
        match record.state {
            TransferState::Queued if self.engine.open_session(&record.peer).is_none() => {
                Some(format!("{label} cannot be reached; it goes by itself when {label} is back"))
            }
            TransferState::Offered => Some(format!("a person has to accept it on {label}")),
            TransferState::Paused => Some(format!("it is paused: `sharectl transfer resume {}` on the side that paused it", record.id)),
            TransferState::Waiting => Some(record.error.as_ref().map_or_else(|| "it waits".to_owned(), sentence)),
            _ => None,
        }
    }
}

fn sentence(error: &ErrorBody) -> String {
    if error.hint.is_empty() { error.message.clone() } else { format!("{}: {}", error.message, error.hint) }
}

/// What became of one of the things that a transfer carries.
fn outcome_of(record: &Record, name: &str) -> Outcome {
    let of_this =
        |it: &&Skipped| it.reason.counts() && (it.path == name || it.path.strip_prefix(name).is_some_and(|rest| rest.starts_with('/')));
    let left_out: Vec<&Skipped> = record.skipped.iter().filter(of_this).collect();
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

// ---- on the disk -------------------------------------------------------------------------------------------------

fn carry_out(job: &Job) -> Done {
    let dir = match DropDir::open(&job.row.root) {
        Ok(dir) => dir,
        Err(e) => return Done::Refused(format!("the drop folder cannot be used: {e}")),
    };
    let now = match dir.look(&job.row.place, &mut Vec::new()) {
        Ok(now) => now,
        Err(Trouble::Missing(_)) => None,
        Err(e) => return Done::Refused(format!("its folder cannot be used: {e}")),
    };
    match &job.plan {
        Plan::Remove => match dir.remove(&job.row.place) {
            Ok(()) => Done::Removed,
            Err(e) => Done::Refused(format!("everybody has it, and it cannot be removed: {e}")),
        },
        Plan::Fail(reason) => fail(&dir, &job.row, now.is_some(), reason),
        Plan::Again => again(&dir, &job.row, now.is_some()),
        Plan::Watch if now.is_some() => Done::Nothing,
        Plan::Watch => renamed(&dir, &job.row).map_or(Done::Gone, Done::Renamed),
        Plan::Deliver(after) => match now {
            Some(now) if now.print != job.row.print => Done::Changed,
            Some(_) => deliver(&dir, &job.row, *after),
            None => match renamed(&dir, &job.row) {
                Some(place) => Done::Renamed(place),
                None => dir.find_ino(&filed_folder(SENT, &job.row), job.row.ino).map_or(Done::Gone, Done::Filed),
            },
        },
    }
}

fn deliver(dir: &DropDir, row: &DropRow, after: DropAfter) -> Done {
    match after {
        DropAfter::Keep => return Done::Stays,
        DropAfter::Delete => return Done::Removable,
        DropAfter::Move => {}
    }
    let filed = dir.file_away(&row.place, SENT, whose(row));
    crash::point("drop-moved");
    match filed {
        // somebody wrote to it in the very moment: what is in `Sent` is what was sent, always
        Ok(filed) if dir.look(&filed, &mut Vec::new()).is_ok_and(|it| it.is_some_and(|it| it.print != row.print)) => {
            match dir.put_back(&filed, &row.place) {
                Ok(_) => Done::Changed,
                Err(_) => Done::Filed(filed),
            }
        }
        Ok(filed) => Done::Filed(filed),
        Err(FilingError::Gone) => Done::Gone,
        Err(e) => Done::Refused(format!("everybody has it, and it cannot be moved to {SENT}: {e}")),
    }
}

fn fail(dir: &DropDir, row: &DropRow, is_there: bool, reason: &str) -> Done {
    let filed = match is_there {
        true => match dir.file_away(&row.place, FAILED, whose(row)) {
            Ok(filed) => filed,
            Err(FilingError::Gone) => return Done::Gone,
            Err(e) => return Done::Refused(format!("{reason} (and it cannot be moved to {FAILED}: {e})")),
        },
        false => match dir.find_ino(&filed_folder(FAILED, row), row.ino) {
            Some(filed) => filed,
            None => return Done::Gone,
        },
    };
    if let Err(e) = dir.write_reason(&filed, &format!("{reason}\n\nsharectl drop retry tries it again.\n")) {
        tracing::warn!("cannot write why something failed: {e}");
    }
    Done::Filed(filed)
}

/// What goes again lies in `Failed` perhaps, and comes back first.
fn again(dir: &DropDir, row: &DropRow, is_there: bool) -> Done {
    match &row.filed {
        Some(filed) if dir.is_there(filed) => match dir.put_back(filed, &row.place) {
            Ok(place) => Done::Renamed(place),
            Err(FilingError::Gone) => Done::Gone,
            Err(e) => Done::Refused(format!("it cannot be moved back: {e}")),
        },
        _ if is_there => Done::Lacked,
        _ => renamed(dir, row).map_or(Done::Gone, Done::Renamed),
    }
}

/// Where it is now, where it was only renamed in its folder.
fn renamed(dir: &DropDir, row: &DropRow) -> Option<PathBuf> {
    let folder = row.place.parent().unwrap_or(Path::new(""));
    let place = dir.find_ino(folder, row.ino)?;
    let print: Print = dir.look(&place, &mut Vec::new()).ok()??.print;
    (print == row.print).then_some(place)
}

fn filed_folder(into: &str, row: &DropRow) -> PathBuf {
    Path::new(into).join(whose(row).replace('/', "_"))
}

/// The folder in `Sent` and `Failed`: as the target is called.
fn whose(row: &DropRow) -> &str {
    if row.target.is_empty() { "nobody" } else { &row.target }
}
