//! `receive`: takes what a code was made for (also on a device that is not paired), or the next that a peer sends.

use std::{
    collections::HashSet,
    io::{IsTerminal, Write},
};

use clap::Args;
use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode, TransferId,
    client::Client,
    control::{
        event::Fact,
        peer::Peer,
        routes,
        transfer::{ReceiveCode, ReceivePipe, Transfer},
    },
    nouns::{text::Shown, transfer::Direction},
};

use super::follow;
use crate::{ending::End, print::Screen};

#[derive(Args, Debug)]
pub(crate) struct Receive {
    /// The code, as `sharectl send --code` shows it
    #[arg(required_unless_present = "from")]
    words: Vec<String>,
    /// The next that this peer sends; with WORDS: whose code it is
    #[arg(long, value_name = "PEER")]
    from: Option<String>,
    /// The next file of that peer, to standard output; no copy is kept
    #[arg(long, requires = "from", conflicts_with = "words")]
    stdout: bool,
    /// Even to a terminal
    #[arg(long, requires = "stdout")]
    force: bool,
}

impl Receive {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        match self.from {
            Some(from) if self.stdout => to_stdout(ReceivePipe { from }, self.force, client).await,
            Some(from) if self.words.is_empty() => next(&from, client, screen).await,
            from => {
                let wanted = ReceiveCode { code: self.words.join(" "), from };
                let transfer: Transfer = client.post_with(routes::CODES_RECEIVE, &wanted).await?;
                follow::to_the_end(vec![transfer], None, client, screen).await
            }
        }
    }
}

/// Waits for the next file and writes it as it is.
async fn to_stdout(wanted: ReceivePipe, force: bool, client: &Client) -> Result<(), End> {
    let mut out = std::io::stdout();
    if out.is_terminal() && !force {
        let error = ErrorBody::new(ErrorCode::Usage, "a file may say anything to a terminal");
        return Err(error.hint("redirect standard output, or say --force").into());
    }
    let mut file = client.download(routes::PIPES_RECEIVE, &wanted).await?;
    while let Some(part) = file.next().await? {
        out.write_all(&part).map_err(|error| End::no_output(&error))?;
    }
    out.flush().map_err(|error| End::no_output(&error))
}

/// Waits for the next transfer of a peer, and follows it to where it lies.
async fn next(from: &str, client: &Client, screen: &Screen) -> Result<(), End> {
    let mut events = client.events().await?;
    let peer: Peer = client.get(&routes::fill(routes::PEER, from)).await?;
    let mut known = None;
    let first = loop {
        let Some(event) = events.next().await? else {
            return Err(ErrorBody::new(ErrorCode::NoDaemon, "the daemon ended").into());
        };
        match event.fact {
            Fact::Snapshot(all) => match &known {
                None => {
                    known = Some(all.transfers.iter().map(|transfer| transfer.id).collect());
                    screen.note(&format!("waiting for what {} sends next", Shown(&peer.alias)));
                }
                // we fell behind, and it may have begun meanwhile
                Some(known) => {
                    if let Some(next) = next_of(all.transfers, peer.id, known) {
                        break next;
                    }
                }
            },
            Fact::TransferChanged(transfer) => {
                if let Some(next) = known.as_ref().and_then(|known| next_of(vec![*transfer], peer.id, known)) {
                    break next;
                }
            }
            _ => {}
        }
    };
    drop(events);
    follow::to_the_end(vec![first], None, client, screen).await
}

/// The first that came from this peer and was not there when we began to wait.
fn next_of(transfers: Vec<Transfer>, peer: DeviceId, known: &HashSet<TransferId>) -> Option<Transfer> {
    let is_from = |transfer: &Transfer| transfer.direction == Direction::In && transfer.peer_id == peer;
    transfers.into_iter().filter(|transfer| is_from(transfer) && !known.contains(&transfer.id)).min_by_key(|transfer| transfer.id)
}
