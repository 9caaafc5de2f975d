//! Pairing: making a stranger a peer that is trusted, by words or by a code.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::peer::Peer;
use crate::{TransferId, nouns::transfer::words};

/// Begin to pair.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StartPairing {
    /// With whom: a target that names one peer.
    pub peer: String,
}

words! {
    /// Where a pairing stands.
    PairingState {
        /// The two devices are still making the words.
        Starting = "starting",
        /// The words are there; one person or both have yet to say that they are the same.
        Comparing = "comparing",
        /// Both said so.
        Paired = "paired",
        /// One said no, or nobody said anything for too long, or the session broke.
        Failed = "failed",
    }
}

/// A pairing by words.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Pairing {
    /// What to call it in later requests.
    pub id: u64,
    /// With whom.
    pub peer: Peer,
    /// Where it stands.
    pub state: PairingState,
    /// The same on both screens, or there is somebody in between. Empty while starting.
    pub words: String,
    /// Our person said that they are the same.
    pub confirmed_here: bool,
    /// Their person said so.
    pub confirmed_there: bool,
    /// Why it failed.
    pub error: Option<crate::ErrorBody>,
}

words! {
    /// Where an invitation stands.
    InvitationState {
        /// Nobody used it yet.
        Open = "open",
        /// Used.
        Used = "used",
        /// Too many wrong tries, or withdrawn.
        Burnt = "burnt",
        /// Too old.
        Expired = "expired",
    }
}

/// A one-shot code.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Invitation {
    /// What to call it in later requests.
    pub id: u64,
    /// What the other person types.
    pub code: String,
    /// No longer than this.
    #[schema(value_type = String)]
    pub expires_at: Timestamp,
    /// Where it stands.
    pub state: InvitationState,
    /// Who used it.
    pub peer: Option<Peer>,
    /// The transfer that it became, where it was made for files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub transfer: Option<TransferId>,
}

/// Use a code.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JoinInvitation {
    /// As it was told.
    pub code: String,
    /// Whose it is; without it, whoever on the LAN holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}
