//! They notice and call the engine like any frontend: mDNS, changes of our links, suspend, what is put into drop folders.

pub mod discovery;
mod drop_folders;
pub mod links;
#[cfg(test)]
mod own_network;

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

pub use self::drop_folders::watch_drop_folders;
use self::{
    discovery::{Discovery, Options, Sighting},
    links::Links,
};
use crate::engine::Engine;

/// A discovery that could not start is tried again after this.
const AGAIN: Duration = Duration::from_secs(30);

/// Announces us and tells the engine whom mDNS shows, until `shutdown`; then says goodbye.
pub async fn discover(engine: Engine, shutdown: CancellationToken) {
    if !engine.config().mdns {
        return;
    }
    while !shutdown.is_cancelled() {
        let Some(port) = engine.port() else { return };
        let knows = engine.clone();
        let options = Options {
            id: engine.id(),
            name: engine.config().name.clone(),
            port,
            loopback: engine.config().mdns_loopback,
            known: Arc::new(move |id| knows.is_kept(id)),
            ..Options::default()
        };
        match Discovery::start(options) {
            Ok(discovery) => watch_discovery(&engine, discovery, &shutdown).await,
            Err(e) => engine.warn("no_mdns", format!("cannot use mDNS: {e}"), "other devices are reached with `sharectl peer add HOST`"),
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

async fn watch_discovery(engine: &Engine, mut discovery: Discovery, shutdown: &CancellationToken) {
    loop {
        let sighting = tokio::select! {
            sighting = discovery.next() => sighting,
            () = shutdown.cancelled() => break,
        };
        match discovery.health().problem {
            Some(problem) => {
                engine.warn("no_mdns", format!("mDNS does not work: {problem}"), "other devices are reached with `sharectl peer add HOST`")
            }
            None => engine.unwarn("no_mdns"),
        }
        match sighting {
            Sighting::Seen { id, name, addresses } => engine.peer_sighted(id, &name, &addresses),
            Sighting::Gone { id } => engine.peer_vanished(id),
            Sighting::Nothing => {}
        }
    }
    discovery.shutdown().await;
}

/// Tells the engine when our addresses change or the machine slept.
pub async fn watch_links(engine: Engine, shutdown: CancellationToken) {
    let mut links = Links::start();
    loop {
        tokio::select! {
            _ = links.next() => engine.links_changed(),
            () = shutdown.cancelled() => return,
        }
    }
}
