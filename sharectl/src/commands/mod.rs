//! The verbs: a clap struct each, and how it is run and printed.

pub(crate) mod agent;
mod ask;
pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod clip;
mod code;
pub(crate) mod completions;
pub(crate) mod daemon;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod drop;
pub(crate) mod events;
mod follow;
pub(crate) mod group;
mod history;
pub(crate) mod inbox;
mod invite;
pub(crate) mod manual;
pub(crate) mod message;
pub(crate) mod messages;
pub(crate) mod net;
mod open;
pub(crate) mod pair;
pub(crate) mod peer;
pub(crate) mod peers;
pub(crate) mod policy;
pub(crate) mod presence;
pub(crate) mod receipt;
pub(crate) mod receive;
pub(crate) mod send;
mod signals;
pub(crate) mod status;
mod stdin;
mod told;
pub(crate) mod transfer;
pub(crate) mod transfers;
pub(crate) mod trust;

use sharekaro_proto::{
    ErrorCode,
    client::Client,
    control::socket::{default_socket, system_socket},
};

use crate::{
    cli::{Cli, Command, Globals},
    ending::End,
    print::Screen,
};

/// Runs one verb.
pub(crate) async fn run(cli: Cli, screen: &Screen) -> Result<(), End> {
    let command = match cli.command {
        Command::Completions(it) => return it.run(),
        Command::Daemon(it) => return it.run(screen),
        Command::Demo(it) => return it.run(screen).await,
        Command::Manual(it) => return it.run(),
        Command::Agent(it) => return it.run(cli.globals, screen).await,
        command => command,
    };
    let client = connect(&cli.globals).await?;
    match command {
        Command::Status(it) => it.run(&client, screen).await,
        Command::Identity(it) => it.run(&client, screen).await,
        Command::Config(it) => it.run(&client, screen).await,
        Command::Peers(it) => it.run(&client, screen).await,
        Command::Peer(it) => it.run(&client, screen).await,
        Command::Bench(it) => it.run(&client, screen).await,
        Command::Pair(it) => it.run(&client, screen).await,
        Command::Trust(it) => it.run(&client, screen).await,
        Command::Send(it) => it.run(&client, screen).await,
        Command::Receive(it) => it.run(&client, screen).await,
        Command::Transfers(it) => it.run(&client, screen).await,
        Command::Transfer(it) => it.run(&client, screen).await,
        Command::Receipt(it) => it.run(&client, screen).await,
        Command::Inbox(it) => it.run(&client, screen).await,
        Command::Policy(it) => it.run(&client, screen).await,
        Command::Drop(it) => it.run(&client, screen).await,
        Command::Message(it) => it.run(&client, screen).await,
        Command::Messages(it) => it.run(&client, screen).await,
        Command::Chat(it) => it.run(&client, screen).await,
        Command::Group(it) => it.run(&client, screen).await,
        Command::Presence(it) => it.run(&client, screen).await,
        Command::Net(it) => it.run(&client, screen).await,
        Command::Events(it) => it.run(&client, screen).await,
        Command::Doctor(it) => it.run(&client, screen).await,
        Command::Clip(it) => it.run(&client, screen).await,
        // these ran above, without a daemon
        Command::Agent(_) | Command::Completions(_) | Command::Daemon(_) | Command::Demo(_) | Command::Manual(_) => Ok(()),
    }
}

/// The daemon of the session; without one, the one that the system runs for this user.
async fn connect(globals: &Globals) -> Result<Client, End> {
    if let Some(named) = &globals.socket {
        return Ok(Client::connect(named).await?);
    }
    match (Client::connect(&default_socket()).await, system_socket()) {
        (Err(error), Some(system)) if error.code == ErrorCode::NoDaemon => Ok(Client::connect(&system).await?),
        (connected, _) => Ok(connected?),
    }
}
