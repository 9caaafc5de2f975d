//! Texts of a peer come in: checked, stored once, acknowledged. What is acknowledged is on our disk.

use sharekaro_proto::{
    DeviceId,
    control::message::{KNOCK_MAX, TEXT_MAX},
    nouns::trust::Trust,
    wire::{Messages, Status, Text},
};
use uuid::Uuid;

use super::deliver::BATCH_MAX;
use crate::{
    engine::{Engine, clock, peers::serve::Answer},
    net::Session,
    store::{
        self, Durability,
        messages::{Heard, Taken},
    },
};

/// Strangers together may leave so many knocks in `KNOCKS_MS`: keys are free, our person's patience is not.
const KNOCKS_MAX: i64 = 100;

/// A week, in milliseconds.
const KNOCKS_MS: i64 = 7 * 86_400_000;

/// A text may be this old when it comes: it waits a week at most, and clocks differ.
const AGE_MAX_MS: i64 = 8 * 86_400_000;

impl Engine {
    /// A peer says something.
    pub(crate) async fn messages_came(&self, session: &Session, messages: Messages) -> Answer {
        let peer = session.peer();
        let (texts, read) = match check(messages, clock::now_ms()) {
            Ok(checked) => checked,
            Err(why) => return Answer::no(Status::Invalid, why),
        };
        let turn = self.inner.desk.turn(peer);
        let _turn = turn.lock().await;
        match self.look(|state| state.peers.get(&peer).map_or(Trust::Unknown, |known| known.trust)) {
            trust if trust.paired() => self.take_in_messages(peer, texts, read).await,
            Trust::Blocked | Trust::Changed => self.drop_message(peer),
            _ if texts.is_empty() => Answer::ok(None), // what a stranger says that it read is not noted, nor said again
            _ => self.take_in_knock(peer, texts).await,
        }
    }

    async fn take_in_messages(&self, peer: DeviceId, texts: Vec<Heard>, read: Vec<Uuid>) -> Answer {
        let kept = self
            .store()
            .write(Durability::Durable, move |t| {
                let taken = store::messages::take_in(t, peer, &texts, clock::now_ms())?;
                Ok((taken, store::messages::confirm_read(t, peer, &read)?))
            })
            .await;
        match kept {
            Ok((taken, confirmed)) => {
                let answer =
                    if taken == Taken::Outdated { Answer::no(Status::Changed, "your outbox is an older one") } else { Answer::ok(None) };
                self.update(|state| {
                    if let Taken::Stored(rows) = taken {
                        state.messages.came(rows);
                    }
                    state.messages.changed(confirmed);
                });
                answer
            }
            Err(e) => self.not_kept(&e),
        }
    }

    /// One short text of somebody whom nobody paired.
    async fn take_in_knock(&self, peer: DeviceId, texts: Vec<Heard>) -> Answer {
        let mut texts = texts.into_iter();
        let (Some(text), None) = (texts.next(), texts.next()) else { return self.drop_message(peer) };
        if text.text.chars().count() > KNOCK_MAX {
            return self.drop_message(peer);
        }
        let (now, had_one) = (clock::now_ms(), self.look(|state| state.messages.has_knocked(&peer)));
        let durability = if had_one { Durability::Soon } else { Durability::Durable };
        let since = now.saturating_sub(KNOCKS_MS);
        match self.store().write(durability, move |t| store::messages::knock(t, peer, &text, now, since, KNOCKS_MAX)).await {
            Ok(Some(rows)) => {
                self.update(|state| {
                    state.messages.knocks(peer);
                    state.messages.came(rows);
                });
                Answer::ok(None)
            }
            Ok(None) => self.drop_message(peer),
            Err(e) => self.not_kept(&e),
        }
    }

    /// A stranger said more than it may: not kept, but counted.
    fn drop_message(&self, peer: DeviceId) -> Answer {
        if let Some(count) = self.update(|state| state.messages.drop_one()) {
            tracing::info!(key = %peer.short(), count, "a stranger's message was dropped");
            let message = format!("at least {count} messages of devices that are not paired were dropped since the start");
            self.update(|state| {
                state.warnings.raise("knocks_dropped", message, "`sharectl peers` shows who is there; `sharectl peer block` ends it")
            });
        }
        Answer::no(Status::NotAuthorised, "not paired: one short message is all")
    }

    fn not_kept(&self, error: &store::Error) -> Answer {
        tracing::error!("cannot keep a message: {error}");
        if error.is_full() { Answer::no(Status::NoSpace, "the disk is full") } else { Answer::no(Status::Failed, "it could not be kept") }
    }

    /// It was paired: what it could not say as a stranger may come now, and so may ours.
    pub(crate) async fn no_stranger_any_more(&self, peer: DeviceId) -> Result<(), store::Error> {
        self.store().write(Durability::Soon, move |t| store::messages::welcome(t, peer)).await?;
        self.update(|state| state.messages.welcome(&peer));
        self.wake_sender(peer);
        Ok(())
    }
}

type Checked = (Vec<Heard>, Vec<Uuid>);

fn check(messages: Messages, now_ms: i64) -> Result<Checked, &'static str> {
    if messages.texts.len() > BATCH_MAX || messages.read.len() > BATCH_MAX {
        return Err("a batch has at most 256 texts");
    }
    let texts = messages.texts.into_iter().map(|text| heard(text, now_ms)).collect::<Result<_, _>>()?;
    let read = messages.read.iter().map(|id| uuid(id)).collect::<Result<_, _>>()?;
    Ok((texts, read))
}

fn heard(text: Text, now_ms: i64) -> Result<Heard, &'static str> {
    if text.text.is_empty() || text.text.len() > TEXT_MAX {
        return Err("a text has 1 to 65,536 bytes");
    }
    if text.seq == 0 || i64::try_from(text.seq).is_err() {
        return Err("texts are numbered from 1");
    }
    let at_ms = i64::try_from(text.at_ms).unwrap_or(now_ms).clamp(now_ms.saturating_sub(AGE_MAX_MS), now_ms);
    Ok(Heard { id: uuid(&text.id)?, epoch: text.epoch, seq: text.seq, at_ms, text: text.text })
}

fn uuid(bytes: &[u8]) -> Result<Uuid, &'static str> {
    Uuid::from_slice(bytes).map_err(|_| "an id has 16 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_cannot_be_are_refused() {
        let good = Text { id: vec![1; 16], epoch: 5, seq: 1, at_ms: 7, text: "x".into() };
        let one = |text: Text| Messages { texts: vec![text], read: Vec::new() };

        assert!(check(one(good.clone()), 9).is_ok());
        for bad in [
            one(Text { id: vec![1; 15], ..good.clone() }),
            one(Text { seq: 0, ..good.clone() }),
            one(Text { seq: u64::MAX, ..good.clone() }),
            one(Text { text: String::new(), ..good.clone() }),
            one(Text { text: "x".repeat(TEXT_MAX + 1), ..good.clone() }),
            Messages { texts: vec![good.clone(); BATCH_MAX + 1], read: Vec::new() },
            Messages { texts: Vec::new(), read: vec![vec![1; 17]] },
            Messages { texts: Vec::new(), read: vec![vec![1; 16]; BATCH_MAX + 1] },
        ] {
            assert!(check(bad.clone(), 9).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_clock_that_is_wrong_there_cannot_write_from_the_future() {
        let at = |at_ms| heard(Text { id: vec![1; 16], epoch: 5, seq: 1, at_ms, text: "x".into() }, 10 * AGE_MAX_MS).unwrap().at_ms;

        assert_eq!(at(u64::MAX), 10 * AGE_MAX_MS);
        assert_eq!(at(0), 9 * AGE_MAX_MS);
        assert_eq!(at((10 * AGE_MAX_MS - 5).unsigned_abs()), 10 * AGE_MAX_MS - 5);
    }
}
