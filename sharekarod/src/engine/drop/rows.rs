//! What was taken and is not over: the journal's rows as the desk knows them, by number, by place, by transfer.

use super::{desk::Desk, table::Place};
use crate::{
    engine::clock,
    store::{
        self,
        drops::{DropRow, Stage},
    },
};

impl Desk {
    /// From now on this is taken, and its transfers are watched.
    pub(super) fn take_row(&mut self, row: DropRow) {
        for transfer in row.receivers.iter().filter_map(|it| it.transfer) {
            self.carried.entry(transfer).or_default().push(row.id);
        }
        if let Some(place) = self.place_of(&row) {
            self.at.insert(place.clone(), row.id);
            self.dirty.insert(place);
        }
        self.rows.insert(row.id, row);
    }

    /// This is over.
    pub(super) fn drop_row(&mut self, id: i64) -> Option<DropRow> {
        let row = self.rows.remove(&id)?;
        self.refused.remove(&id);
        for transfer in row.receivers.iter().filter_map(|it| it.transfer) {
            if let Some(rows) = self.carried.get_mut(&transfer) {
                rows.retain(|other| *other != id);
                if rows.is_empty() {
                    self.carried.remove(&transfer);
                    self.standing.remove(&transfer);
                }
            }
        }
        if let Some(place) = self.place_of(&row) {
            self.at.remove(&place);
            self.dirty.insert(place);
        }
        Some(row)
    }

    /// What was taken from a place and is under way, or is over and not yet in the journal as that.
    pub(super) fn row_at(&self, place: &Place) -> Option<i64> {
        let row = self.rows.get(self.at.get(place)?)?;
        (!matches!(row.stage, Stage::Again | Stage::Failed)).then_some(row.id)
    }

    /// What was taken from a place and goes again to some.
    pub(super) fn again_at(&self, place: &Place) -> Option<i64> {
        let row = self.rows.get(self.at.get(place)?)?;
        (row.stage == Stage::Again).then_some(row.id)
    }

    /// Where a row lies now; `None` where its drop folder is no longer configured.
    pub(super) fn place_of(&self, row: &DropRow) -> Option<Place> {
        let root = self.roots.iter().position(|root| *root == row.root)?;
        let at = if row.stage == Stage::Failed { row.filed.as_ref().unwrap_or(&row.place) } else { &row.place };
        Some((root, at.clone()))
    }

    /// Keeps rows as they are now, all or none of them.
    pub(super) async fn keep(&self, rows: Vec<DropRow>) -> Result<(), store::Error> {
        let now = clock::now_ms();
        let rows: Vec<DropRow> = rows.into_iter().map(|row| DropRow { changed_ms: now, ..row }).collect();
        self.engine.store().write(store::Durability::Durable, move |t| rows.iter().try_for_each(|row| store::drops::save(t, row))).await
    }
}
