//! Pairing by words: two devices make them, two people compare them.
//!
//! A person starts on either side; the devices make the words at once, without asking the other person. Each person
//! then says that they are the same. Only when both did is anybody trusted.

use std::time::Duration;

use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode,
    control::pairing::{Pairing, PairingState, StartPairing},
    wire::{PairConfirm, PairNonce, PairReveal, PairStart, Reply, Request, Status, reply, request},
};

use super::{
    table::Making,
    words::{EXPORT_WORDS, commitment, spoken},
};
use crate::{
    engine::{Engine, peers::serve::Answer},
    net::Session,
};

/// So long may making the words take, over a slow line.
const MAKING_LASTS: Duration = Duration::from_secs(10);

/// Said where a peer begins again in the middle.
const PROMISED_TWICE: &str = "the peer promised twice before it kept its promise: somebody may be in between";

impl Engine {
    /// Begins to pair with a peer, or joins the pairing that it began.
    ///
    /// # Errors
    /// Nobody of that name; it cannot be reached, or refuses.
    pub async fn start_pairing(&self, start: StartPairing) -> Result<Pairing, ErrorBody> {
        let peer = self.find_or_reach(&start.peer).await?;
        let session = self.session_within(peer, MAKING_LASTS).await?;
        if let Some(id) = self.update(|state| state.pairings.with(peer).map(|(id, _)| id)) {
            return self.words_made(id).await;
        }
        let id = self.update(|state| state.pairings.begin(peer, Making::Started))?;
        self.watch_pairings();
        match tokio::time::timeout(MAKING_LASTS, self.make_words(&session)).await {
            Ok(Ok(Some(words))) => self.words_are(peer, &words),
            Ok(Ok(None)) => {} // both began at once and theirs counts: it makes the words
            Ok(Err(e)) => self.update(|state| state.pairings.fail(id, e)),
            Err(_) => self.update(|state| state.pairings.fail(id, ErrorBody::new(ErrorCode::TimedOut, "the peer did not answer in time"))),
        }
        self.words_made(id).await
    }

    /// The words, made as the one that started. `None` where the other one started too and goes first.
    async fn make_words(&self, session: &Session) -> Result<Option<String>, ErrorBody> {
        let nonce: [u8; 32] = rand::random();
        let start = PairStart { commitment: commitment(&nonce).to_vec() };
        let reply = ask(session, request::Kind::PairStart(start)).await?;
        if reply.status() == Status::Busy {
            return Ok(None);
        }
        let Some(reply::Kind::PairNonce(PairNonce { nonce: theirs })) = accepted(reply)?.kind else {
            return Err(ErrorBody::new(ErrorCode::Integrity, "the peer answered something else than it was asked"));
        };
        let theirs: [u8; 32] =
            theirs.try_into().map_err(|_| ErrorBody::new(ErrorCode::Integrity, "the peer sent a nonce of the wrong size"))?;
        accepted(ask(session, request::Kind::PairReveal(PairReveal { nonce: nonce.to_vec() })).await?)?;
        let exported = session.export_key(EXPORT_WORDS);
        Ok(Some(spoken(&exported, (self.id(), &nonce), (session.peer(), &theirs))))
    }

    /// The pairing once its words are there (or it failed).
    async fn words_made(&self, id: u64) -> Result<Pairing, ErrorBody> {
        let mut events = self.subscribe();
        let made = async {
            loop {
                let pairing = self.pairing(id)?;
                match pairing.state {
                    PairingState::Starting => events.next().await,
                    PairingState::Failed => {
                        return Err(pairing.error.unwrap_or_else(|| ErrorBody::new(ErrorCode::Unexpected, "the pairing failed")));
                    }
                    PairingState::Comparing | PairingState::Paired => return Ok(pairing),
                };
            }
        };
        match tokio::time::timeout(MAKING_LASTS, made).await {
            Ok(pairing) => pairing,
            Err(_) => Err(ErrorBody::new(ErrorCode::TimedOut, "the peer did not make words in time").hint("try again")),
        }
    }

    fn words_are(&self, peer: DeviceId, words: &str) {
        self.update(|state| {
            if state.pairings.made(peer, words.to_owned())
                && let Some(known) = state.peers.edit(&peer)
            {
                known.words = Some(words.to_owned());
            }
        });
    }

    /// A pairing.
    ///
    /// # Errors
    /// There is none of that number (any more).
    pub fn pairing(&self, id: u64) -> Result<Pairing, ErrorBody> {
        self.look(|state| state.pairings.view(id, &state.peers)).ok_or_else(|| no_such_pairing(id))
    }

    /// Our person says that the words are the same.
    ///
    /// # Errors
    /// There is no such pairing, it has no words yet, or the peer cannot be told.
    pub async fn confirm_pairing(&self, id: u64) -> Result<Pairing, ErrorBody> {
        let pairing = self.pairing(id)?;
        match pairing.state {
            PairingState::Paired => return Ok(pairing),
            PairingState::Failed => return Err(pairing.error.unwrap_or_else(|| no_such_pairing(id))),
            PairingState::Starting => return Err(ErrorBody::new(ErrorCode::WrongState, "there are no words to compare yet")),
            PairingState::Comparing => {}
        }
        let peer = pairing.peer.id;
        self.update(|state| state.pairings.edit(id).map(|row| row.here = true));
        let session = self.session_within(peer, MAKING_LASTS).await?;
        accepted(ask(&session, request::Kind::PairConfirm(PairConfirm { same: true })).await?)?;
        self.pair_if_both_said_so(id).await?;
        self.pairing(id)
    }

    async fn pair_if_both_said_so(&self, id: u64) -> Result<(), ErrorBody> {
        let both = self.update(|state| {
            let row = state.pairings.edit(id).filter(|row| row.here && row.there && row.state == PairingState::Comparing)?;
            Some(row.peer)
        });
        if let Some(peer) = both {
            self.pair_with(peer).await?;
            self.update(|state| state.pairings.edit(id).map(|row| row.state = PairingState::Paired));
        }
        Ok(())
    }

    /// Our person says that they differ, or does not want to any more.
    ///
    /// # Errors
    /// There is no such pairing.
    pub async fn give_up_pairing(&self, id: u64) -> Result<Pairing, ErrorBody> {
        let pairing = self.pairing(id)?;
        self.pairing_fails(pairing.peer.id, "the pairing was given up here");
        if let Some(session) = self.open_session(&pairing.peer.id) {
            let _ = ask(&session, request::Kind::PairConfirm(PairConfirm { same: false })).await; // it expires there otherwise
        }
        self.pairing(id)
    }

    /// Ends the pairing with a peer, where one is under way.
    pub(crate) fn pairing_fails(&self, peer: DeviceId, why: &str) {
        self.update(|state| {
            let Some((id, _)) = state.pairings.with(peer) else { return };
            state.pairings.fail(id, ErrorBody::new(ErrorCode::NotTrusted, why).hint("begin again with `sharectl pair`"));
        });
    }

    /// The peer begins to pair and promises a nonce.
    pub(crate) fn pair_started(&self, session: &Session, start: PairStart) -> Answer {
        let peer = session.peer();
        let Ok(commitment) = <[u8; 32]>::try_from(start.commitment) else {
            return Answer::no(Status::Invalid, "a commitment has 32 bytes");
        };
        let nonce: [u8; 32] = rand::random();
        let own = self.id();
        let answer = self.update(|state| {
            if let Some((id, row)) = state.pairings.with(peer) {
                match row.making {
                    Making::Started if own < peer => return Answer::no(Status::Busy, "both began at once; mine counts"),
                    Making::Started => row.making = Making::Promised { commitment, nonce },
                    Making::Promised { .. } => {
                        // another nonce of ours for another promise would be another guess, and nobody would see it
                        state
                            .pairings
                            .fail(id, ErrorBody::new(ErrorCode::Integrity, PROMISED_TWICE).hint("begin again with `sharectl pair`"));
                        return Answer::no(Status::Invalid, "a nonce was promised already: this pairing is over");
                    }
                    Making::Made => return Answer::no(Status::Invalid, "the words are there already"),
                }
            } else if let Err(e) = state.pairings.begin(peer, Making::Promised { commitment, nonce }) {
                return Answer::no(Status::Busy, e.message);
            }
            Answer::ok(Some(reply::Kind::PairNonce(PairNonce { nonce: nonce.to_vec() })))
        });
        self.watch_pairings();
        answer
    }

    /// What nobody finishes ends, also where nobody asks. One task watches as long as a pairing is under way.
    fn watch_pairings(&self) {
        if !self.update(|state| state.pairings.wants_a_watch()) {
            return;
        }
        let engine = self.clone();
        self.spawn(async move {
            while let Some(end) = engine.update(|state| state.pairings.next_end()) {
                tokio::time::sleep_until(end).await;
            }
        });
    }

    /// The peer keeps its promise; from here on both sides have words.
    pub(crate) fn pair_revealed(&self, session: &Session, reveal: PairReveal) -> Answer {
        let (peer, own) = (session.peer(), self.id());
        let Ok(theirs) = <[u8; 32]>::try_from(reveal.nonce) else { return Answer::no(Status::Invalid, "a nonce has 32 bytes") };
        let promised = self.update(|state| match state.pairings.with(peer) {
            Some((_, row)) => match row.making {
                Making::Promised { commitment, nonce } => Some((commitment, nonce)),
                Making::Started | Making::Made => None,
            },
            None => None,
        });
        let Some((promise, ours)) = promised else { return Answer::no(Status::Invalid, "nothing was promised") };
        if commitment(&theirs) != promise {
            self.pairing_fails(peer, "the peer broke its promise: somebody may be in between");
            return Answer::no(Status::Invalid, "this is not what was promised");
        }
        self.words_are(peer, &spoken(&session.export_key(EXPORT_WORDS), (peer, &theirs), (own, &ours)));
        tracing::info!(peer = %self.label(peer), "wants to pair: `sharectl pair` shows the words");
        Answer::ok(None)
    }

    /// The other person said whether the words are the same.
    pub(crate) async fn pair_confirmed(&self, session: &Session, confirm: PairConfirm) -> Answer {
        let peer = session.peer();
        if !confirm.same {
            self.pairing_fails(peer, "the other side said no");
            return Answer::ok(None);
        }
        let there = self.update(|state| {
            let (id, row) = state.pairings.with(peer).filter(|(_, row)| row.state == PairingState::Comparing)?;
            row.there = true;
            Some(id)
        });
        let Some(id) = there else { return Answer::no(Status::NotFound, "there is no pairing to confirm") };
        match self.pair_if_both_said_so(id).await {
            Ok(()) => Answer::ok(None),
            Err(e) => Answer::no(Status::Failed, e.message),
        }
    }

    /// The peer that a person means, reached by its address where the name is none of a peer.
    pub(crate) async fn find_or_reach(&self, target: &str) -> Result<DeviceId, ErrorBody> {
        match self.find_peer(target) {
            Err(e) if e.code == ErrorCode::NotFound && target.contains(['.', ':']) && !target.starts_with("k:") => {
                let add = sharekaro_proto::control::peer::AddPeer { address: target.to_owned(), alias: None };
                Ok(self.add_peer(add).await.map_err(|_| e)?.id)
            }
            found => found,
        }
    }
}

/// Asks and waits for the reply's frame.
pub(super) async fn ask(session: &Session, kind: request::Kind) -> Result<Reply, ErrorBody> {
    match session.request(Request { kind: Some(kind) }).await {
        Ok((reply, _)) => Ok(reply),
        Err(e) => Err(ErrorBody::new(ErrorCode::Offline, format!("the peer went away: {e}")).hint("try again")),
    }
}

/// A reply that says yes.
pub(super) fn accepted(reply: Reply) -> Result<Reply, ErrorBody> {
    match reply.status() {
        Status::Ok => Ok(reply),
        Status::Unsupported => {
            Err(ErrorBody::new(ErrorCode::Unavailable, "the peer's version cannot do that").hint("update ShareKaro there"))
        }
        Status::WrongCode => Err(ErrorBody::new(ErrorCode::NotTrusted, "the code is wrong, used up or expired").hint("ask for a new one")),
        Status::NotFound => Err(ErrorBody::new(ErrorCode::NotFound, "the peer knows of no such thing")),
        status => Err(ErrorBody::new(ErrorCode::NotTrusted, format!("the peer refused ({status:?}): {}", short(&reply.message)))),
    }
}

fn short(message: &str) -> String {
    message.chars().take(200).collect()
}

fn no_such_pairing(id: u64) -> ErrorBody {
    ErrorBody::new(ErrorCode::NotFound, format!("there is no pairing {id}")).hint("begin with `sharectl pair PEER`")
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::control::event::{Event, Fact};

    use super::*;
    use crate::engine::tests::quiet;

    #[tokio::test(start_paused = true)]
    async fn a_pairing_that_nobody_finishes_ends_by_itself_and_hides_its_words() {
        let (engine, _dir) = quiet();
        let bob = DeviceId::from_bytes([2; 32]);
        engine.update(|state| state.peers.meet(bob, "bob").map(drop));
        let id = engine.update(|state| state.pairings.begin(bob, Making::Started)).unwrap();
        engine.watch_pairings();
        engine.words_are(bob, "oak tin piano sun");
        assert!(engine.peer("bob").unwrap().words.is_some());
        let mut events = engine.subscribe();

        let ended = |event: &Event| matches!(&event.fact, Fact::PairingChanged(it) if it.state == PairingState::Failed);
        while events.next().await.is_some_and(|event| !ended(&event)) {}

        assert_eq!(engine.pairing(id).unwrap().error.unwrap().code, ErrorCode::TimedOut);
        assert_eq!(engine.peer("bob").unwrap().words, None);
        engine.words_are(bob, "oak tin piano sun"); // too late
        assert_eq!(engine.peer("bob").unwrap().words, None);
        assert!(engine.update(|state| state.pairings.begin(bob, Making::Started)).is_ok());
    }
}
