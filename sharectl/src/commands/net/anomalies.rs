//! `net anomalies`, `net anomaly VERB ID`: what was out of the ordinary.

use clap::Subcommand;
use jiff::Timestamp;
use sharekaro_proto::{
    client::Client,
    control::{
        net::{Anomalies, Anomaly},
        routes,
    },
};

use crate::{
    ending::End,
    print::{Screen, anomaly},
};

#[derive(Subcommand, Debug)]
pub(crate) enum AnomalyVerb {
    /// Everything about one
    Explain {
        /// As `sharectl net anomalies` shows it
        id: String,
    },
    /// Say what it was, so that it is learnt
    Ack {
        /// This is how it should be: this level, this pause, this device; not more
        #[arg(long, required = true)]
        normal: bool,
        /// As `sharectl net anomalies` shows it
        id: String,
    },
}

pub(super) async fn list(client: &Client, screen: &Screen) -> Result<(), End> {
    let all: Anomalies = client.get(routes::NET_ANOMALIES).await?;
    screen.say(&all, || anomaly::list(&all.anomalies, Timestamp::now()))
}

impl AnomalyVerb {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let found: Anomaly = match self {
            Self::Explain { id } => client.get(&routes::fill(routes::NET_ANOMALY, &id)).await?,
            Self::Ack { normal: _, id } => client.post(&routes::fill(routes::NET_ANOMALY_NORMAL, &id)).await?,
        };
        screen.say(&found, || anomaly::card(&found))
    }
}
