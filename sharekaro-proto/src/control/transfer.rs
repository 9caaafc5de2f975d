//! Transfers: sending, watching, steering.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};

use crate::{
    DeviceId, ErrorBody, TransferId,
    nouns::transfer::{Conflict, Direction, Phase, Priority, SkipReason, TransferState, words},
};

/// A path in JSON: a string where it is UTF-8, otherwise its bytes as an array of numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawPath(pub PathBuf);

impl Serialize for RawPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => serializer.serialize_str(text),
            None => self.0.as_os_str().as_bytes().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for RawPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Bytes(Vec<u8>),
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Text(text) => text.into(),
            Form::Bytes(bytes) => OsString::from_vec(bytes).into(),
        }))
    }
}

/// Send files and folders.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// To whom: `alias | name | id prefix | @group | #room | all | host:port`, several joined by a comma.
    pub target: String,
    /// Absolute paths on this machine.
    #[schema(value_type = Vec<String>)]
    pub paths: Vec<RawPath>,
    /// A word to it.
    #[serde(default)]
    pub note: String,
    /// Patterns of what to leave out, at any depth (glob syntax).
    #[serde(default)]
    pub exclude: Vec<String>,
    /// What happens where a name is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Conflict>,
    /// Bytes a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Which goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Obey ignore files (`.gitignore`, `.ignore`).
    #[serde(default)]
    pub ignore_files: bool,
    /// Send extended attributes of the user namespace too.
    #[serde(default)]
    pub xattrs: bool,
    /// Receivers of the same files do not learn of each other.
    #[serde(default)]
    pub apart: bool,
}

/// Send files and folders to whoever types a code.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendCode {
    /// Absolute paths on this machine.
    #[schema(value_type = Vec<String>)]
    pub paths: Vec<RawPath>,
    /// A word to it.
    #[serde(default)]
    pub note: String,
    /// Patterns of what to leave out, at any depth (glob syntax).
    #[serde(default)]
    pub exclude: Vec<String>,
    /// What happens where a name is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Conflict>,
    /// Bytes a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Which goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Obey ignore files (`.gitignore`, `.ignore`).
    #[serde(default)]
    pub ignore_files: bool,
    /// Send extended attributes of the user namespace too.
    #[serde(default)]
    pub xattrs: bool,
}

/// Receive what a code was made for. Nobody becomes trusted by it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiveCode {
    /// As it was told.
    pub code: String,
    /// Whose it is; without it, whoever on the LAN holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// Send what comes as the body of the request.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SendPipe {
    /// To whom, as in `Send`.
    pub target: String,
    /// What it is called there.
    pub name: String,
    /// A word to it.
    #[serde(default)]
    pub note: String,
    /// What happens where the name is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Conflict>,
    /// Bytes a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Which goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// The receivers do not learn of each other.
    #[serde(default)]
    pub apart: bool,
}

/// Receive the next file of a peer as the body of the reply.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceivePipe {
    /// From whom: a target that names one peer.
    pub from: String,
}

/// Several transfers.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Transfers {
    /// Newest first (those of one `Send`: in the order of its targets).
    pub transfers: Vec<Transfer>,
}

/// An offer's life to its end, as this device knows it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Transfer {
    /// Our number for it.
    #[schema(value_type = String)]
    pub id: TransferId,
    /// Which way the bytes go.
    pub direction: Direction,
    /// With whom: our name for the peer.
    pub peer: String,
    /// With whom: its id.
    #[schema(value_type = String)]
    pub peer_id: DeviceId,
    /// What it is, for people: the first name.
    pub title: String,
    /// Where it stands.
    pub state: TransferState,
    /// What it does right now.
    pub phase: Phase,
    /// Bytes of all files.
    pub bytes_total: u64,
    /// Bytes that the receiver verified and wrote, those that were there already included.
    pub bytes_confirmed: u64,
    /// Of these, bytes that were there already.
    pub bytes_reused: u64,
    /// Files.
    pub files_total: u64,
    /// Files that are whole at the receiver.
    pub files_done: u64,
    /// Bytes a second right now, what was there already not counted.
    pub rate: u64,
    /// Seconds that it will still take at this rate.
    pub eta_seconds: Option<u64>,
    /// What keeps it from going on, or ended it.
    pub error: Option<ErrorBody>,
    /// What is sent (out), or where it lies (in, once it is done): in events and lists the first of these, alone the whole.
    pub paths: Vec<String>,
    /// How many these are.
    #[serde(default)]
    pub paths_count: u64,
    /// Whether what came lies apart until a person lets it out.
    #[serde(default)]
    pub quarantined: bool,
    /// What was left out, those first that make the transfer a partial one: in events and lists the first of these, alone as
    /// many as are named.
    pub skipped: Vec<Skipped>,
    /// How many these are.
    #[serde(default)]
    pub skipped_count: u64,
    /// Whom the pieces came from, where several receive the same and help each other; those of small files, which come
    /// in packs from the sender, are not counted. Empty otherwise.
    #[serde(default)]
    pub holders: Vec<Holder>,
    /// Bytes a second that are allowed here.
    pub limit: Option<u64>,
    /// Which goes first.
    pub priority: Priority,
    /// A word to it.
    pub note: String,
    /// When it was recorded.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When it last changed its state.
    #[schema(value_type = String)]
    pub changed_at: Timestamp,
    /// When it ends by itself if nothing happens.
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Timestamp>,
}

/// Who gave pieces to a receiver, as that receiver counts: who helped, and who lied.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Holder {
    /// Our name for it.
    pub peer: String,
    /// Its id.
    #[schema(value_type = String)]
    pub peer_id: DeviceId,
    /// Whether it is the sender of the transfer itself.
    pub sender: bool,
    /// Pieces of at most one MiB that were verified and kept.
    pub pieces: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Pieces that were not what they had to be. After the first it is not asked again for this transfer.
    pub wrong: u64,
}

/// Something that was left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Skipped {
    /// Within what was sent, or absolute where it is at the top.
    pub path: String,
    /// Why.
    pub reason: SkipReason,
}

/// Another limit.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetLimit {
    /// Bytes a second; without it as many as go. The lower one of both sides counts.
    #[serde(default)]
    pub rate: Option<u64>,
}

/// Another place in the order.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPriority {
    /// Which goes first.
    pub priority: Priority,
}

/// The longest receipt, in bytes: a million files with long paths.
pub const RECEIPT_MAX: usize = 512 << 20;

/// Proof of what was received: signed by the receiver over everything in it. See `sharekarod`'s `receipt` for the bytes
/// that are signed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Who sent.
    #[schema(value_type = String)]
    pub from: DeviceId,
    /// Who received, and signed.
    #[schema(value_type = String)]
    pub to: DeviceId,
    /// When all of it was stored, on the receiver's clock: RFC 3339 in UTC.
    pub at: String,
    /// What was stored.
    pub files: Vec<ReceiptFile>,
    /// Ed25519, 128 hexadecimal digits.
    pub signature: String,
}

/// A file of a receipt.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiptFile {
    /// Within what was sent.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// BLAKE3, 64 hexadecimal digits, as `b3sum` prints it.
    pub hash: String,
}

/// What was found of a receipt.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReceiptVerdict {
    /// Whether `to` signed exactly this.
    pub valid: bool,
}

words! {
    /// What keeps a transfer from being faster.
    Bottleneck {
        /// The line is full.
        Link = "link",
        /// Packets get lost.
        Loss = "loss",
        /// The radio is weak or busy.
        Wifi = "wifi",
        /// Our disk.
        OurDisk = "our_disk",
        /// Their disk.
        TheirDisk = "their_disk",
        /// Our processor.
        OurCpu = "our_cpu",
        /// Their processor.
        TheirCpu = "their_cpu",
        /// A limit that somebody set.
        Limit = "limit",
        /// Nothing: it does not run, or is as fast as can be.
        None = "none",
    }
}

/// Why a transfer is not faster.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// What holds it back most.
    pub bottleneck: Bottleneck,
    /// The same in a sentence, with the figures behind it.
    pub explanation: String,
}

/// What each part of the way to a peer can do, in bytes a second.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Bench {
    /// Through the session, from memory to memory.
    pub network: u64,
    /// One core hashing and encrypting here.
    pub crypto: u64,
    /// Writing durably here.
    pub our_disk: u64,
    /// Writing durably there.
    pub their_disk: u64,
}
