//! An object that stands on the bus, and what its listeners were told of it: `PropertiesChanged` with what differs,
//! a few times a second at most, and the last state always.

use std::{borrow::Cow, collections::HashMap, time::Duration};

use tokio::time::Instant;
use zbus::{
    Connection, ObjectPath, OwnedObjectPath, OwnedVariant, Variant,
    fdo::Properties,
    object_server::{Interface, SignalEmitter},
};

use super::{audience::Audience, standing::Standing};

/// Changes of one object are told no sooner after one another: three a second, and with the end, which never waits,
/// at most four.
pub(super) const TOLD_EVERY: Duration = Duration::from_millis(334);

/// An object and what was told of it.
pub(super) struct Told<I> {
    object: I,
    path: OwnedObjectPath,
    sent: HashMap<String, OwnedVariant>,
    sent_at: Option<Instant>,
    stale: bool,
}

impl<I: Interface> Told<I> {
    /// An object of which listeners know what it shows now.
    pub(super) async fn new(connection: &Connection, path: OwnedObjectPath, object: I) -> zbus::Result<Self> {
        let emitter = SignalEmitter::new(connection, path.clone())?;
        let sent = object.get_all(connection.object_server(), connection, None, &emitter).await?;
        Ok(Self { object, path, sent, sent_at: None, stale: false })
    }

    /// The object.
    pub(super) fn object(&self) -> &I {
        &self.object
    }

    /// Something differs; listeners are told when it is time.
    pub(super) fn touch(&mut self) {
        self.stale = true;
    }

    /// When listeners are to be told; `None` where they know everything.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        self.stale.then(|| self.sent_at.map_or(now, |at| at + TOLD_EVERY))
    }

    /// Tells listeners that it stands here now, with all of its properties.
    pub(super) async fn introduce(&self, audience: &Audience) -> zbus::Result<()> {
        for emitter in audience.of(&super::objects::root()) {
            let properties = self.sent.iter().map(|(name, value)| Ok((name.as_str(), Variant::try_from(value)?)));
            let interfaces = HashMap::from([(I::name(), properties.collect::<zbus::Result<_>>()?)]);
            Standing::interfaces_added(&emitter, ObjectPath::from(&self.path), interfaces).await?;
        }
        Ok(())
    }

    /// Tells listeners now what differs from what they were told last.
    pub(super) async fn tell(&mut self, audience: &Audience) -> zbus::Result<()> {
        self.stale = false;
        let connection = audience.connection();
        let emitter = SignalEmitter::new(connection, self.path.clone())?;
        let now = self.object.get_all(connection.object_server(), connection, None, &emitter).await?;
        let changed: Vec<_> = now.iter().filter(|(name, value)| self.sent.get(*name) != Some(value)).collect();
        if changed.is_empty() {
            return Ok(());
        }
        for emitter in audience.of(&self.path) {
            let changed = changed.iter().map(|(name, value)| Ok((name.as_str(), Variant::try_from(*value)?)));
            Properties::properties_changed(&emitter, I::name(), changed.collect::<zbus::Result<_>>()?, Cow::Borrowed(&[])).await?;
        }
        self.sent = now;
        self.sent_at = Some(Instant::now());
        Ok(())
    }
}
