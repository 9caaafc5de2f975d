//! Pairings by words and invitations by code, under way and just over.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode, TransferId,
    control::{
        event::Fact,
        pairing::{Invitation, InvitationState, Pairing, PairingState},
        transfer::Send,
    },
    wire::CodePurpose,
};
use tokio::time::Instant;

use crate::engine::{clock, peers::table::PeerTable};

/// Two people need this long to find each other and compare four words.
const PAIRING_LASTS: Duration = Duration::from_secs(180);

/// What is over can be asked for so long.
const OVER_LASTS: Duration = Duration::from_secs(600);

/// An invitation is for now, not for a note on the wall.
pub const INVITATION_LASTS: Duration = Duration::from_secs(600);

/// Wrong codes before an invitation burns.
pub const TRIES: u8 = 3;

/// Pairings that we begin, that others begin, and invitations at once: of each more than people do, less than a flood wants.
const ROWS_MAX: usize = 32;

/// How far the two devices are with making words.
pub enum Making {
    /// We started and wait for the other's nonce.
    Started,
    /// The other started: its promise and our nonce.
    Promised {
        /// What it promised.
        commitment: [u8; 32],
        /// What we answered.
        nonce: [u8; 32],
    },
    /// The words are there.
    Made,
}

/// A pairing by words.
pub struct Row {
    /// With whom.
    pub peer: DeviceId,
    /// Where it stands.
    pub state: PairingState,
    /// How far the words are.
    pub making: Making,
    /// The words.
    pub words: String,
    /// Our person said that they are the same.
    pub here: bool,
    /// Theirs did.
    pub there: bool,
    /// Why it failed.
    pub error: Option<ErrorBody>,
    ours: bool,
    began: Instant,
}

/// A code that somebody may use once.
pub struct Invited {
    /// The code's number: no secret.
    pub number: u32,
    /// The whole code.
    pub code: String,
    /// What it is for.
    pub purpose: CodePurpose,
    /// Where it stands.
    pub state: InvitationState,
    /// Wrong tries that are left.
    pub tries: u8,
    /// The SPAKE2 keys of those who try it right now.
    pub keys: BTreeMap<DeviceId, [u8; 32]>,
    /// Who used it.
    pub peer: Option<DeviceId>,
    /// What whoever uses it gets.
    pub parcel: Option<Send>,
    /// The transfer that it became.
    pub transfer: Option<TransferId>,
    began: Instant,
    expires_ms: i64,
}

/// Pairings and invitations.
#[derive(Default)]
pub struct PairingTable {
    rows: BTreeMap<u64, Row>,
    invited: BTreeMap<u64, Invited>,
    last: u64,
    touched: BTreeSet<u64>,
    ended: Vec<DeviceId>,
    watched: bool,
}

impl PairingTable {
    /// A new pairing. Those that our person begins, and those that others begin, leave each other their places.
    ///
    /// # Errors
    /// `Busy` where too many are under way.
    pub fn begin(&mut self, peer: DeviceId, making: Making) -> Result<u64, ErrorBody> {
        self.tidy();
        let ours = matches!(making, Making::Started);
        if self.under_way().filter(|row| row.ours == ours).count() >= ROWS_MAX {
            return Err(ErrorBody::new(ErrorCode::Busy, "too many pairings are under way").hint("try again in a minute"));
        }
        self.last += 1;
        let row = Row {
            peer,
            state: PairingState::Starting,
            making,
            words: String::new(),
            here: false,
            there: false,
            error: None,
            ours,
            began: Instant::now(),
        };
        self.rows.insert(self.last, row);
        self.touched.insert(self.last);
        Ok(self.last)
    }

    /// The pairing with this peer that is under way.
    pub fn with(&mut self, peer: DeviceId) -> Option<(u64, &mut Row)> {
        self.tidy();
        let (id, row) = self.rows.iter_mut().find(|(_, row)| row.peer == peer && !row.state.over())?;
        self.touched.insert(*id);
        Some((*id, row))
    }

    /// One pairing, to change it.
    pub fn edit(&mut self, id: u64) -> Option<&mut Row> {
        self.tidy();
        let row = self.rows.get_mut(&id)?;
        self.touched.insert(id);
        Some(row)
    }

    /// The words of a pairing with this peer are there. Says whether it is still under way.
    pub fn made(&mut self, peer: DeviceId, words: String) -> bool {
        let Some((_, row)) = self.with(peer) else { return false };
        row.words = words;
        row.making = Making::Made;
        row.state = PairingState::Comparing;
        true
    }

    /// A pairing is over.
    pub fn fail(&mut self, id: u64, error: ErrorBody) {
        if let Some(row) = self.edit(id).filter(|row| !row.state.over()) {
            row.state = PairingState::Failed;
            row.error = Some(error);
            let peer = row.peer;
            self.ended.push(peer);
        }
    }

    /// With whom pairings failed since the last call: what they showed is shown no longer.
    pub fn take_ended(&mut self) -> Vec<DeviceId> {
        std::mem::take(&mut self.ended)
    }

    /// Whether somebody has to begin to watch for the end of what nobody finishes.
    pub fn wants_a_watch(&mut self) -> bool {
        self.under_way().next().is_some() && !std::mem::replace(&mut self.watched, true)
    }

    /// When the next pairing ends by itself. `None` where none is under way: the watch is over then.
    pub fn next_end(&mut self) -> Option<Instant> {
        self.tidy();
        let next = self.under_way().map(|row| row.began + PAIRING_LASTS).min();
        self.watched = next.is_some();
        next
    }

    fn under_way(&self) -> impl Iterator<Item = &Row> {
        self.rows.values().filter(|row| !row.state.over())
    }

    /// A new code.
    ///
    /// # Errors
    /// `Busy` where too many are open.
    pub fn invite(&mut self, number: u32, code: String, purpose: CodePurpose, parcel: Option<Send>) -> Result<u64, ErrorBody> {
        self.tidy();
        if self.invited.values().filter(|it| it.state == InvitationState::Open).count() >= ROWS_MAX {
            return Err(ErrorBody::new(ErrorCode::Busy, "too many invitations are open").hint("withdraw some, or wait until they expire"));
        }
        self.last += 1;
        let expires_ms = clock::now_ms() + INVITATION_LASTS.as_millis() as i64;
        let invited = Invited {
            number,
            code,
            purpose,
            state: InvitationState::Open,
            tries: TRIES,
            keys: BTreeMap::new(),
            peer: None,
            parcel,
            transfer: None,
            began: Instant::now(),
            expires_ms,
        };
        self.invited.insert(self.last, invited);
        Ok(self.last)
    }

    /// The open invitation with this number.
    pub fn open(&mut self, number: u32, purpose: CodePurpose) -> Option<(u64, &mut Invited)> {
        self.tidy();
        let (id, it) =
            self.invited.iter_mut().find(|(_, it)| it.number == number && it.purpose == purpose && it.state == InvitationState::Open)?;
        Some((*id, it))
    }

    /// What a used code became; without a transfer it is void.
    pub fn became(&mut self, number: u32, peer: DeviceId, transfer: Option<TransferId>) {
        let used = |it: &&mut Invited| it.number == number && it.peer == Some(peer) && it.transfer.is_none();
        if let Some(it) = self.invited.values_mut().rev().find(used) {
            it.transfer = transfer;
            if transfer.is_none() {
                it.state = InvitationState::Burnt;
            }
        }
    }

    /// Whether a number is taken.
    pub fn number_is_taken(&self, number: u32) -> bool {
        self.invited.values().any(|it| it.number == number && it.state == InvitationState::Open)
    }

    /// An invitation, to change it.
    pub fn invitation(&mut self, id: u64) -> Option<&mut Invited> {
        self.tidy();
        self.invited.get_mut(&id)
    }

    /// What is too old is over; what was over long enough is gone.
    fn tidy(&mut self) {
        let now = Instant::now();
        for (id, row) in &mut self.rows {
            if !row.state.over() && now.duration_since(row.began) >= PAIRING_LASTS {
                row.state = PairingState::Failed;
                row.error =
                    Some(ErrorBody::new(ErrorCode::TimedOut, "nobody compared the words in time").hint("begin again with `sharectl pair`"));
                self.touched.insert(*id);
                self.ended.push(row.peer);
            }
        }
        self.rows.retain(|_, row| now.duration_since(row.began) < PAIRING_LASTS + OVER_LASTS);
        for it in self.invited.values_mut() {
            if it.state == InvitationState::Open && now.duration_since(it.began) > INVITATION_LASTS {
                it.state = InvitationState::Expired;
            }
        }
        self.invited.retain(|_, it| now.duration_since(it.began) < INVITATION_LASTS + OVER_LASTS);
    }

    /// What changed since the last call.
    pub fn drain(&mut self, peers: &PeerTable) -> Vec<Fact> {
        let touched = std::mem::take(&mut self.touched);
        touched.iter().filter_map(|id| self.view(*id, peers)).map(|pairing| Fact::PairingChanged(Box::new(pairing))).collect()
    }

    /// Pairings under way.
    pub fn views(&self, peers: &PeerTable) -> Vec<Pairing> {
        self.rows.iter().filter(|(_, row)| !row.state.over()).filter_map(|(id, _)| self.view(*id, peers)).collect()
    }

    /// One pairing as every door shows it.
    pub fn view(&self, id: u64, peers: &PeerTable) -> Option<Pairing> {
        let row = self.rows.get(&id)?;
        Some(Pairing {
            id,
            peer: peers.view(&row.peer)?,
            state: row.state,
            words: row.words.clone(),
            confirmed_here: row.here,
            confirmed_there: row.there,
            error: row.error.clone(),
        })
    }

    /// One invitation as every door shows it.
    pub fn invitation_view(&self, id: u64, peers: &PeerTable) -> Option<Invitation> {
        let it = self.invited.get(&id)?;
        Some(Invitation {
            id,
            code: it.code.clone(),
            expires_at: clock::timestamp(it.expires_ms),
            state: it.state,
            peer: it.peer.and_then(|peer| peers.view(&peer)),
            transfer: it.transfer,
        })
    }
}

/// Whether nothing can follow.
trait Over {
    fn over(&self) -> bool;
}

impl Over for PairingState {
    fn over(&self) -> bool {
        matches!(self, Self::Paired | Self::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promised() -> Making {
        Making::Promised { commitment: [0; 32], nonce: [0; 32] }
    }

    #[test]
    fn strangers_that_begin_to_pair_leave_our_person_its_own_pairings() {
        let mut table = PairingTable::default();
        let id = |n: usize| DeviceId::from_bytes([n as u8; 32]);

        let taken = (0..99).filter(|n| table.begin(id(*n), promised()).is_ok()).count();

        assert_eq!(taken, ROWS_MAX);
        assert!(table.begin(id(100), Making::Started).is_ok());
        assert_eq!(table.begin(id(101), promised()).unwrap_err().code, ErrorCode::Busy);
    }

    #[test]
    fn a_code_for_files_tells_what_became_of_it() {
        let (bob, peers) = (DeviceId::from_bytes([2; 32]), PeerTable::new(DeviceId::from_bytes([1; 32]), Vec::new()));
        for (became, state) in [(Some(TransferId(8)), InvitationState::Used), (None, InvitationState::Burnt)] {
            let mut table = PairingTable::default();
            let id = table.invite(7, "7-oak".into(), CodePurpose::Receive, Some(Send::default())).unwrap();
            assert!(table.open(7, CodePurpose::Pair).is_none());
            let (_, invited) = table.open(7, CodePurpose::Receive).unwrap();
            (invited.state, invited.peer) = (InvitationState::Used, Some(bob));

            table.became(7, bob, became);

            let view = table.invitation_view(id, &peers).unwrap();
            assert_eq!((view.state, view.transfer), (state, became));
            assert!(table.open(7, CodePurpose::Receive).is_none());
        }
    }
}
