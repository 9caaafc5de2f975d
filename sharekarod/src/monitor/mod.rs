//! The network, watched: samples, packets, and what is out of the ordinary in them.

pub mod counters;
pub mod detect;
pub mod mac;
pub mod sample;
