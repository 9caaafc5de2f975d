//! What happened to messages since listeners were last told, and what strangers may still say. The history itself is in
//! the store: it has no bound, and memory has one.

use std::collections::BTreeSet;

use sharekaro_proto::{
    DeviceId,
    control::{event::Fact, message::Message},
    nouns::transfer::Direction,
};

use crate::{
    engine::{clock, peers::table::PeerTable},
    store::messages::MessageRow,
};

/// So much of a text goes into an event, in bytes: events wait in memory for whoever listens slowly.
const EVENT_TEXT_MAX: usize = 2_000;

/// Facts about messages.
pub struct MessageTable {
    own_name: String,
    news: Vec<(MessageRow, u64, News)>,
    knocked: BTreeSet<DeviceId>,
    dropped: u64,
}

#[derive(Clone, Copy)]
enum News {
    Received,
    Changed,
}

impl MessageTable {
    /// Nothing happened yet; these strangers had their knock.
    pub fn new(own_name: String, knocked: Vec<DeviceId>) -> Self {
        Self { own_name, news: Vec::new(), knocked: knocked.into_iter().collect(), dropped: 0 }
    }

    /// These are new to the history: from a peer, of ours, or a file either way.
    pub fn came(&mut self, rows: impl IntoIterator<Item = MessageRow>) {
        for row in rows {
            let what = if row.direction == Direction::In { News::Received } else { News::Changed };
            self.note(row, what);
        }
    }

    /// These stand elsewhere than before.
    pub fn changed(&mut self, rows: impl IntoIterator<Item = MessageRow>) {
        rows.into_iter().for_each(|row| self.note(row, News::Changed));
    }

    /// Keeps the beginning of the text, and how long the whole is.
    fn note(&mut self, mut row: MessageRow, what: News) {
        let whole = row.text.len() as u64;
        row.text.truncate(row.text.floor_char_boundary(EVENT_TEXT_MAX));
        self.news.push((row, whole, what));
    }

    /// Whether this stranger had its knock.
    pub fn has_knocked(&self, peer: &DeviceId) -> bool {
        self.knocked.contains(peer)
    }

    /// A stranger knocked.
    pub fn knocks(&mut self, peer: DeviceId) {
        self.knocked.insert(peer);
    }

    /// It is no stranger any more.
    pub fn welcome(&mut self, peer: &DeviceId) {
        self.knocked.remove(peer);
    }

    /// A stranger said more than it may. Returns how often that happened, where it is worth telling: the first time, and
    /// whenever it doubled.
    pub fn drop_one(&mut self) -> Option<u64> {
        self.dropped = self.dropped.saturating_add(1);
        self.dropped.is_power_of_two().then_some(self.dropped)
    }

    /// What happened since the last call.
    pub fn drain(&mut self, peers: &PeerTable) -> Vec<Fact> {
        let news = std::mem::take(&mut self.news);
        let fact = |(row, bytes, what)| {
            let message = Box::new(Message { bytes, ..self.view(row, peers) });
            match what {
                News::Received => Fact::MessageReceived(message),
                News::Changed => Fact::MessageChanged(message),
            }
        };
        news.into_iter().map(fact).collect()
    }

    /// A message as every door shows it.
    pub fn view(&self, row: MessageRow, peers: &PeerTable) -> Message {
        let conversation = peers.label(&row.peer);
        Message {
            id: row.id,
            no: row.no,
            peer_id: row.peer,
            paired: peers.get(&row.peer).is_some_and(|known| known.trust.paired()),
            from: if row.direction == Direction::Out { self.own_name.clone() } else { conversation.clone() },
            conversation,
            direction: row.direction,
            bytes: row.text.len() as u64,
            text: row.text,
            at: clock::timestamp(row.at_ms),
            state: row.state,
            transfer: row.transfer,
            post: row.post.as_ref().map(|post| post.id),
            audience: row.post.map(|post| post.audience),
        }
    }
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::control::message::MessageState;
    use uuid::Uuid;

    use super::*;

    fn row(direction: Direction, text: &str) -> MessageRow {
        MessageRow {
            no: 1,
            id: Uuid::from_u128(1),
            peer: DeviceId::from_bytes([1; 32]),
            direction,
            state: MessageState::Queued,
            at_ms: 0,
            seq: 1,
            transfer: None,
            text: text.into(),
            post: None,
        }
    }

    #[test]
    fn an_event_carries_the_beginning_of_a_long_text_and_says_how_long_it_is() {
        let mut table = MessageTable::new("me".into(), Vec::new());
        let peers = PeerTable::new(DeviceId::from_bytes([0; 32]), Vec::new());

        table.came([row(Direction::In, &"文".repeat(5_000)), row(Direction::Out, "short")]);

        match table.drain(&peers).as_slice() {
            [Fact::MessageReceived(long), Fact::MessageChanged(short)] => {
                assert!(long.text.len() <= EVENT_TEXT_MAX && long.bytes == 15_000);
                assert_eq!((short.text.as_str(), short.bytes, short.from.as_str()), ("short", 5, "me"));
            }
            other => panic!("{other:?}"),
        }
        assert!(table.drain(&peers).is_empty());
    }

    #[test]
    fn what_strangers_lose_is_told_less_and_less_often() {
        let mut table = MessageTable::new("me".into(), Vec::new());

        let told: Vec<u64> = (0..1_000).filter_map(|_| table.drop_one()).collect();

        assert_eq!(told, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
    }
}
