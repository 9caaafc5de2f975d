//! What people see: where everything stands and why, and the list of what waits, in the folder itself.

use std::{collections::HashMap, path::Path};

use sharekaro_proto::{
    ErrorBody,
    control::drop::{DropItem, DropState},
    nouns::{
        text::{Shown, lossless},
        transfer::TransferState,
    },
};

use super::{desk::Desk, table::Place};
use crate::store::{
    drops::{DropRow, Stage},
    record::Record,
};

/// So many lines of `Waiting.txt` are read by a person.
const LINES_MAX: usize = 200;

impl Desk {
    /// Shows what changed in this turn, and lists what waits in the folders themselves.
    pub(super) async fn show(&mut self) {
        let (dirty, sent) = (std::mem::take(&mut self.dirty), std::mem::take(&mut self.sent));
        if dirty.is_empty() && sent.is_empty() {
            return;
        }
        let rows: HashMap<Place, &DropRow> = self.rows.values().filter_map(|row| Some((self.place_of(row)?, row))).collect();
        let shown: Vec<(Place, Option<DropItem>)> = dirty
            .into_iter()
            .map(|place| {
                let unit = self.units.get(&place).map(|unit| (unit.state, unit.reason.clone(), None));
                let row = || rows.get(&place).map(|row| (self.state_of(row), self.reason_of(row), Some(row.target.clone())));
                let item = unit.or_else(row).map(|(state, reason, target)| self.item(&place, target, state, reason));
                (place, item)
            })
            .collect();
        self.engine.update(|state| {
            sent.into_iter().for_each(|(place, item)| state.drops.show(place, item));
            for (place, item) in shown {
                match item {
                    Some(item) => state.drops.show(place, item),
                    None => state.drops.hide(&place),
                }
            }
        });
        self.list_what_waits().await;
    }

    pub(super) fn item(&self, place: &Place, target: Option<String>, state: DropState, reason: Option<String>) -> DropItem {
        let path = self.roots.get(place.0).map(|root| root.join(&place.1)).unwrap_or_default();
        let target = target.unwrap_or_else(|| self.target_of(place));
        DropItem { path: lossless(path.as_os_str().as_encoded_bytes()), target, state, reason }
    }

    /// Writes `Waiting.txt` where something waits, and removes it where nothing does.
    async fn list_what_waits(&mut self) {
        let roots = self.roots.clone();
        let lists: Vec<Vec<String>> = self.engine.look(|state| roots.iter().map(|root| lines_for(root, state.drops.waiting())).collect());
        if lists == self.listed {
            return;
        }
        self.listed.clone_from(&lists);
        let written = tokio::task::spawn_blocking(move || {
            for (root, lines) in roots.iter().zip(&lists) {
                let dir = crate::files::dropped::DropDir::open(root);
                if let Ok(dir) = dir
                    && let Err(e) = dir.write_waiting(lines)
                {
                    tracing::debug!(root = %root.display(), "cannot list what waits: {e}");
                }
            }
        });
        if written.await.is_err() {
            tracing::warn!("writing the list of what waits was interrupted");
        }
    }

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
        if let Some(why) = self.refused.get(&row.id) {
            return Some(why.clone());
        }
        if row.stage != Stage::Sending {
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

/// What `Waiting.txt` says of a drop folder.
fn lines_for<'a>(root: &Path, waiting: impl Iterator<Item = &'a DropItem>) -> Vec<String> {
    let top = format!("{}/", lossless(root.as_os_str().as_encoded_bytes()));
    let mut below = waiting.filter_map(|item| Some((item.path.strip_prefix(&top)?, item.reason.as_deref().unwrap_or_default())));
    let mut lines: Vec<String> = below.by_ref().take(LINES_MAX).map(|(path, why)| format!("{}: {why}", Shown(path))).collect();
    let more = below.count();
    if more > 0 {
        lines.push(format!("and {more} more: `sharectl drop status` lists all"));
    }
    lines
}

fn sentence(error: &ErrorBody) -> String {
    if error.hint.is_empty() { error.message.clone() } else { format!("{}: {}", error.message, error.hint) }
}
