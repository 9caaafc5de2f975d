//! What a person said, once, whoever it went to: one message, or those that one text to many became.

use std::collections::BTreeMap;

use sharekaro_proto::{
    control::message::{Message, MessageState},
    nouns::text::Shown,
};

/// States from the furthest on.
const FURTHEST_FIRST: [MessageState; 6] =
    [MessageState::Read, MessageState::Delivered, MessageState::Received, MessageState::Sent, MessageState::Queued, MessageState::Expired];

/// More names than this are counted, not listed.
const NAMED_MAX: usize = 6;

/// A message, with all others that are the same text.
#[derive(Clone)]
pub(crate) struct Post {
    /// The first of them.
    pub(crate) message: Message,
    /// All of them by their number: whom it went to, and where it stands.
    copies: BTreeMap<u64, (String, MessageState)>,
}

impl Post {
    pub(crate) fn new(message: Message) -> Self {
        let copies = BTreeMap::from([(message.no, copy_of(&message))]);
        Self { message, copies }
    }

    /// Messages of the history, oldest first, with what belongs together put together.
    pub(crate) fn gather(messages: &[Message]) -> Vec<Self> {
        let mut posts: Vec<Self> = Vec::new();
        for message in messages {
            // the messages of one text are written in one step: they stand beside each other
            match posts.last_mut().filter(|post| message.post.is_some() && post.message.post == message.post) {
                Some(post) => post.put(message.clone()),
                None => posts.push(Self::new(message.clone())),
            }
        }
        posts
    }

    /// Whether this message is one of its, in this state or another.
    pub(crate) fn is_of(&self, message: &Message) -> bool {
        self.message.no == message.no || self.message.post.is_some() && self.message.post == message.post
    }

    /// One of its messages is new, or stands elsewhere than before.
    pub(crate) fn put(&mut self, message: Message) {
        self.copies.insert(message.no, copy_of(&message));
        if message.no <= self.message.no {
            self.message = message;
        }
    }

    /// The highest number of its messages.
    pub(crate) fn last(&self) -> u64 {
        self.copies.keys().next_back().copied().unwrap_or(self.message.no)
    }

    /// Where it stands, furthest first, and with whom, as far as these differ.
    pub(crate) fn standing(&self) -> Vec<(MessageState, Option<String>)> {
        let of = |state: MessageState| self.copies.values().filter(move |(_, its)| *its == state).map(|(name, _)| name.as_str());
        let states: Vec<MessageState> = FURTHEST_FIRST.into_iter().filter(|state| of(*state).next().is_some()).collect();
        match states.as_slice() {
            [one] => vec![(*one, None)],
            several => several.iter().map(|state| (*state, Some(named(&of(*state).collect::<Vec<_>>())))).collect(),
        }
    }
}

fn copy_of(message: &Message) -> (String, MessageState) {
    (message.conversation.clone(), message.state)
}

fn named(names: &[&str]) -> String {
    if names.len() > NAMED_MAX { names.len().to_string() } else { Shown(&names.join(", ")).to_string() }
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::nouns::transfer::Direction;

    use super::*;
    use crate::print::message::tests::message;

    /// A message of ours to somebody, part of a text to many.
    pub(crate) fn to(name: &str, no: u64, state: MessageState) -> Message {
        let post = Some(uuid::Uuid::from_u128(9));
        Message {
            no,
            conversation: name.into(),
            direction: Direction::Out,
            state,
            post,
            audience: Some("@team".into()),
            ..message("hello all")
        }
    }

    #[test]
    fn a_text_to_many_is_one_and_tells_where_it_stands_with_each() {
        let said = [message("before"), to("bob", 2, MessageState::Queued), to("carol", 3, MessageState::Read)];
        let mut posts = Post::gather(&said);

        assert_eq!((posts.len(), posts[1].last()), (2, 3));
        assert_eq!(posts[1].standing(), [(MessageState::Read, Some("carol".to_owned())), (MessageState::Queued, Some("bob".to_owned()))]);
        posts[1].put(to("bob", 2, MessageState::Read));
        assert_eq!(posts[1].standing(), [(MessageState::Read, None)]);
    }

    #[test]
    fn very_many_are_counted() {
        let many: Vec<Message> = (1..=20).map(|no| to("x", no, MessageState::Read)).collect();
        let mut post = Post::gather(&many).remove(0);
        post.put(to("late", 21, MessageState::Queued));

        assert_eq!(post.standing(), [(MessageState::Read, Some("20".to_owned())), (MessageState::Queued, Some("late".to_owned()))]);
    }
}
