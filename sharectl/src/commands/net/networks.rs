//! `net networks`, `net forget ID`: what was learnt of each network.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use sharekaro_proto::{
    client::Client,
    control::{
        net::{Network, Networks},
        routes,
    },
};

use crate::{
    ending::End,
    print::{
        Screen,
        quantity::{count, when},
        table,
    },
};

#[derive(Args, Debug)]
pub(crate) struct Forget {
    /// Its number in `net networks`
    id: u64,
}

pub(super) async fn list(client: &Client, screen: &Screen) -> Result<(), End> {
    let all: Networks = client.get(routes::NET_NETWORKS).await?;
    screen.say(&all, || shown(&all.networks))
}

impl Forget {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        client.delete::<Value>(&routes::fill(routes::NET_NETWORK, &self.id.to_string())).await?;
        screen.say(&json!({ "forgotten": self.id }), || "Forgotten; it is learnt anew when it is met again.".to_owned())
    }
}

fn shown(networks: &[Network]) -> String {
    if networks.is_empty() {
        return "No network was learnt yet.".to_owned();
    }
    let row = |it: &Network| {
        let name = it.name.clone().unwrap_or_else(|| "(wire)".to_owned());
        let gateway = it.gateway.clone().unwrap_or_else(|| "none".to_owned());
        let at = it.gateway_macs.join(", ");
        [it.id.to_string(), name, gateway, at, count(it.devices as u64, "device"), when(it.since, Timestamp::now())]
    };
    table::table(["ID", "NAME", "GATEWAY", "AT", "DEVICES", "SINCE"], networks.iter().map(row))
}
