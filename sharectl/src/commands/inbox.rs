//! `inbox`: what waits for an answer and what came.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use sharekaro_proto::{
    ErrorBody, ErrorCode, TransferId,
    client::Client,
    control::{
        inbox::{Accept, Decline, Inbox as InboxBody, Received, WaitingOffer},
        routes,
        transfer::{RawPath, Transfer},
    },
};

use crate::{
    cli::transfer_id,
    ending::End,
    print::{
        Screen,
        quantity::{count, size, when},
        table, transfer,
    },
};

#[derive(Args, Debug)]
pub(crate) struct Inbox {
    #[command(subcommand)]
    verb: Option<InboxVerb>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum InboxVerb {
    /// What waits and what came (also without a verb)
    List,
    /// Take an offer
    Accept {
        #[arg(value_parser = transfer_id)]
        id: TransferId,
        /// Put it there; the folder is made where it is missing
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
    /// Do not take an offer
    Decline {
        #[arg(value_parser = transfer_id)]
        id: TransferId,
        /// What the sender is told
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
}

impl Inbox {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let transfer: Transfer = match self.verb.unwrap_or(InboxVerb::List) {
            InboxVerb::List => {
                let inbox: InboxBody = client.get(routes::INBOX).await?;
                return screen.say(&inbox, || shown(&inbox, Timestamp::now()));
            }
            InboxVerb::Accept { id, to } => {
                let dir = to.map(absolute).transpose()?;
                client.post_with(&routes::fill(routes::INBOX_ACCEPT, &id.to_string()), &Accept { dir }).await?
            }
            InboxVerb::Decline { id, reason } => {
                client.post_with(&routes::fill(routes::INBOX_DECLINE, &id.to_string()), &Decline { reason }).await?
            }
        };
        screen.say(&transfer, || transfer::line(&transfer))
    }
}

fn absolute(dir: PathBuf) -> Result<RawPath, ErrorBody> {
    let path = std::path::absolute(&dir);
    path.map(RawPath).map_err(|error| ErrorBody::new(ErrorCode::LocalFile, format!("cannot use the folder {}: {error}", dir.display())))
}

fn shown(inbox: &InboxBody, now: Timestamp) -> String {
    if inbox.waiting.is_empty() && inbox.received.is_empty() {
        return "Nothing came yet, and nothing waits for an answer.".to_owned();
    }
    let mut parts = Vec::new();
    if !inbox.waiting.is_empty() {
        let row = |offer: &WaitingOffer| {
            let what = format!("{}, {}", count(offer.files, "file"), size(offer.bytes));
            let from = format!("{} (k:{})", offer.peer, offer.key);
            [offer.id.to_string(), from, offer.name.clone(), what, when(offer.expires_at, now), offer.note.clone()]
        };
        let waiting = table::table(["ID", "FROM", "WHAT", "SIZE", "EXPIRES", "NOTE"], inbox.waiting.iter().map(row));
        parts.push(format!("Waiting for an answer (sharectl inbox accept ID, or decline ID):\n{waiting}"));
    }
    if !inbox.received.is_empty() {
        let row = |came: &Received| [came.id.to_string(), came.peer.clone(), when(came.at, now), came.paths.join(", ")];
        parts.push(format!("Received:\n{}", table::table(["ID", "FROM", "WHEN", "WHERE"], inbox.received.iter().map(row))));
    }
    parts.join("\n\n")
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::nouns::text::is_obeyed;

    use super::*;

    #[test]
    fn an_offer_cannot_forge_another_line() {
        let hostile = "x\u{1b}[1A\r\nt9  mum  holiday.jpg".to_owned();
        let offer = WaitingOffer {
            id: TransferId(8),
            peer: hostile.clone(),
            key: "abcdefgh".into(),
            name: hostile.clone(),
            files: 1,
            bytes: 10,
            expires_at: Timestamp::UNIX_EPOCH,
            rule: "default".into(),
            note: hostile,
        };

        let text = shown(&InboxBody { waiting: vec![offer], received: Vec::new() }, Timestamp::UNIX_EPOCH);

        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.lines().all(|line| !line.chars().any(is_obeyed)), "{text:?}");
    }
}
