//! One figure's variable threshold: its highest value so far, slowly forgotten.

use serde::{Deserialize, Serialize};

use super::rates::{Quantity, Rates};

/// A record counts from a tenth above on (in logarithms).
const TOLERANCE: f64 = 0.1;
/// More in the first hours: of what happens once in a while, little has been seen yet.
const YOUNG: f64 = 0.5;
const YOUTH: f64 = 3.0 * 3600.0;
/// The highest value is forgotten to a third in a day of steps.
const FORGETTING: f64 = 1.0 / 86_400.0;
/// Steps without excess after which an incident's peak is learnt, and the share (in logarithms) that is.
const PAUSE: u32 = 30;
const SHARE: f64 = 0.2;
/// What lasts for longer becomes usual: to two thirds in so many steps.
const PATIENCE: f64 = 900.0;
/// What somebody accepted may come a little higher.
const MARGIN: f64 = 0.1;

/// Values stand as logarithms above the quantity's floor.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Level {
    quantity: Quantity,
    steps: usize,
    highest: f64,
    /// The highest of the incident under way.
    peak: Option<f64>,
    calm: u32,
}

/// A figure beyond its threshold.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Over {
    quantity: Quantity,
    steps: usize,
    figure: f64,
    highest: f64,
    /// How many times the highest so far, floors included.
    pub(super) times: f64,
}

impl Level {
    pub(super) fn new(quantity: Quantity, steps: usize) -> Self {
        Self { quantity, steps, highest: quantity.floor().ln(), peak: None, calm: 0 }
    }

    pub(super) const fn quantity(&self) -> Quantity {
        self.quantity
    }

    pub(super) const fn steps(&self) -> usize {
        self.steps
    }

    /// A climb of minutes is looked at every fifth step: looked at each step, it would get used to itself.
    pub(super) const fn stride(&self) -> u32 {
        if self.steps == 0 { 5 } else { 1 }
    }

    /// The figure from which on it is a finding.
    pub(super) fn threshold(&self, watched: f64) -> f64 {
        (self.highest + tolerance(watched)).exp() - self.quantity.floor()
    }

    pub(super) fn push(&mut self, figure: f64, warm: bool, watched: f64) -> Option<Over> {
        let value = (figure + self.quantity.floor()).ln();
        if !warm {
            self.highest = self.highest.max(value);
            return None;
        }
        if value <= self.highest + tolerance(watched) {
            self.settle(value);
            return None;
        }
        let highest = self.highest.exp() - self.quantity.floor();
        let over = Over { quantity: self.quantity, steps: self.steps, figure, highest, times: (value - self.highest).exp() };
        self.peak = Some(self.peak.map_or(value, |peak| peak.max(value)));
        self.calm = 0;
        self.highest += (value - self.highest) / PATIENCE;
        Some(over)
    }

    pub(super) fn accept(&mut self, rates: &Rates) {
        self.highest = self.highest.max((rates[self.quantity] + self.quantity.floor()).ln() + MARGIN);
        self.peak = None;
    }

    fn settle(&mut self, value: f64) {
        self.calm += self.stride();
        if let Some(peak) = self.peak.take_if(|_| self.calm > PAUSE) {
            self.highest += (peak - self.highest).max(0.0) * SHARE;
        }
        self.highest = if value > self.highest { value } else { self.highest - (self.highest - value) * FORGETTING };
    }
}

impl Over {
    /// `tx 9.8 MB/s over 10 s; the highest 10 s mean in 3 days was 2.1 MB/s`
    pub(super) fn explanation(&self, watched: f64) -> String {
        let (name, bytes, time) = (self.quantity.name(), self.quantity.counts_bytes(), span(watched));
        let (now, highest) = (rate(self.figure, bytes), rate(self.highest.max(0.0), bytes));
        match self.steps {
            0 => format!("{name} climbed by {now} in 200 s; the steepest steady climb in {time} was {highest}"),
            steps => format!("{name} {now} over {steps} s; the highest {steps} s mean in {time} was {highest}"),
        }
    }
}

/// After so many seconds of watching.
fn tolerance(watched: f64) -> f64 {
    TOLERANCE + YOUNG / (1.0 + watched / YOUTH)
}

fn rate(value: f64, bytes: bool) -> String {
    match value {
        value if !bytes => format!("{value:.0}/s"),
        value if value >= 1e6 => format!("{:.1} MB/s", value / 1e6),
        value => format!("{:.1} kB/s", value / 1e3),
    }
}

fn span(seconds: f64) -> String {
    match seconds {
        seconds if seconds >= 2.0 * 86_400.0 => format!("{:.0} days", seconds / 86_400.0),
        seconds if seconds >= 2.0 * 3600.0 => format!("{:.0} h", seconds / 3600.0),
        seconds => format!("{:.0} min", (seconds / 60.0).max(1.0)),
    }
}
