//! Other devices: which ones there are, where they can be reached, what they may do.

mod bench;
pub mod connect;
mod groups;
pub mod presence;
pub mod serve;
pub mod table;
pub(crate) mod target;
pub mod trust;
