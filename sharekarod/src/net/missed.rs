//! Calls that began and never became a session: somebody's packets reach us, and ours do not reach it, or it gave up.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Calls that are remembered: enough for every peer of a person, and nothing that a flood could fill.
const KEPT: usize = 32;

/// The latest of them.
#[derive(Default)]
pub(super) struct Missed(Mutex<VecDeque<(IpAddr, Instant)>>);

impl Missed {
    /// A call from there was never finished.
    pub(super) fn note(&self, from: IpAddr, now: Instant) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.retain(|(address, _)| *address != from);
        calls.push_back((from, now));
        if calls.len() > KEPT {
            calls.pop_front();
        }
    }

    /// Whether one came from there, no longer ago than this.
    pub(super) fn one_from(&self, from: IpAddr, within: Duration, now: Instant) -> bool {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().any(|(address, at)| *address == from && now.saturating_duration_since(*at) <= within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_calls_are_remembered_and_a_flood_fills_nothing() {
        let (missed, now) = (Missed::default(), Instant::now());
        for i in 0..1000u32 {
            missed.note(std::net::Ipv4Addr::from(i).into(), now);
        }
        let (last, first) = (std::net::Ipv4Addr::from(999).into(), std::net::Ipv4Addr::from(0).into());
        let minute = Duration::from_secs(60);

        assert!(missed.one_from(last, minute, now + minute) && !missed.one_from(last, minute, now + minute * 2));
        assert!(!missed.one_from(first, minute, now));
        assert_eq!(missed.0.lock().unwrap().len(), KEPT);
    }
}
