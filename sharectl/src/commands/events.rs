//! `events`: everything that happens, as it happens.

use clap::Args;
use sharekaro_proto::{
    client::Client,
    control::event::{Event, Fact},
    nouns::text::Shown,
};

use crate::{
    commands::{drop, policy},
    ending::End,
    print::{Screen, anomaly, message, quantity::count, transfer},
};

#[derive(Args, Debug)]
pub(crate) struct Events {}

impl Events {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let mut events = client.events().await?;
        if screen.is_json() {
            while let Some(json) = events.next_json().await? {
                screen.say_json(&json)?; // as the daemon wrote it: also kinds that this build does not know
            }
            return Ok(());
        }
        while let Some(event) = events.next().await? {
            screen.say(&event, || shown(&event))?;
        }
        screen.note("the daemon ended");
        Ok(())
    }
}

fn shown(event: &Event) -> String {
    let what = match &event.fact {
        Fact::Snapshot(all) => {
            let (peers, transfers) = (all.peers.len() as u64, all.transfers.len() as u64);
            format!("{}, {}", count(peers, "peer"), count(transfers, "transfer"))
        }
        Fact::PeerChanged(peer) => {
            format!("peer {}: {}, {}", Shown(&peer.alias), if peer.online { "online" } else { "offline" }, peer.trust)
        }
        Fact::PeerForgotten(peer) => format!("peer {} forgotten", peer.id.short()),
        Fact::PairingChanged(pairing) => {
            format!("pairing with {}: {} {}", Shown(&pairing.peer.alias), pairing.state, Shown(&pairing.words))
        }
        Fact::IdentityAlarm(alarm) => {
            let (trusted, seen) = (alarm.trusted.short(), alarm.seen.short());
            format!("ALARM: somebody calls itself {} with another key: k:{seen}, not k:{trusted}", Shown(&alarm.name))
        }
        Fact::TransferChanged(transfer) => transfer::line(transfer),
        Fact::MessageReceived(it) | Fact::MessageChanged(it) => message::line(it),
        Fact::AnomalyRecorded(it) => anomaly::line(it),
        Fact::DecisionRecorded(it) => policy::line(it),
        Fact::DropChanged(item) => drop::line(item),
        Fact::DropForgotten(gone) => format!("{} is no longer in the drop folder", Shown(&gone.path)),
        Fact::WarningsChanged(warnings) => {
            let messages: Vec<String> = warnings.iter().map(|warning| Shown(&warning.message).to_string()).collect();
            if messages.is_empty() { "no warnings".to_owned() } else { format!("warning: {}", messages.join("; ")) }
        }
    };
    format!("{:.0} {what}", event.at)
}
