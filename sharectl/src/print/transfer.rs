//! A transfer as people read it.

use jiff::Timestamp;
use sharekaro_proto::{
    control::transfer::{Holder, Transfer},
    nouns::{
        text::Shown,
        transfer::{Direction, TransferState},
    },
};

use super::{
    quantity::{count, rate, size, span, when},
    table,
};

/// `to bob`, `from bob`.
pub(crate) fn way(transfer: &Transfer) -> String {
    let word = if transfer.direction == Direction::Out { "to" } else { "from" };
    format!("{word} {}", Shown(&transfer.peer))
}

/// `report.pdf`, `report.pdf and 3 more`.
pub(crate) fn what(transfer: &Transfer) -> String {
    match transfer.paths_count.max(transfer.paths.len() as u64) {
        0 | 1 => Shown(&transfer.title).to_string(),
        several => format!("{} and {} more", Shown(&transfer.title), several - 1),
    }
}

/// `62 % of 40.0 MiB, 11.2 MiB/s, 3 s left, 4 of 9 files`.
pub(crate) fn progress(transfer: &Transfer) -> String {
    let mut parts = vec![format!("{} % of {}", percent(transfer), size(transfer.bytes_total))];
    if transfer.rate > 0 {
        parts.push(rate(transfer.rate));
    }
    if let Some(seconds) = transfer.eta_seconds {
        parts.push(format!("{} left", span(seconds)));
    }
    if transfer.files_total > 1 {
        parts.push(format!("{} of {} files", transfer.files_done, transfer.files_total));
    }
    let helped = transfer.holders.iter().filter(|holder| !holder.sender).fold(0, |sum: u64, holder| sum.saturating_add(holder.bytes));
    if helped > 0 {
        parts.push(format!("{} from other receivers", size(helped)));
    }
    parts.join(", ")
}

fn percent(transfer: &Transfer) -> u64 {
    let share = u128::from(transfer.bytes_confirmed) * 100 / u128::from(transfer.bytes_total.max(1));
    if transfer.bytes_total == 0 && transfer.state == TransferState::Done { 100 } else { u64::try_from(share).unwrap_or(100).min(100) }
}

/// State, what it does right now, and why it does not go on.
pub(crate) fn standing(transfer: &Transfer) -> String {
    let mut text = transfer.state.to_string();
    if !transfer.state.ended() && transfer.phase != sharekaro_proto::nouns::transfer::Phase::Resting {
        text += &format!(", {}", transfer.phase);
    }
    if let Some(error) = &transfer.error {
        text += &format!(": {}", Shown(&error.message));
    }
    text
}

/// One line: the transfer, its peer, what it is and where it stands.
pub(crate) fn line(transfer: &Transfer) -> String {
    let moving = if transfer.state == TransferState::Active { format!(" ({})", progress(transfer)) } else { String::new() };
    format!("{} {} {}: {}{moving}", transfer.id, way(transfer), what(transfer), standing(transfer))
}

/// `24 from alice, 24.0 MiB`; of a liar also that it was dropped.
fn gave(holder: &Holder, direction: Direction) -> String {
    let peer = if holder.sender && direction == Direction::Out { "this device".to_owned() } else { Shown(&holder.peer).to_string() };
    let lied = match holder.wrong {
        0 => String::new(),
        wrong => format!("; {} wrong, so it is not asked any more", count(wrong, "piece")),
    };
    format!("{} from {peer}, {}{lied}", holder.pieces, size(holder.bytes))
}

/// Everything about it.
pub(crate) fn card(transfer: &Transfer, now: Timestamp) -> String {
    let mut rows = vec![
        ("id", transfer.id.to_string()),
        ("what", format!("{}, {}", what(transfer), count(transfer.files_total, "file"))),
        ("peer", way(transfer)),
        ("state", standing(transfer)),
        ("progress", progress(transfer)),
    ];
    if transfer.bytes_reused > 0 {
        rows.push(("reused", size(transfer.bytes_reused)));
    }
    rows.extend(transfer.holders.iter().map(|holder| ("pieces", gave(holder, transfer.direction))));
    if let Some(limit) = transfer.limit {
        rows.push(("limit", rate(limit)));
    }
    rows.push(("priority", transfer.priority.to_string()));
    rows.push(("since", when(transfer.created_at, now)));
    if let Some(expires_at) = transfer.expires_at {
        rows.push(("expires", when(expires_at, now)));
    }
    if !transfer.note.is_empty() {
        rows.push(("note", transfer.note.clone()));
    }
    rows.extend(transfer.paths.iter().map(|path| ("path", path.clone())));
    rows.extend(more(transfer.paths_count, transfer.paths.len()).map(|more| ("path", more)));
    rows.extend(transfer.skipped.iter().map(|skipped| ("left out", format!("{} ({})", skipped.path, skipped.reason))));
    rows.extend(more(transfer.skipped_count, transfer.skipped.len()).map(|more| ("left out", more)));
    if let Some(error) = transfer.error.as_ref().filter(|error| !error.hint.is_empty()) {
        rows.push(("hint", error.hint.clone()));
    }
    table::pairs(rows)
}

/// `and 7 more`, where fewer are named than there are.
pub(crate) fn more(all: u64, named: usize) -> Option<String> {
    all.checked_sub(named as u64).filter(|more| *more > 0).map(|more| format!("and {more} more"))
}

/// A list of them.
pub(crate) fn list(transfers: &[Transfer], now: Timestamp) -> String {
    let row = |transfer: &Transfer| {
        let share = if transfer.state.ended() {
            size(transfer.bytes_total)
        } else {
            format!("{} % of {}", percent(transfer), size(transfer.bytes_total))
        };
        [transfer.id.to_string(), way(transfer), what(transfer), share, standing(transfer), when(transfer.changed_at, now)]
    };
    table::table(["ID", "PEER", "WHAT", "SIZE", "STATE", "SINCE"], transfers.iter().map(row))
}

#[cfg(test)]
pub(crate) mod tests {
    use sharekaro_proto::{
        DeviceId, TransferId,
        nouns::{
            text::is_obeyed,
            transfer::{Phase, Priority},
        },
    };

    use super::*;

    /// A transfer of 1,000 bytes to bob.
    pub(crate) fn transfer(id: u64, state: TransferState) -> Transfer {
        Transfer {
            id: TransferId(id),
            direction: Direction::Out,
            peer: "bob".into(),
            peer_id: DeviceId::from_bytes([1; 32]),
            title: "report.pdf".into(),
            state,
            phase: Phase::Resting,
            bytes_total: 1_000,
            bytes_confirmed: 0,
            bytes_reused: 0,
            files_total: 1,
            files_done: 0,
            rate: 0,
            eta_seconds: None,
            error: None,
            paths: vec!["/home/alice/report.pdf".into()],
            paths_count: 1,
            quarantined: false,
            skipped: Vec::new(),
            skipped_count: 0,
            holders: Vec::new(),
            limit: None,
            priority: Priority::Normal,
            note: String::new(),
            created_at: Timestamp::UNIX_EPOCH,
            changed_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
        }
    }

    #[test]
    fn nothing_that_a_peer_named_is_obeyed() {
        let hostile = "\u{1b}]0;owned\u{7}\u{202e}\r\nfake line";
        let mut transfer = transfer(1, TransferState::Waiting);
        transfer.peer = hostile.into();
        transfer.title = hostile.into();
        transfer.note = hostile.into();
        transfer.paths = vec![hostile.into(); 2];
        transfer.error = Some(sharekaro_proto::ErrorBody::new(sharekaro_proto::ErrorCode::Declined, hostile).hint(hostile));

        let now = Timestamp::UNIX_EPOCH;
        let one_line = line(&transfer);

        assert!(!one_line.chars().any(is_obeyed), "{one_line:?}");
        for text in [card(&transfer, now), list(&[transfer.clone()], now)] {
            assert!(text.lines().all(|line| !line.chars().any(is_obeyed) && !line.starts_with("fake")), "{text:?}");
        }
    }

    #[test]
    fn who_helped_is_said_and_who_lied() {
        let mut transfer = transfer(1, TransferState::Active);
        let holder = |peer: &str, sender, pieces: u64, wrong| Holder {
            peer: peer.into(),
            peer_id: DeviceId::from_bytes([2; 32]),
            sender,
            pieces,
            bytes: pieces << 20,
            wrong,
        };
        transfer.holders = vec![holder("me", true, 20, 0), holder("carol", false, 12, 0), holder("dave\u{1b}[2J", false, 0, 2)];

        let text = card(&transfer, Timestamp::UNIX_EPOCH);

        assert!(progress(&transfer).ends_with("12.0 MiB from other receivers"), "{}", progress(&transfer));
        for said in ["20 from this device, 20.0 MiB", "12 from carol, 12.0 MiB", "2 pieces wrong, so it is not asked any more"] {
            assert!(text.contains(said), "no {said:?} in {text}");
        }
        assert!(text.lines().all(|line| !line.chars().any(is_obeyed)));
    }

    #[test]
    fn progress_says_how_much_how_fast_and_how_long() {
        let mut transfer = transfer(1, TransferState::Active);
        transfer.bytes_total = 40 << 20;
        transfer.bytes_confirmed = 25 << 20;
        transfer.rate = 5 << 20;
        transfer.eta_seconds = Some(3);
        transfer.files_total = 9;
        transfer.files_done = 4;

        assert_eq!(progress(&transfer), "62 % of 40.0 MiB, 5.0 MiB/s, 3 s left, 4 of 9 files");
    }
}
