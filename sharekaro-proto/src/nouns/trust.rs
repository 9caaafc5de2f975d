//! What a peer may do without asking.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::transfer::words;

words! {
    /// What a peer may do without asking. Only a person, or a code that a person passed on, changes it.
    Trust {
        /// Seen, never confirmed. It may ask; nothing else.
        Unknown = "unknown",
        /// A pairing with it is under way.
        Pending = "pending",
        /// Paired; its files wait for an answer.
        Ask = "ask",
        /// Paired; its files come in unasked. Pairing makes it so.
        Accept = "accept",
        /// Paired; its files are declined.
        Decline = "decline",
        /// It may not even connect.
        Blocked = "blocked",
        /// A device that uses the name of a paired one with another key.
        Changed = "changed",
    }
}

impl Trust {
    /// Whether a person confirmed the key.
    pub const fn paired(self) -> bool {
        matches!(self, Self::Ask | Self::Accept | Self::Decline)
    }
}
