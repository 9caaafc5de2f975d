//! `drop`: what lies in the drop folders, and another try.

use std::{collections::BTreeSet, path::PathBuf};

use clap::Subcommand;
use sharekaro_proto::{
    ErrorBody, ErrorCode,
    client::Client,
    control::{
        drop::{DropItem, DropState, Drops, RetryDrop},
        event::Fact,
        routes,
        transfer::RawPath,
    },
    nouns::text::Shown,
};

use crate::{
    ending::End,
    print::{Screen, table},
};

/// So many of the things that were sent are shown to people; programs get all that are known.
const SENT_SHOWN: usize = 20;

#[derive(Subcommand, Debug)]
pub(crate) enum DropVerb {
    /// What is in the drop folders, where it goes, and how far it is
    Status {
        /// Go on: a line each, all that is there at first, then each that changes
        #[arg(long)]
        watch: bool,
    },
    /// Try again what failed, and at once what waits
    Retry {
        /// Only this file or folder, and what is in it
        path: Option<PathBuf>,
    },
}

impl DropVerb {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        match self {
            Self::Status { watch: true } => watch(client, screen).await,
            Self::Status { watch: false } => {
                let drops: Drops = client.get(routes::DROP).await?;
                screen.say(&drops, || shown(&drops.items))
            }
            Self::Retry { path } => {
                let path = path.map(absolute).transpose()?;
                let drops: Drops = client.post_with(routes::DROP_RETRY, &RetryDrop { path }).await?;
                screen.say(&drops, || match drops.items.as_slice() {
                    [] => "Nothing waits, and nothing failed.".to_owned(),
                    some => format!("Tried again:\n{}", list(some.iter())),
                })
            }
        }
    }
}

async fn watch(client: &Client, screen: &Screen) -> Result<(), End> {
    let mut events = client.events().await?;
    let mut open = BTreeSet::new();
    while let Some(event) = events.next().await? {
        let news = match event.fact {
            Fact::Snapshot(snapshot) => missed(&mut open, snapshot.drops, client).await?,
            Fact::DropChanged(item) => vec![*item],
            Fact::DropForgotten(gone) => {
                open.remove(&gone.path);
                continue;
            }
            _ => continue,
        };
        for item in &news {
            screen.say(item, || line(item))?;
            if item.state == DropState::Sent {
                open.remove(&item.path)
            } else {
                open.insert(item.path.clone())
            };
        }
    }
    screen.note("the daemon ended");
    Ok(())
}

/// All that is there, and of what was told before and is not there any more what was sent: we fell behind.
async fn missed(open: &mut BTreeSet<String>, there: Vec<DropItem>, client: &Client) -> Result<Vec<DropItem>, ErrorBody> {
    let mut gone = std::mem::take(open);
    for item in &there {
        gone.remove(&item.path);
    }
    if gone.is_empty() {
        return Ok(there);
    }
    let all: Drops = client.get(routes::DROP).await?;
    let sent = all.items.into_iter().filter(|item| item.state == DropState::Sent && gone.remove(&item.path));
    Ok(sent.chain(there).collect())
}

fn absolute(path: PathBuf) -> Result<RawPath, ErrorBody> {
    let absolute = std::path::absolute(&path);
    absolute.map(RawPath).map_err(|error| ErrorBody::new(ErrorCode::LocalFile, format!("cannot use the path {}: {error}", path.display())))
}

/// One of them, as one line.
pub(crate) fn line(item: &DropItem) -> String {
    let target = if item.target.is_empty() { String::new() } else { format!(" to {}", Shown(&item.target)) };
    let why = item.reason.as_ref().map(|why| format!(": {}", Shown(why))).unwrap_or_default();
    format!("{}{target} {}{why}", Shown(&item.path), item.state)
}

fn shown(items: &[DropItem]) -> String {
    let (sent, open): (Vec<&DropItem>, Vec<&DropItem>) = items.iter().partition(|item| item.state == DropState::Sent);
    let mut parts = Vec::new();
    match (open.is_empty(), sent.is_empty()) {
        (true, true) => parts.push(
            "The drop folder is empty. Put something into the folder of a peer there: `sharectl config` says where it is.".to_owned(),
        ),
        (true, false) => parts.push("Nothing waits: everything was sent.".to_owned()),
        _ => parts.push(list(open.into_iter())),
    }
    if !sent.is_empty() {
        let more = if sent.len() > SENT_SHOWN { format!(" (the last {SENT_SHOWN} of {})", sent.len()) } else { String::new() };
        parts.push(format!("Sent{more}:\n{}", list(sent.into_iter().take(SENT_SHOWN))));
    }
    parts.join("\n\n")
}

fn list<'a>(items: impl Iterator<Item = &'a DropItem>) -> String {
    let row = |item: &DropItem| [item.state.to_string(), item.target.clone(), item.path.clone(), item.reason.clone().unwrap_or_default()];
    table::table(["STATE", "TO", "WHAT", "WHY"], items.map(row))
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::nouns::text::is_obeyed;

    use super::*;

    fn item(state: DropState, name: &str) -> DropItem {
        DropItem { path: format!("/home/me/ShareDrop/bob/{name}"), target: "bob".into(), state, reason: Some("why\u{1b}[2J\nnot".into()) }
    }

    #[test]
    fn a_name_in_the_folder_cannot_forge_another_line() {
        let items = [item(DropState::Waiting, "x\u{1b}[1A\r\nsent bob y"), item(DropState::Sent, "z\u{202e}")];

        let text = shown(&items);

        assert_eq!(text.lines().count(), 6, "{text}");
        assert!(text.lines().all(|line| !line.chars().any(is_obeyed)), "{text:?}");
        assert!(!line(&items[0]).chars().any(is_obeyed));
    }

    #[test]
    fn a_long_history_is_cut_for_people() {
        let items: Vec<DropItem> = (0..50).map(|i| item(DropState::Sent, &format!("f{i}"))).collect();

        let text = shown(&items);

        assert!(text.contains("Nothing waits") && text.contains("the last 20 of 50") && !text.contains("f20 "), "{text}");
    }
}
