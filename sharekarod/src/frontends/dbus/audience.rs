//! Who hears the signals: everybody on the bus of a session, where nobody is but its user; on the bus of the system,
//! where everybody is, only the clients that were let in, each by name.

use std::sync::Arc;

use zbus::{Connection, ObjectPath, OwnedObjectPath, names::BusName, object_server::SignalEmitter};

use super::{Kind, gate::Gate};

/// A connection, and who hears what is said there.
#[derive(Clone)]
pub(super) struct Audience {
    connection: Connection,
    /// Who of them was let in; `None`: everybody hears.
    gate: Option<Arc<Gate>>,
}

impl Audience {
    /// The audience of a connection to this kind of bus.
    pub(super) fn new(connection: Connection, kind: Kind, gate: &Arc<Gate>) -> Self {
        Self { connection, gate: (kind == Kind::System).then(|| Arc::clone(gate)) }
    }

    /// The connection.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What a signal of the object at this path has to be emitted with, for each hearer.
    pub(super) fn of(&self, path: &OwnedObjectPath) -> Vec<SignalEmitter<'static>> {
        let from = || SignalEmitter::from_parts(self.connection.clone(), ObjectPath::from(path.clone()));
        match &self.gate {
            None => vec![from()],
            Some(gate) => gate
                .hearers()
                .into_iter()
                .filter_map(|client| BusName::try_from(client).ok())
                .map(|client| from().set_destination(client))
                .collect(),
        }
    }
}
