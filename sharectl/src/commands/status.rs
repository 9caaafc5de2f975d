//! `status`, `identity`, `config`: the daemon itself.

use clap::Args;
use serde_json::{Map, Value};
use sharekaro_proto::{
    client::Client,
    control::{
        routes,
        status::{Identity as IdentityBody, Status as StatusBody},
    },
    nouns::text::Shown,
};

use crate::{
    ending::End,
    print::{Screen, table},
};

#[derive(Args, Debug)]
pub(crate) struct Status {}

impl Status {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let status: StatusBody = client.get(routes::STATUS).await?;
        screen.say(&status, || shown(&status))
    }
}

fn shown(status: &StatusBody) -> String {
    let addresses = if status.addresses.is_empty() { "none".to_owned() } else { status.addresses.join(", ") };
    let mut text = table::pairs([
        ("name", status.name.clone()),
        ("id", status.id.to_string()),
        ("version", status.version.clone()),
        ("addresses", format!("{addresses}, UDP port {}", status.port)),
        ("peers", format!("{} online", status.peers_online)),
        ("transfers", format!("{} under way", status.transfers_active)),
    ]);
    for warning in &status.warnings {
        text += &format!("\nwarning: {}", Shown(&warning.message));
        if !warning.hint.is_empty() {
            text += &format!("\n   hint: {}", Shown(&warning.hint));
        }
    }
    text
}

#[derive(Args, Debug)]
pub(crate) struct Identity {}

impl Identity {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let identity: IdentityBody = client.get(routes::IDENTITY).await?;
        let rows = || [("name", identity.name.clone()), ("id", identity.grouped.clone()), ("words", identity.words.clone())];
        screen.say(&identity, || table::pairs(rows()))
    }
}

#[derive(Args, Debug)]
pub(crate) struct Config {}

impl Config {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let values: Map<String, Value> = client.get(routes::CONFIG).await?;
        screen.say(&values, || table::pairs(values.iter().map(|(key, value)| (key.as_str(), plain(value)))))
    }
}

/// A value without the quotes of JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    }
}
