//! What is whole becomes transfers: recorded in one step with what was taken from where, so that a daemon that is killed
//! has either both or neither.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
    time::Duration,
};

use sharekaro_proto::{
    DeviceId, ErrorBody, TransferId,
    control::{
        drop::DropState,
        transfer::{RawPath, Send},
    },
    nouns::transfer::{Conflict, Priority, TransferState},
};
use tokio::time::Instant;

use super::{
    desk::Desk,
    folders::{Whose, folder_of},
    look::look_at,
    names::Names,
    settle::Sign,
    table::Place,
};
use crate::{
    crash,
    engine::{clock, transfers::send::records},
    files::dropped::Seen,
    store::{
        self, Durability,
        drops::{DropRow, Receiver, Stage},
        record::Record,
    },
};

/// So many files go as one transfer, as long as they are small: as many as one pack holds.
const FILES_TOGETHER: usize = 256;

/// A larger file is a transfer of its own, in bytes.
const SMALL: u64 = 4 << 20;

/// Files go together up to so many bytes, so that the first are in `Sent` soon.
const BYTES_TOGETHER: u64 = 64 << 20;

/// So many transfers of one folder run at once: the others do not hold up each other, nor a person's own.
const RUNNING_MAX: usize = 4;

/// So many are open at all, most of them held up by something: a disk that is full there, a person who has to answer.
const OPEN_MAX: usize = 200;

/// What was seen longer ago is looked at again before it goes.
const FRESH: Duration = Duration::from_secs(1);

/// A drop folder and the folder in it; `None` for what lies at the top.
type Group = (usize, Option<String>);

impl Desk {
    /// Lets everything go that can. What cannot is not looked at: there may be very much of it, and this is asked often.
    pub(super) async fn dispatch_all(&mut self) {
        let whole = self.units.iter().filter(|(_, unit)| unit.is_whole().is_some()).map(|(place, _)| place);
        let groups: BTreeSet<_> = whole.map(|place| (place.0, folder_of(&self.names, &place.1))).collect();
        let groups: Vec<Group> = groups.into_iter().map(|(root, folder)| (root, folder.map(str::to_owned))).collect();
        if groups.is_empty() {
            return;
        }
        let mut open = self.open_transfers();
        for group in groups {
            let why = match self.whose(group.0, group.1.as_deref()) {
                Whose::Nobody(why) => Some(why),
                Whose::Peers(peers) => match self.nobody_is_there(&peers) {
                    None => self.dispatch(&peers, &group, open.remove(&group).unwrap_or_default()).await,
                    why => why,
                },
            };
            self.wait(&group, &why.unwrap_or_else(|| "others from this folder go first".to_owned()));
        }
    }

    fn group_of(&self, place: &Place) -> Group {
        (place.0, folder_of(&self.names, &place.1).map(str::to_owned))
    }

    fn nobody_is_there(&self, peers: &[DeviceId]) -> Option<String> {
        let away = self.engine.look(|state| {
            let here = |peer: &&DeviceId| state.peers.get(peer).is_some_and(|known| known.open_session().is_some());
            if peers.iter().any(|peer| here(&peer)) { None } else { peers.first().map(|peer| state.peers.label(peer)) }
        });
        away.map(|label| match peers.len() {
            1 => format!("{label} cannot be reached; it goes by itself when {label} is back"),
            n => format!("none of the {n} devices can be reached; it goes by itself when one is back"),
        })
    }

    /// What is whole in a folder and did not go waits, for this reason.
    fn wait(&mut self, group: &Group, why: &str) {
        for (place, unit) in &mut self.units {
            let waits = unit.state == DropState::Waiting && unit.reason.as_deref() == Some(why);
            if !waits && unit.is_whole().is_some() && is_in(&self.names, place, group) {
                unit.stands(DropState::Waiting, Some(why.to_owned()));
                self.dirty.insert(place.clone());
            }
        }
    }

    /// How many transfers of each folder run, and how many are open.
    fn open_transfers(&self) -> HashMap<Group, (usize, usize)> {
        let mut sets: HashMap<Group, BTreeSet<TransferId>> = HashMap::new();
        for row in self.rows.values().filter(|row| row.stage == Stage::Sending) {
            let Some(place) = self.place_of(row) else { continue };
            sets.entry(self.group_of(&place)).or_default().extend(row.receivers.iter().filter(|it| !it.done).filter_map(|it| it.transfer));
        }
        let runs = |id: &&TransferId| {
            self.engine.look(|state| {
                let Some(row) = state.transfers.get(**id) else { return false };
                let here = state.peers.get(&row.record.peer).is_some_and(|known| known.open_session().is_some());
                here && matches!(row.record.state, TransferState::Queued | TransferState::Active)
            })
        };
        sets.into_iter().map(|(group, ids)| (group, (ids.iter().filter(runs).count(), ids.len()))).collect()
    }

    /// Sends from one folder, as much as may run at once. Returns why the others do not go, where it is not for these.
    async fn dispatch(&mut self, peers: &[DeviceId], group: &Group, (mut running, mut open): (usize, usize)) -> Option<String> {
        let mut from = Bound::Included((group.0, group.1.clone().unwrap_or_default().into()));
        while running < RUNNING_MAX && open < OPEN_MAX {
            let behind = self.units.range((from, Bound::Unbounded)).filter(|(place, _)| is_in(&self.names, place, group));
            let whole = behind.filter_map(|(place, unit)| unit.is_whole().map(|seen| (place, seen)));
            let places = batch(whole, |place| self.again_at(place).is_some());
            from = Bound::Excluded(places.last()?.clone());
            let sent = match self.still_so(places).await {
                Ok(still) if still.is_empty() => continue,
                Ok(still) => self.send(peers, &still).await,
                Err(e) => Err(e),
            };
            if let Err(e) = sent {
                self.again_soon();
                return Some(e.message);
            }
            running += 1;
            open += peers.len();
        }
        None
    }

    /// Of these, what is still as it was when it was found whole, and was not sent before as it is.
    async fn still_so(&mut self, places: Vec<Place>) -> Result<Vec<(Place, Seen)>, ErrorBody> {
        let now = Instant::now();
        let old = |place: &&Place| self.units.get(place).and_then(|unit| unit.whole.as_ref()).is_some_and(|(_, at)| now >= *at + FRESH);
        let stale: Vec<_> = places.iter().filter(old).map(|place| (place.clone(), None)).collect();
        for looked in look_at(self.roots.clone(), stale).await {
            let Some(unit) = self.units.get_mut(&looked.place) else { continue };
            match (&unit.whole, looked.seen) {
                (Some((whole, _)), Ok(Some(seen))) if whole.print == seen.print => unit.whole = Some((seen, now)),
                _ => {
                    unit.whole = None;
                    unit.stands(DropState::Settling, None);
                    unit.settle.touch(now, std::path::Path::new(""), Sign::Uncertain);
                    self.dirty.insert(looked.place);
                }
            }
        }
        let seen = |place: Place| Some((self.units.get(&place)?.is_whole()?.clone(), place));
        let still: Vec<(Place, Seen)> = places.into_iter().filter_map(seen).map(|(seen, place)| (place, seen)).collect();
        let before = self.sent_before(&still).await?;
        let mut left = Vec::new();
        for ((place, seen), before) in still.into_iter().zip(before) {
            match before {
                None => left.push((place, seen)),
                Some(row) => {
                    self.units.remove(&place);
                    self.dirty.insert(place);
                    if row.stage != Stage::Kept {
                        // it came back with its medium after everybody had it: it only has to be filed
                        self.check.insert(row.id);
                        self.take_row(DropRow { stage: Stage::Sending, ..row });
                    }
                }
            }
        }
        Ok(left)
    }

    /// What is known of each of these from when it was sent as it is.
    async fn sent_before(&self, still: &[(Place, Seen)]) -> Result<Vec<Option<DropRow>>, ErrorBody> {
        let asked: Vec<_> =
            still.iter().map(|(place, seen)| (self.roots.get(place.0).cloned().unwrap_or_default(), place.1.clone(), seen.print)).collect();
        let known = self
            .engine
            .store()
            .read(move |c| asked.iter().map(|(root, place, print)| store::drops::sent_from(c, root, place, print)).collect());
        Ok(known.await?)
    }

    /// Records the transfers and what they carry, and lets them run.
    async fn send(&mut self, peers: &[DeviceId], batch: &[(Place, Seen)]) -> Result<(), ErrorBody> {
        let rows: Vec<DropRow> = batch.iter().map(|(place, seen)| self.row_for(peers, place, seen)).collect();
        // who lacked it is meant no longer: it only has to be filed
        let (rows, over): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.receivers.iter().any(|it| !it.done));
        self.file_only(over).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let again = rows.iter().any(|row| row.id != 0);
        let mut receivers: Vec<DeviceId> = rows.iter().flat_map(|row| &row.receivers).filter(|it| !it.done).map(|it| it.peer).collect();
        receivers.sort_unstable();
        receivers.dedup();
        let send = Send {
            paths: rows.iter().map(|row| RawPath(real(&row.root).join(&row.place))).collect(),
            priority: Some(Priority::Low), // a person's own sends go first
            // a part of it may be there: what is the same is not put beside itself
            conflict: again.then_some(Conflict::Skip),
            ..Send::default()
        };
        let sources: Vec<_> = send.paths.iter().map(|path| path.0.clone()).collect();
        let records: Vec<Record> = records(&send, &receivers, &sources).into_iter().map(dropped).collect();
        let kept = records.clone();
        let (ids, rows) = self.engine.store().write(Durability::Durable, move |t| store::drops::record(t, &kept, rows)).await?;
        crash::point("drop-recorded");
        self.take_rows(rows);
        self.engine.run_recorded(&ids, records);
        Ok(())
    }

    /// Everybody has these who is still meant.
    async fn file_only(&mut self, rows: Vec<DropRow>) -> Result<(), ErrorBody> {
        if !rows.is_empty() {
            self.keep(rows.clone()).await?;
            self.check.extend(rows.iter().map(|row| row.id));
            self.take_rows(rows);
        }
        Ok(())
    }

    fn take_rows(&mut self, rows: Vec<DropRow>) {
        for row in rows {
            self.drop_row(row.id);
            if let Some(place) = self.place_of(&row) {
                self.units.remove(&place);
            }
            self.take_row(row);
        }
    }

    /// What is noted of something before it goes: anew, or, where it went before and not to all, that again, to those
    /// who lack it and are still meant.
    fn row_for(&self, peers: &[DeviceId], place: &Place, seen: &Seen) -> DropRow {
        let fresh = || peers.iter().map(|peer| Receiver { peer: *peer, transfer: None, done: false }).collect();
        let before = self.again_at(place).and_then(|id| self.rows.get(&id)).cloned();
        let now = clock::now_ms();
        let travels_as = place.1.file_name().map(ToOwned::to_owned);
        let before = before.map(|mut row| {
            row.receivers.retain(|it| it.done || peers.contains(&it.peer));
            row
        });
        match before {
            Some(row) if row.print == seen.print && !row.receivers.is_empty() => {
                DropRow { stage: Stage::Sending, reason: None, filed: None, changed_ms: now, travels_as, ..row }
            }
            before => DropRow {
                id: before.map_or(0, |row| row.id),
                root: self.roots.get(place.0).cloned().unwrap_or_default(),
                place: place.1.clone(),
                travels_as,
                target: self.target_of(place),
                print: seen.print,
                ino: seen.ino,
                stage: Stage::Sending,
                reason: None,
                filed: None,
                changed_ms: now,
                receivers: fresh(),
            },
        }
    }
}

/// Whether a place lies in this folder.
fn is_in(names: &Names, place: &Place, (root, folder): &Group) -> bool {
    place.0 == *root && folder_of(names, &place.1) == folder.as_deref()
}

/// The first of these that go together: one that goes again, one that is large, or many that are small. The others are
/// not even asked for.
fn batch<'a>(whole: impl Iterator<Item = (&'a Place, &'a Seen)>, goes_again: impl Fn(&Place) -> bool) -> Vec<Place> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for (place, seen) in whole {
        let alone = seen.files != 1 || seen.bytes > SMALL || goes_again(place);
        bytes += seen.bytes;
        if !batch.is_empty() && (alone || bytes > BYTES_TOGETHER) {
            break;
        }
        batch.push(place.clone());
        if alone || batch.len() >= FILES_TOGETHER {
            break;
        }
    }
    batch
}

/// The transfer of something that was dropped: no link on the way to it is followed, and what is gone by the time it is
/// walked is left out.
fn dropped(mut record: Record) -> Record {
    record.options.dropped = true;
    record
}

/// The drop folder without links in its own path, as the walk follows none.
fn real(root: &std::path::Path) -> std::path::PathBuf {
    root.canonicalize().unwrap_or_else(|_| root.to_owned())
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, path::PathBuf};

    use super::*;
    use crate::files::dropped::Kind;

    fn seen(files: u64, bytes: u64) -> Seen {
        Seen { kind: Kind::File, print: [0; 16], ino: 1, bytes, files, unfinished: None, changed_ms: 0, readable: true }
    }

    /// How many go together, and how many were asked for.
    fn together(given: &[Seen], again: &str) -> (usize, usize) {
        let asked = Cell::new(0);
        let given: Vec<(Place, &Seen)> = (0_u64..).zip(given).map(|(no, seen)| ((0, PathBuf::from(format!("bob/{no}"))), seen)).collect();
        let each = given.iter().map(|(place, seen)| (place, *seen)).inspect(|_| asked.set(asked.get() + 1));
        (batch(each, |place| place.1 == *again).len(), asked.get())
    }

    #[test]
    fn of_very_many_only_those_are_asked_for_that_go() {
        assert_eq!(together(&vec![seen(1, 10); 100_000], ""), (FILES_TOGETHER, FILES_TOGETHER));
        assert_eq!(together(&vec![seen(1, SMALL + 1); 1_000], ""), (1, 1));
        assert_eq!(together(&vec![seen(1, SMALL); 1_000], ""), (16, 17));
        assert_eq!(together(&[], ""), (0, 0));
    }

    #[test]
    fn what_is_large_or_a_folder_or_goes_again_goes_alone() {
        let small = seen(1, 10);
        for given in [seen(1, SMALL + 1), seen(2, 20), seen(0, 0)] {
            assert_eq!(together(&[given.clone(), small.clone()], "").0, 1);
            assert_eq!(together(&[small.clone(), small.clone(), given, small.clone()], "").0, 2);
        }
        assert_eq!(together(&vec![small.clone(); 5], "bob/0").0, 1);
        assert_eq!(together(&vec![small; 5], "bob/3").0, 3);
    }
}
