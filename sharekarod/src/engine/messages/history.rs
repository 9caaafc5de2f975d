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

    /// A person has seen what a peer wrote.
    ///
    /// # Errors
    /// Nobody of that name, or several.
    pub async fn mark_read(&self, seen: MarkRead) -> Result<(), ErrorBody> {
        let peer = self.find_peer(&seen.peer)?;
        let tell = self.config().read_receipts;
        let rows = self.store().write(Durability::Soon, move |t| store::messages::mark_read(t, peer, seen.until, tell)).await?;
        if rows.is_empty() {
            return Ok(());
        }
        self.update(|state| state.messages.changed(rows));
        self.wake_sender(peer);
        Ok(())
    }
}
