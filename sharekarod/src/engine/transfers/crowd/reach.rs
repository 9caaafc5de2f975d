//! The way to a member, and to what was received with it before.

use super::{Member, share::Placed};
use crate::{
    engine::{
        Engine,
        transfers::{ending, plan::SMALL_MAX, record::Record},
    },
    files::{Value, cage::read_listing},
};

/// So many files of one transfer are shared after it is done; a tree of a million is not worth the room.
const PLACED_MAX: usize = 10_000;

impl Engine {
    /// Dials a member where the sender said that it is. It is a stranger here, unless it is paired.
    pub(crate) fn dial_member(&self, member: Member) {
        let engine = self.clone();
        self.spawn(async move {
            match engine.dial(Some(member.id), &member.addresses).await {
                Ok(session) => engine.welcome(session),
                Err(e) => tracing::debug!(peer = %member.id.short(), "cannot reach another receiver: {e}"),
            }
        });
    }

    /// The big files that a transfer placed, by content.
    pub(super) fn placed_files(&self, record: &Record) -> Vec<(Value, u64, Placed)> {
        let destination = self.destination(record);
        let path = ending::listing_path(self, record);
        let listed = read_listing(&path).into_iter().flatten().flatten().filter(|it| it.size > SMALL_MAX);
        let placed = listed.filter_map(|it| {
            let placed = Placed { path: destination.join(it.path()), mtime: (it.mtime_s, it.mtime_ns.cast_signed()) };
            Some((Value::try_from(it.content.as_slice()).ok()?, it.size, placed))
        });
        placed.take(PLACED_MAX).collect()
    }
}
