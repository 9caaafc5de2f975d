//! Judging what was measured: detectors that are fed and never ask, so that live data, a CSV and a capture are judged alike.

pub mod finding;
pub mod incidents;
mod record;
pub mod replay;
pub mod rules;
mod series;
pub mod traffic;
