//! How the sending rate follows the path: cubic, which however does not slow down for packets that noise took.
//!
//! Cubic takes every loss for a full queue. On a path that is long and bad that leaves a few packets a round trip: 8 MiB
//! at 300 ms and 1 % loss take minutes. A full queue shows itself by packets that come later than they could, or by
//! losing many; a loss without either is noise (the idea of TCP Veno, Fu and Liew, 2003).

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

/// Packets that come so much later than the earliest one wait in a queue: a quarter of the shortest round trip, and this.
const LATE: Duration = Duration::from_micros(200);

/// A share of losses above this is no noise any more: somebody's queue overflows, however short it is.
const MANY: f64 = 0.15;

/// Bytes from which on a share of losses means something.
const ENOUGH: f64 = 32.0 * 1200.0;

/// The share of losses is that of the last few windows.
const WINDOWS: f64 = 4.0;

/// Makes such controllers.
#[derive(Debug, Default)]
pub(super) struct DiscerningConfig {
    cubic: Arc<CubicConfig>,
}

/// Cubic that hears only of losses that mean something.
struct Discerning {
    cubic: Box<dyn Controller>,
    path: Path,
}

/// What was seen of a path lately.
#[derive(Clone, Copy, Default, Debug)]
struct Path {
    round_trip: Duration,
    shortest: Duration,
    acked: f64,
    lost: f64,
}

impl Path {
    #[allow(clippy::cast_precision_loss, reason = "bytes of a few windows")]
    fn acked(&mut self, bytes: u64, window: u64, round_trip: Duration, shortest: Duration) {
        (self.round_trip, self.shortest) = (round_trip, shortest);
        self.acked += bytes as f64;
        if self.acked + self.lost > ENOUGH.max(WINDOWS * window as f64) {
            self.acked /= 2.0;
            self.lost /= 2.0;
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "bytes of a few windows")]
    fn lost(&mut self, bytes: u64) {
        self.lost += bytes as f64;
    }

    /// Whether what is lost now is lost because there is too much of it.
    fn is_crowded(&self) -> bool {
        let waits = self.round_trip.saturating_sub(self.shortest) > self.shortest / 4 + LATE;
        let seen = self.acked + self.lost;
        waits || (seen > ENOUGH / 2.0 && self.lost / seen > MANY)
    }
}

impl ControllerFactory for DiscerningConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Discerning { cubic: Arc::clone(&self.cubic).build(now, current_mtu), path: Path::default() })
    }
}

impl Controller for Discerning {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.path.acked(bytes, self.cubic.window(), rtt.get(), rtt.min());
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_packet_num_acked: Option<u64>) {
        self.cubic.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.path.lost(lost_bytes);
        let marked = lost_bytes == 0; // a router says so itself
        if is_persistent_congestion || marked || self.path.is_crowded() {
            self.cubic.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.cubic.window()
    }

    fn metrics(&self) -> ControllerMetrics {
        self.cubic.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { cubic: self.cubic.clone_box(), path: self.path })
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 120_000;

    /// After so many packets, of which every so-manieth was lost.
    fn after(packets: u64, lost_of_100: u64, round_trip_ms: u64, shortest_ms: u64) -> Path {
        let mut path = Path::default();
        for packet in 0..packets {
            if packet * lost_of_100 / 100 == (packet + 1) * lost_of_100 / 100 {
                path.acked(1200, WINDOW, Duration::from_millis(round_trip_ms), Duration::from_millis(shortest_ms));
            } else {
                path.lost(1200);
            }
        }
        path
    }

    #[test]
    fn noise_is_told_from_a_queue() {
        for lost_of_100 in [1, 3, 6, 10] {
            assert!(!after(5000, lost_of_100, 310, 300).is_crowded(), "{lost_of_100} %");
        }
        assert!(after(5000, 1, 400, 300).is_crowded(), "the queue is a third of the path");
        assert!(after(5000, 1, 2, 1).is_crowded(), "a millisecond of queue on a short line");
        assert!(after(5000, 25, 300, 300).is_crowded(), "a short queue that overflows");
    }

    #[test]
    fn the_first_losses_say_nothing_of_their_share() {
        let mut path = Path::default();
        path.lost(1200);
        assert!(!path.is_crowded());
    }

    #[test]
    fn what_was_long_ago_counts_no_more() {
        let mut path = after(2000, 40, 300, 300);
        assert!(path.is_crowded());
        (0..5000).for_each(|_| path.acked(1200, WINDOW, Duration::from_millis(300), Duration::from_millis(300)));
        assert!(!path.is_crowded());
    }
}
