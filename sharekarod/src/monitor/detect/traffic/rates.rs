//! Rates of one step and their means: bytes and packets both ways, sending beyond receiving, and small packets.

use std::{collections::VecDeque, ops::Index};

use serde::{Deserialize, Serialize};

use crate::monitor::sample::Sample;

/// What is measured of each step, a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Quantity {
    /// Bytes sent.
    Sent,
    /// Bytes received.
    Received,
    /// Packets sent.
    PacketsSent,
    /// Packets received.
    PacketsReceived,
    /// Bytes sent beyond those received: people mostly receive.
    Surplus,
    /// Packets beyond those that the bytes need at 250 each.
    Small,
}

impl Quantity {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sent => "tx",
            Self::Received => "rx",
            Self::PacketsSent => "tx packets",
            Self::PacketsReceived => "rx packets",
            Self::Surplus => "tx beyond rx",
            Self::Small => "small packets",
        }
    }

    pub(super) const fn counts_bytes(self) -> bool {
        matches!(self, Self::Sent | Self::Received | Self::Surplus)
    }

    /// Below this everything is the same: the chatter of an idle machine.
    pub(super) const fn floor(self) -> f64 {
        if self.counts_bytes() { 50_000.0 } else { 50.0 }
    }
}

/// The rates of a step, or their means.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Rates([f64; 6]);

impl Rates {
    pub(super) fn of(sample: &Sample) -> Self {
        let (all, own) = (&sample.amounts, &sample.own);
        let rate = |amount: u64, own: u64| amount.saturating_sub(own) as f64 / sample.seconds.max(0.1);
        let (sent, received) = (rate(all.bytes_sent, own.bytes_sent), rate(all.bytes_received, own.bytes_received));
        let packets_sent = rate(all.packets_sent, own.packets_sent);
        let packets_received = rate(all.packets_received, own.packets_received);
        let small = packets_sent + packets_received - (sent + received) / 250.0;
        Self([sent, received, packets_sent, packets_received, (sent - received).max(0.0), small.max(0.0)])
    }

    /// The larger of both, each.
    pub(crate) fn raise(&mut self, other: &Self) {
        for (mine, other) in self.0.iter_mut().zip(other.0) {
            *mine = mine.max(other);
        }
    }
}

impl Index<Quantity> for Rates {
    type Output = f64;

    fn index(&self, quantity: Quantity) -> &f64 {
        &self.0[quantity as usize]
    }
}

/// Steps of which a mean, or a climb, is made; the newest first.
const KEPT: usize = 200;
/// A climb is looked for in so many blocks of so many steps.
const BLOCKS: usize = 10;
const BLOCK: usize = KEPT / BLOCKS;

/// The rates of the latest steps.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Latest(VecDeque<Rates>);

impl Latest {
    pub(super) fn push(&mut self, rates: Rates) {
        self.0.push_front(rates);
        self.0.truncate(KEPT);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The mean of the latest `count` steps; before there are as many, what is missing counts as silence.
    pub(super) fn mean(&self, count: usize) -> Rates {
        let mut sum = Rates::default();
        for rates in self.0.iter().take(count) {
            for (sum, rate) in sum.0.iter_mut().zip(rates.0) {
                *sum += rate;
            }
        }
        Rates(sum.0.map(|sum| sum / count.max(1) as f64))
    }

    /// How much a rate climbed by many small steps: all rises, less twice the largest one, less twice all falls. A
    /// download that begins is one large step; something that swells by degrees is none.
    pub(super) fn climb(&self, quantity: Quantity) -> f64 {
        if self.0.len() < KEPT {
            return 0.0;
        }
        let block =
            |number: usize| self.0.range(number * BLOCK..(number + 1) * BLOCK).map(|rates| rates[quantity]).sum::<f64>() / BLOCK as f64;
        let (mut rises, mut falls, mut largest) = (0.0, 0.0, 0.0f64);
        for number in 1..BLOCKS {
            let rise = block(number - 1) - block(number);
            rises += rise.max(0.0);
            falls -= rise.min(0.0);
            largest = largest.max(rise);
        }
        (rises - 2.0 * largest - 2.0 * falls).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(rate: f64) -> Rates {
        Rates([rate, 0.0, 0.0, 0.0, rate, 0.0])
    }

    #[test]
    fn means_are_over_the_latest_steps() {
        let mut latest = Latest::default();
        for _ in 0..300 {
            latest.push(sent(10.0));
        }
        for _ in 0..5 {
            latest.push(sent(30.0));
        }

        assert_eq!(latest.mean(10)[Quantity::Sent], 20.0);
        assert_eq!(latest.mean(5)[Quantity::Surplus], 30.0);
    }

    #[test]
    fn a_ramp_climbs_and_a_download_that_begins_does_not() {
        let (mut ramp, mut step) = (Latest::default(), Latest::default());
        for second in 0..200 {
            ramp.push(sent(f64::from(second) * 1000.0));
            step.push(sent(if second < 100 { 0.0 } else { 200_000.0 }));
        }

        assert!(ramp.climb(Quantity::Sent) > 100_000.0);
        assert_eq!(step.climb(Quantity::Sent), 0.0);
    }
}
