//! What was measured: an interface's totals at a moment, and the amounts of the step between two of them.

use std::sync::Arc;

use jiff::Timestamp;
use sharekaro_proto::control::net::Counters;

/// The totals of an interface as the kernel gave them.
#[derive(Clone, PartialEq, Debug)]
pub struct Reading {
    /// Which interface.
    pub interface: Arc<str>,
    /// It can carry packets.
    pub up: bool,
    /// Its totals.
    pub counters: Counters,
}

/// The amounts of one step, never negative. Where `gap` is set they may lack some, or stem from a longer time: nothing for
/// a detector to judge.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// Which interface.
    pub interface: Arc<str>,
    /// When the step ended.
    pub at: Timestamp,
    /// How long the step was.
    pub seconds: f64,
    /// What passed in it.
    pub amounts: Counters,
    /// Of that, what this daemon itself carried: known, and not judged.
    pub own: Counters,
    /// Nobody looked for a while, the counters began again, or the interface is new.
    pub gap: bool,
}
