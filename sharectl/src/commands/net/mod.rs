//! `net`: the network, watched: interfaces, history, anomalies, packets.

mod anomalies;
mod capture;
mod csv;
mod history;
mod interfaces;
mod networks;
mod packets;
mod replay;
mod watch;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::{Serialize, de::DeserializeOwned};
use sharekaro_proto::{ErrorBody, ErrorCode, client::Client, control::transfer::RawPath, nouns::text::Shown};

use self::{
    anomalies::AnomalyVerb, capture::Capture, csv::Csv, history::History, networks::Forget, packets::Packets, replay::Replay, watch::Watch,
};
use crate::{ending::End, print::Screen};

/// The scores of two months of seconds; more is no reply of ours.
const REPLY_MAX: usize = 512 << 20;

#[derive(Args, Debug)]
pub(crate) struct Net {
    #[command(subcommand)]
    verb: Option<NetVerb>,
}

#[derive(Subcommand, Debug)]
enum NetVerb {
    /// Go on: what passes each second, and anomalies as they are seen
    Watch(Watch),
    /// What passed on an interface, also one that has gone
    History(History),
    /// Keep Network.csv with the watched interface's totals, a row a second; the daemon goes on with it
    Csv(Csv),
    /// What was out of the ordinary
    Anomalies,
    /// One anomaly: explain, ack
    #[command(subcommand)]
    Anomaly(AnomalyVerb),
    /// The networks that were learnt
    Networks,
    /// Forget a network: it is learnt anew
    Forget(Forget),
    /// Judge a Network.csv, a CSV with timestamp and value, or a capture as if it happened now
    Replay(Replay),
    /// What the packets of a capture are: protocols, sizes, talkers, flows, names, odd ones
    Packets(Packets),
    /// Capture packets of an interface
    Capture(Capture),
}

impl Net {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        match self.verb {
            None => interfaces::run(client, screen).await,
            Some(NetVerb::Watch(it)) => it.run(client, screen).await,
            Some(NetVerb::History(it)) => it.run(client, screen).await,
            Some(NetVerb::Csv(it)) => it.run(client, screen).await,
            Some(NetVerb::Anomalies) => anomalies::list(client, screen).await,
            Some(NetVerb::Anomaly(it)) => it.run(client, screen).await,
            Some(NetVerb::Networks) => networks::list(client, screen).await,
            Some(NetVerb::Forget(it)) => it.run(client, screen).await,
            Some(NetVerb::Replay(it)) => it.run(client, screen).await,
            Some(NetVerb::Packets(it)) => it.run(client, screen).await,
            Some(NetVerb::Capture(it)) => it.run(client, screen).await,
        }
    }
}

/// The path as the daemon knows it, whose working directory is another.
fn absolute(path: &Path) -> Result<RawPath, ErrorBody> {
    std::path::absolute(path).map(RawPath).map_err(|error| {
        let message = format!("cannot use {}: {error}", Shown(&path.to_string_lossy()));
        ErrorBody::new(ErrorCode::LocalFile, message).hint("name a file")
    })
}

fn absolute_of(path: Option<&PathBuf>) -> Result<Option<RawPath>, ErrorBody> {
    path.map(|path| absolute(path)).transpose()
}

/// Asks for what may take long: reading a capture of many gigabytes.
async fn ask_patiently<B: Serialize + Sync, T: DeserializeOwned>(client: &Client, path: &str, body: &B) -> Result<T, ErrorBody> {
    let mut reply = client.download(path, body).await?;
    let mut json = Vec::new();
    while let Some(part) = reply.next().await? {
        if json.len() + part.len() > REPLY_MAX {
            return Err(ErrorBody::new(ErrorCode::Unexpected, "the daemon's reply has no end").hint("see the daemon's log"));
        }
        json.extend_from_slice(&part);
    }
    serde_json::from_slice(&json).map_err(|error| {
        ErrorBody::new(ErrorCode::Unexpected, format!("cannot understand the daemon's reply to {path}: {error}"))
            .hint("are sharectl and sharekarod of one version?")
    })
}
