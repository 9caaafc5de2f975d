//! `transfers`: all transfers.

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;
use sharekaro_proto::{
    ErrorCode, TransferId,
    client::Client,
    control::{
        event::Fact,
        routes,
        transfer::{Transfer, Transfers as TransfersBody},
    },
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
    let mut told = Told::default();
    while let Some(event) = events.next().await? {
        let news = told.news(event.fact);
        news.iter().try_for_each(|transfer| screen.say(transfer, || line(transfer)))?;
        for id in told.lost() {
            match client.get::<Transfer>(&routes::fill(routes::TRANSFER, &id.to_string())).await {
                Err(error) if error.code == ErrorCode::NotFound => {} // too old for anybody to know
                found => found.map_err(End::from).and_then(|transfer| screen.say(&transfer, || line(&transfer)))?,
            }
        }
    }
    Ok(())
}

/// What was told to whoever watches, so that who falls behind misses no end.
#[derive(Default)]
struct Told {
    /// Those that had not ended when they were told, and whether the last snapshot had them too.
    open: BTreeMap<TransferId, bool>,
    newest: Option<TransferId>,
}

impl Told {
    /// Those that are told at this event. At the first all that have not ended; where we fell behind also those that ended
    /// or came and went meanwhile.
    fn news(&mut self, fact: Fact) -> Vec<Transfer> {
        let news: Vec<Transfer> = match fact {
            Fact::Snapshot(snapshot) => {
                self.open.values_mut().for_each(|there| *there = false);
                let came = |id| self.newest.is_some_and(|newest| id > newest);
                let newest = snapshot.transfers.iter().map(|transfer| transfer.id).max().max(self.newest);
                let told = |it: &Transfer| !it.state.ended() || self.open.contains_key(&it.id) || came(it.id);
                let news = snapshot.transfers.into_iter().filter(told).collect();
                self.newest = newest.or(Some(TransferId(0)));
                news
            }
            Fact::TransferChanged(transfer) => vec![*transfer],
            _ => Vec::new(),
        };
        for transfer in &news {
            self.newest = self.newest.max(Some(transfer.id));
            match transfer.state.ended() {
                true => self.open.remove(&transfer.id),
                false => self.open.insert(transfer.id, true),
            };
        }
        news
    }

    /// Those that had not ended and are so old by now that the last snapshot did not list them: each once.
    fn lost(&mut self) -> Vec<TransferId> {
        self.open.extract_if(.., |_, there| !*there).map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::{control::event::Snapshot, nouns::transfer::TransferState};

    use super::*;
    use crate::print::transfer::tests::transfer;

    #[test]
    fn who_falls_behind_is_told_each_end_all_the_same() {
        let snapshot =
            |transfers| Fact::Snapshot(Box::new(Snapshot { peers: vec![], transfers, pairings: vec![], drops: vec![], warnings: vec![] }));
        let ids = |news: Vec<Transfer>| news.into_iter().map(|it| it.id.0).collect::<Vec<_>>();
        let (open, done) = (|id| transfer(id, TransferState::Active), |id| transfer(id, TransferState::Done));
        let mut told = Told::default();

        assert_eq!(ids(told.news(snapshot(vec![open(3), open(2), done(1)]))), [3, 2]);
        assert_eq!(ids(told.news(Fact::TransferChanged(Box::new(open(4))))), [4]);
        assert!(told.lost().is_empty());

        assert_eq!(ids(told.news(snapshot(vec![done(6), open(5), done(4), open(3), done(1)]))), [6, 5, 4, 3]);
        assert_eq!(told.lost(), [TransferId(2)]);
        assert_eq!(ids(told.news(snapshot(vec![done(6), done(5), done(4), open(3), done(1)]))), [5, 3]);
        assert!(told.lost().is_empty());
    }
}
