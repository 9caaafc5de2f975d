//! `demo`: two daemons on this machine pair and exchange a file, each step said in plain words.
//!
//! Nothing of the user's is touched: both live in a temporary folder, announce nothing, and end with the demo.

mod daemon;

use std::{io::Read, path::Path, time::Duration};

use clap::Args;
use serde::Serialize;
use sharekaro_proto::{
    ErrorBody, ErrorCode,
    control::{
        event::Fact,
        inbox::Inbox,
        pairing::{Invitation, JoinInvitation},
        peer::{AddPeer, Peer},
        routes,
        status::Status,
        transfer::{RawPath, Send, Transfer, Transfers},
    },
    nouns::{text::Shown, transfer::TransferState},
};

use self::daemon::Daemon;
use super::signals::Signals;
use crate::{
    ending::End,
    print::{Screen, progress::Progress, quantity::size},
};

/// Big enough to be seen moving, small enough for any temporary folder.
const FILE_SIZE: u64 = 8 << 20;

/// On one machine, everything here takes a second at most.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
pub(crate) struct Demo {}

/// One step for programs.
#[derive(Serialize)]
struct Step<'a> {
    step: &'a str,
    message: &'a str,
}

impl Demo {
    pub(crate) async fn run(self, screen: &Screen) -> Result<(), End> {
        let mut signals = Signals::new()?;
        let top = tempfile::Builder::new().prefix("sharekaro-demo.").tempdir().map_err(|error| local("make a temporary folder", &error))?;
        let told = tokio::select! {
            told = story(top.path(), screen) => told,
            _ = signals.next() => Err(ErrorBody::new(ErrorCode::Cancelled, "the demo was interrupted; nothing of it is left").into()),
        };
        let cleaned = top.close().map_err(|error| local("remove the temporary folder", &error));
        told?;
        cleaned?;
        say(screen, "done", ON_TWO_MACHINES)
    }
}

const ON_TWO_MACHINES: &str = "Everything of it is removed again. On two real machines of one network:

    both        sharekarod                          (or: systemctl --user enable --now sharekarod)
    the first   sharectl pair --invite              (shows a code)
    the other   sharectl pair --join CODE
    either      sharectl send NAME FILE             (sharectl peers shows the names)";

async fn story(top: &Path, screen: &Screen) -> Result<(), End> {
    let alice = Daemon::start("alice", top).await?;
    let bob = Daemon::start("bob", top).await?;
    say(screen, "started", "Two daemons run on this machine, alice and bob, each with a home and a key of its own.")?;
    let met = meet(&alice, &bob).await?;
    say(screen, "met", &format!("alice reached bob at {}; so far they are strangers.", Shown(&met)))?;
    let code = pair(&alice, &bob).await?;
    say(screen, "paired", &format!("alice showed the code {}, bob used it: now each trusts the other's key.", Shown(&code)))?;
    let sent_path = random_file(top).map_err(|error| local("write a file to send", &error))?;
    let transfer = send(&alice, &sent_path, screen).await?;
    say(screen, "sent", &format!("alice sent {} ({}) and has bob's receipt.", Shown(&transfer.title), size(transfer.bytes_total)))?;
    let received = verify(&bob, &sent_path).await?;
    say(screen, "verified", &format!("bob has the same bytes in {}.", Shown(&received)))
}

fn say(screen: &Screen, step: &str, message: &str) -> Result<(), End> {
    screen.say(&Step { step, message }, || message.to_owned())
}

async fn meet(alice: &Daemon, bob: &Daemon) -> Result<String, End> {
    let there: Status = bob.client.get(routes::STATUS).await?;
    let address = format!("127.0.0.1:{}", there.port);
    let _: Peer = alice.client.post_with(routes::PEERS, &AddPeer { address: address.clone(), alias: None }).await?;
    for (here, name) in [(alice, "bob"), (bob, "alice")] {
        let seen = |peer: &Peer| peer.name == name && peer.online;
        until(here, "see the other daemon", |fact| match fact {
            Fact::Snapshot(all) => all.peers.iter().any(seen).then_some(()),
            Fact::PeerChanged(peer) => seen(peer).then_some(()),
            _ => None,
        })
        .await?;
    }
    Ok(address)
}

async fn pair(alice: &Daemon, bob: &Daemon) -> Result<String, End> {
    let invitation: Invitation = alice.client.post(routes::INVITATIONS).await?;
    let join = JoinInvitation { code: invitation.code.clone(), peer: Some("alice".to_owned()) };
    let _: Peer = bob.client.post_with(routes::JOIN, &join).await?;
    Ok(invitation.code)
}

fn random_file(top: &Path) -> std::io::Result<std::path::PathBuf> {
    let path = top.join("holiday.raw");
    let mut random = std::fs::File::open("/dev/urandom")?.take(FILE_SIZE);
    std::io::copy(&mut random, &mut std::fs::File::create(&path)?)?;
    Ok(path)
}

async fn send(alice: &Daemon, path: &Path, screen: &Screen) -> Result<Transfer, End> {
    let what = Send { target: "bob".to_owned(), paths: vec![RawPath(path.to_owned())], ..Send::default() };
    let sent: Transfers = alice.client.post_with(routes::TRANSFERS, &what).await?;
    let Some(id) = sent.transfers.first().map(|transfer| transfer.id) else {
        return Err(ErrorBody::new(ErrorCode::Unexpected, "the daemon recorded no transfer").into());
    };
    let mut progress = Progress::new(screen, 1);
    let ended = until(alice, "deliver the file", |fact| {
        let ours = match fact {
            Fact::Snapshot(all) => all.transfers.iter().find(|transfer| transfer.id == id)?,
            Fact::TransferChanged(transfer) if transfer.id == id => transfer,
            _ => return None,
        };
        progress.show(screen, ours);
        ours.state.ended().then(|| ours.clone())
    })
    .await;
    progress.end();
    let transfer = ended?;
    if transfer.state == TransferState::Done {
        return Ok(transfer);
    }
    let unsaid = || ErrorBody::new(ErrorCode::Unexpected, format!("the transfer was {}", transfer.state));
    Err(transfer.error.clone().unwrap_or_else(unsaid).into())
}

async fn verify(bob: &Daemon, sent_path: &Path) -> Result<String, End> {
    let inbox: Inbox = bob.client.get(routes::INBOX).await?;
    let path = inbox.received.into_iter().flat_map(|received| received.paths).next();
    let Some(path) = path else {
        return Err(ErrorBody::new(ErrorCode::Integrity, "nothing lies in bob's inbox").into());
    };
    let read = |path: &Path| std::fs::read(path).map_err(|error| local("read a file of the demo", &error));
    if read(Path::new(&path))? != read(sent_path)? {
        return Err(ErrorBody::new(ErrorCode::Integrity, "bob has other bytes than alice sent").into());
    }
    Ok(path)
}

/// Follows the events of a daemon until one of them answers the question.
async fn until<T>(daemon: &Daemon, what: &str, mut question: impl FnMut(&Fact) -> Option<T>) -> Result<T, End> {
    let follow = async {
        let mut events = daemon.client.events().await?;
        while let Some(event) = events.next().await? {
            if let Some(answer) = question(&event.fact) {
                return Ok(answer);
            }
        }
        Err(daemon.ended())
    };
    match tokio::time::timeout(STEP_TIMEOUT, follow).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ErrorBody::new(ErrorCode::TimedOut, format!("{} could not {what} in time: {}", daemon.name, daemon.said())).into()),
    }
}

fn local(what: &str, error: &std::io::Error) -> ErrorBody {
    ErrorBody::new(ErrorCode::LocalFile, format!("cannot {what}: {error}")).hint("TMPDIR names another temporary folder")
}
