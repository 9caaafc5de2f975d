//! The network, watched: samples, packets, and what is out of the ordinary in them.

mod captures;
pub mod counters;
pub mod detect;
pub mod frames;
pub mod history;
pub mod mac;
pub mod network_csv;
pub mod offline;
pub mod packets;
mod questions;
mod run;
pub mod sample;
mod seconds;
mod sources;

pub use run::{Config, Monitor, Notice, start};
