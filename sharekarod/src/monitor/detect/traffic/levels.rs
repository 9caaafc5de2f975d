//! One figure's variable threshold: its highest value so far, slowly forgotten.

use serde::{Deserialize, Serialize};

use super::rates::{Quantity, Rates};

/// A record counts from a third above on (in logarithms): heavy tails bring small ones all the time.
const TOLERANCE: f64 = 0.3;
/// More in the first minutes, and in the first hours: of what happens once in a while, little has been seen yet.
const YOUNG: f64 = 0.7;
const YOUTHS: [f64; 2] = [600.0, 3.0 * 3600.0];
/// The highest value is forgotten to a third in a day of steps.
const FORGETTING: f64 = 1.0 / 86_400.0;
/// Steps without excess after which an incident's peak is learnt, and the share (in logarithms) that is.
const PAUSE: u32 = 30;
const SHARE: f64 = 0.2;
/// What lasts for longer becomes usual: to two thirds in so many steps, and sooner what was no finding. Never at once: a mean
/// that climbs step by step would take its own threshold along.
const PATIENCE: f64 = 3600.0;
const GETTING_USED: f64 = 120.0;
/// What somebody accepted may come half as high again, and teaches nothing more: of a fact we are as sure in the first hour as
/// later.
const MARGIN: f64 = 0.4;

/// Values stand as logarithms above the quantity's floor.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Level {
    quantity: Quantity,
    steps: usize,
    highest: f64,
    /// What somebody called normal, never forgotten; 0 where nobody did.
    #[serde(default)]
    accepted: f64,
    /// Beyond the highest so far: what of it is learnt stands when it is over.
    excursion: Option<Excursion>,
    calm: u32,
}

/// Values above the highest so far, and since then too few below it for an end.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Excursion {
    peak: f64,
    /// It was a finding.
    told: bool,
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
        Self { quantity, steps, highest: quantity.floor().ln(), accepted: 0.0, excursion: None, calm: 0 }
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
        (self.highest + tolerance(watched)).max(self.accepted + MARGIN).exp() - self.quantity.floor()
    }

    pub(super) fn push(&mut self, figure: f64, warm: bool, watched: f64) -> Option<Over> {
        let value = (figure + self.quantity.floor()).ln();
        if !warm {
            self.highest = self.highest.max(value);
            return None;
        }
        if value <= self.highest.max(self.accepted + MARGIN) {
            self.settle(value.min(self.highest));
            return None;
        }
        let told = value > self.highest + tolerance(watched);
        let usual = self.highest.max(self.accepted);
        let over = told.then(|| {
            let highest = usual.exp() - self.quantity.floor();
            Over { quantity: self.quantity, steps: self.steps, figure, highest, times: (value - usual).exp() }
        });
        let before = self.excursion.unwrap_or_default();
        self.excursion = Some(Excursion { peak: before.peak.max(value), told: before.told || told });
        self.calm = 0;
        self.highest += (value - self.highest) * f64::from(self.stride()) / if told { PATIENCE } else { GETTING_USED };
        over
    }

    /// This much is normal, somebody says: not more, and of no other quantity.
    pub(super) fn accept(&mut self, rates: &Rates) {
        self.accepted = self.accepted.max((rates[self.quantity] + self.quantity.floor()).ln());
        self.excursion = None;
    }

    fn settle(&mut self, value: f64) {
        self.calm += self.stride();
        if let Some(over) = self.excursion.take_if(|_| self.calm > PAUSE) {
            self.highest += (over.peak - self.highest).max(0.0) * if over.told { SHARE } else { 1.0 };
        }
        self.highest -= (self.highest - value) * FORGETTING;
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
    TOLERANCE + YOUTHS.map(|youth| YOUNG / (1.0 + watched / youth)).iter().sum::<f64>()
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
