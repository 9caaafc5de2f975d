//! The drop folder: what lies in it, where that is to go, and how far it is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::transfer::RawPath;
use crate::nouns::transfer::words;

words! {
    /// Where something that was put into a drop folder stands.
    DropState {
        /// It may still be written: nothing is sent before it is whole.
        Settling = "settling",
        /// It is whole and cannot go yet; the reason says why.
        Waiting = "waiting",
        /// It is on its way.
        Sending = "sending",
        /// Everybody who was meant has it.
        Sent = "sent",
        /// It will not go by itself; the reason says why.
        Failed = "failed",
    }
}

/// Something that was put into a drop folder: a file, or a folder as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DropItem {
    /// Where it lies: in the drop folder, or in its `Sent` or `Failed`. Bytes that are no UTF-8 stand as `\xNN`.
    pub path: String,
    /// To whom it goes, as the folder or the setting `drop_target` says; empty where nobody is named.
    pub target: String,
    /// Where it stands.
    pub state: DropState,
    /// Why it does not go, or who lacks it still.
    pub reason: Option<String>,
}

/// Everything in the drop folders, and what was sent from them lately.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Drops {
    /// Those that are not sent yet first, then the others, newest first: at most `SENT_SHOWN` of these.
    pub items: Vec<DropItem>,
}

/// So many of the things that were sent are listed.
pub const SENT_SHOWN: usize = 10_000;

/// Try again what failed, and at once what waits.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryDrop {
    /// Only this, and what is in it: an absolute path. All without one.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<RawPath>,
}
