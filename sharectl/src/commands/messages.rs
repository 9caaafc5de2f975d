//! `messages [PEER]`: what was said, and what is said now.

use clap::{Args, Subcommand};
use sharekaro_proto::{
    client::Client,
    control::message::{Message, Messages as MessagesBody},
    nouns::transfer::Direction,
};

use super::history::{Circle, Feed, News, Wanted, seen};
use crate::{
    ending::End,
    print::{Screen, message},
};

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Messages {
    #[command(subcommand)]
    verb: Option<MessagesVerb>,
    /// With this peer only, or with @group or all: what you wrote to them together, and what each of them wrote to you.
    /// What a person sees so is marked as read
    peer: Option<String>,
    /// The last so many [default: 50]
    #[arg(short, value_name = "N")]
    n: Option<u64>,
    /// Those with all of these words in them
    #[arg(long, value_name = "WORDS")]
    search: Option<String>,
    /// Go on: a message a line, as it comes
    #[arg(long, conflicts_with = "search")]
    watch: bool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum MessagesVerb {
    /// All of it, oldest first; with --json a message a line
    Export {
        /// With this peer only
        peer: Option<String>,
    },
}

/// Shown where nobody says how many.
const COUNT: u64 = 50;

impl Messages {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        if let Some(MessagesVerb::Export { peer }) = self.verb {
            return export(Wanted { peer, search: None }, client, screen).await;
        }
        let wanted = Wanted { peer: self.peer, search: self.search };
        if self.watch {
            return watch(wanted.peer.as_deref(), self.n.unwrap_or(0), client, screen).await;
        }
        let messages = wanted.last(self.n.unwrap_or(COUNT), client).await?;
        screen.say(&MessagesBody { messages: messages.clone() }, || shown(&messages, &wanted))?;
        if let (Some(_), None, false) = (&wanted.peer, &wanted.search, screen.is_json()) {
            seen(&messages, client).await?;
        }
        Ok(())
    }
}

fn shown(messages: &[Message], wanted: &Wanted) -> String {
    match (messages, &wanted.search) {
        ([], Some(_)) => "Nothing has all of these words in it.".to_owned(),
        ([], None) => "Nothing was said yet. Say something: sharectl message PEER TEXT".to_owned(),
        (some, _) => message::list(some),
    }
}

async fn export(wanted: Wanted, client: &Client, screen: &Screen) -> Result<(), End> {
    let mut after = 0;
    loop {
        let part = wanted.next(after, client).await?;
        let Some(last) = part.last() else { return Ok(()) };
        after = last.no;
        part.iter().try_for_each(|it| screen.say(it, || message::line(it)))?;
    }
}

async fn watch(peer: Option<&str>, count: u64, client: &Client, screen: &Screen) -> Result<(), End> {
    let circle = match peer {
        Some(target) => Some(Circle::find(target, client).await?),
        None => None,
    };
    let reads = circle.is_some() && !screen.is_json();
    let before = Wanted { peer: circle.as_ref().map(|circle| circle.target.clone()), search: None }.last(count, client).await?;
    let mut feed = Feed::new(circle, before.last().map(|it| it.no), client).await?;
    let say = async |messages: &[Message]| {
        messages.iter().try_for_each(|it| screen.say(it, || message::line(it)))?;
        if reads { seen(messages, client).await.map_err(End::from) } else { Ok(()) }
    };
    say(&before).await?;
    while let Some(news) = feed.next(client).await? {
        match news {
            News::Came(messages) => say(&messages).await?,
            News::Changed(it) if screen.is_json() && it.direction == Direction::Out => screen.say(&it, String::new)?,
            News::Changed(_) | News::Circle(_) => {}
        }
    }
    screen.note("the daemon ended");
    Ok(())
}
