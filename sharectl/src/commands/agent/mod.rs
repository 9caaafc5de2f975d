//! `agent`: what a person should know of, as notifications of the desktop, with buttons that answer.
//!
//! Runs in the session, apart from the daemon, which has no desktop. It decides nothing: a button is the request that
//! the verb of the same name makes. A daemon or a notification service that is away is waited for.

mod desktop;
mod notices;

use std::{collections::HashMap, time::Duration};

use clap::Args;
use serde_json::{Value, json};
use sharekaro_proto::{
    ErrorBody, ErrorCode,
    client::{Client, EventStream},
    control::{
        inbox::{Accept, Decline},
        message::{WriteMessage, WrittenMessages},
        pairing::Pairing,
        routes,
        transfer::Transfer,
    },
};

use self::{
    desktop::{Desktop, Heard},
    notices::{Change, Deed, Key, Notices},
};
use super::open;
use crate::{cli::Globals, ending::End, print::Screen};

/// The pause before it looks again for who is away; it doubles up to `AGAIN_MAX`.
const AGAIN_MIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
pub(crate) struct Agent {
    /// End where the daemon or the notification service is away, instead of waiting for it
    #[arg(long)]
    once: bool,
}

impl Agent {
    pub(crate) async fn run(self, globals: Globals, screen: &Screen) -> Result<(), End> {
        let (mut notices, mut on_screen) = (Notices::default(), None);
        let mut pause = AGAIN_MIN;
        loop {
            let ended = attend(&globals, &mut notices, &mut on_screen, &mut pause, screen).await;
            if self.once {
                return ended;
            }
            match ended {
                Err(End::Failed(error)) => screen.failure(&error),
                Err(told) => return Err(told), // standard output is gone
                Ok(()) => screen.note("the daemon ended"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN_MAX);
        }
    }
}

/// Shows what happens until the daemon or the notification service goes. What is on the screen stays there while the
/// daemon is away; it goes with its service, and what waits is then shown anew.
async fn attend(
    globals: &Globals,
    notices: &mut Notices,
    on_screen: &mut Option<OnScreen>,
    pause: &mut Duration,
    screen: &Screen,
) -> Result<(), End> {
    let client = super::connect(globals).await?;
    let session = match on_screen {
        Some(on_screen) => Session { client, on_screen, screen },
        None => {
            let desktop = Desktop::connect().await.map_err(|e| no_desktop(&e))?;
            notices.begin_anew();
            Session { client, on_screen: on_screen.insert(OnScreen { desktop, shown: HashMap::new() }), screen }
        }
    };
    let events = session.client.events().await?;
    *pause = AGAIN_MIN;
    let ended = session.follow(events, notices).await;
    if matches!(&ended, Err(End::Failed(error)) if error.code == ErrorCode::Unavailable) {
        *on_screen = None;
    }
    ended
}

fn no_desktop(error: &zbus::Error) -> ErrorBody {
    ErrorBody::new(ErrorCode::Unavailable, format!("nobody shows notifications in this session: {error}"))
        .hint("start it inside a desktop session; where there is no notification service, install one, as dunst")
}

/// What is on the screen.
struct OnScreen {
    desktop: Desktop,
    /// Number of the notification to what it is about.
    shown: HashMap<u32, Key>,
}

/// What is on the screen, and what its buttons reach.
struct Session<'a> {
    client: Client,
    on_screen: &'a mut OnScreen,
    screen: &'a Screen,
}

impl Session<'_> {
    async fn follow(mut self, mut events: EventStream, notices: &mut Notices) -> Result<(), End> {
        self.tell(json!({"watching": true}))?;
        loop {
            tokio::select! {
                event = events.next() => match event? {
                    Some(event) => {
                        for change in notices.take(&event) {
                            self.apply(change).await?;
                        }
                    }
                    None => return Ok(()),
                },
                heard = self.on_screen.desktop.heard() => {
                    let heard = heard.map_err(|e| no_desktop(&e))?;
                    self.answer(heard).await?;
                }
            }
        }
    }

    async fn apply(&mut self, change: Change) -> Result<(), End> {
        match change {
            Change::Show(notice) => {
                let instead = self.number(&notice.key).unwrap_or(0);
                let number = self.on_screen.desktop.show(&notice, instead).await.map_err(|e| no_desktop(&e))?;
                self.on_screen.shown.retain(|other, key| *other != instead && *key != notice.key);
                self.tell(json!({"shown": number, "title": notice.title, "body": notice.body, "progress": notice.progress}))?;
                self.on_screen.shown.insert(number, notice.key);
            }
            Change::Remove(key) => {
                if let Some(number) = self.number(&key) {
                    self.on_screen.shown.remove(&number);
                    self.on_screen.desktop.remove(number).await;
                    self.tell(json!({"removed": number}))?;
                }
            }
        }
        Ok(())
    }

    fn number(&self, key: &Key) -> Option<u32> {
        self.on_screen.shown.iter().find(|(_, shown)| *shown == key).map(|(number, _)| *number)
    }

    /// Other programs' notifications are heard too: only numbers of ours count.
    async fn answer(&mut self, heard: Heard) -> Result<(), End> {
        let (number, deed, text) = match heard {
            Heard::Closed(number) => {
                self.on_screen.shown.remove(&number);
                return Ok(());
            }
            Heard::Pressed(number, word) => (number, Deed::from_word(&word), String::new()),
            Heard::Replied(number, text) => (number, Some(Deed::Reply), text),
        };
        let (Some(key), Some(deed)) = (self.on_screen.shown.get(&number).cloned(), deed) else { return Ok(()) };
        let done = self.act(&key, deed, text).await;
        self.tell(json!({"pressed": deed.word(), "notification": number, "error": done.as_ref().err()}))?;
        if let Err(error) = done {
            self.screen.failure(&error); // the next event shows how it stands
        }
        Ok(())
    }

    async fn act(&self, key: &Key, deed: Deed, text: String) -> Result<(), ErrorBody> {
        match (key, deed) {
            (Key::Transfer(id), Deed::Accept) => {
                let path = routes::fill(routes::INBOX_ACCEPT, &id.to_string());
                self.client.post_with::<_, Transfer>(&path, &Accept::default()).await.map(drop)
            }
            (Key::Transfer(id), Deed::Decline) => {
                let path = routes::fill(routes::INBOX_DECLINE, &id.to_string());
                self.client.post_with::<_, Transfer>(&path, &Decline::default()).await.map(drop)
            }
            (Key::Transfer(id), Deed::Open) => open::open(*id, &self.client).await.map(drop),
            (Key::Talk(peer), Deed::Reply) if !text.trim().is_empty() => {
                let write = WriteMessage { target: format!("k:{peer}"), text, id: None };
                self.client.post_with::<_, WrittenMessages>(routes::MESSAGES, &write).await.map(drop)
            }
            (Key::Pairing(id), Deed::Same) => {
                self.client.post::<Pairing>(&routes::fill(routes::PAIRING_CONFIRM, &id.to_string())).await.map(drop)
            }
            (Key::Pairing(id), Deed::Different) => {
                self.client.delete::<Value>(&routes::fill(routes::PAIRING, &id.to_string())).await.map(drop)
            }
            _ => Ok(()), // a button that this notice does not have
        }
    }

    fn tell(&self, what: Value) -> Result<(), End> {
        self.screen.say(&what, String::new)
    }
}
