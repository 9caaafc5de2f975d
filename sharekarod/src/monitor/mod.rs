//! The network, watched: samples, packets, and what is out of the ordinary in them.

pub mod counters;
pub mod detect;
pub mod history;
pub mod mac;
pub mod network_csv;
pub mod packets;
mod run;
pub mod sample;
mod sources;

pub use run::{Config, Monitor, start};
