//! What the kernel knows of the LAN, asked each second by route netlink as a plain user: the link, our addresses, the
//! neighbours; and the gateway, the refusals and the name servers from their small files.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use futures_util::{Stream, TryStreamExt};
use rtnetlink::{
    Handle,
    packet_route::{
        address::AddressAttribute,
        link::{LinkAttribute, LinkFlags, LinkMessage},
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    },
};
use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::proc;
use crate::monitor::{detect::rules::event::Event, mac::Mac};

const EVERY: Duration = Duration::from_secs(1);
/// Name servers change seldom.
const NAME_SERVERS_EVERY: u64 = 5;
/// A dump of a large network is long; one without end is a defect somewhere.
const MOST: usize = 8192;

/// The kernel was not asked.
#[derive(Debug, Error)]
pub(in crate::monitor) enum LanError {
    #[error("cannot open a route netlink socket: gateway and devices on the LAN are not watched")]
    Open(#[source] std::io::Error),
    #[error("cannot list the kernel's {0}")]
    List(&'static str, #[source] rtnetlink::Error),
}

#[derive(Debug, Default)]
struct Seen {
    index: Option<u32>,
    up: bool,
    gateway: Option<IpAddr>,
    refused: Option<u64>,
    rounds: u64,
}

/// Sends what it sees on the watched interface, until shutdown.
pub(in crate::monitor) async fn run(
    watched: watch::Receiver<Option<Arc<str>>>,
    events: mpsc::Sender<Event>,
    shutdown: CancellationToken,
) -> Result<(), LanError> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(LanError::Open)?;
    let connection = tokio::spawn(connection);
    let (mut seen, mut ticks) = (Seen::default(), interval(EVERY));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let interface = watched.borrow().clone();
        let Some(interface) = interface else { continue };
        match look(&handle, &interface, &mut seen).await {
            Ok(found) => {
                for event in found {
                    if events.send(event).await.is_err() {
                        break;
                    }
                }
            }
            // The interface may have gone between two questions; the next second tells.
            Err(error) => tracing::debug!(%interface, error = &error as &dyn std::error::Error, "asking the kernel of the LAN"),
        }
    }
    connection.abort();
    Ok(())
}

async fn look(handle: &Handle, interface: &str, seen: &mut Seen) -> Result<Vec<Event>, LanError> {
    let mut found = Vec::new();
    let link = handle.link().get().match_name(interface.to_owned()).execute();
    let Some(link) = all("links", link).await?.pop() else { return Ok(found) };
    let (index, up) = (link.header.index, link.header.flags.contains(LinkFlags::LowerUp));
    if up && (!seen.up || seen.index != Some(index)) {
        found.push(Event::LinkUp);
        seen.gateway = None;
    }
    (seen.up, seen.index) = (up, Some(index));
    if let Some(mac) = hardware_address(&link) {
        let addresses = all("addresses", handle.address().get().set_link_index_filter(index).execute()).await?;
        let addresses = addresses.into_iter().flat_map(|message| message.attributes);
        found.extend(addresses.filter_map(own_address).map(|address| Event::OurAddress(address, mac)));
    }
    let gateway = proc::gateway(interface);
    if seen.gateway != gateway {
        seen.gateway = gateway;
        found.extend(gateway.map(Event::Gateway));
    }
    let neighbours = all("neighbours", handle.neighbours().get().execute()).await?;
    found.extend(neighbours.iter().filter(|message| message.header.ifindex == index).filter_map(neighbour));
    found.extend(refused(seen));
    if seen.rounds.is_multiple_of(NAME_SERVERS_EVERY) {
        let servers = proc::name_servers();
        found.extend((!servers.is_empty()).then_some(Event::NameServers(servers)));
    }
    seen.rounds += 1;
    Ok(found)
}

async fn all<T>(what: &'static str, stream: impl Stream<Item = Result<T, rtnetlink::Error>>) -> Result<Vec<T>, LanError> {
    let mut stream = std::pin::pin!(stream);
    let mut found = Vec::new();
    while let Some(message) = stream.try_next().await.map_err(|source| LanError::List(what, source))? {
        if found.len() < MOST {
            found.push(message);
        }
    }
    Ok(found)
}

fn hardware_address(link: &LinkMessage) -> Option<Mac> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => Mac::from_slice(bytes).filter(|mac| mac.is_single()),
        _ => None,
    })
}

fn own_address(attribute: AddressAttribute) -> Option<IpAddr> {
    match attribute {
        // On a point-to-point link `Address` is the other end; `Local` is ours, and IPv6 has `Address` alone.
        AddressAttribute::Local(address) | AddressAttribute::Address(address @ IpAddr::V6(_)) => Some(address),
        _ => None,
    }
}

/// Only what the kernel believes now: neither asked for in vain, nor groups.
fn neighbour(message: &NeighbourMessage) -> Option<Event> {
    let believed =
        [NeighbourState::Reachable, NeighbourState::Stale, NeighbourState::Delay, NeighbourState::Probe, NeighbourState::Permanent];
    believed.contains(&message.header.state).then_some(())?;
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => address = Some(IpAddr::V4(*found)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(found)) => address = Some(IpAddr::V6(*found)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = Mac::from_slice(bytes),
            _ => {}
        }
    }
    let address = address.filter(|address| *address != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    Some(Event::Neighbour(address, mac.filter(|mac| mac.is_single())?))
}

fn refused(seen: &mut Seen) -> Option<Event> {
    let now = proc::refused()?;
    let before = seen.refused.replace(now)?;
    Some(Event::Refused(now.saturating_sub(before)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_tells_of_our_own_links() {
        let (connection, handle, _) = rtnetlink::new_connection().expect("a netlink socket");
        tokio::spawn(connection);

        let found = look(&handle, "lo", &mut Seen::default()).await.expect("lo is everywhere");

        assert!(found.iter().all(|event| !matches!(event, Event::Neighbour(_, mac) if !mac.is_single())));
        assert!(look(&handle, "nosuch0", &mut Seen::default()).await.is_err());
    }
}
