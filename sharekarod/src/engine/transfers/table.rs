//! The table of transfers and the rules on it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode, TransferId, TransferKey,
    control::{
        event::Fact,
        transfer::{Holder, Transfer},
    },
    nouns::{
        text::lossless,
        transfer::{Direction, Phase, Priority, TransferState},
    },
};
use tokio::time::Instant;

use super::{crowd::Given, record::Record};
use crate::engine::{clock, peers::table::PeerTable};

/// Transfers that ended and are still listed; the database has all of them.
pub const HISTORY_SHOWN: usize = 200;

/// Transfers beside these that lie in quarantine and are listed until a person lets them out or removes them; older ones
/// are found by their numbers.
pub const QUARANTINED_SHOWN: usize = 500;

/// The rate is that of the last so many seconds.
const RATE_WINDOW: Duration = Duration::from_secs(3);

/// Bytes of paths, and of names of what was left out, that go into an event or a list; one transfer alone is shown with all.
/// Those of [`HISTORY_SHOWN`] transfers stay below what a client takes as one event.
const NAMES_SHOWN: usize = 32 << 10;

/// Which of two priorities goes first: the larger one, whatever is added for small transfers.
pub fn rank(priority: Priority) -> i32 {
    match priority {
        Priority::Low => -10,
        Priority::Normal => 0,
        Priority::High => 10,
    }
}

/// A transfer that is remembered, and what it does right now.
pub struct Row {
    /// What survives.
    pub record: Record,
    /// What it does right now.
    pub phase: Phase,
    rate: Meter,
}

/// Bytes over the last seconds.
#[derive(Default)]
struct Meter {
    marks: VecDeque<(Instant, u64)>,
}

impl Meter {
    fn mark(&mut self, moved: u64) {
        let now = Instant::now();
        self.marks.push_back((now, moved));
        while self.marks.len() > 2 && self.marks.get(1).is_some_and(|(at, _)| now.duration_since(*at) > RATE_WINDOW) {
            self.marks.pop_front();
        }
    }

    /// Bytes a second, as of now: silence lowers it.
    fn rate(&self) -> u64 {
        let (Some((began, from)), Some((_, to))) = (self.marks.front(), self.marks.back()) else { return 0 };
        let seconds = began.elapsed().as_secs_f64();
        if seconds < 0.05 { 0 } else { (to.saturating_sub(*from) as f64 / seconds) as u64 }
    }
}

/// All transfers that have not ended, and the newest of the others.
#[derive(Default)]
pub struct TransferTable {
    rows: BTreeMap<TransferId, Row>,
    touched: BTreeSet<TransferId>,
}

impl TransferTable {
    /// The transfers that were kept.
    pub fn new(records: Vec<Record>) -> Self {
        let rows = records.into_iter().map(|record| (record.id, Row { record, phase: Phase::Resting, rate: Meter::default() })).collect();
        let mut table = Self { rows, touched: BTreeSet::new() };
        table.trim();
        table
    }

    /// A new one (or, already so, the one that is there).
    pub fn insert(&mut self, record: Record) {
        let id = record.id;
        self.touched.insert(id);
        self.rows.entry(id).or_insert_with(|| Row { record, phase: Phase::Resting, rate: Meter::default() });
        self.trim();
    }

    /// One that is not listed any more and is about to change, whatever else there is; already so, the one that is there.
    pub fn insert_to_change(&mut self, record: Record) {
        self.rows.entry(record.id).or_insert_with(|| Row::of(record));
    }

    /// Lists no more of what is over than there is place for.
    fn trim(&mut self) {
        let apart = self.apart().count();
        let too_many = apart.saturating_sub(QUARANTINED_SHOWN);
        let old: Vec<TransferId> = self.apart().take(too_many).collect();
        old.iter().for_each(|id| drop(self.rows.remove(id)));
        while self.rows.len() > HISTORY_SHOWN + apart - too_many {
            let over = |row: &Row| row.record.state.ended() && !row.record.untold && !row.record.lies_apart();
            let oldest = |which: &dyn Fn(&Row) -> bool| self.rows.iter().find(|(_, row)| over(row) && which(row)).map(|(id, _)| *id);
            let Some(oldest) = oldest(&|row| row.record.came_to_nothing()).or_else(|| oldest(&|_| true)) else { break };
            self.rows.remove(&oldest);
        }
    }

    /// Those that lie in quarantine, oldest first.
    fn apart(&self) -> impl Iterator<Item = TransferId> {
        self.rows.iter().filter(|(_, row)| row.record.lies_apart()).map(|(id, _)| *id)
    }

    /// One of them.
    pub fn get(&self, id: TransferId) -> Option<&Row> {
        self.rows.get(&id)
    }

    /// One of them, to change it: listeners are told.
    pub fn edit(&mut self, id: TransferId) -> Option<&mut Row> {
        let row = self.rows.get_mut(&id)?;
        self.touched.insert(id);
        Some(row)
    }

    /// The one that this peer calls so.
    pub fn by_key(&self, direction: Direction, peer: DeviceId, key: TransferKey) -> Option<&Record> {
        self.rows.values().map(|row| &row.record).find(|record| record.key == key && record.peer == peer && record.direction == direction)
    }

    /// Whether any with this peer goes on.
    pub fn is_open_with(&self, peer: &DeviceId) -> bool {
        self.rows.values().any(|row| row.record.peer == *peer && !row.record.state.ended())
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// Whether something of a higher priority comes from the same sender right now, as fast as it can.
    pub fn is_passed(&self, row: &Row) -> bool {
        let passes = |other: &Row| {
            let (ours, its) = (&row.record, &other.record);
            let goes_first = its.direction == Direction::In && its.peer == ours.peer && rank(its.priority) > rank(ours.priority);
            goes_first && its.limit().is_none() && other.moves()
        };
        self.rows.values().any(passes)
    }

    /// How many have not ended.
    pub fn active(&self) -> usize {
        self.rows.values().filter(|row| !row.record.state.ended()).count()
    }

    /// What changed since the last call.
    pub fn drain(&mut self, peers: &PeerTable) -> Vec<Fact> {
        let touched = std::mem::take(&mut self.touched);
        touched.iter().filter_map(|id| self.view(*id, peers)).map(|transfer| Fact::TransferChanged(Box::new(transfer))).collect()
    }

    /// Newest first.
    pub fn views(&self, peers: &PeerTable) -> Vec<Transfer> {
        self.rows.keys().rev().filter_map(|id| self.view(*id, peers)).collect()
    }

    /// One of them as every door shows it.
    pub fn view(&self, id: TransferId, peers: &PeerTable) -> Option<Transfer> {
        self.rows.get(&id).map(|row| row.view(peers))
    }
}

impl Row {
    /// A row that is not in the table: one of the history.
    pub fn of(record: Record) -> Self {
        Self { record, phase: Phase::Resting, rate: Meter::default() }
    }

    /// Whether bytes of it move.
    fn moves(&self) -> bool {
        self.record.state == TransferState::Active && self.phase == Phase::Transferring
    }

    /// It stands elsewhere from now on. An end is final: whatever comes later changes nothing.
    pub fn enter(&mut self, state: TransferState, phase: Phase) {
        if self.record.state.ended() {
            return;
        }
        if self.record.state != state {
            self.record.state = state;
            self.record.changed_ms = clock::now_ms();
        }
        if state != TransferState::Waiting && !state.ended() {
            self.record.error = None;
        }
        self.phase = phase;
        if phase != Phase::Transferring && phase != Phase::Stalled {
            self.rate = Meter::default();
        }
    }

    /// It cannot go on, or ended, and this is why.
    pub fn enter_with(&mut self, state: TransferState, phase: Phase, error: ErrorBody) {
        if !self.record.state.ended() {
            self.enter(state, phase);
            self.record.error = Some(error);
        }
    }

    /// The receiver holds so much. Never less than before.
    pub fn confirmed(&mut self, bytes: u64, reused: u64, files: u64) {
        let record = &mut self.record;
        record.bytes_confirmed = record.bytes_confirmed.max(bytes.min(record.bytes_total));
        record.bytes_reused = record.bytes_reused.max(reused.min(record.bytes_confirmed));
        record.files_done = record.files_done.max(files.min(record.files_total));
        self.rate.mark(record.bytes_confirmed - record.bytes_reused);
    }

    /// As every door shows it in events and lists.
    pub fn view(&self, peers: &PeerTable) -> Transfer {
        self.shown(peers, NAMES_SHOWN)
    }

    /// With all that is known of it.
    pub fn whole(&self, peers: &PeerTable) -> Transfer {
        self.shown(peers, usize::MAX)
    }

    fn shown(&self, peers: &PeerTable, names_max: usize) -> Transfer {
        let record = &self.record;
        let rate = if record.state == TransferState::Active { self.rate.rate() } else { 0 };
        let left = record.bytes_total.saturating_sub(record.bytes_confirmed);
        let paths = if record.direction == Direction::Out { &record.sources } else { &record.placed };
        Transfer {
            id: record.id,
            direction: record.direction,
            peer: peers.label(&record.peer),
            peer_id: record.peer,
            title: record.title.clone(),
            state: if record.is_unjudged() { TransferState::Queued } else { record.state },
            phase: self.phase,
            bytes_total: record.bytes_total,
            bytes_confirmed: record.bytes_confirmed,
            bytes_reused: record.bytes_reused,
            files_total: record.files_total,
            files_done: record.files_done,
            rate,
            eta_seconds: (rate > 0).then(|| left.div_ceil(rate)),
            error: record.error.clone(),
            paths: first(paths, |path| path.0.as_os_str().len(), names_max)
                .map(|path| lossless(path.0.as_os_str().as_encoded_bytes()))
                .collect(),
            paths_count: paths.len() as u64,
            quarantined: record.quarantined,
            skipped: first(&record.skipped, |it| it.path.len(), names_max).cloned().collect(),
            skipped_count: record.left_out(),
            holders: record.given.iter().map(|given| holder(given, peers)).collect(),
            limit: record.limit(),
            priority: record.priority,
            note: record.note.clone(),
            created_at: clock::timestamp(record.created_ms),
            changed_at: clock::timestamp(record.changed_ms),
            expires_at: record.expires_ms.filter(|_| !record.state.ended()).map(clock::timestamp),
        }
    }
}

/// The first of them that together have no more bytes; the very first in any case.
fn first<T>(all: &[T], bytes: impl Fn(&T) -> usize, max: usize) -> impl Iterator<Item = &T> {
    let mut left = max;
    all.iter().enumerate().map_while(move |(i, it)| {
        let rest = left.checked_sub(bytes(it));
        left = rest.unwrap_or(0);
        (i == 0 || rest.is_some()).then_some(it)
    })
}

fn holder(given: &Given, peers: &PeerTable) -> Holder {
    let Given { device, sender, pieces, bytes, wrong } = *given;
    Holder { peer: peers.label(&device), peer_id: device, sender, pieces, bytes, wrong }
}

/// There is no such transfer.
pub fn not_found(id: TransferId) -> ErrorBody {
    ErrorBody::new(ErrorCode::NotFound, format!("there is no transfer {id}")).hint("`sharectl transfers` lists them")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::engine::transfers::record::{SKIPPED_NAMED_MAX, SendOptions};
    use sharekaro_proto::{
        control::transfer::{RawPath, Skipped},
        nouns::transfer::SkipReason,
    };

    /// A record for tests: 1,000 bytes in 10 files to device 1.
    pub(crate) fn record(id: u64, state: TransferState) -> Record {
        Record {
            id: TransferId(id),
            key: TransferKey([id as u8; 16]),
            set: TransferKey([id as u8; 16]),
            direction: Direction::Out,
            peer_address: None,
            peer: DeviceId::from_bytes([1; 32]),
            state,
            title: "x".into(),
            note: String::new(),
            bytes_total: 1_000,
            files_total: 10,
            entries: 10,
            bytes_confirmed: 0,
            bytes_reused: 0,
            files_done: 0,
            error: None,
            sources: Vec::new(),
            options: SendOptions::default(),
            conflict: None,
            placed: Vec::new(),
            destination: None,
            otherwise: crate::store::record::Otherwise::default(),
            staging: None,
            crowd: None,
            given: Vec::new(),
            skipped: Vec::new(),
            skipped_more: 0,
            skipped_entries: Vec::new(),
            limit_here: None,
            limit_there: None,
            priority: Priority::Normal,
            steered: false,
            paused_here: false,
            paused_there: false,
            accepted: false,
            rule: String::new(),
            judged: true,
            quarantined: false,
            undone: false,
            run: Vec::new(),
            untold: false,
            unoffered: false,
            scanned: false,
            created_ms: 0,
            changed_ms: 0,
            expires_ms: None,
        }
    }

    #[test]
    fn events_name_what_counts_first_and_no_more_than_fits() {
        let skipped = |i: usize, reason| Skipped { path: format!("{}/{i}", "long".repeat(50)), reason };
        let mut it = record(1, TransferState::Done);
        it.sources = (0..2_000).map(|i| RawPath(format!("/{}/{i}", "long".repeat(50)).into())).collect();
        it.leave_out((0..SKIPPED_NAMED_MAX + 3).map(|i| skipped(i, SkipReason::Link)), 2);
        it.leave_out([skipped(0, SkipReason::Unreadable)], 0);
        let (row, peers) = (Row::of(it), PeerTable::new(DeviceId::from_bytes([0; 32]), Vec::new()));

        let (shown, whole) = (row.view(&peers), row.whole(&peers));

        assert_eq!(shown.skipped[0].reason, SkipReason::Unreadable);
        assert_eq!((shown.skipped_count, shown.paths_count), (SKIPPED_NAMED_MAX as u64 + 6, 2_000));
        assert!(serde_json::to_vec(&shown).unwrap().len() < 4 * NAMES_SHOWN);
        assert_eq!((whole.skipped.len(), whole.paths.len()), (SKIPPED_NAMED_MAX, 2_000));
    }

    #[test]
    fn what_was_confirmed_never_falls_and_never_passes_the_total() {
        let mut row = Row::of(record(1, TransferState::Active));

        row.confirmed(600, 100, 5);
        row.confirmed(400, 0, 2);
        row.confirmed(u64::MAX, u64::MAX, u64::MAX);

        assert_eq!((row.record.bytes_confirmed, row.record.bytes_reused, row.record.files_done), (1_000, 1_000, 10));
    }

    #[test]
    fn only_what_comes_now_from_the_same_sender_and_goes_first_passes() {
        let incoming = |id, priority| Record { direction: Direction::In, priority, ..record(id, TransferState::Active) };
        let passes = |other: Record, phase| {
            let mut table = TransferTable::default();
            table.insert(incoming(1, Priority::Normal));
            table.insert(other);
            table.rows.values_mut().for_each(|row| row.phase = phase);
            table.get(TransferId(1)).is_some_and(|row| table.is_passed(row))
        };

        assert!(passes(incoming(2, Priority::High), Phase::Transferring));
        assert!(!passes(incoming(2, Priority::High), Phase::Stalled));
        assert!(!passes(incoming(2, Priority::Normal), Phase::Transferring));
        assert!(!passes(incoming(2, Priority::Low), Phase::Transferring));
        assert!(!passes(Record { peer: DeviceId::from_bytes([2; 32]), ..incoming(2, Priority::High) }, Phase::Transferring));
        assert!(!passes(Record { limit_here: Some(9), ..incoming(2, Priority::High) }, Phase::Transferring));
        assert!(!passes(Record { direction: Direction::Out, ..incoming(2, Priority::High) }, Phase::Transferring));
        assert!(!passes(Record { state: TransferState::Waiting, ..incoming(2, Priority::High) }, Phase::Transferring));
    }

    #[test]
    fn history_is_bounded_and_what_runs_stays() {
        let mut table = TransferTable::default();
        table.insert(record(1, TransferState::Active));

        for id in 2..1_000 {
            table.insert(record(id, TransferState::Done));
        }

        assert_eq!(table.iter().count(), HISTORY_SHOWN);
        assert!(table.get(TransferId(1)).is_some() && table.get(TransferId(999)).is_some());
    }

    #[test]
    fn offers_that_nobody_took_push_out_nothing_that_went() {
        let mut table = TransferTable::default();
        (1..=HISTORY_SHOWN as u64).for_each(|id| table.insert(record(id, TransferState::Done)));
        let refused = |id| Record { direction: Direction::In, ..record(id, TransferState::Cancelled) };

        (1_000..2_000).for_each(|id| table.insert(refused(id)));

        assert!((1..=HISTORY_SHOWN as u64).all(|id| table.get(TransferId(id)).is_some()));
    }

    #[test]
    fn an_offer_that_rules_still_look_at_is_not_shown_as_one_for_a_person() {
        let peers = PeerTable::new(DeviceId::from_bytes([0; 32]), Vec::new());
        let shown = |judged| {
            let offer = Record { direction: Direction::In, judged, ..record(1, TransferState::Offered) };
            Row::of(offer).view(&peers).state
        };

        assert_eq!([false, true].map(shown), [TransferState::Queued, TransferState::Offered]);
    }

    #[test]
    fn what_lies_in_quarantine_is_listed_beside_the_history() {
        let mut table = TransferTable::default();
        let apart = |id| Record { direction: Direction::In, quarantined: true, ..record(id, TransferState::Done) };
        table.insert(apart(1));
        (2..1_000).for_each(|id| table.insert(record(id, TransferState::Done)));

        assert!(table.get(TransferId(1)).is_some());
        assert_eq!(table.iter().count(), HISTORY_SHOWN + 1);

        (1_000..3_000).for_each(|id| table.insert(apart(id)));
        assert_eq!(table.apart().count(), QUARANTINED_SHOWN);
        assert!(table.get(TransferId(999)).is_some() && table.get(TransferId(2_999)).is_some(), "the history stays");
        table.insert(Record { undone: true, ..apart(3_000) });
        assert_eq!(table.iter().count(), HISTORY_SHOWN + QUARANTINED_SHOWN);
    }

    #[test]
    fn a_record_is_read_back_from_its_json() {
        let kept = Record { limit_here: Some(5), limit_there: Some(3), ..record(4, TransferState::Waiting) };

        let read: Record = serde_json::from_str(&serde_json::to_string(&kept).unwrap()).unwrap();

        assert_eq!(Record { id: TransferId(4), ..read }, kept);
        assert_eq!(kept.limit(), Some(3));
    }
}
