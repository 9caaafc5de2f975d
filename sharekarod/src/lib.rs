//! The ShareKaro daemon as a library: `run` builds everything once, in order, and joins it.

pub mod engine;
pub mod files;
pub mod frontends;
pub mod identity;
pub mod net;
pub mod store;
pub mod watchers;
