//! `transfers`: all transfers.

use clap::Args;
use jiff::Timestamp;
use sharekaro_proto::{
    client::Client,
    control::{event::Fact, routes, transfer::Transfers as TransfersBody},
};

use crate::{
    ending::End,
    print::{
        Screen,
        transfer::{line, list},
    },
};

#[derive(Args, Debug)]
pub(crate) struct Transfers {
    /// Go on: a transfer a line, all that have not ended at first, then each that changes
    #[arg(long)]
    watch: bool,
}

impl Transfers {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        if self.watch {
            return watch(client, screen).await;
        }
        let transfers: TransfersBody = client.get(routes::TRANSFERS).await?;
        screen.say(&transfers, || match transfers.transfers.as_slice() {
            [] => "No transfers yet. Send something: sharectl send PEER FILE".to_owned(),
            some => list(some, Timestamp::now()),
        })
    }
}

async fn watch(client: &Client, screen: &Screen) -> Result<(), End> {
    let mut events = client.events().await?;
    while let Some(event) = events.next().await? {
        match event.fact {
            Fact::Snapshot(snapshot) => {
                let going_on = snapshot.transfers.iter().filter(|transfer| !transfer.state.ended());
                going_on.into_iter().try_for_each(|transfer| screen.say(transfer, || line(transfer)))?;
            }
            Fact::TransferChanged(transfer) => screen.say(&transfer, || line(&transfer))?,
            _ => {}
        }
    }
    Ok(())
}
