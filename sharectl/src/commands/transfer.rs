//! `transfer VERB ID`: one transfer.

use clap::Subcommand;
use jiff::Timestamp;
use sharekaro_proto::{
    TransferId,
    client::Client,
    control::{
        routes,
        transfer::{Bottleneck, Explanation, SetLimit, SetPriority, Transfer},
    },
    nouns::{text::Shown, transfer::Priority},
};

use crate::{
    cli::{ID_HELP, one_of, rate, transfer_id},
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
        #[arg(value_parser = transfer_id, help = ID_HELP)]
        id: TransferId,
    },
    /// Why it is not faster, from what is measured on the way
    Explain {
        #[arg(value_parser = transfer_id, help = ID_HELP)]
        id: TransferId,
    },
    /// Stop it until somebody resumes it, also over restarts
    Pause {
        #[arg(value_parser = transfer_id, help = ID_HELP)]
        id: TransferId,
    },
    /// Go on with it
    Resume {
        #[arg(value_parser = transfer_id, help = ID_HELP)]
        id: TransferId,
    },
    /// End it
    Cancel {
        #[arg(value_parser = transfer_id, help = ID_HELP)]
        id: TransferId,
    },
    /// Let it take no more than so many bytes a second; the lower limit of both sides counts
    Limit {
        #[arg(value_parser = transfer_id, help = ID_HELP)]
        id: TransferId,
        /// 500000, 20M, or none
        #[arg(value_parser = limit)]
        rate: Limit,
    },
    /// Let it go before or after others
    Prio {
        #[arg(value_parser = transfer_id, help = ID_HELP)]
        id: TransferId,
        /// High goes first, low last
        #[arg(value_parser = one_of(Priority::ALL, Priority::word))]
        priority: Priority,
    },
    /// Try now what waits, or once more what ended
    Retry {
        #[arg(value_parser = transfer_id, help = ID_HELP)]
        id: TransferId,
    },
}

/// Bytes a second; without a number as many as go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limit(Option<u64>);

fn limit(text: &str) -> Result<Limit, String> {
    if text.eq_ignore_ascii_case("none") { Ok(Limit(None)) } else { rate(text).map(|rate| Limit(Some(rate))) }
}

impl TransferVerb {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let path = |route: &str, id: TransferId| routes::fill(route, &id.to_string());
        let transfer: Transfer = match self {
            Self::Show { id } => {
                let transfer: Transfer = client.get(&path(routes::TRANSFER, id)).await?;
                return screen.say(&transfer, || card(&transfer, Timestamp::now()));
            }
            Self::Explain { id } => {
                let why: Explanation = client.get(&path(routes::TRANSFER_EXPLAIN, id)).await?;
                let shown = || match why.bottleneck {
                    Bottleneck::None => Shown(&why.explanation).to_string(),
                    bottleneck => format!("{bottleneck}: {}", Shown(&why.explanation)),
                };
                return screen.say(&why, shown);
            }
            Self::Pause { id } => client.post(&path(routes::TRANSFER_PAUSE, id)).await?,
            Self::Resume { id } => client.post(&path(routes::TRANSFER_RESUME, id)).await?,
            Self::Cancel { id } => client.post(&path(routes::TRANSFER_CANCEL, id)).await?,
            Self::Limit { id, rate } => client.post_with(&path(routes::TRANSFER_LIMIT, id), &SetLimit { rate: rate.0 }).await?,
            Self::Prio { id, priority } => client.post_with(&path(routes::TRANSFER_PRIORITY, id), &SetPriority { priority }).await?,
            Self::Retry { id } => client.post(&path(routes::TRANSFER_RETRY, id)).await?,
        };
        screen.say(&transfer, || line(&transfer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_rate_or_none() {
        assert_eq!(limit("none"), Ok(Limit(None)));
        assert_eq!(limit("2M"), Ok(Limit(Some(2 << 20))));
        assert!(limit("0").is_err() && limit("nothing").is_err());
    }
}
