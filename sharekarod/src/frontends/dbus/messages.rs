//! `Messages1`: texts between people, at the root. The history has no bound, so a message is no object.

use std::collections::HashMap;

use sharekaro_proto::control::message::{HistoryQuery, MarkRead, Message};
use zbus::{OwnedVariant, Variant, interface, object_server::SignalEmitter};

use super::{
    cell::Cell,
    paths::{peer_path, transfer_path},
    refusal::Refusal,
    text::{bus_text, bus_time},
};
use crate::engine::Engine;

/// The messages on the bus.
#[derive(Clone)]
pub(super) struct Messages1 {
    engine: Engine,
    unread: Cell<u32>,
}

impl Messages1 {
    /// The object of the history.
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine, unread: Cell::new(0) }
    }

    /// What it shows: messages that nobody looked at yet.
    pub(super) fn unread_cell(&self) -> &Cell<u32> {
        &self.unread
    }

    async fn part(&self, query: HistoryQuery) -> Result<Vec<HashMap<&'static str, OwnedVariant>>, Refusal> {
        let found = self.engine.messages(query).await?.messages;
        Ok(found
            .iter()
            .map(|message| fields(message).into_iter().filter_map(|(key, value)| Some((key, value.try_into().ok()?))).collect())
            .collect())
    }
}

/// Texts between people, and the files that stand among them. A message is a dictionary: id (s), no (t, its place in our
/// history), conversation (s, our name for the peer), peer (o), paired (b), from (s), direction (s: in, out), text (s),
/// bytes (t, of the text), at (t, seconds since 1970), state (s: queued, sent, delivered, read, received, expired), of a
/// file transfer (o), and of a text to many audience (s: @group or all) and post (s, the same for all its messages).
/// SendMessage of the manager writes one.
#[interface(name = "org.sharekaro.ShareKaro1.Messages1")]
impl Messages1 {
    /// The last `count` messages before the number `before`, oldest first; with 0 the newest. conversation: with which
    /// peer, or with which @group; empty for all. One reply holds at most 5,000 messages and 4 MiB of text.
    #[zbus(out_args("messages"))]
    async fn list(&self, conversation: String, before: u64, count: u32) -> Result<Vec<HashMap<&'static str, OwnedVariant>>, Refusal> {
        let before = (before > 0).then_some(before);
        self.part(HistoryQuery { peer: named(conversation), before, limit: Some(count.into()), ..HistoryQuery::default() }).await
    }

    /// The last `count` messages that have all of these words in them, oldest first; case is ignored.
    #[zbus(out_args("messages"))]
    async fn search(&self, words: String, count: u32) -> Result<Vec<HashMap<&'static str, OwnedVariant>>, Refusal> {
        self.part(HistoryQuery { search: Some(words), limit: Some(count.into()), ..HistoryQuery::default() }).await
    }

    /// A person has seen what this peer wrote, up to the message with the number `until`.
    async fn mark_read(&self, conversation: String, until: u64) -> Result<(), Refusal> {
        Ok(self.engine.mark_read(MarkRead { peer: conversation, until }).await?)
    }

    /// Messages that nobody looked at yet.
    #[zbus(property)]
    fn unread(&self) -> u32 {
        *self.unread.now()
    }

    /// A text or a file came in. Of a long text only the beginning; `bytes` says how long it is.
    #[zbus(signal)]
    pub(super) async fn received(emitter: &SignalEmitter<'_>, message: HashMap<&str, Variant<'_>>) -> zbus::Result<()>;

    /// A message stands elsewhere than before.
    #[zbus(signal)]
    pub(super) async fn state_changed(emitter: &SignalEmitter<'_>, id: &str, state: &str) -> zbus::Result<()>;
}

fn named(conversation: String) -> Option<String> {
    (!conversation.is_empty()).then_some(conversation)
}

/// A message as the bus shows it.
pub(super) fn fields(message: &Message) -> HashMap<&'static str, Variant<'static>> {
    let mut fields = HashMap::from([
        ("id", Variant::from(message.id.to_string())),
        ("no", Variant::from(message.no)),
        ("conversation", Variant::from(bus_text(&message.conversation))),
        ("peer", Variant::from(zbus::ObjectPath::from(peer_path(&message.peer_id)))),
        ("paired", Variant::from(message.paired)),
        ("from", Variant::from(bus_text(&message.from))),
        ("direction", Variant::from(message.direction.word())),
        ("text", Variant::from(bus_text(&message.text))),
        ("bytes", Variant::from(message.bytes)),
        ("at", Variant::from(bus_time(message.at))),
        ("state", Variant::from(message.state.word())),
    ]);
    if let Some(transfer) = message.transfer {
        fields.insert("transfer", Variant::from(zbus::ObjectPath::from(transfer_path(transfer))));
    }
    if let (Some(audience), Some(post)) = (&message.audience, message.post) {
        fields.insert("audience", Variant::from(bus_text(audience)));
        fields.insert("post", Variant::from(post.to_string()));
    }
    fields
}
