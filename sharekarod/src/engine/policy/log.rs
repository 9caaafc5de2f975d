//! The log of what was decided about peers, by rules and by people. What cannot be written there is in the daemon's log.

use std::sync::PoisonError;

use sharekaro_proto::{
    DeviceId, ErrorBody, TransferId,
    control::policy::{Decision, Decisions, LogQuery},
};

use super::rule::{DEFAULT, PERSON};
use crate::{
    engine::{Engine, clock},
    store::{self, Durability, decisions::DecisionRow},
};

/// So many are shown unless another number is asked for.
const SHOWN: u64 = 100;

/// The longest note, in characters: part of it may be a peer's.
const NOTE_MAX: usize = 300;

/// Something that was decided.
pub(crate) struct Decided<'a> {
    /// About whom.
    pub peer: DeviceId,
    /// By which rule, or `person`.
    pub rule: &'a str,
    /// What.
    pub action: &'a str,
    /// About which transfer.
    pub transfer: Option<TransferId>,
    /// The rest, for people.
    pub note: String,
}

impl Engine {
    /// What was decided, as it is kept.
    pub(crate) fn decision_row(&self, decided: Decided<'_>) -> DecisionRow {
        let (label, stranger) = self.look(|state| {
            let paired = state.peers.get(&decided.peer).is_some_and(|known| known.trust.paired() || known.blocked_from.is_some());
            (state.peers.label(&decided.peer), !paired)
        });
        DecisionRow {
            no: 0,
            at_ms: clock::now_ms(),
            peer: decided.peer,
            label,
            stranger,
            rule: decided.rule.to_owned(),
            action: decided.action.to_owned(),
            transfer: decided.transfer,
            note: decided.note.chars().take(NOTE_MAX).collect(),
        }
    }

    /// Writes down what was decided.
    pub(crate) fn note_decision(&self, decided: Decided<'_>) {
        let row = self.decision_row(decided);
        let engine = self.clone();
        self.spawn(async move {
            let kept = row.clone();
            match engine.store().write(Durability::Soon, move |t| store::decisions::add(t, &kept)).await {
                Ok(no) => engine.tell_decision(DecisionRow { no, ..row }),
                Err(e) => tracing::warn!("a decision was not written down: {e}"),
            }
        });
    }

    /// Tells what was written down.
    pub(crate) fn tell_decision(&self, row: DecisionRow) {
        self.update(|state| state.decisions.push(view(row)));
    }

    /// Writes down that somebody was turned away: what is refused again and again is a line now and then, which counts.
    pub(crate) fn note_refusal(&self, peer: DeviceId, why: &str) {
        let decided = |note| Decided { peer, rule: DEFAULT, action: "refuse", transfer: None, note };
        let stranger = self.decision_row(decided(String::new())).stranger;
        // nothing that can panic runs under this lock
        let mut refusals = self.inner.policy.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let count = refusals.note(peer, stranger, clock::now_ms());
        drop(refusals);
        match count {
            None => {}
            Some(1) => self.note_decision(decided(why.to_owned())),
            Some(count) if stranger => self.note_decision(decided(format!("{why}; {count} refusals of strangers since the last line"))),
            Some(count) => self.note_decision(decided(format!("{why}; {count} times since the last line"))),
        }
    }

    /// Writes down that a device uses the name of a paired one with another key.
    pub(crate) fn note_changed_key(&self, peer: DeviceId) {
        let note = format!("another key, {peer}, uses the name of a paired device");
        self.note_decision(Decided { peer, rule: DEFAULT, action: "key_changed", transfer: None, note });
    }

    /// Writes down what a person decided about a peer.
    pub(crate) fn note_person(&self, peer: DeviceId, action: &str, note: impl Into<String>) {
        self.note_decision(Decided { peer, rule: PERSON, action, transfer: None, note: note.into() });
    }

    /// The last decisions, oldest first.
    ///
    /// # Errors
    /// The database.
    pub async fn policy_log(&self, query: LogQuery) -> Result<Decisions, ErrorBody> {
        let (after, limit) = (query.after, query.limit.unwrap_or(SHOWN));
        let rows = self.store().read(move |c| match after {
            Some(after) => store::decisions::after(c, after, limit),
            None => store::decisions::last(c, limit),
        });
        Ok(Decisions { decisions: rows.await?.into_iter().map(view).collect() })
    }
}

fn view(row: DecisionRow) -> Decision {
    Decision {
        no: row.no,
        at: clock::timestamp(row.at_ms),
        peer: row.label,
        key: row.peer.short(),
        rule: row.rule,
        action: row.action,
        transfer: row.transfer,
        note: row.note,
    }
}
