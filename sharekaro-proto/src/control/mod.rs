//! The control API: what frontends ask of the daemon, what it answers, which facts it tells.
//!
//! HTTP/1.1 with JSON over the control socket; events are server-sent events. `routes` names every path once, for the
//! daemon's router and the client alike. The same names stand on D-Bus and in `sharectl --json`.

pub mod doctor;
pub mod drop;
pub mod error;
pub mod event;
pub mod inbox;
pub mod message;
pub mod net;
pub mod packets;
pub mod pairing;
pub mod peer;
pub mod policy;
pub mod routes;
pub mod socket;
pub mod status;
pub mod transfer;
