//! `presence [available|away [TEXT]]`: what paired peers see of us.

use clap::{Args, ValueEnum};
use sharekaro_proto::{
    client::Client,
    control::{
        peer::{PresenceBody, PresenceState},
        routes,
    },
    nouns::text::Shown,
};

use crate::{ending::End, print::Screen};

#[derive(Args, Debug)]
pub(crate) struct Presence {
    /// Whether you would like to be disturbed; without it, what is set now
    state: Option<StateWord>,
    /// A line to it
    #[arg(default_value = "", hide_default_value = true)]
    text: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StateWord {
    Available,
    Away,
}

impl Presence {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let state = self.state.map(|word| match word {
            StateWord::Available => PresenceState::Available,
            StateWord::Away => PresenceState::Away,
        });
        let said: PresenceBody = match state {
            Some(state) => client.post_with(routes::PRESENCE, &PresenceBody { state, text: self.text }).await?,
            None => client.get(routes::PRESENCE).await?,
        };
        screen.say(&said, || shown(&said))
    }
}

/// `away: back at five`.
pub(crate) fn shown(said: &PresenceBody) -> String {
    let word = if said.state == PresenceState::Away { "away" } else { "available" };
    if said.text.is_empty() { word.to_owned() } else { format!("{word}: {}", Shown(&said.text)) }
}
