//! `peer VERB`: one other device.

use clap::Subcommand;
use serde::de::IgnoredAny;
use serde_json::json;
use sharekaro_proto::{
    client::Client,
    control::{
        peer::{AddPeer, Peer, Pong, Rename},
        routes,
    },
    nouns::text::Shown,
};

use super::peers::card;
use crate::{cli::PEER_HELP, ending::End, print::Screen};

#[derive(Subcommand, Debug)]
pub(crate) enum PeerVerb {
    /// Everything about a peer
    Show {
        #[arg(help = PEER_HELP)]
        peer: String,
    },
    /// Reach a device that announcements do not reach
    Add {
        /// HOST, HOST:PORT or [IPV6%INTERFACE]:PORT
        address: String,
        /// What to call it here
        #[arg(long)]
        alias: Option<String>,
    },
    /// Call a peer something else, on this device only
    Rename {
        #[arg(help = PEER_HELP)]
        peer: String,
        /// What to call it
        alias: String,
    },
    /// Let a peer not even connect
    Block {
        #[arg(help = PEER_HELP)]
        peer: String,
    },
    /// Take that back
    Unblock {
        #[arg(help = PEER_HELP)]
        peer: String,
    },
    /// Forget a peer and all trust in it
    Forget {
        #[arg(help = PEER_HELP)]
        peer: String,
    },
    /// Measure the way to a peer and back
    Ping {
        #[arg(help = PEER_HELP)]
        peer: String,
    },
}

impl PeerVerb {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let peer: Peer = match self {
            Self::Show { peer } => client.get(&routes::fill(routes::PEER, &peer)).await?,
            Self::Add { address, alias } => client.post_with(routes::PEERS, &AddPeer { address, alias }).await?,
            Self::Rename { peer, alias } => client.post_with(&routes::fill(routes::PEER_RENAME, &peer), &Rename { alias }).await?,
            Self::Block { peer } => client.post(&routes::fill(routes::PEER_BLOCK, &peer)).await?,
            Self::Unblock { peer } => client.post(&routes::fill(routes::PEER_UNBLOCK, &peer)).await?,
            Self::Forget { peer } => return forget(&peer, client, screen).await,
            Self::Ping { peer } => return ping(&peer, client, screen).await,
        };
        screen.say(&peer, || card(&peer))
    }
}

async fn forget(peer: &str, client: &Client, screen: &Screen) -> Result<(), End> {
    client.delete::<IgnoredAny>(&routes::fill(routes::PEER, peer)).await?;
    screen.say(&json!({ "forgotten": peer }), || format!("{} is forgotten; if it is seen again, it is a stranger", Shown(peer)))
}

async fn ping(peer: &str, client: &Client, screen: &Screen) -> Result<(), End> {
    let pong: Pong = client.post(&routes::fill(routes::PEER_PING, peer)).await?;
    screen.say(&pong, || format!("{} answers from {} in {:.2} ms", Shown(peer), Shown(&pong.address), pong.rtt_ms))
}
