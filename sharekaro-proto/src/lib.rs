//! What two ShareKaro processes must agree on.
//!
//! `nouns` are the words that everybody uses, `control` is the API between the daemon and its frontends (JSON over
//! HTTP), `wire` is what two daemons say to each other (protobuf over QUIC). Nothing here decides anything and, but
//! for the `client` feature, nothing here does any I/O.

pub mod control;
pub mod nouns;
pub mod wire;

#[cfg(feature = "client")]
pub mod client;

pub use control::error::{ErrorBody, ErrorCode};
pub use nouns::{device::DeviceId, transfer::TransferId, transfer::TransferKey};
