//! The transfers that are followed, and the rules on when to stop waiting for one. Pure: the time is an argument.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode,
    control::{event::Fact, transfer::Transfer},
    nouns::{
        text::Shown,
        transfer::{Phase, TransferState},
    },
};

use crate::print::transfer::more;

/// A peer that is off is waited for so long where nobody said how long: it may be waking up.
const PEER_PATIENCE: Duration = Duration::from_secs(10);

/// So many of the things that were left out are named.
pub(super) const NAMED_MAX: usize = 5;

/// How a transfer ended, or why it is no longer waited for.
pub(super) struct Outcome {
    pub(super) transfer: Transfer,
    pub(super) error: Option<ErrorBody>,
}

/// What keeps a transfer from moving, as far as waiting is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Moving,
    /// The peer cannot be reached.
    Unreachable,
    /// Its person has not answered yet.
    Asked,
    /// Paused, or waiting for something else.
    Resting,
}

struct Row {
    transfer: Transfer,
    standing: Standing,
    since: Instant,
    /// Whether the peer was ever reached for it.
    reached: bool,
}

/// The transfers of one `send`.
pub(super) struct FollowTable {
    rows: Vec<Row>,
    online: HashMap<DeviceId, bool>,
    /// Whether a snapshot said who is online: before that nobody is too late.
    looked: bool,
    wait: Option<Duration>,
}

impl FollowTable {
    pub(super) fn new(transfers: Vec<Transfer>, wait: Option<Duration>, now: Instant) -> Self {
        let row = |transfer: Transfer| Row { reached: reached(&transfer), standing: Standing::Moving, since: now, transfer };
        let mut table = Self { rows: transfers.into_iter().map(row).collect(), online: HashMap::new(), looked: false, wait };
        table.look_again(now);
        table
    }

    pub(super) fn transfers(&self) -> impl Iterator<Item = &Transfer> {
        self.rows.iter().map(|row| &row.transfer)
    }

    /// Takes in what happened; returns those of ours that differ from before.
    pub(super) fn apply(&mut self, fact: Fact, now: Instant) -> Vec<Transfer> {
        let changed = match fact {
            Fact::Snapshot(all) => {
                self.looked = true;
                self.online = all.peers.iter().map(|peer| (peer.id, peer.online)).collect();
                all.transfers.into_iter().filter(|transfer| self.replace(transfer)).collect()
            }
            Fact::TransferChanged(transfer) if self.replace(&transfer) => vec![*transfer],
            Fact::PeerChanged(peer) => {
                self.online.insert(peer.id, peer.online);
                Vec::new()
            }
            _ => Vec::new(),
        };
        self.look_again(now);
        changed
    }

    fn replace(&mut self, transfer: &Transfer) -> bool {
        match self.rows.iter_mut().find(|row| row.transfer.id == transfer.id) {
            Some(row) if row.transfer != *transfer => {
                row.reached |= reached(transfer);
                row.transfer = transfer.clone();
                true
            }
            _ => false,
        }
    }

    fn look_again(&mut self, now: Instant) {
        for row in &mut self.rows {
            let standing = standing(&row.transfer, online(&self.online, row));
            if standing != row.standing || standing == Standing::Moving {
                (row.standing, row.since) = (standing, now);
            }
        }
    }

    /// Whether there is nothing left to wait for.
    pub(super) fn over(&self, now: Instant) -> bool {
        self.rows.iter().all(|row| self.stops(row, now).is_some())
    }

    /// How each ended. Only once it is `over`.
    pub(super) fn outcomes(self, now: Instant) -> Vec<Outcome> {
        let stops: Vec<_> = self.rows.iter().map(|row| self.stops(row, now).flatten()).collect();
        self.rows.into_iter().zip(stops).map(|(row, error)| Outcome { transfer: row.transfer, error }).collect()
    }

    /// Why a transfer is no longer waited for: `None` while it is, `Some(None)` where all is well.
    fn stops(&self, row: &Row, now: Instant) -> Option<Option<ErrorBody>> {
        let transfer = &row.transfer;
        if transfer.state.ended() {
            return Some(of_ended(transfer));
        }
        if let Some(error) = transfer.error.as_ref().filter(|error| needs_a_person(error.code)) {
            return Some(Some(error.clone()));
        }
        let bound = match row.standing {
            _ if !self.looked => None,
            Standing::Moving => None,
            Standing::Unreachable if !row.reached => Some(self.wait.unwrap_or(PEER_PATIENCE)),
            Standing::Unreachable | Standing::Asked | Standing::Resting => self.wait,
        };
        let late = now.duration_since(row.since) >= bound?;
        late.then(|| Some(too_late(row, online(&self.online, row))))
    }
}

/// Whether the peer knows of it.
fn reached(transfer: &Transfer) -> bool {
    !matches!(transfer.state, TransferState::Queued | TransferState::Waiting) || transfer.bytes_confirmed > 0
}

fn online(all: &HashMap<DeviceId, bool>, row: &Row) -> Option<bool> {
    all.get(&row.transfer.peer_id).copied()
}

fn standing(transfer: &Transfer, online: Option<bool>) -> Standing {
    let offline = online == Some(false) || transfer.error.as_ref().is_some_and(|error| error.code == ErrorCode::Offline);
    match transfer.state {
        // our own reading of what is sent, however long it takes: nobody else has a part in it
        TransferState::Queued | TransferState::Waiting if transfer.phase == Phase::Scanning => Standing::Moving,
        TransferState::Queued | TransferState::Waiting if offline => Standing::Unreachable,
        TransferState::Queued | TransferState::Waiting | TransferState::Paused => Standing::Resting,
        TransferState::Offered => Standing::Asked,
        _ => Standing::Moving,
    }
}

/// Whether time alone does not mend it: somebody has to make room, pair, or look at a file.
pub(super) fn needs_a_person(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NoSpace | ErrorCode::LocalFile | ErrorCode::NotTrusted | ErrorCode::KeyChanged)
}

/// A peer that counts as online and does not answer may be gone; one that we did not try to reach yet is not.
fn too_late(row: &Row, online: Option<bool>) -> ErrorBody {
    let (id, peer) = (row.transfer.id, Shown(&row.transfer.peer));
    let in_line = online == Some(true) && row.transfer.phase == Phase::Resting;
    let hint = format!("`sharectl transfer show {id}` tells how it goes on");
    match row.standing {
        Standing::Asked => ErrorBody::new(ErrorCode::TimedOut, format!("nobody answered at {peer} in time; the offer {id} still stands")),
        _ if row.standing == Standing::Unreachable || !row.reached && !in_line => {
            let error = ErrorBody::new(ErrorCode::Offline, format!("{peer} cannot be reached; {id} is queued"));
            return error.hint(format!("it goes as soon as {peer} is there; {hint}"));
        }
        _ => ErrorBody::new(ErrorCode::TimedOut, format!("{id} to {peer} is {} and did not go on in time", row.transfer.state)),
    }
    .hint(hint)
}

/// What is wrong with a transfer that ended; `None` where nothing is.
fn of_ended(transfer: &Transfer) -> Option<ErrorBody> {
    let code = match transfer.state {
        TransferState::Done => return left_out(transfer),
        TransferState::Declined => ErrorCode::Declined,
        TransferState::Cancelled => ErrorCode::Cancelled,
        TransferState::Expired => ErrorCode::TimedOut,
        _ => ErrorCode::Unexpected,
    };
    let unsaid = || ErrorBody::new(code, format!("{} to {} was {}", transfer.id, Shown(&transfer.peer), transfer.state));
    let error = transfer.error.clone().unwrap_or_else(unsaid);
    // why it failed, or was declined for lack of trust, is told by the code of the error; the other ends have one code
    let told = match transfer.state {
        TransferState::Failed => error.code,
        TransferState::Declined if needs_a_person(error.code) => error.code,
        _ => code,
    };
    Some(ErrorBody { code: told, ..error })
}

fn left_out(transfer: &Transfer) -> Option<ErrorBody> {
    let missing: Vec<_> = transfer.skipped.iter().filter(|skipped| skipped.reason.counts()).collect();
    if missing.is_empty() {
        return None;
    }
    let mut named: Vec<_> = missing.iter().take(NAMED_MAX).map(|it| format!("{} ({})", Shown(&it.path), it.reason)).collect();
    // what is not named here stands behind all that counts
    named.extend(more(missing.len() as u64, named.len()));
    let message = format!("not sent to {}: {}", Shown(&transfer.peer), named.join(", "));
    Some(ErrorBody::new(ErrorCode::Partial, message).hint("everything else arrived; mend these and send them again"))
}

/// The exit code of all of them together: that of the first that is not 0, but 12 where some of several are done.
pub(super) fn exit_code(outcomes: &[Outcome]) -> u8 {
    let code = |outcome: &Outcome| outcome.error.as_ref().map_or(0, |error| error.code.exit_code());
    let Some(first) = outcomes.iter().map(code).find(|code| *code != 0) else { return 0 };
    let some_done = outcomes.iter().any(|outcome| outcome.transfer.state == TransferState::Done);
    if some_done { ErrorCode::Partial.exit_code() } else { first }
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::{
        control::{
            event::{PeerForgotten, Snapshot},
            transfer::Skipped,
        },
        nouns::transfer::SkipReason,
    };

    use super::*;
    use crate::{commands::peers::tests::peer, print::transfer::tests::transfer};

    const SECOND: Duration = Duration::from_secs(1);

    fn table(state: TransferState, wait: Option<u64>) -> (FollowTable, Instant) {
        let now = Instant::now();
        let mut table = FollowTable::new(vec![transfer(1, state)], wait.map(Duration::from_secs), now);
        table.apply(snapshot(), now);
        (table, now)
    }

    fn snapshot() -> Fact {
        Fact::Snapshot(Box::new(Snapshot { peers: vec![], transfers: vec![], pairings: vec![], drops: vec![], warnings: vec![] }))
    }

    fn seen(online: bool) -> Fact {
        let mut peer = peer("bob");
        (peer.id, peer.online) = (DeviceId::from_bytes([1; 32]), online);
        Fact::PeerChanged(Box::new(peer))
    }

    fn ends_with(transfer: Transfer) -> u8 {
        let now = Instant::now();
        let table = FollowTable::new(vec![transfer], None, now);
        assert!(table.over(now));
        exit_code(&table.outcomes(now))
    }

    #[test]
    fn every_end_has_its_exit_code() {
        let failed = |state, code| Transfer { error: Some(ErrorBody::new(code, "why")), ..transfer(1, state) };
        let skipping = |reason| Transfer { skipped: vec![Skipped { path: "x".into(), reason }], ..transfer(1, TransferState::Done) };

        for (transfer, code) in [
            (transfer(1, TransferState::Done), 0),
            (transfer(1, TransferState::Declined), 6),
            (failed(TransferState::Declined, ErrorCode::Declined), 6),
            (failed(TransferState::Declined, ErrorCode::NotTrusted), 7),
            (transfer(1, TransferState::Cancelled), 13),
            (transfer(1, TransferState::Expired), 11),
            (failed(TransferState::Expired, ErrorCode::Offline), 11),
            (failed(TransferState::Failed, ErrorCode::LocalFile), 8),
            (failed(TransferState::Failed, ErrorCode::Integrity), 10),
            (failed(TransferState::Waiting, ErrorCode::NoSpace), 9),
            (failed(TransferState::Waiting, ErrorCode::LocalFile), 8),
            (failed(TransferState::Waiting, ErrorCode::KeyChanged), 7),
            (skipping(SkipReason::Link), 0),
            (skipping(SkipReason::Special), 0),
            (skipping(SkipReason::Unreadable), 12),
            (skipping(SkipReason::Vanished), 12),
        ] {
            assert_eq!(ends_with(transfer.clone()), code, "{transfer:?}");
        }
    }

    #[test]
    fn a_peer_that_is_off_is_waited_for_some_seconds() {
        for (wait, seconds) in [(None, 10), (Some(3), 3)] {
            let (mut table, now) = table(TransferState::Queued, wait);

            table.apply(seen(false), now);

            assert!(!table.over(now + SECOND * (seconds - 1)));
            assert!(table.over(now + SECOND * seconds));
            assert_eq!(exit_code(&table.outcomes(now + SECOND * seconds)), 5);
        }
    }

    #[test]
    fn a_peer_that_goes_while_bytes_move_is_waited_for_unless_told_otherwise() {
        let gone = |wait| {
            let (mut table, now) = table(TransferState::Active, wait);
            table.apply(Fact::TransferChanged(Box::new(transfer(1, TransferState::Waiting))), now);
            table.apply(seen(false), now);
            table.over(now + SECOND * 3_600)
        };

        assert!(!gone(None));
        assert!(gone(Some(60)));
    }

    #[test]
    fn a_person_may_take_time_unless_told_otherwise() {
        let (unbound, now) = table(TransferState::Offered, None);
        assert!(!unbound.over(now + SECOND * 3_600));

        let (bound, now) = table(TransferState::Offered, Some(5));
        assert!(!bound.over(now + SECOND * 4));
        assert_eq!(exit_code(&bound.outcomes(now + SECOND * 5)), 11);
    }

    #[test]
    fn what_moves_is_never_too_late() {
        let (table, now) = table(TransferState::Active, Some(1));

        assert!(!table.over(now + SECOND * 3_600));
    }

    #[test]
    fn attempts_to_connect_do_not_prolong_the_wait() {
        let (mut table, now) = table(TransferState::Queued, Some(5));
        table.apply(seen(false), now);

        for (second, phase) in [(1, Phase::Connecting), (2, Phase::Resting), (3, Phase::Connecting), (4, Phase::Resting)] {
            table.apply(Fact::TransferChanged(Box::new(Transfer { phase, ..transfer(1, TransferState::Queued) })), now + SECOND * second);
        }

        assert!(table.over(now + SECOND * 5));
    }

    #[test]
    fn our_own_scan_is_never_too_late_and_no_fault_of_the_peer() {
        let (mut table, now) = table(TransferState::Queued, Some(5));
        table.apply(seen(true), now);
        table.apply(Fact::TransferChanged(Box::new(Transfer { phase: Phase::Scanning, ..transfer(1, TransferState::Queued) })), now);
        table.apply(Fact::PeerForgotten(PeerForgotten { id: DeviceId::from_bytes([9; 32]) }), now + SECOND * 60);
        assert!(!table.over(now + SECOND * 3_600));

        let scanned = now + SECOND * 60;
        table.apply(Fact::TransferChanged(Box::new(transfer(1, TransferState::Queued))), scanned);

        assert!(!table.over(scanned + SECOND * 4) && table.over(scanned + SECOND * 5));
        assert_eq!(exit_code(&table.outcomes(scanned + SECOND * 5)), 11, "a peer that is online was called off");
    }

    #[test]
    fn nobody_is_too_late_before_we_know_who_is_there() {
        let now = Instant::now();
        let mut table = FollowTable::new(vec![transfer(1, TransferState::Queued)], Some(Duration::ZERO), now);
        assert!(!table.over(now));

        table.apply(snapshot(), now);

        assert!(table.over(now));
    }

    #[test]
    fn only_what_is_ours_and_differs_counts_as_changed() {
        let (mut table, now) = table(TransferState::Active, None);

        assert_eq!(table.apply(Fact::TransferChanged(Box::new(transfer(2, TransferState::Done))), now), []);
        assert_eq!(table.apply(Fact::TransferChanged(Box::new(transfer(1, TransferState::Active))), now), []);
        assert_eq!(table.apply(Fact::TransferChanged(Box::new(transfer(1, TransferState::Done))), now).len(), 1);
    }

    #[test]
    fn several_are_partly_done_where_one_is() {
        let now = Instant::now();
        let codes = |states: [TransferState; 2]| {
            let transfers = states.iter().zip(1..).map(|(state, id)| transfer(id, *state)).collect();
            exit_code(&FollowTable::new(transfers, None, now).outcomes(now))
        };

        assert_eq!(codes([TransferState::Done, TransferState::Done]), 0);
        assert_eq!(codes([TransferState::Done, TransferState::Declined]), 12);
        assert_eq!(codes([TransferState::Cancelled, TransferState::Declined]), 13);
    }
}
