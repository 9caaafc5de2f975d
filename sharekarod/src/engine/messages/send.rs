//! A text is written: checked, recorded for each of its peers, told, and on its way.

use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode,
    control::message::{KNOCK_MAX, TEXT_MAX, WriteMessage, WrittenMessages},
    nouns::{shell::ShellWord, trust::Trust},
};
use uuid::Uuid;

use crate::{
    engine::{Engine, clock, peers::target::audience},
    store::{
        self, Durability,
        messages::{Draft, PENDING_MAX, Refused},
    },
};

/// Texts that may wait for a device that is not paired: it takes one knock of us.
const KNOCKS_PENDING_MAX: u64 = 1;

impl Engine {
    /// Records a text for each target. Returns when it is on our disk; the rest follows, also after a restart.
    ///
    /// # Errors
    /// A text that is empty or too long, nobody of that name, a peer that we blocked, too much that waits already.
    pub async fn write_message(&self, write: WriteMessage) -> Result<WrittenMessages, ErrorBody> {
        check_text(&write.text)?;
        let peers = self.targets(&write.target).await?;
        let audience = audience(&write.target);
        // what goes to many is one text to our person, so all of it has one request
        let request = write.id.or_else(|| audience.map(|_| Uuid::now_v7()));
        let several = audience.is_some() || peers.len() > 1;
        let draft = |peer: &DeviceId| {
            let pending_max = self.may_wait_for(*peer, &write.text)?;
            Ok(Draft { peer: *peer, id: id_for(request, *peer, several), request, audience: audience.map(str::to_owned), pending_max })
        };
        let drafts: Vec<Draft> = peers.iter().map(draft).collect::<Result<_, ErrorBody>>()?;
        let written =
            self.store().write(Durability::Durable, move |t| store::messages::write(t, &drafts, &write.text, clock::now_ms())).await?;
        let rows = written.map_err(|refused| self.refusal(refused))?;
        self.update(|state| state.messages.came(rows.iter().filter(|(_, new)| *new).map(|(row, _)| row.clone())));
        for peer in &peers {
            self.wake_sender(*peer);
        }
        Ok(self.look(|state| WrittenMessages {
            messages: rows.into_iter().map(|(row, _)| state.messages.view(row, &state.peers)).collect(),
            off: peers
                .iter()
                .filter(|peer| state.peers.get(peer).is_none_or(|known| known.open_session().is_none()))
                .map(|peer| state.peers.label(peer))
                .collect(),
        }))
    }

    /// How many messages may wait for this peer, where this text may be written to it at all.
    fn may_wait_for(&self, peer: DeviceId, text: &str) -> Result<u64, ErrorBody> {
        let trust = self.look(|state| state.peers.get(&peer).map_or(Trust::Unknown, |known| known.trust));
        let name = || self.label(peer);
        if trust == Trust::Blocked {
            return Err(ErrorBody::new(ErrorCode::NotTrusted, format!("{} is blocked", name()))
                .hint(format!("`sharectl peer unblock {}`", ShellWord(&name()))));
        }
        if !trust.paired() && text.chars().count() > KNOCK_MAX {
            let what = format!("{} is not paired: a first word to it has at most {KNOCK_MAX} characters", name());
            return Err(ErrorBody::new(ErrorCode::NotTrusted, what).hint(format!("`sharectl pair {}` first", ShellWord(&name()))));
        }
        Ok(if trust.paired() { PENDING_MAX } else { KNOCKS_PENDING_MAX })
    }

    fn refusal(&self, refused: Refused) -> ErrorBody {
        match refused {
            Refused::Reused(_) => {
                ErrorBody::new(ErrorCode::Usage, "this id was used for another text").hint("a new text needs a new id, or none")
            }
            Refused::Full(peer) => {
                let (name, paired) =
                    self.look(|state| (state.peers.label(&peer), state.peers.get(&peer).is_some_and(|known| known.trust.paired())));
                if paired {
                    ErrorBody::new(ErrorCode::Busy, format!("{PENDING_MAX} messages wait for {name} already"))
                        .hint("they go out as soon as it can be reached")
                } else {
                    ErrorBody::new(ErrorCode::NotTrusted, format!("{name} is not paired, and a message for it waits already"))
                        .hint(format!("`sharectl pair {}`; then all of them go out", ShellWord(&name)))
                }
            }
        }
    }
}

fn check_text(text: &str) -> Result<(), ErrorBody> {
    if text.is_empty() {
        return Err(ErrorBody::new(ErrorCode::Usage, "an empty message says nothing")
            .hint("sharectl message PEER TEXT, or TEXT - for standard input"));
    }
    if text.len() > TEXT_MAX {
        let what = format!("this text has {} bytes; a message has at most {TEXT_MAX}", text.len());
        return Err(ErrorBody::new(ErrorCode::Usage, what).hint("send it as a file: sharectl send PEER FILE"));
    }
    Ok(())
}

/// What both sides call the message that a request becomes for this peer.
fn id_for(request: Option<Uuid>, peer: DeviceId, several: bool) -> Uuid {
    match request {
        Some(request) if several => derived(request, peer),
        Some(request) => request,
        None => Uuid::now_v7(),
    }
}

/// One request to several peers makes several messages; the same request makes the same ones.
fn derived(request: Uuid, peer: DeviceId) -> Uuid {
    let hash = blake3::Hasher::new().update(request.as_bytes()).update(peer.as_bytes()).finalize();
    let mut bytes = [0; 16];
    hash.as_bytes().iter().zip(&mut bytes).for_each(|(from, to)| *to = *from);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_its_bounds_and_what_is_longer_is_a_file() {
        assert!(check_text("x").is_ok() && check_text(&"x".repeat(TEXT_MAX)).is_ok());
        assert_eq!(check_text("").unwrap_err().code, ErrorCode::Usage);
        let long = check_text(&"文".repeat(TEXT_MAX / 3 + 1)).unwrap_err();
        assert!(long.code == ErrorCode::Usage && long.hint.contains("send"));
    }

    #[test]
    fn one_request_to_several_is_the_same_message_to_each_when_it_is_retried() {
        let (a, b) = (DeviceId::from_bytes([1; 32]), DeviceId::from_bytes([2; 32]));
        let request = Uuid::from_u128(7);

        assert_eq!(derived(request, a), derived(request, a));
        assert_ne!(derived(request, a), derived(request, b));
    }
}
