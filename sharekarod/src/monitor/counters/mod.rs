//! The counters of every interface, each second.

mod kernel;
mod own;
mod steps;

pub use kernel::{Kernel, ReadError};
pub use own::Own;
pub use steps::Steps;

/// The first line of `Network.csv`, for ever.
pub const NETWORK_CSV_HEADER: &str = "Time,Bytes_sent,Bytes_received,Packets_sent,Packets_received";
