//! `peers`: the other devices.

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;
use sharekaro_proto::{
    DeviceId,
    client::Client,
    control::{
        event::Fact,
        peer::{Peer, Peers as PeersBody, PresenceBody},
        routes,
    },
    nouns::text::Shown,
};

use super::presence;
use crate::{
    ending::End,
    print::{Screen, quantity::when, table},
};

#[derive(Args, Debug)]
pub(crate) struct Peers {
    /// Go on: a peer a line, all at first, then each that changes
    #[arg(long)]
    watch: bool,
}

impl Peers {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        if self.watch {
            return watch(client, screen).await;
        }
        let peers: PeersBody = client.get(routes::PEERS).await?;
        screen.say(&peers, || list(&peers.peers))
    }
}

async fn watch(client: &Client, screen: &Screen) -> Result<(), End> {
    let mut events = client.events().await?;
    let mut known = BTreeMap::new();
    while let Some(event) = events.next().await? {
        news(&mut known, event.fact).iter().try_for_each(|peer| screen.say(peer, || line(peer)))?;
    }
    Ok(())
}

/// The peers that are told at this event. One that is no longer known is told for the last time, as off.
fn news(known: &mut BTreeMap<DeviceId, Peer>, fact: Fact) -> Vec<Peer> {
    let off = |peer: Peer| Peer { online: false, ..peer };
    match fact {
        Fact::Snapshot(snapshot) => {
            let now = snapshot.peers.iter().map(|peer| (peer.id, peer.clone())).collect();
            let mut before = std::mem::replace(known, now);
            before.retain(|id, _| !known.contains_key(id));
            before.into_values().map(off).chain(snapshot.peers).collect()
        }
        Fact::PeerChanged(peer) => {
            known.insert(peer.id, (*peer).clone());
            vec![*peer]
        }
        Fact::PeerForgotten(gone) => known.remove(&gone.id).map(off).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn line(peer: &Peer) -> String {
    let there = if peer.online { "online" } else { "offline" };
    format!("{} {there}, {}", Shown(&peer.alias), peer.trust)
}

fn list(peers: &[Peer]) -> String {
    if peers.is_empty() {
        return "Nobody else was seen on this network yet.\n\
                Start sharekarod on the other machine; it appears here by itself after some seconds.\n\
                Where the network passes no multicast: sharectl peer add HOST"
            .to_owned();
    }
    let now = Timestamp::now();
    let row = |peer: &Peer| {
        let seen = if peer.online { here(peer) } else { peer.last_seen.map_or_else(|| "never".to_owned(), |at| when(at, now)) };
        let address = peer.addresses.first().cloned().unwrap_or_default();
        [peer.alias.clone(), peer.trust.to_string(), seen, address, format!("k:{}", peer.id.short())]
    };
    table::table(["NAME", "TRUST", "SEEN", "ADDRESS", "KEY"], peers.iter().map(row))
}

/// `online`, or what its person says.
fn here(peer: &Peer) -> String {
    if peer.presence == PresenceBody::default() { "online".to_owned() } else { format!("online, {}", presence::shown(&peer.presence)) }
}

/// Everything about a peer.
pub(crate) fn card(peer: &Peer) -> String {
    let now = Timestamp::now();
    let mut rows = vec![
        ("alias", peer.alias.clone()),
        ("name", peer.name.clone()),
        ("id", peer.id.grouped()),
        ("online", if peer.online { "yes" } else { "no" }.to_owned()),
        ("trust", peer.trust.to_string()),
        ("addresses", peer.addresses.join(", ")),
        ("last seen", peer.last_seen.map_or_else(|| "never".to_owned(), |at| when(at, now))),
    ];
    if let Some(rtt) = peer.rtt_ms {
        rows.push(("round trip", format!("{rtt:.1} ms")));
    }
    if let Some(words) = &peer.words {
        rows.push(("words", words.clone()));
    }
    if !peer.presence.text.is_empty() {
        rows.push(("says", peer.presence.text.clone()));
    }
    rows.push(("version", peer.version.clone()));
    table::pairs(rows)
}

#[cfg(test)]
pub(crate) mod tests {
    use sharekaro_proto::{
        control::event::{PeerForgotten, Snapshot},
        nouns::{text::is_obeyed, trust::Trust},
    };

    use super::*;

    pub(crate) fn peer(name: &str) -> Peer {
        Peer {
            id: DeviceId::from_bytes([7; 32]),
            name: name.into(),
            alias: name.into(),
            online: true,
            trust: Trust::Unknown,
            addresses: vec!["10.0.0.7:47810".into()],
            last_seen: None,
            presence: Default::default(),
            rtt_ms: None,
            words: None,
            version: "0.1.0".into(),
        }
    }

    #[test]
    fn an_empty_network_says_what_to_do() {
        assert!(list(&[]).contains("sharectl peer add"));
    }

    #[test]
    fn who_is_not_known_any_more_is_told_as_off_also_where_we_fell_behind() {
        let snapshot =
            |peers| Fact::Snapshot(Box::new(Snapshot { peers, transfers: vec![], pairings: vec![], drops: vec![], warnings: vec![] }));
        let other = Peer { id: DeviceId::from_bytes([8; 32]), ..peer("carol") };
        let mut known = BTreeMap::new();
        let mut told = |fact| news(&mut known, fact).iter().map(line).collect::<Vec<_>>();

        assert_eq!(told(snapshot(vec![peer("bob"), other.clone()])), ["bob online, unknown", "carol online, unknown"]);
        assert_eq!(told(Fact::PeerForgotten(PeerForgotten { id: peer("bob").id })), ["bob offline, unknown"]);
        assert_eq!(told(Fact::PeerForgotten(PeerForgotten { id: peer("bob").id })), Vec::<String>::new());
        assert_eq!(told(snapshot(vec![peer("bob")])), ["carol offline, unknown", "bob online, unknown"]);
    }

    #[test]
    fn a_name_cannot_draw_on_the_screen() {
        let mut hostile = peer("\u{1b}[2Jbob\nalice accept");
        hostile.presence.text = "\u{9b}31m\nid forged".into();
        hostile.version = "\r1".into();

        for text in [list(&[hostile.clone()]), card(&hostile), line(&hostile)] {
            assert!(text.lines().all(|line| !line.chars().any(is_obeyed) && !line.starts_with("alice")), "{text:?}");
        }
        assert_eq!(list(&[hostile]).lines().count(), 2);
    }
}
