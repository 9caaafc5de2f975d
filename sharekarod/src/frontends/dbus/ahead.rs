//! Objects that show more than the events told so far: a method's reply does not wait for its event, which is still on
//! the way then, behind older ones. None of these may take the object back to what it was.

use std::collections::HashMap;

use sharekaro_proto::{
    DeviceId, TransferId,
    control::event::{Event, Fact},
};

/// Which objects are ahead, and up to which event.
#[derive(Default)]
pub(super) struct Ahead {
    peers: HashMap<DeviceId, u64>,
    transfers: HashMap<TransferId, u64>,
}

impl Ahead {
    /// A peer shows all that events up to this one tell of it.
    pub(super) fn peer(&mut self, id: DeviceId, seq: u64) {
        self.peers.insert(id, seq);
    }

    /// The same for a transfer.
    pub(super) fn transfer(&mut self, id: TransferId, seq: u64) {
        self.transfers.insert(id, seq);
    }

    /// Whether an event tells of an object what it shows already, or showed before. Events are asked for in their order.
    pub(super) fn of(&mut self, event: &Event) -> bool {
        let shown = match &event.fact {
            Fact::PeerChanged(peer) => self.peers.get(&peer.id),
            Fact::PeerForgotten(forgotten) => self.peers.get(&forgotten.id),
            Fact::TransferChanged(transfer) => self.transfers.get(&transfer.id),
            _ => None,
        };
        let ahead = shown.is_some_and(|shown| event.seq <= *shown);
        self.peers.retain(|_, shown| event.seq < *shown);
        self.transfers.retain(|_, shown| event.seq < *shown);
        ahead
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use sharekaro_proto::control::event::PeerForgotten;

    use super::*;

    #[test]
    fn an_object_that_is_ahead_is_not_taken_back_and_goes_on_with_what_is_newer() {
        let (bob, carol) = (DeviceId::from_bytes([1; 32]), DeviceId::from_bytes([2; 32]));
        let event = |seq, id| Event { seq, at: Timestamp::UNIX_EPOCH, fact: Fact::PeerForgotten(PeerForgotten { id }) };
        let mut ahead = Ahead::default();
        ahead.peer(bob, 7);

        let held: Vec<bool> = [(5, bob), (6, carol), (7, bob), (8, bob)].map(|(seq, id)| ahead.of(&event(seq, id))).into();

        assert_eq!(held, [true, false, true, false]);
        assert!(ahead.peers.is_empty());
    }
}
