//! The survey: everything in the drop folders is found by listing, whatever events told or did not tell.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use sharekaro_proto::control::drop::DropState;
use tokio::time::Instant;

use super::{
    desk::{Bar, Desk, Unit},
    names::{Names, is_target},
    settle::Settle,
    table::Place,
};
use crate::{
    files::{
        FileName,
        dropped::{DropDir, Kind, Trouble},
    },
    store::{
        self, Durability,
        drops::{DropRow, Stage},
    },
};

/// What was found in one drop folder.
#[derive(Default)]
struct Found {
    /// What people put there.
    places: BTreeSet<PathBuf>,
    /// What lies there as it was sent, and stays.
    kept: BTreeSet<PathBuf>,
    /// Rows of what was kept and is no longer there.
    forgotten: Vec<i64>,
    /// Failed ones that somebody took out of `Failed`.
    taken: Vec<i64>,
    /// Folders that could not be listed, the empty path for the drop folder itself.
    closed: Vec<(PathBuf, Trouble)>,
}

impl Desk {
    /// Lists everything and takes in the difference. Where events were lost, nothing is known of what it does.
    pub(super) async fn survey(&mut self, lost: bool) {
        let mut jobs = Vec::new();
        for (number, root) in self.roots.iter().enumerate() {
            let kept = self.engine.store().now(|c| store::drops::kept(c, root)).unwrap_or_default();
            let failed =
                self.rows.values().filter(|row| row.stage == Stage::Failed && row.root == *root && row.filed.is_some()).cloned().collect();
            jobs.push((number, root.clone(), self.names.clone(), kept, failed));
        }
        let listed = tokio::task::spawn_blocking(move || {
            jobs.into_iter().map(|(number, root, names, kept, failed)| (number, list(&root, &names, &kept, failed))).collect::<Vec<_>>()
        });
        let Ok(listed) = listed.await else { return };
        let mut troubles = Vec::new();
        for (number, mut found) in listed {
            let root = self.roots.get(number).cloned().unwrap_or_default();
            self.compare(number, &found, lost);
            self.forget(std::mem::take(&mut found.forgotten), std::mem::take(&mut found.taken)).await;
            troubles.extend(found.closed.into_iter().map(|(folder, trouble)| (root.join(folder), trouble)));
        }
        self.tell_troubles(&troubles);
        self.dispatch = true;
        self.engine.inner.drops.rewatch.notify_one();
    }

    /// What is gone is forgotten, what is new is begun.
    fn compare(&mut self, root: usize, found: &Found, lost: bool) {
        let now = Instant::now();
        let trouble_at = |place: &Path| found.closed.iter().find(|(folder, _)| place.starts_with(folder)).map(|(_, trouble)| trouble);
        let mut gone = Vec::new();
        for (place, unit) in self.units.iter_mut().filter(|(place, _)| place.0 == root) {
            match trouble_at(&place.1) {
                Some(trouble) => {
                    unit.barred = Some(Bar::Folder);
                    unit.whole = None;
                    unit.stands(DropState::Waiting, Some(format!("nothing is sent from this folder: {trouble}")));
                }
                None if !found.places.contains(&place.1) => gone.push(place.clone()),
                None if unit.barred == Some(Bar::Folder) => *unit = Unit::new(Settle::found(now)),
                None if lost && unit.barred.is_none() => {
                    unit.settle.lost(now);
                    unit.whole = None;
                }
                None => continue,
            }
            self.dirty.insert(place.clone());
        }
        gone.iter().for_each(|place| drop(self.units.remove(place)));
        for place in found.places.iter().filter(|place| !found.kept.contains(*place)) {
            let place: Place = (root, place.clone());
            if !self.units.contains_key(&place) && self.row_at(&place).is_none() {
                self.units.insert(place.clone(), Unit::new(Settle::found(now)));
                self.judge_name(&place);
                self.dirty.insert(place);
            }
        }
        for row in self.rows.values() {
            let Some(place) = self.place_of(row).filter(|place| place.0 == root) else { continue };
            let missing = !found.places.contains(&place.1) && trouble_at(&place.1).is_none();
            if missing && row.stage != Stage::Failed {
                self.check.insert(row.id);
            }
        }
    }

    /// Rows of what somebody removed or took back himself.
    async fn forget(&mut self, forgotten: Vec<i64>, taken: Vec<i64>) {
        for id in &taken {
            let row = self.drop_row(*id);
            if let Some((row, filed)) = row.and_then(|row| Some((row.clone(), row.filed?))) {
                let tidied = tokio::task::spawn_blocking(move || DropDir::open(&row.root).map(|dir| dir.forget_reason(&filed)));
                drop(tidied.await);
            }
        }
        let ids: Vec<i64> = forgotten.into_iter().chain(taken).collect();
        if ids.is_empty() {
            return;
        }
        let done = self.engine.store().write(Durability::Soon, move |t| ids.iter().try_for_each(|id| store::drops::remove(t, *id))).await;
        if let Err(e) = done {
            tracing::warn!("cannot forget what is gone from the drop folder: {e}");
        }
    }
}

/// Lists one drop folder.
fn list(root: &Path, names: &Names, kept: &[DropRow], failed: Vec<DropRow>) -> Found {
    let mut found = Found::default();
    let opened = DropDir::open(root).and_then(|dir| Ok((dir.list(None)?, dir)));
    let (top, dir) = match opened {
        Ok(opened) => opened,
        Err(trouble) => {
            found.closed.push((PathBuf::new(), trouble));
            return found;
        }
    };
    for (name, kind) in top {
        let target = name.as_os_str().to_str().is_some_and(|text| is_target(names, text));
        match kind {
            Kind::Folder if target => folder(&dir, &name, &mut found),
            Kind::Link if target => found.closed.push((name.as_os_str().into(), Trouble::Link)),
            _ => drop(found.places.insert(name.as_os_str().into())),
        }
    }
    for row in kept {
        let is_open = !found.closed.iter().any(|(folder, _)| row.place.starts_with(folder));
        match dir.look(&row.place, &mut Vec::new()) {
            Ok(Some(seen)) if seen.print == row.print => drop(found.kept.insert(row.place.clone())),
            Ok(None) | Err(Trouble::Missing(_)) if is_open => found.forgotten.push(row.id),
            _ => {} // it has changed: another row takes its place once that is sent
        }
    }
    found.taken = failed.into_iter().filter(|row| row.filed.as_ref().is_some_and(|filed| !dir.is_there(filed))).map(|row| row.id).collect();
    found
}

fn folder(dir: &DropDir, name: &FileName, found: &mut Found) {
    match dir.list(Some(name)) {
        Ok(names) => found.places.extend(names.into_iter().map(|(inner, _)| Path::new(name.as_os_str()).join(inner.as_os_str()))),
        Err(trouble) => found.closed.push((name.as_os_str().into(), trouble)),
    }
}
