//! `transfer VERB ID`: one transfer.

use clap::Subcommand;
use jiff::Timestamp;
use sharekaro_proto::{
    TransferId,
    client::Client,
    control::{routes, transfer::Transfer},
};

use crate::{
    cli::transfer_id,
    ending::End,
    print::{
        Screen,
        transfer::{card, line},
    },
};

#[derive(Subcommand, Debug)]
pub(crate) enum TransferVerb {
    /// Everything about a transfer
    Show {
        #[arg(value_parser = transfer_id)]
        id: TransferId,
    },
    /// Stop it until somebody resumes it, also over restarts
    Pause {
        #[arg(value_parser = transfer_id)]
        id: TransferId,
    },
    /// Go on with it
    Resume {
        #[arg(value_parser = transfer_id)]
        id: TransferId,
    },
    /// End it
    Cancel {
        #[arg(value_parser = transfer_id)]
        id: TransferId,
    },
    /// Try now what waits, or once more what ended
    Retry {
        #[arg(value_parser = transfer_id)]
        id: TransferId,
    },
}

impl TransferVerb {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let path = |route: &str, id: TransferId| routes::fill(route, &id.to_string());
        let transfer: Transfer = match self {
            Self::Show { id } => {
                let transfer: Transfer = client.get(&path(routes::TRANSFER, id)).await?;
                return screen.say(&transfer, || card(&transfer, Timestamp::now()));
            }
            Self::Pause { id } => client.post(&path(routes::TRANSFER_PAUSE, id)).await?,
            Self::Resume { id } => client.post(&path(routes::TRANSFER_RESUME, id)).await?,
            Self::Cancel { id } => client.post(&path(routes::TRANSFER_CANCEL, id)).await?,
            Self::Retry { id } => client.post(&path(routes::TRANSFER_RETRY, id)).await?,
        };
        screen.say(&transfer, || line(&transfer))
    }
}
