//! The history for people: parts of it, searched or not, and what they have seen.

use sharekaro_proto::{
    ErrorBody,
    control::message::{HistoryQuery, MarkRead, Messages},
};

use crate::{
    engine::{Engine, peers::target::audience},
    store::{
        self, Durability,
        messages::{Part, With},
    },
};

/// Messages that are shown where nobody says how many.
const COUNT: u64 = 50;

/// The most messages of one reply, and the most bytes of text in it: it is made in memory, here and there.
const COUNT_MAX: u64 = 5_000;
const BYTES_MAX: usize = 4 << 20;

/// The most words of a search; more narrow nothing down.
const WORDS_MAX: usize = 16;

impl Engine {
    /// A part of the history, oldest first.
    ///
    /// # Errors
    /// Nobody of that name, or several.
    pub async fn messages(&self, query: HistoryQuery) -> Result<Messages, ErrorBody> {
        let with = match query.peer.as_deref() {
            None => With::Everybody,
            Some(target) => match audience(target) {
                Some(audience) => With::Audience(audience.to_owned(), self.members(audience)?),
                None => With::Peer(self.find_peer(target)?),
            },
        };
        let words = query.search.unwrap_or_default().split_whitespace().take(WORDS_MAX).map(str::to_owned).collect();
        let count = usize::try_from(query.limit.unwrap_or(COUNT).min(COUNT_MAX)).unwrap_or(usize::MAX);
        let wanted = Part { with, words, before: query.before, after: query.after, count, bytes: BYTES_MAX };
        let rows = self.store().read(move |c| store::messages::part(c, &wanted)).await?;
        Ok(self.look(|state| Messages { messages: rows.into_iter().map(|row| state.messages.view(row, &state.peers)).collect() }))
    }

    /// Messages that nobody looked at yet; 0 where the store does not say.
    pub async fn unread(&self) -> u32 {
        let counted = self.store().read(store::messages::unread).await;
        counted.inspect_err(|e| tracing::warn!("cannot count unread messages: {e}")).unwrap_or(0)
    }

    /// A person has seen what a peer wrote. Only a paired peer is told.
    ///
    /// # Errors
    /// Nobody of that name, or several.
    pub async fn mark_read(&self, seen: MarkRead) -> Result<(), ErrorBody> {
        let peer = self.find_peer(&seen.peer)?;
        let tell = self.config().read_receipts && self.is_paired(peer);
        let rows = self.store().write(Durability::Soon, move |t| store::messages::mark_read(t, peer, seen.until, tell)).await?;
        if rows.is_empty() {
            return Ok(());
        }
        self.update(|state| state.messages.changed(rows));
        self.wake_sender(peer);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::DeviceId;
    use uuid::Uuid;

    use super::*;
    use crate::engine::tests::quiet;

    #[tokio::test]
    async fn only_a_paired_peer_is_told_that_its_text_was_read() {
        let (engine, _dir) = quiet();
        for (n, paired) in [(1, true), (2, false)] {
            let peer = DeviceId::from_bytes([n; 32]);
            engine.update(|state| state.peers.meet(peer, "carol").map(drop));
            if paired {
                engine.pair_with(peer).await.unwrap();
            }
            let text = store::messages::Heard { id: Uuid::from_u128(n.into()), epoch: 1, seq: 1, at_ms: 5, text: "hello".into() };
            engine.store().write(Durability::Soon, move |t| store::messages::take_in(t, peer, &[text], 9)).await.unwrap();

            engine.mark_read(MarkRead { peer: format!("k:{peer}"), until: u64::MAX }).await.unwrap();

            let told = engine.store().read(move |c| store::messages::receipts(c, peer, 9)).await.unwrap();
            assert_eq!((told.len(), engine.unread().await), (usize::from(paired), 0));
        }
    }
}
