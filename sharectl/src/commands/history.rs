//! The history as the daemon gives it out: in parts; and what follows it, as it happens.

use sharekaro_proto::{
    DeviceId, ErrorBody,
    client::{Client, EventStream},
    control::{
        event::Fact,
        message::{MarkRead, Message, Messages},
        peer::Peer,
        routes,
    },
};

/// So many are asked for at once.
const PART: u64 = 5_000;

/// Which part is wanted.
#[derive(Clone, Default)]
pub(super) struct Wanted {
    pub(super) peer: Option<String>,
    pub(super) search: Option<String>,
}

impl Wanted {
    /// The last `count`, oldest first.
    pub(super) async fn last(&self, count: u64, client: &Client) -> Result<Vec<Message>, ErrorBody> {
        let mut parts: Vec<Vec<Message>> = Vec::new();
        let (mut left, mut before) = (count, None);
        while left > 0 {
            let part = self.part(left.min(PART), before, None, client).await?;
            let Some(first) = part.first() else { break };
            before = Some(first.no);
            left = left.saturating_sub(part.len() as u64);
            parts.push(part);
        }
        Ok(parts.into_iter().rev().flatten().collect())
    }

    /// The next ones after this number, oldest first; none at the end.
    pub(super) async fn next(&self, after: u64, client: &Client) -> Result<Vec<Message>, ErrorBody> {
        self.part(PART, None, Some(after), client).await
    }

    async fn part(&self, limit: u64, before: Option<u64>, after: Option<u64>, client: &Client) -> Result<Vec<Message>, ErrorBody> {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let parameters = [
            ("peer", self.peer.clone()),
            ("search", self.search.clone()),
            ("limit", number(Some(limit))),
            ("before", number(before)),
            ("after", number(after)),
        ];
        let told: Vec<(&str, String)> = parameters.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect();
        let path = routes::with_query(routes::MESSAGES, &told);
        client.get::<Messages>(&path).await.map(|messages| messages.messages)
    }
}

/// Says that a person has these on the screen.
pub(super) async fn seen(messages: &[Message], peer: &str, client: &Client) -> Result<(), ErrorBody> {
    let Some(last) = messages.last() else { return Ok(()) };
    let seen = MarkRead { peer: peer.to_owned(), until: last.no };
    client.post_with::<_, serde::de::IgnoredAny>(routes::MESSAGES_READ, &seen).await.map(drop)
}

/// Messages as they come or change, of all peers or of one.
pub(super) struct Feed {
    events: EventStream,
    /// What was read from the stream and not told yet: a future that is dropped loses nothing.
    pending: Option<Fact>,
    wanted: Wanted,
    only: Option<DeviceId>,
    last: Option<u64>,
}

/// What a feed yields.
pub(super) enum News {
    /// Messages that are new here.
    Came(Vec<Message>),
    /// One stands elsewhere than before.
    Changed(Message),
    /// Somebody came, went, or says something else of himself.
    Peer(Box<Peer>),
}

impl Feed {
    /// What is newer than `last`; without it, from now on.
    pub(super) async fn new(peer: Option<&Peer>, last: Option<u64>, client: &Client) -> Result<Self, ErrorBody> {
        let wanted = Wanted { peer: peer.map(|peer| peer.id.to_string()), search: None };
        Ok(Self { events: client.events().await?, pending: None, wanted, only: peer.map(|peer| peer.id), last })
    }

    /// What happened next; `None` when the daemon ends. Safe to cancel.
    pub(super) async fn next(&mut self, client: &Client) -> Result<Option<News>, ErrorBody> {
        loop {
            let fact = match self.pending.take() {
                Some(fact) => fact,
                None => match self.events.next().await? {
                    Some(event) => event.fact,
                    None => return Ok(None),
                },
            };
            self.pending = Some(fact.clone());
            let news = self.understand(fact, client).await?;
            self.pending = None;
            if news.is_some() {
                return Ok(news);
            }
        }
    }

    async fn understand(&mut self, fact: Fact, client: &Client) -> Result<Option<News>, ErrorBody> {
        match fact {
            Fact::Snapshot(snapshot) => {
                let missed = self.missed(client).await?;
                if !missed.is_empty() {
                    return Ok(Some(News::Came(missed)));
                }
                let peer = snapshot.peers.into_iter().find(|peer| self.only == Some(peer.id));
                Ok(peer.map(|peer| News::Peer(Box::new(peer))))
            }
            Fact::MessageReceived(message) | Fact::MessageChanged(message) if self.only.is_none_or(|only| only == message.peer_id) => {
                let message = whole(*message, client).await?;
                if self.last.is_some_and(|last| message.no <= last) {
                    return Ok(Some(News::Changed(message)));
                }
                self.last = Some(message.no);
                Ok(Some(News::Came(vec![message])))
            }
            Fact::PeerChanged(peer) if self.only == Some(peer.id) => Ok(Some(News::Peer(peer))),
            _ => Ok(None),
        }
    }

    /// What came while nobody listened: before the first event, and wherever we fell behind.
    async fn missed(&mut self, client: &Client) -> Result<Vec<Message>, ErrorBody> {
        let Some(mut last) = self.last else {
            self.last = Some(self.wanted.last(1, client).await?.last().map_or(0, |message| message.no));
            return Ok(Vec::new());
        };
        let mut missed = Vec::new();
        loop {
            let part = self.wanted.next(last, client).await?;
            let Some(newest) = part.last() else { break };
            last = newest.no;
            missed.extend(part);
        }
        self.last = Some(last);
        Ok(missed)
    }
}

/// An event has only the beginning of a long text.
async fn whole(message: Message, client: &Client) -> Result<Message, ErrorBody> {
    if message.text.len() as u64 >= message.bytes {
        return Ok(message);
    }
    let found = Wanted::default().part(1, None, Some(message.no.saturating_sub(1)), client).await?;
    Ok(found.into_iter().find(|it| it.no == message.no).unwrap_or(message))
}
