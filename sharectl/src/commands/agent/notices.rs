//! What a person is told of, out of everything that happens: pure, an event in, notices out.
//!
//! A notice has a key: the next one with it takes the place of the last on the screen. What waits at the start is told,
//! what was over by then is no news.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use sharekaro_proto::{
    DeviceId, TransferId,
    control::{
        event::{Event, Fact, Snapshot},
        message::Message,
        pairing::{Pairing, PairingState},
        transfer::Transfer,
    },
    nouns::{
        text::{Shown, ShownLines},
        transfer::{Direction, TransferState},
    },
};

use crate::print::quantity::{count, rate, size, span};

/// A transfer that runs for so long, in seconds, is worth a bar.
const LONG: i64 = 5;

/// Its bar moves no more often than this, in seconds.
const BAR_EVERY: i64 = 2;

/// So much of a text goes on the screen, in characters.
const TEXT_SHOWN: usize = 300;

/// What a notice is about.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Key {
    /// A transfer.
    Transfer(TransferId),
    /// A conversation with this peer.
    Talk(DeviceId),
    /// A pairing.
    Pairing(u64),
    /// A key that is not the one it should be.
    Alarm(DeviceId),
}

/// What a person may do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Deed {
    Accept,
    Decline,
    Open,
    Reply,
    Same,
    Different,
}

impl Deed {
    /// The word for it between the notification service and us.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Decline => "decline",
            Self::Open => "open",
            Self::Reply => "inline-reply", // the name that services with a field for it look for
            Self::Same => "same",
            Self::Different => "different",
        }
    }

    /// What stands on the button.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Accept => "Accept",
            Self::Decline => "Decline",
            Self::Open => "Open",
            Self::Reply => "Reply",
            Self::Same => "The words are the same",
            Self::Different => "They differ",
        }
    }

    /// The deed with this word.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        let all = [Self::Accept, Self::Decline, Self::Open, Self::Reply, Self::Same, Self::Different];
        all.into_iter().find(|deed| deed.word() == word)
    }
}

/// How much it matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Urgency {
    Low,
    Normal,
    Critical,
}

/// Something for the screen. Nothing in its texts is obeyed by anybody; a service that knows markup gets it escaped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Notice {
    pub(super) key: Key,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) deeds: Vec<Deed>,
    pub(super) urgency: Urgency,
    /// Percent, where it moves.
    pub(super) progress: Option<u8>,
    /// What to type where the service has no buttons.
    pub(super) command: String,
}

/// Change on the screen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Change {
    Show(Box<Notice>),
    /// It is settled elsewhere.
    Remove(Key),
}

/// What is known of what is on the screen.
#[derive(Default)]
pub(super) struct Notices {
    states: HashMap<TransferId, TransferState>,
    bars: HashMap<TransferId, Timestamp>,
    words_shown: HashSet<u64>,
    /// Whether the screen is empty, whatever was shown before: what waits is told anew.
    empty: bool,
}

impl Notices {
    /// Nothing is on the screen any more.
    pub(super) fn begin_anew(&mut self) {
        self.bars.clear();
        self.words_shown.clear();
        self.empty = true;
    }

    /// What an event changes on the screen.
    pub(super) fn take(&mut self, event: &Event) -> Vec<Change> {
        match &event.fact {
            Fact::Snapshot(all) => self.take_snapshot(all),
            Fact::TransferChanged(transfer) => self.take_transfer(transfer, event.at).into_iter().collect(),
            Fact::MessageReceived(message) if message.transfer.is_none() => vec![show(said(message))],
            Fact::PairingChanged(pairing) => self.take_pairing(pairing).into_iter().collect(),
            Fact::IdentityAlarm(alarm) => vec![show(Notice {
                key: Key::Alarm(alarm.seen),
                title: format!("Another key calls itself {}", Shown(&alarm.name)),
                body: "It was set up anew, or somebody pretends. It gets nothing until you decide.".to_owned(),
                deeds: Vec::new(),
                urgency: Urgency::Critical,
                progress: None,
                command: format!("sharectl doctor --peer k:{}", alarm.trusted.short()),
            })],
            _ => Vec::new(),
        }
    }

    /// A first snapshot tells what waits; a later one, after we fell behind or the daemon was away, also what ended
    /// meanwhile.
    fn take_snapshot(&mut self, all: &Snapshot) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        let empty = std::mem::take(&mut self.empty);
        for transfer in all.transfers.iter().rev() {
            if empty && waits(transfer) {
                self.states.remove(&transfer.id);
            }
            let known = self.states.contains_key(&transfer.id);
            if known || waits(transfer) {
                changes.extend(self.take_transfer(transfer, Timestamp::UNIX_EPOCH));
            } else {
                self.states.insert(transfer.id, transfer.state);
            }
        }
        // they end with the daemon, and the next one counts from one again
        let gone = self.words_shown.extract_if(|id| all.pairings.iter().all(|pairing| pairing.id != *id));
        changes.extend(gone.map(|id| Change::Remove(Key::Pairing(id))));
        changes.extend(all.pairings.iter().filter_map(|pairing| self.take_pairing(pairing)));
        changes
    }

    fn take_transfer(&mut self, transfer: &Transfer, at: Timestamp) -> Option<Change> {
        let before = self.states.insert(transfer.id, transfer.state);
        let news = before != Some(transfer.state);
        if waits(transfer) {
            return news.then(|| show(offered(transfer)));
        }
        if transfer.state.ended() {
            let had_bar = self.bars.remove(&transfer.id).is_some();
            if !news {
                return None;
            }
            return ended(transfer, had_bar).map(show).or(Some(Change::Remove(Key::Transfer(transfer.id))));
        }
        if before == Some(TransferState::Offered) && transfer.direction == Direction::In {
            return Some(Change::Remove(Key::Transfer(transfer.id))); // answered at some door
        }
        self.move_bar(transfer, at)
    }

    fn move_bar(&mut self, transfer: &Transfer, at: Timestamp) -> Option<Change> {
        if transfer.state != TransferState::Active || at.as_second() - transfer.created_at.as_second() < LONG {
            return None;
        }
        if self.bars.get(&transfer.id).is_some_and(|last| at.as_second() - last.as_second() < BAR_EVERY) {
            return None;
        }
        self.bars.insert(transfer.id, at);
        Some(show(under_way(transfer)))
    }

    fn take_pairing(&mut self, pairing: &Pairing) -> Option<Change> {
        match pairing.state {
            PairingState::Comparing if pairing.confirmed_here => Some(Change::Remove(Key::Pairing(pairing.id))),
            PairingState::Comparing => self.words_shown.insert(pairing.id).then(|| show(words(pairing))),
            PairingState::Paired | PairingState::Failed => {
                self.words_shown.remove(&pairing.id).then_some(Change::Remove(Key::Pairing(pairing.id)))
            }
            PairingState::Starting => None,
        }
    }
}

fn show(notice: Notice) -> Change {
    Change::Show(Box::new(notice))
}

/// Whether a person has to answer.
fn waits(transfer: &Transfer) -> bool {
    transfer.direction == Direction::In && transfer.state == TransferState::Offered
}

/// The first name, and how many more.
fn what(transfer: &Transfer) -> String {
    match transfer.files_total {
        0 | 1 => Shown(&transfer.title).to_string(),
        more => format!("{} and {} more", Shown(&transfer.title), more - 1),
    }
}

fn offered(transfer: &Transfer) -> Notice {
    let note = if transfer.note.is_empty() { String::new() } else { format!("\n{}", shortened(&transfer.note)) };
    Notice {
        key: Key::Transfer(transfer.id),
        title: format!("{} offers {}", Shown(&transfer.peer), what(transfer)),
        body: format!("{}, {}{note}", count(transfer.files_total, "file"), size(transfer.bytes_total)),
        deeds: vec![Deed::Accept, Deed::Decline],
        urgency: Urgency::Normal,
        progress: None,
        command: format!("sharectl inbox accept {}", transfer.id),
    }
}

/// What came is always news; what we sent only where a person saw it go, or it did not go well.
fn ended(transfer: &Transfer, had_bar: bool) -> Option<Notice> {
    let peer = Shown(&transfer.peer);
    let well = transfer.state == TransferState::Done;
    let (title, deeds) = match (transfer.direction, well) {
        (Direction::In, true) if transfer.quarantined => (format!("{} from {peer} is in quarantine", what(transfer)), Vec::new()),
        (Direction::In, true) => (format!("{} from {peer}", what(transfer)), vec![Deed::Open]),
        (Direction::Out, true) if had_bar => (format!("{peer} has {}", what(transfer)), Vec::new()),
        (Direction::Out, true) => return None,
        (_, false) if transfer.state == TransferState::Cancelled => return None,
        (Direction::In, false) => return None,
        (Direction::Out, false) => (format!("{peer} did not get {}", what(transfer)), Vec::new()),
    };
    let trouble = transfer.error.as_ref().map(|error| Shown(&error.message).to_string()).unwrap_or_default();
    let held = if transfer.quarantined { format!("\n`sharectl inbox accept {}` lets it out", transfer.id) } else { String::new() };
    Some(Notice {
        key: Key::Transfer(transfer.id),
        title,
        body: if well { format!("{}, {}{held}", count(transfer.files_done, "file"), size(transfer.bytes_total)) } else { trouble },
        deeds,
        urgency: if well { Urgency::Normal } else { Urgency::Critical },
        progress: None,
        command: format!("sharectl transfer show {}", transfer.id),
    })
}

fn under_way(transfer: &Transfer) -> Notice {
    let percent = transfer.bytes_confirmed.saturating_mul(100).checked_div(transfer.bytes_total).unwrap_or(100).min(100);
    let direction = if transfer.direction == Direction::Out { "to" } else { "from" };
    let left = transfer.eta_seconds.map(|seconds| format!(", {} left", span(seconds))).unwrap_or_default();
    Notice {
        key: Key::Transfer(transfer.id),
        title: format!("{} {direction} {}", what(transfer), Shown(&transfer.peer)),
        body: format!("{percent} % of {} at {}{left}", size(transfer.bytes_total), rate(transfer.rate)),
        deeds: Vec::new(),
        urgency: Urgency::Low,
        progress: u8::try_from(percent).ok(),
        command: format!("sharectl transfer show {}", transfer.id),
    }
}

fn said(message: &Message) -> Notice {
    let stranger = if message.paired { "" } else { " (not paired)" };
    Notice {
        key: Key::Talk(message.peer_id),
        title: format!("{}{stranger}", Shown(&message.from)),
        body: shortened(&message.text),
        deeds: vec![Deed::Reply],
        urgency: Urgency::Normal,
        progress: None,
        command: format!("sharectl chat k:{}", message.peer_id.short()),
    }
}

fn words(pairing: &Pairing) -> Notice {
    Notice {
        key: Key::Pairing(pairing.id),
        title: format!("{} wants to pair", Shown(&pairing.peer.alias)),
        body: format!("Are these words on its screen too?\n{}", Shown(&pairing.words)),
        deeds: vec![Deed::Same, Deed::Different],
        urgency: Urgency::Critical,
        progress: None,
        command: format!("sharectl pair k:{}", pairing.peer.id.short()),
    }
}

fn shortened(text: &str) -> String {
    let cut: String = text.chars().take(TEXT_SHOWN).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{}{more}", ShownLines(&cut))
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::nouns::{
        text::is_obeyed,
        transfer::{Phase, Priority},
    };

    use super::*;

    fn transfer(direction: Direction, state: TransferState) -> Transfer {
        Transfer {
            id: TransferId(8),
            direction,
            peer: "bob\u{1b}[2J".into(),
            peer_id: DeviceId::from_bytes([1; 32]),
            title: "a\u{202e}.pdf".into(),
            state,
            phase: Phase::Transferring,
            bytes_total: 2048,
            bytes_confirmed: 512,
            bytes_reused: 0,
            files_total: 3,
            files_done: 3,
            rate: 1024,
            eta_seconds: Some(2),
            error: None,
            paths: vec![],
            paths_count: 0,
            quarantined: false,
            skipped: vec![],
            skipped_count: 0,
            holders: vec![],
            limit: None,
            priority: Priority::Normal,
            note: "look <b>here</b>".into(),
            created_at: Timestamp::from_second(100).unwrap(),
            changed_at: Timestamp::from_second(100).unwrap(),
            expires_at: None,
        }
    }

    fn event(at: i64, transfer: Transfer) -> Event {
        Event { seq: 1, at: Timestamp::from_second(at).unwrap(), fact: Fact::TransferChanged(Box::new(transfer)) }
    }

    fn only(mut changes: Vec<Change>) -> Notice {
        assert_eq!(changes.len(), 1, "{changes:?}");
        let Some(Change::Show(notice)) = changes.pop() else { panic!("nothing is shown") };
        assert!(!format!("{}{}", notice.title, notice.body).chars().any(|c| is_obeyed(c) && c != '\n'), "{notice:?}");
        *notice
    }

    #[test]
    fn an_offer_is_shown_once_and_goes_when_it_is_answered_anywhere() {
        let mut notices = Notices::default();
        let offer = || transfer(Direction::In, TransferState::Offered);

        let shown = only(notices.take(&event(100, offer())));
        assert_eq!(shown.deeds, [Deed::Accept, Deed::Decline]);
        assert!(
            shown.title.contains("and 2 more") && shown.body.contains("3 files, 2.0 KiB") && shown.command == "sharectl inbox accept t8"
        );
        assert_eq!(notices.take(&event(101, offer())), []);
        let removed = notices.take(&event(102, transfer(Direction::In, TransferState::Active)));
        assert_eq!(removed, [Change::Remove(Key::Transfer(TransferId(8)))]);
        assert_eq!(only(notices.take(&event(103, transfer(Direction::In, TransferState::Done)))).deeds, [Deed::Open]);
    }

    #[test]
    fn what_lies_in_quarantine_is_not_opened_by_a_button() {
        let held = Transfer { quarantined: true, ..transfer(Direction::In, TransferState::Done) };

        let shown = only(Notices::default().take(&event(100, held)));

        assert_eq!(shown.deeds, []);
        assert!(shown.title.contains("quarantine") && shown.body.contains("sharectl inbox accept t8"), "{shown:?}");
    }

    #[test]
    fn a_long_transfer_has_a_bar_that_moves_now_and_then_and_a_short_one_says_nothing() {
        let mut notices = Notices::default();
        let active = |at| event(at, transfer(Direction::Out, TransferState::Active));

        assert_eq!(notices.take(&active(101)), []);
        assert_eq!(only(notices.take(&active(106))).progress, Some(25));
        assert_eq!(notices.take(&active(107)), []);
        assert_eq!(only(notices.take(&active(108))).urgency, Urgency::Low);
        assert!(only(notices.take(&event(109, transfer(Direction::Out, TransferState::Done)))).title.contains("has"));

        let mut quick = Notices::default();
        let gone = quick.take(&event(101, transfer(Direction::Out, TransferState::Done)));
        assert_eq!(gone, [Change::Remove(Key::Transfer(TransferId(8)))]);
    }

    #[test]
    fn at_the_start_only_what_waits_is_told() {
        let snapshot = |transfers| Event {
            seq: 0,
            at: Timestamp::from_second(200).unwrap(),
            fact: Fact::Snapshot(Box::new(Snapshot { peers: vec![], transfers, pairings: vec![], drops: vec![], warnings: vec![] })),
        };
        let mut notices = Notices::default();
        let old = Transfer { id: TransferId(1), ..transfer(Direction::In, TransferState::Done) };

        let shown = only(notices.take(&snapshot(vec![transfer(Direction::In, TransferState::Offered), old])));

        assert_eq!(shown.key, Key::Transfer(TransferId(8)));
        assert_eq!(notices.take(&snapshot(vec![transfer(Direction::In, TransferState::Offered)])), []);
    }

    #[test]
    fn on_an_empty_screen_what_waits_is_told_again_and_what_ended_meanwhile_once() {
        let snapshot = |transfers| Event {
            seq: 0,
            at: Timestamp::from_second(200).unwrap(),
            fact: Fact::Snapshot(Box::new(Snapshot { peers: vec![], transfers, pairings: vec![], drops: vec![], warnings: vec![] })),
        };
        let other = |state| Transfer { id: TransferId(9), ..transfer(Direction::In, state) };
        let mut notices = Notices::default();
        only(notices.take(&snapshot(vec![transfer(Direction::In, TransferState::Offered), other(TransferState::Active)])));

        notices.begin_anew();
        let again = snapshot(vec![transfer(Direction::In, TransferState::Offered), other(TransferState::Done)]);
        let told = notices.take(&again);

        assert!(
            matches!(&told[..], [Change::Show(done), Change::Show(offer)] if done.deeds == [Deed::Open] && offer.deeds.len() == 2),
            "{told:?}"
        );
        assert_eq!(notices.take(&again), []);
    }

    #[test]
    fn words_of_a_daemon_that_ended_hide_none_of_the_next() {
        let peer = crate::commands::peers::tests::peer("bob");
        let state = PairingState::Comparing;
        let (words, confirmed_here, confirmed_there) = ("oak tin".into(), false, false);
        let pairing = Pairing { id: 1, peer, state, words, confirmed_here, confirmed_there, error: None };
        let changed =
            |pairing: &Pairing| Event { seq: 1, at: Timestamp::UNIX_EPOCH, fact: Fact::PairingChanged(Box::new(pairing.clone())) };
        let nothing = Snapshot { peers: vec![], transfers: vec![], pairings: vec![], drops: vec![], warnings: vec![] };
        let mut notices = Notices::default();
        only(notices.take(&changed(&pairing)));

        let removed = notices.take(&Event { seq: 0, at: Timestamp::UNIX_EPOCH, fact: Fact::Snapshot(Box::new(nothing)) });

        assert_eq!(removed, [Change::Remove(Key::Pairing(1))]);
        only(notices.take(&changed(&pairing)));
    }

    #[test]
    fn every_deed_is_found_by_its_word() {
        for deed in [Deed::Accept, Deed::Decline, Deed::Open, Deed::Reply, Deed::Same, Deed::Different] {
            assert_eq!(Deed::from_word(deed.word()), Some(deed));
        }
        assert_eq!(Deed::from_word("default"), None);
    }
}
