//! What is remembered of a transfer: the part that survives a restart.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use sharekaro_proto::{
    DeviceId, ErrorBody, TransferId, TransferKey,
    control::transfer::{RawPath, Skipped},
    nouns::transfer::{Conflict, Direction, Priority, SkipReason, TransferState},
};

use super::crowd::{Crowd, Given};

/// So many of the things that were left out are named, those first that make a transfer a partial one; the others are counted.
pub const SKIPPED_NAMED_MAX: usize = 10_000;

/// A transfer as it is kept. Old records lack new fields, so each of these has a default.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Our number; the database's, not part of the JSON.
    #[serde(skip, default = "no_number")]
    pub id: TransferId,
    /// What both sides call it.
    #[serde(with = "key_as_hex")]
    pub key: TransferKey,
    /// The first transfer of the same `send`: what is sent to several was walked and read once, under this key.
    #[serde(with = "key_as_hex")]
    pub set: TransferKey,
    /// Which way.
    pub direction: Direction,
    /// With whom.
    pub peer: DeviceId,
    /// Where that was reached last: who is not paired is kept nowhere else, and has to be found again after a restart.
    #[serde(default)]
    pub peer_address: Option<SocketAddr>,
    /// Where it stands.
    pub state: TransferState,
    /// What it is, for people.
    pub title: String,
    /// A word to it.
    #[serde(default)]
    pub note: String,
    /// Bytes of all files.
    pub bytes_total: u64,
    /// Files.
    pub files_total: u64,
    /// Entries of the manifest.
    #[serde(default)]
    pub entries: u64,
    /// Bytes that the receiver holds.
    pub bytes_confirmed: u64,
    /// Of these, bytes that were there already.
    pub bytes_reused: u64,
    /// Files that are whole at the receiver.
    pub files_done: u64,
    /// What keeps it from going on, or ended it.
    pub error: Option<ErrorBody>,
    /// What is sent: absolute paths here.
    pub sources: Vec<RawPath>,
    /// How it is sent.
    #[serde(default)]
    pub options: SendOptions,
    /// What happens where a name is taken.
    pub conflict: Option<Conflict>,
    /// Where the received top-level entries lie.
    pub placed: Vec<RawPath>,
    /// Where they are to go, if not into the inbox.
    pub destination: Option<RawPath>,
    /// What becomes of it if the client whose it is does not take it.
    #[serde(default, skip_serializing_if = "Otherwise::is_nothing")]
    pub otherwise: Otherwise,
    /// The folder of cages in which it arrives.
    #[serde(default)]
    pub staging: Option<RawPath>,
    /// Who else gets the same content.
    #[serde(default)]
    pub crowd: Option<Crowd>,
    /// Whom the pieces came from, counted while others help; what a crash took from the count is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<Given>,
    /// What was left out.
    pub skipped: Vec<Skipped>,
    /// Left out too, and not named.
    #[serde(default)]
    pub skipped_more: u64,
    /// What was left out of what was received, by number; for the sender.
    #[serde(default)]
    pub skipped_entries: Vec<(u32, SkipReason)>,
    /// Bytes a second that we allow.
    pub limit_here: Option<u64>,
    /// Bytes a second that the peer allows.
    pub limit_there: Option<u64>,
    /// Which goes first.
    pub priority: Priority,
    /// Our person set the limit or which goes first, and the sender has not heard it.
    #[serde(default)]
    pub steered: bool,
    /// Our person paused it.
    pub paused_here: bool,
    /// Theirs did.
    pub paused_there: bool,
    /// A person, or policy, said yes (in), or was seen to say so (out).
    pub accepted: bool,
    /// Which rule judged the offer.
    #[serde(default)]
    pub rule: String,
    /// Rules were asked; an offer of which they have to know the names of all files waits for these first.
    #[serde(default = "yes")]
    pub judged: bool,
    /// It goes, or lies, where a person has to let it out.
    #[serde(default)]
    pub quarantined: bool,
    /// It was taken back.
    #[serde(default)]
    pub undone: bool,
    /// What is to be run once it is done, and was not yet.
    #[serde(default)]
    pub run: Vec<String>,
    /// It ended here and the peer has not acknowledged that.
    #[serde(default)]
    pub untold: bool,
    /// No receiver heard of what it sends, which is walked anew before one does: it may have changed while they were away.
    #[serde(default)]
    pub unoffered: bool,
    /// The sender's manifest is written.
    #[serde(default)]
    pub scanned: bool,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970, of the last change of state.
    pub changed_ms: i64,
    /// Milliseconds since 1970.
    pub expires_ms: Option<i64>,
}

/// How things are sent.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SendOptions {
    /// Patterns of what to leave out.
    pub exclude: Vec<String>,
    /// Obey ignore files.
    pub ignore_files: bool,
    /// Extended attributes too.
    pub xattrs: bool,
    /// It lay in a drop folder: no link on the way to it is followed, and what is gone by now is left out.
    #[serde(default)]
    pub dropped: bool,
}

/// What a rule said of a file that a client who waited for it got instead.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Otherwise {
    /// Where it goes; the inbox without one.
    pub dir: Option<RawPath>,
    /// What is run then.
    pub run: Vec<String>,
}

impl Otherwise {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl Record {
    /// Whether it is an offer that rules are still asked about: no person is, yet.
    pub fn is_unjudged(&self) -> bool {
        self.direction == Direction::In && self.state == TransferState::Offered && !self.judged
    }

    /// Whether it is an offer that ended without anybody here saying yes: anybody on the LAN can leave any number of these.
    pub fn came_to_nothing(&self) -> bool {
        self.direction == Direction::In && self.state.ended() && !self.accepted
    }

    /// Whether it lies in quarantine.
    pub fn lies_apart(&self) -> bool {
        self.quarantined && self.state == TransferState::Done && !self.undone
    }

    /// Whether it rests because somebody paused it.
    pub fn paused(&self) -> bool {
        self.paused_here || self.paused_there
    }

    /// These were left out too, and `more` that have no name.
    pub fn leave_out(&mut self, skipped: impl IntoIterator<Item = Skipped>, more: u64) {
        self.skipped.extend(skipped);
        self.skipped.sort_by_key(|it| !it.reason.counts());
        let unnamed = self.skipped.len().saturating_sub(SKIPPED_NAMED_MAX);
        self.skipped.truncate(SKIPPED_NAMED_MAX);
        self.skipped_more = self.skipped_more.saturating_add(more).saturating_add(unnamed as u64);
    }

    /// How many things were left out.
    pub fn left_out(&self) -> u64 {
        self.skipped.len() as u64 + self.skipped_more
    }

    /// The lower of the two limits, bytes a second.
    pub fn limit(&self) -> Option<u64> {
        self.limit_here.into_iter().chain(self.limit_there).min()
    }
}

fn yes() -> bool {
    true
}

fn no_number() -> TransferId {
    TransferId(0)
}

mod key_as_hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use sharekaro_proto::TransferKey;

    pub(super) fn serialize<S: Serializer>(key: &TransferKey, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(key)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TransferKey, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(D::Error::custom)?;
        TransferKey::from_slice(&bytes).ok_or_else(|| D::Error::custom("a transfer key has 16 bytes"))
    }
}
