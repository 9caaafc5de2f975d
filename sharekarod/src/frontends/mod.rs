//! They ask: translation only. An `if` about sharing belongs in the engine.

pub mod api;
pub mod dbus;
pub mod socket;
