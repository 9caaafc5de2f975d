//! What a transfer is called and where it stands.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// A transfer as this device counts it, written `t8`. The other side has a number of its own for the same transfer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TransferId(pub u64);

/// What both sides call a transfer: a UUID, version 7, made by the sender.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TransferKey(pub [u8; 16]);

impl TransferKey {
    /// A key that nobody used before.
    pub fn fresh() -> Self {
        Self(*uuid::Uuid::now_v7().as_bytes())
    }

    /// The key in a peer's bytes; `None` where these are not sixteen.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for TransferKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).as_simple().fmt(f)
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

/// A text is no transfer id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a transfer id looks like t8")]
pub struct TransferIdError;

impl FromStr for TransferId {
    type Err = TransferIdError;

    fn from_str(text: &str) -> Result<Self, TransferIdError> {
        let digits = text.strip_prefix('t').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(TransferIdError);
        }
        digits.parse().map(Self).map_err(|_| TransferIdError)
    }
}

impl Serialize for TransferId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TransferId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// All of them, in the order in which they are declared.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it in JSON, on the bus and in the database.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The one with this word.
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.word() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// Which way the bytes go, seen from this device.
    Direction {
        /// We send.
        Out = "out",
        /// We receive.
        In = "in",
    }
}

words! {
    /// Where a transfer stands. The last five are its end.
    TransferState {
        /// Recorded here; the peer does not know yet, usually because it is off.
        Queued = "queued",
        /// The peer knows; nobody has answered yet.
        Offered = "offered",
        /// Bytes move, or are about to.
        Active = "active",
        /// Somebody paused it; who paused resumes.
        Paused = "paused",
        /// It cannot go on now and will by itself; the error says what it waits for.
        Waiting = "waiting",
        /// Verified, stored durably and acknowledged.
        Done = "done",
        /// The receiver did not want it.
        Declined = "declined",
        /// One of the two ended it.
        Cancelled = "cancelled",
        /// Nobody answered, or nothing moved, for too long.
        Expired = "expired",
        /// It can never go on: what was to be sent is no longer what it was.
        Failed = "failed",
    }
}

impl TransferState {
    /// Whether nothing can follow.
    pub const fn ended(self) -> bool {
        matches!(self, Self::Done | Self::Declined | Self::Cancelled | Self::Expired | Self::Failed)
    }
}

words! {
    /// What a transfer that is not at rest does right now.
    Phase {
        /// The sender walks what is to be sent.
        Scanning = "scanning",
        /// Looking for the peer.
        Connecting = "connecting",
        /// Waiting for the receiver's answer.
        Asking = "asking",
        /// The receiver looks at what it has already.
        Comparing = "comparing",
        /// Bytes move.
        Transferring = "transferring",
        /// Bytes ought to move and do not.
        Stalled = "stalled",
        /// Making durable and moving into place.
        Storing = "storing",
        /// Nothing.
        Resting = "resting",
    }
}

words! {
    /// What happens when a received name is taken already.
    Conflict {
        /// The new one is called `name (2)`.
        Rename = "rename",
        /// What is identical is not stored again; the rest is renamed.
        Skip = "skip",
        /// The new one takes the name, the old one is kept beside it.
        Overwrite = "overwrite",
        /// The newer one takes the name, the other one is kept beside it.
        Newer = "newer",
        /// The receiver's person decides.
        Ask = "ask",
    }
}

words! {
    /// Which transfer goes first.
    Priority {
        /// Only when nothing else wants the line; drop folders use it.
        Low = "low",
        /// As everybody.
        Normal = "normal",
        /// Before the others.
        High = "high",
    }
}

words! {
    /// Why something of a tree was not sent.
    SkipReason {
        /// A pipe, device or socket.
        Special = "special",
        /// A symbolic link that points outside the tree.
        Link = "link",
        /// It could not be read.
        Unreadable = "unreadable",
        /// It changed while it was read, again and again.
        Changed = "changed",
        /// It was gone when its turn came.
        Vanished = "vanished",
        /// The receiver could not store it under any name.
        Unstorable = "unstorable",
    }
}

impl SkipReason {
    /// Whether leaving it out makes the transfer only partly done (exit code 12).
    pub const fn counts(self) -> bool {
        !matches!(self, Self::Special | Self::Link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back_and_is_the_one_in_json() {
        for state in TransferState::ALL {
            assert_eq!(TransferState::from_word(state.word()), Some(*state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.word());
        }
        for reason in SkipReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.word());
        }
    }

    #[test]
    fn an_id_is_read_with_and_without_its_letter() {
        assert_eq!("t8".parse(), Ok(TransferId(8)));
        assert_eq!("8".parse(), Ok(TransferId(8)));
        for bad in ["", "t", "+8", "t-1", "8t", "t99999999999999999999"] {
            assert_eq!(bad.parse::<TransferId>(), Err(TransferIdError), "{bad}");
        }
    }
}
