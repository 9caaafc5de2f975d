//! What our person says of himself: here or away, and a line of text. Told to paired peers alone, over their sessions:
//! a stranger need not know that nobody is at home.

use sharekaro_proto::{
    ErrorBody, ErrorCode,
    control::peer::{PresenceBody, PresenceState},
    wire::{Note, Presence, note},
};

use super::table::PRESENCE_MAX;
use crate::{
    engine::Engine,
    net::Session,
    store::{self, Durability, settings::PRESENCE},
};

/// As it was kept.
pub fn read(kept: Option<String>) -> PresenceBody {
    kept.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default()
}

impl Engine {
    /// What our person says.
    pub fn presence(&self) -> PresenceBody {
        self.look(|state| state.presence.clone())
    }

    /// Our person says something else from now on, also after a restart.
    ///
    /// # Errors
    /// A text that is too long.
    pub async fn set_presence(&self, said: PresenceBody) -> Result<PresenceBody, ErrorBody> {
        if said.text.chars().count() > PRESENCE_MAX {
            return Err(ErrorBody::new(ErrorCode::Usage, "this line is too long").hint(format!("at most {PRESENCE_MAX} characters")));
        }
        let json = serde_json::to_string(&said).unwrap_or_default(); // our own type: it is JSON
        self.store().write(Durability::Soon, move |t| store::settings::set(t, PRESENCE, &json)).await?;
        self.update(|state| state.presence = said.clone());
        let sessions: Vec<Session> = self.look(|state| state.peers.iter().filter_map(|known| known.open_session().cloned()).collect());
        for session in &sessions {
            self.tell_presence(session);
        }
        Ok(said)
    }

    /// Tells a paired peer what our person says.
    pub(crate) fn tell_presence(&self, session: &Session) {
        let said = self.look(|state| {
            let paired = state.peers.get(&session.peer()).is_some_and(|known| known.trust.paired());
            paired.then(|| state.presence.clone())
        });
        if let Some(said) = said {
            let presence = Presence { away: said.state == PresenceState::Away, text: said.text };
            session.notify(Note { kind: Some(note::Kind::Presence(presence)) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read_back_and_nonsense_is_nothing() {
        let said = PresenceBody { state: PresenceState::Away, text: "back at five".into() };

        assert_eq!(read(serde_json::to_string(&said).ok()), said);
        assert_eq!(read(Some("nonsense".into())), PresenceBody::default());
        assert_eq!(read(None), PresenceBody::default());
    }
}
