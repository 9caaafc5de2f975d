//! One-shot codes: a number that tells which invitation, and three words that are its secret.
//!
//! The secret never travels: SPAKE2 makes a key of it on both sides, and each proves that key for this very session. A
//! try costs the invitation one of its three, whether or not it is finished.

use std::{collections::HashSet, time::Duration};

use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode, TransferKey,
    control::{
        pairing::{Invitation, InvitationState, JoinInvitation},
        peer::Peer,
        transfer::Send,
    },
    wire::{CodeConfirm, CodePurpose, CodeReply, CodeStart, Status, reply, request},
};
use spake2::{Ed25519Group, Identity, Password, Spake2};
use tokio::task::JoinSet;

use super::{
    spoken::{accepted, ask},
    words::{EXPORT_CODE, Role, proof, same},
};
use crate::{
    engine::{Engine, peers::serve::Answer},
    net::Session,
    words::from_bits,
};

/// Words of a code: 33 bits, three tries.
const SECRET_WORDS: usize = 3;

/// Whoever made a code is looked for so long.
const FOUND_WITHIN: Duration = Duration::from_secs(3);

/// A device that was found may take so long to be reached.
const REACHED_WITHIN: Duration = Duration::from_secs(5);

/// The longest text that is tried as a code, in bytes.
const CODE_MAX: usize = 200;

impl Engine {
    /// A new invitation to pair.
    ///
    /// # Errors
    /// Too many are open.
    pub async fn invite(&self) -> Result<Invitation, ErrorBody> {
        self.new_code(CodePurpose::Pair, None)
    }

    pub(crate) fn new_code(&self, purpose: CodePurpose, parcel: Option<Send>) -> Result<Invitation, ErrorBody> {
        let secret = from_bits(&rand::random::<[u8; 8]>(), SECRET_WORDS).replace(' ', "-");
        self.update(|state| {
            let number =
                std::iter::repeat_with(|| rand::random_range(1..1000)).find(|number| !state.pairings.number_is_taken(*number)).unwrap_or(1);
            let id = state.pairings.invite(number, format!("{number}-{secret}"), purpose, parcel)?;
            state.pairings.invitation_view(id, &state.peers).ok_or_else(no_such_invitation)
        })
    }

    /// An invitation.
    ///
    /// # Errors
    /// There is none of that number (any more).
    pub fn invitation(&self, id: u64) -> Result<Invitation, ErrorBody> {
        self.update(|state| {
            state.pairings.invitation(id); // what is too old is over
            state.pairings.invitation_view(id, &state.peers).ok_or_else(no_such_invitation)
        })
    }

    /// Withdraws an invitation.
    ///
    /// # Errors
    /// There is none of that number (any more).
    pub async fn withdraw_invitation(&self, id: u64) -> Result<Invitation, ErrorBody> {
        self.update(|state| {
            let invited = state.pairings.invitation(id).ok_or_else(no_such_invitation)?;
            if invited.state == InvitationState::Open {
                invited.state = InvitationState::Burnt;
            }
            Ok::<(), ErrorBody>(())
        })?;
        self.invitation(id)
    }

    /// Uses a code: pairs with whoever made it.
    ///
    /// # Errors
    /// Nobody here made such a code; it is wrong, used up or expired.
    pub async fn join(&self, join: JoinInvitation) -> Result<Peer, ErrorBody> {
        let (session, _) = self.try_code(&join.code, join.peer.as_deref(), CodePurpose::Pair).await?;
        self.pair_with(session.peer()).await
    }

    /// Finds whoever made a code, and proves to each other that both know it. Returns the session with it and the
    /// transfer that it grants, if it is a code for that.
    pub(crate) async fn try_code(
        &self,
        code: &str,
        peer: Option<&str>,
        purpose: CodePurpose,
    ) -> Result<(Session, Option<TransferKey>), ErrorBody> {
        let (number, secret) = parse(code)?;
        if let Some(target) = peer {
            let inviter = self.find_or_reach(target).await?;
            let session = self.session_within(inviter, REACHED_WITHIN).await?;
            let granted = self.prove(&session, number, &secret, purpose).await?;
            return Ok((session, granted));
        }
        let (mut asked, mut asking, mut refused) = (HashSet::new(), JoinSet::new(), None);
        let mut changes = self.subscribe();
        let found = tokio::time::sleep(FOUND_WITHIN); // whoever made it may have started a moment ago
        tokio::pin!(found);
        loop {
            for candidate in self.who_is_here().into_iter().filter(|id| asked.insert(*id)) {
                let (engine, secret) = (self.clone(), secret.clone());
                asking.spawn(async move {
                    let session = engine.session_within(candidate, REACHED_WITHIN).await?;
                    let granted = engine.prove(&session, number, &secret, purpose).await?;
                    Ok((session, granted))
                });
            }
            tokio::select! {
                Some(answer) = asking.join_next() => match answer {
                    Ok(Ok(found)) => return Ok(found),
                    Ok(Err(ErrorBody { code: ErrorCode::NotFound | ErrorCode::Offline, .. })) | Err(_) => {} // not the one who made it
                    Ok(Err(error)) => refused = Some(error),
                },
                _ = changes.next() => {}
                () = &mut found, if !found.is_elapsed() => {}
            }
            if asking.is_empty() && (found.is_elapsed() || refused.is_some()) {
                let nobody = ErrorBody::new(ErrorCode::NotFound, "nobody on this network knows this code")
                    .hint("it may be used or expired; where announcements do not pass, name the peer or its address too");
                return Err(refused.unwrap_or(nobody));
            }
        }
    }

    /// Who can be reached or is announced.
    fn who_is_here(&self) -> Vec<DeviceId> {
        self.look(|state| state.peers.iter().filter(|it| it.announced || it.open_session().is_some()).map(|it| it.id).collect())
    }

    async fn prove(&self, session: &Session, number: u32, secret: &str, purpose: CodePurpose) -> Result<Option<TransferKey>, ErrorBody> {
        let (joiner, inviter) = (self.id(), session.peer());
        let (spake, message) = Spake2::<Ed25519Group>::start_a(&Password::new(secret), &identity(joiner), &identity(inviter));
        let start = CodeStart { number, message, purpose: purpose.into() };
        let theirs = code_reply(accepted(ask(session, request::Kind::CodeStart(start)).await?)?)?;
        let key = shared_key(spake.finish(&theirs.message))
            .ok_or_else(|| ErrorBody::new(ErrorCode::Integrity, "the peer's half of the code makes no sense"))?;
        let exported = session.export_key(EXPORT_CODE);
        let confirm = CodeConfirm { number, proof: proof(&key, Role::Joiner, &exported, inviter, joiner).to_vec() };
        let theirs = code_reply(accepted(ask(session, request::Kind::CodeConfirm(confirm)).await?)?)?;
        if !same(&proof(&key, Role::Inviter, &exported, inviter, joiner), &theirs.proof) {
            return Err(
                ErrorBody::new(ErrorCode::NotTrusted, "the peer could not prove that it knows the code").hint("somebody may be in between")
            );
        }
        Ok(TransferKey::from_slice(&theirs.transfer))
    }

    /// Somebody tries a code.
    pub(crate) fn code_tried(&self, session: &Session, start: CodeStart) -> Answer {
        let (inviter, joiner) = (self.id(), session.peer());
        self.update(|state| {
            let Some((_, invited)) = state.pairings.open(start.number, start.purpose()) else {
                return Answer::no(Status::NotFound, "no such code");
            };
            if invited.tries == 0 {
                invited.state = InvitationState::Burnt;
                return Answer::no(Status::WrongCode, "too many tries");
            }
            invited.tries -= 1;
            let (_, secret) = invited.code.split_once('-').unwrap_or_default();
            let (spake, message) = Spake2::<Ed25519Group>::start_b(&Password::new(secret), &identity(joiner), &identity(inviter));
            if let Some(key) = shared_key(spake.finish(&start.message)) {
                invited.keys.insert(joiner, key); // at most as many as there are tries
            }
            Answer::ok(Some(reply::Kind::Code(CodeReply { message, ..CodeReply::default() })))
        })
    }

    /// Somebody proves that it knows a code.
    pub(crate) async fn code_proven(&self, session: &Session, confirm: CodeConfirm) -> Answer {
        let (inviter, joiner) = (self.id(), session.peer());
        let exported = session.export_key(EXPORT_CODE);
        let judged = self.update(|state| {
            let purpose = [CodePurpose::Pair, CodePurpose::Receive]
                .into_iter()
                .find(|purpose| state.pairings.open(confirm.number, *purpose).is_some())?;
            let (_, invited) = state.pairings.open(confirm.number, purpose)?;
            let key = invited.keys.remove(&joiner)?;
            let good = same(&proof(&key, Role::Joiner, &exported, inviter, joiner), &confirm.proof);
            if good {
                invited.state = InvitationState::Used;
                invited.peer = Some(joiner);
            } else if invited.tries == 0 {
                invited.state = InvitationState::Burnt;
            }
            good.then(|| (purpose, key, invited.parcel.take()))
        });
        let Some((purpose, key, parcel)) = judged else {
            self.note_refusal(joiner, "it typed a wrong code");
            return Answer::no(Status::WrongCode, "wrong code");
        };
        if purpose == CodePurpose::Pair
            && let Err(e) = self.pair_with(joiner).await
        {
            return Answer::no(Status::Failed, e.message);
        }
        let transfer = match parcel {
            Some(parcel) => match self.send_by_code(confirm.number, parcel, joiner).await {
                Ok(key) => key.0.to_vec(),
                Err(e) => return Answer::no(Status::Failed, e.message),
            },
            None => Vec::new(),
        };
        session.trust(); // a person passed the code on: the line may be used as a peer's; nothing else is granted
        let proof = proof(&key, Role::Inviter, &exported, inviter, joiner).to_vec();
        Answer::ok(Some(reply::Kind::Code(CodeReply { message: Vec::new(), proof, transfer })))
    }
}

/// Number and secret of a code as a person typed it. Nothing is judged here but its form: a wrong word has to cost a
/// try at whoever made the code, or guessing would be free.
fn parse(code: &str) -> Result<(u32, String), ErrorBody> {
    let bad = || ErrorBody::new(ErrorCode::Usage, "this is no code").hint("a code looks like 42-oak-tin-piano");
    if code.len() > CODE_MAX {
        return Err(bad());
    }
    let code = code
        .trim()
        .to_lowercase()
        .split(|c: char| c == '-' || c.is_whitespace())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-");
    let (number, secret) = code.split_once('-').ok_or_else(bad)?;
    Ok((number.parse().map_err(|_| bad())?, secret.to_owned()))
}

fn identity(id: DeviceId) -> Identity {
    Identity::new(id.as_bytes())
}

fn shared_key(finished: Result<Vec<u8>, spake2::Error>) -> Option<[u8; 32]> {
    finished.ok().map(|key| blake3::derive_key("sharekaro 2026 code key v1", &key))
}

fn code_reply(reply: sharekaro_proto::wire::Reply) -> Result<CodeReply, ErrorBody> {
    match reply.kind {
        Some(reply::Kind::Code(code)) => Ok(code),
        _ => Err(ErrorBody::new(ErrorCode::Integrity, "the peer answered something else than it was asked")),
    }
}

fn no_such_invitation() -> ErrorBody {
    ErrorBody::new(ErrorCode::NotFound, "there is no such invitation (any more)").hint("`sharectl pair --invite` makes a new one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        for text in ["42-oak-tin-piano", " 42 Oak  tin piano\n", "42-OAK-TIN-PIANO"] {
            assert_eq!(parse(text).unwrap(), (42, "oak-tin-piano".to_owned()), "{text}");
        }
        for bad in ["", "oak-tin-piano", "42", "x-oak", &"4-x".repeat(100)] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_who_know_the_code_get_one_key_and_a_guesser_another() {
        let (a, b) = (DeviceId::from_bytes([1; 32]), DeviceId::from_bytes([2; 32]));
        let keys = |one: &str, other: &str| {
            let (joiner, first) = Spake2::<Ed25519Group>::start_a(&Password::new(one), &identity(a), &identity(b));
            let (inviter, second) = Spake2::<Ed25519Group>::start_b(&Password::new(other), &identity(a), &identity(b));
            (shared_key(joiner.finish(&second)).unwrap(), shared_key(inviter.finish(&first)).unwrap())
        };

        let (joiner, inviter) = keys("oak-tin-piano", "oak-tin-piano");
        let (guesser, asked) = keys("oak-tin-piana", "oak-tin-piano");

        assert_eq!(joiner, inviter);
        assert_ne!(guesser, asked);
    }
}
