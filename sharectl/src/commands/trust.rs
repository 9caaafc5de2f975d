//! `trust PEER MODE`: what a paired device may do unasked.

use clap::Args;
use sharekaro_proto::{
    client::Client,
    control::{
        peer::{Peer, SetTrust as SetTrustBody},
        routes,
    },
    nouns::{text::Shown, trust::Trust},
};

use crate::{
    cli::{PEER_HELP, one_of},
    ending::End,
    print::Screen,
};

/// What a person may choose; the other kinds of trust come from pairing and blocking.
const MODES: &[Trust] = &[Trust::Ask, Trust::Accept, Trust::Decline];

#[derive(Args, Debug)]
pub(crate) struct SetTrust {
    #[arg(help = PEER_HELP)]
    peer: String,
    /// Its files wait for an answer, come in unasked, or are declined
    #[arg(value_parser = one_of(MODES, Trust::word))]
    mode: Trust,
}

impl SetTrust {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let body = SetTrustBody { trust: self.mode };
        let peer: Peer = client.post_with(&routes::fill(routes::PEER_TRUST, &self.peer), &body).await?;
        let what = match peer.trust {
            Trust::Accept => "come in unasked",
            Trust::Decline => "are declined",
            _ => "wait for an answer",
        };
        screen.say(&peer, || format!("files from {} {what}", Shown(&peer.alias)))
    }
}
