//! The history as the daemon gives it out: in parts; and what follows it, as it happens.

use std::collections::BTreeMap;

use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode,
    client::{Client, EventStream},
    control::{
        event::Fact,
        message::{Group, Groups, MarkRead, Message, Messages},
        peer::{Peer, Peers},
        routes,
    },
    nouns::transfer::Direction,
};

use super::told::Told;

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
pub(super) async fn seen(messages: &[Message], client: &Client) -> Result<(), ErrorBody> {
    let theirs = messages.iter().filter(|message| message.direction == Direction::In);
    let last: BTreeMap<DeviceId, u64> = theirs.map(|message| (message.peer_id, message.no)).collect();
    for (peer, until) in last {
        let seen = MarkRead { peer: peer.to_string(), until };
        client.post_with::<_, serde::de::IgnoredAny>(routes::MESSAGES_READ, &seen).await.map(drop)?;
    }
    Ok(())
}

/// With whom a person talks: one peer, or a group and `all`, which is whoever is in it at the time.
#[derive(Clone)]
pub(super) struct Circle {
    /// As a target: the key of the one peer, `@group` or `all`.
    pub(super) target: String,
    /// Whether it is one peer.
    pub(super) is_one: bool,
    /// Who is in it.
    pub(super) peers: Vec<Peer>,
}

impl Circle {
    /// The peers that a target means.
    pub(super) async fn find(target: &str, client: &Client) -> Result<Self, ErrorBody> {
        let target = target.trim();
        if target != "all" && !target.starts_with('@') {
            let peer: Peer = client.get(&routes::fill(routes::PEER, target)).await?;
            return Ok(Self { target: peer.id.to_string(), is_one: true, peers: vec![peer] });
        }
        let mut circle = Self { target: target.to_owned(), is_one: false, peers: Vec::new() };
        circle.look_again(client).await?;
        Ok(circle)
    }

    /// Who is in a group may be others by now.
    async fn look_again(&mut self, client: &Client) -> Result<(), ErrorBody> {
        if self.is_one {
            return Ok(());
        }
        let all: Peers = client.get(routes::PEERS).await?;
        let ids = match self.target.strip_prefix('@') {
            Some(name) => Some(members(name, client).await?.ids),
            None => None,
        };
        let is_in = |peer: &Peer| ids.as_ref().map_or(peer.trust.paired(), |ids| ids.contains(&peer.id));
        self.peers = all.peers.into_iter().filter(is_in).collect();
        Ok(())
    }

    /// Whether a message was written to somebody who is in it and was not when we looked.
    pub(super) fn lacks(&self, message: &Message) -> bool {
        self.peers.iter().all(|peer| peer.id != message.peer_id)
    }

    /// Whether a message belongs here.
    fn holds(&self, message: &Message) -> bool {
        let from_one_of_them = self.peers.iter().any(|peer| peer.id == message.peer_id);
        match message.direction {
            _ if self.is_one => from_one_of_them,
            Direction::In => from_one_of_them,
            Direction::Out => message.audience.as_ref() == Some(&self.target),
        }
    }
}

async fn members(name: &str, client: &Client) -> Result<Group, ErrorBody> {
    let groups: Groups = client.get(routes::GROUPS).await?;
    let names: Vec<String> = groups.groups.iter().map(|group| format!("@{}", group.name)).collect();
    groups.groups.into_iter().find(|group| group.name == name).ok_or_else(|| {
        ErrorBody::new(ErrorCode::NotFound, format!("there is no group {name:?}")).hint(match names.as_slice() {
            [] => "`sharectl group add NAME PEER...` makes one".to_owned(),
            names => format!("there are: {}", names.join(", ")),
        })
    })
}

/// Messages as they come or change, of all peers or of one.
pub(super) struct Feed {
    events: EventStream,
    /// What was read from the stream and not told yet: a future that is dropped loses nothing.
    pending: Option<Fact>,
    wanted: Wanted,
    /// Only what belongs here.
    circle: Option<Circle>,
    told: Told,
}

/// What a feed yields.
pub(super) enum News {
    /// Messages that are new here.
    Came(Vec<Message>),
    /// One stands elsewhere than before.
    Changed(Message),
    /// Somebody in the circle came, went, or says something else of himself.
    Circle(Circle),
}

impl Feed {
    /// What is newer than `last`; without it, from now on.
    pub(super) async fn new(circle: Option<Circle>, last: Option<u64>, client: &Client) -> Result<Self, ErrorBody> {
        let wanted = Wanted { peer: circle.as_ref().map(|circle| circle.target.clone()), search: None };
        let last = match last {
            Some(last) => last,
            None => wanted.last(1, client).await?.last().map_or(0, |message| message.no),
        };
        // what comes between these two is asked for at the first event
        Ok(Self { events: client.events().await?, pending: None, wanted, circle, told: Told::until(last) })
    }

    /// Who is in a group may be others by now; from here on the feed tells of these.
    pub(super) async fn look_again(&mut self, mut circle: Circle, client: &Client) -> Result<Circle, ErrorBody> {
        circle.look_again(client).await?;
        self.circle = Some(circle.clone());
        Ok(circle)
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
                Ok(self.circle_with(snapshot.peers))
            }
            Fact::MessageReceived(message) | Fact::MessageChanged(message)
                if self.circle.as_ref().is_none_or(|circle| circle.holds(&message)) =>
            {
                let message = whole(*message, client).await?;
                let news = self.told.take(message.no);
                Ok(Some(if news { News::Came(vec![message]) } else { News::Changed(message) }))
            }
            Fact::PeerChanged(peer) => Ok(self.circle_with(vec![*peer])),
            _ => Ok(None),
        }
    }

    /// The circle with its peers as they are now; `None` where none of these is in it.
    fn circle_with(&mut self, peers: Vec<Peer>) -> Option<News> {
        let circle = self.circle.as_mut()?;
        let mut changed = false;
        for peer in peers {
            if let Some(known) = circle.peers.iter_mut().find(|known| known.id == peer.id) {
                *known = peer;
                changed = true;
            }
        }
        changed.then(|| News::Circle(circle.clone()))
    }

    /// What came while nobody listened: before the first event, and wherever we fell behind.
    async fn missed(&mut self, client: &Client) -> Result<Vec<Message>, ErrorBody> {
        let (mut last, mut missed) = (self.told.gapless(), Vec::new());
        loop {
            let part = self.wanted.next(last, client).await?;
            let Some(newest) = part.last() else { break };
            last = newest.no;
            missed.extend(part);
        }
        missed.retain(|message: &Message| self.told.take(message.no));
        self.told = Told::until(last);
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
