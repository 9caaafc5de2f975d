//! What is whole becomes transfers: recorded in one step with what was taken from where, so that a daemon that is killed
//! has either both or neither.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
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
    /// Lets everything go that can.
    pub(super) async fn dispatch_all(&mut self) {
        let mut groups: BTreeMap<Group, Vec<Place>> = BTreeMap::new();
        for (place, _) in self.units.iter().filter(|(_, unit)| unit.whole.is_some() && unit.barred.is_none()) {
            groups.entry((place.0, folder_of(&self.names, &place.1).map(str::to_owned))).or_default().push(place.clone());
        }
        if groups.is_empty() {
            return;
        }
        let mut open = self.open_transfers();
        for (group, places) in groups {
            match self.whose(group.0, group.1.as_deref()) {
                Whose::Nobody(why) => self.wait(&places, &why),
                Whose::Peers(peers) => match self.nobody_is_there(&peers) {
                    Some(why) => self.wait(&places, &why),
                    None => self.dispatch(&peers, places, open.remove(&group).unwrap_or_default()).await,
                },
            }
        }
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

    fn wait(&mut self, places: &[Place], why: &str) {
        for place in places {
            if let Some(unit) = self.units.get_mut(place) {
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
            let group = (place.0, folder_of(&self.names, &place.1).map(str::to_owned));
            sets.entry(group).or_default().extend(row.receivers.iter().filter(|it| !it.done).filter_map(|it| it.transfer));
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

    /// Sends from one folder, as much as may run at once.
    async fn dispatch(&mut self, peers: &[DeviceId], places: Vec<Place>, (mut running, mut open): (usize, usize)) {
        let mut left = self.still_so(places).await;
        left.reverse();
        while running < RUNNING_MAX && open < OPEN_MAX && !left.is_empty() {
            let batch = self.batch(&mut left);
            running += 1;
            open += peers.len();
            if let Err(e) = self.send(peers, &batch).await {
                let places: Vec<Place> = batch.into_iter().map(|(place, _)| place).collect();
                self.wait(&places, &e.message);
                return self.again_soon();
            }
        }
        let places: Vec<Place> = left.into_iter().map(|(place, _)| place).collect();
        self.wait(&places, "others from this folder go first");
    }

    /// Of these, what is still as it was when it was found whole, and was not sent before as it is.
    async fn still_so(&mut self, places: Vec<Place>) -> Vec<(Place, Seen)> {
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
                }
            }
        }
        let mut left = Vec::new();
        for place in places {
            let Some(seen) = self.units.get(&place).and_then(|unit| unit.whole.as_ref()).map(|(seen, _)| seen.clone()) else { continue };
            match self.was_sent(&place, &seen) {
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
        left
    }

    fn was_sent(&self, place: &Place, seen: &Seen) -> Option<DropRow> {
        let root = self.roots.get(place.0)?;
        self.engine.store().now(|c| store::drops::sent_from(c, root, &place.1, &seen.print)).unwrap_or_default()
    }

    /// The next that go together, taken from the end: one that goes again, one that is large, or many that are small.
    fn batch(&self, left: &mut Vec<(Place, Seen)>) -> Vec<(Place, Seen)> {
        let alone = |place: &Place, seen: &Seen| seen.files != 1 || seen.bytes > SMALL || self.again_at(place).is_some();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some((place, seen)) = left.last() {
            let alone = alone(place, seen);
            bytes += seen.bytes;
            if !batch.is_empty() && (alone || bytes > BYTES_TOGETHER || batch.len() >= FILES_TOGETHER) {
                break;
            }
            batch.extend(left.pop());
            if alone {
                break;
            }
        }
        batch
    }

    /// Records the transfers and what they carry, and lets them run.
    async fn send(&mut self, peers: &[DeviceId], batch: &[(Place, Seen)]) -> Result<(), ErrorBody> {
        let rows: Vec<DropRow> = batch.iter().map(|(place, seen)| self.row_for(peers, place, seen)).collect();
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
        for row in rows {
            self.drop_row(row.id);
            if let Some(place) = self.place_of(&row) {
                self.units.remove(&place);
            }
            self.take_row(row);
        }
        self.engine.run_recorded(&ids, records);
        Ok(())
    }

    /// What is noted of something before it goes: anew, or, where it went before and not to all, that again.
    fn row_for(&self, peers: &[DeviceId], place: &Place, seen: &Seen) -> DropRow {
        let fresh = || peers.iter().map(|peer| Receiver { peer: *peer, transfer: None, done: false }).collect();
        let before = self.again_at(place).and_then(|id| self.rows.get(&id)).cloned();
        let now = clock::now_ms();
        match before {
            Some(row) if row.print == seen.print && row.receivers.iter().any(|it| !it.done) => {
                DropRow { stage: Stage::Sending, reason: None, filed: None, changed_ms: now, ..row }
            }
            before => DropRow {
                id: before.map_or(0, |row| row.id),
                root: self.roots.get(place.0).cloned().unwrap_or_default(),
                place: place.1.clone(),
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
