//! `pair`: make a device trusted, by words that two people compare or by a code that one passes on.

use std::io::{BufRead, Write};

use clap::Args;
use serde_json::json;
use sharekaro_proto::{
    ErrorBody, ErrorCode,
    client::Client,
    control::{
        event::Fact,
        pairing::{JoinInvitation, Pairing, PairingState, StartPairing},
        peer::Peer,
        routes,
    },
    nouns::{shell::ShellWord, text::Shown},
};
use tokio::sync::oneshot;

use super::{invite, signals::Signals};
use crate::{ending::End, print::Screen};

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("how").required(true).multiple(true).args(["peer", "invite", "join"]))]
pub(crate) struct Pair {
    /// With whom: its person runs `sharectl pair` too, and both compare the words
    peer: Option<String>,
    /// Say that the words are the same without asking, for scripts
    #[arg(long, short, requires = "peer", conflicts_with_all = ["invite", "join"])]
    yes: bool,
    /// Show a code that pairs one device, once, for some minutes
    #[arg(long, conflicts_with_all = ["peer", "join"])]
    invite: bool,
    /// Use the code that another device shows (without PEER: of whoever on the LAN holds it)
    #[arg(long, value_name = "CODE")]
    join: Option<String>,
}

impl Pair {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        match (self.join, self.peer) {
            (Some(code), peer) => join(code, peer, client, screen).await,
            (None, Some(peer)) => compare(peer, self.yes, client, screen).await,
            (None, None) => invite::run(client, screen).await,
        }
    }
}

async fn join(code: String, peer: Option<String>, client: &Client, screen: &Screen) -> Result<(), End> {
    let peer: Peer = client.post_with(routes::JOIN, &JoinInvitation { code, peer }).await?;
    screen.say(&peer, || paired(&peer))
}

/// What is said of a peer that is trusted from now on.
pub(super) fn paired(peer: &Peer) -> String {
    let word = ShellWord(&peer.alias).to_string();
    format!("Paired with {}: its files come in unasked (to be asked: sharectl trust {} ask)", Shown(&peer.alias), Shown(&word))
}

async fn compare(peer: String, yes: bool, client: &Client, screen: &Screen) -> Result<(), End> {
    if !yes && !screen.can_ask() {
        let error = ErrorBody::new(ErrorCode::Usage, "pairing by words needs a person to compare them, and there is no terminal");
        return Err(error.hint("use --yes in a script, or `sharectl pair --invite` here and `--join CODE` there").into());
    }
    let mut signals = Signals::new()?;
    let given_up = || End::from(ErrorBody::new(ErrorCode::Cancelled, "pairing was given up"));
    let start = StartPairing { peer };
    let pairing: Pairing = tokio::select! {
        begun = client.post_with(routes::PAIRINGS, &start) => begun?, // the other device may take its time
        _ = signals.next() => return Err(given_up()),
    };
    let id = pairing.id;
    let done = tokio::select! {
        done = follow(pairing, yes, client, screen) => done,
        _ = signals.next() => Err(given_up()),
    };
    if done.is_err() {
        let given_up: Result<serde_json::Value, _> = client.delete(&routes::fill(routes::PAIRING, &id.to_string())).await;
        drop(given_up); // what already ended need not be given up
    }
    screen.say(&done?, String::new)
}

/// Follows a pairing to its end; returns the peer that is paired now.
async fn follow(mut pairing: Pairing, yes: bool, client: &Client, screen: &Screen) -> Result<Peer, End> {
    let mut events = client.events().await?;
    let mut answer = None;
    loop {
        match pairing.state {
            PairingState::Paired => {
                screen.note(&paired(&pairing.peer));
                return Ok(pairing.peer);
            }
            PairingState::Failed => return Err(why(&pairing).into()),
            PairingState::Comparing if answer.is_none() && !pairing.confirmed_here => {
                screen.say(&json!({ "words": pairing.words }), || words(&pairing))?;
                answer = Some(if yes { said_yes() } else { ask() });
            }
            PairingState::Comparing | PairingState::Starting => {}
        }
        tokio::select! {
            event = events.next() => match event?.map(|event| event.fact) {
                Some(Fact::PairingChanged(changed)) if changed.id == pairing.id => pairing = *changed,
                Some(Fact::Snapshot(all)) => pairing = latest(all.pairings, pairing.id, client).await?,
                Some(_) => {}
                None => return Err(ErrorBody::new(ErrorCode::NoDaemon, "the daemon ended while pairing").into()),
            },
            same = answered(&mut answer) => {
                if !same {
                    return Err(ErrorBody::new(ErrorCode::Cancelled, "you said that the words differ; nobody was paired").into());
                }
                pairing = client.post(&routes::fill(routes::PAIRING_CONFIRM, &pairing.id.to_string())).await?;
                if pairing.state == PairingState::Comparing {
                    screen.note(&format!("Now {} has to say yes too.", Shown(&pairing.peer.alias)));
                }
            }
        }
    }
}

/// Ours as it is now. One that is not under way any more is in no snapshot.
async fn latest(all: Vec<Pairing>, id: u64, client: &Client) -> Result<Pairing, ErrorBody> {
    match all.into_iter().find(|pairing| pairing.id == id) {
        Some(ours) => Ok(ours),
        None => client.get(&routes::fill(routes::PAIRING, &id.to_string())).await,
    }
}

fn why(pairing: &Pairing) -> ErrorBody {
    let peer = &pairing.peer.alias;
    let unsaid = || ErrorBody::new(ErrorCode::NotTrusted, format!("pairing with {peer} failed")).hint("try again on both sides");
    pairing.error.clone().unwrap_or_else(unsaid)
}

fn words(pairing: &Pairing) -> String {
    format!("Words for {}:\n\n    {}\n", Shown(&pairing.peer.alias), Shown(&pairing.words))
}

/// An answer that is on its way, `true` where the words are the same.
type Answer = oneshot::Receiver<bool>;

fn said_yes() -> Answer {
    let (say, answer) = oneshot::channel();
    let _ = say.send(true); // its receiver is the next line
    answer
}

/// Asks the person. The thread that waits for the line ends with the program.
fn ask() -> Answer {
    let (say, answer) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = write!(std::io::stderr(), "Are these the words on the other screen? [y/N] ");
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        let _ = say.send(read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes")); // nobody waits any more: fine
    });
    answer
}

/// The answer once it is there; never where nobody was asked or the answer was taken.
async fn answered(answer: &mut Option<Answer>) -> bool {
    let same = match answer {
        Some(receiver) if !receiver.is_terminated() => receiver.await,
        _ => std::future::pending().await,
    };
    same.unwrap_or(false)
}
