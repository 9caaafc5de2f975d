//! `sharectl drop retry`: what failed goes again, what waits tries at once.

use std::path::{Path, PathBuf};

use sharekaro_proto::{
    ErrorBody, ErrorCode,
    control::drop::{DropItem, DropState, Drops},
    nouns::text::{Shown, lossless},
};
use tokio::time::Instant;

use super::desk::Desk;
use crate::store::drops::{DropRow, Stage};

impl Desk {
    /// Tries again what lies at a path and below, or everything. Returns what is tried, as it stands before.
    ///
    /// # Errors
    /// Nothing there waits or failed; the database.
    pub(super) async fn retry(&mut self, path: Option<PathBuf>) -> Result<Drops, ErrorBody> {
        let rows: Vec<DropRow> = self.rows.values().filter(|row| is_meant(row, path.as_deref())).cloned().collect();
        let mut items: Vec<DropItem> = rows
            .iter()
            .filter_map(|row| Some(self.item(&self.place_of(row)?, Some(row.target.clone()), self.state_of(row), self.reason_of(row))))
            .collect();
        items.extend(self.hurry_units(path.as_deref()));
        if let (true, Some(path)) = (items.is_empty(), path) {
            return Err(nothing_at(&path));
        }
        let failed = rows.iter().filter(|row| row.stage == Stage::Failed);
        let again: Vec<DropRow> = failed.map(|row| DropRow { stage: Stage::Again, reason: None, ..row.clone() }).collect();
        // first noted, then moved: killed in between, the next start moves it
        self.keep(again.clone()).await?;
        for row in again {
            self.check.insert(row.id);
            self.dirty.extend(self.place_of(&row));
            self.rows.entry(row.id).and_modify(|it| (it.stage, it.reason) = (Stage::Again, None));
        }
        for transfer in rows.iter().filter(|row| row.stage == Stage::Sending).flat_map(|row| &row.receivers).filter_map(|it| it.transfer) {
            // what becomes of one that ended is decided here, as of a row, and goes again at most once
            self.engine.hurry(transfer);
        }
        // what the disk refused may be possible now
        self.check.extend(rows.iter().map(|row| row.id));
        self.dispatch = true;
        Ok(Drops { items })
    }

    /// Looks at once at what was not taken yet.
    fn hurry_units(&mut self, path: Option<&Path>) -> Vec<DropItem> {
        let now = Instant::now();
        let mut meant: Vec<(super::table::Place, DropState, Option<String>)> = Vec::new();
        for (place, unit) in &mut self.units {
            let at = self.roots.get(place.0).map(|root| root.join(&place.1)).unwrap_or_default();
            if path.is_none_or(|path| at.starts_with(path)) {
                unit.settle.hurry(now);
                meant.push((place.clone(), unit.state, unit.reason.clone()));
            }
        }
        meant.into_iter().map(|(place, state, reason)| self.item(&place, None, state, reason)).collect()
    }
}

/// Whether a row lies, or came from, at this path or below.
fn is_meant(row: &DropRow, path: Option<&Path>) -> bool {
    let below = |place: &PathBuf| path.is_none_or(|path| row.root.join(place).starts_with(path));
    below(&row.place) || row.filed.as_ref().is_some_and(below)
}

fn nothing_at(path: &Path) -> ErrorBody {
    let shown = lossless(path.as_os_str().as_encoded_bytes());
    ErrorBody::new(ErrorCode::NotFound, format!("nothing in a drop folder waits or failed at {}", Shown(&shown)))
        .hint("`sharectl drop status` lists what does")
}
