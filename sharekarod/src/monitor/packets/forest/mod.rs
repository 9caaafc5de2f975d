//! An Isolation Forest: what random cuts separate from the others after few cuts is unlike them.
//!
//! F. T. Liu, K. M. Ting, Z.-H. Zhou: Isolation-Based Anomaly Detection, ACM TKDD 6(1), 2012. Trees that are grown of small
//! samples, cut along one feature at a time. A feature that does not vary within a sample is passed over: cutting it
//! would say nothing. The same seed and the same samples give the same scores on every machine.

mod grid;
pub mod judge;
mod tree;

pub use self::tree::{Forest, Random};
