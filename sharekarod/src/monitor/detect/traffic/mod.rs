//! One interface's traffic: more than ever before, in one of ten figures, or a silence where there never was one.
//!
//! Each figure has a variable threshold: its highest value so far, slowly forgotten, and a third. A record is learnt in
//! part after its incident, so that what comes again is told again, and less loudly each time. No clock, no I/O.

mod levels;
mod rates;
mod silence;
#[cfg(test)]
mod simulated;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sharekaro_proto::control::net::{AnomalyKind, Severity};

use self::{
    levels::{Level, Over},
    rates::Latest,
    silence::{Pause, Silence},
};
use super::finding::{Finding, Lesson};
use crate::monitor::sample::Sample;

pub use rates::{Quantity, Rates};

/// The figures: a quantity and the steps of its mean; 0 is the climb.
const FIGURES: [(Quantity, usize); 10] = [
    (Quantity::Sent, 10),
    (Quantity::Received, 10),
    (Quantity::Sent, 120),
    (Quantity::Received, 120),
    (Quantity::PacketsSent, 10),
    (Quantity::PacketsReceived, 10),
    (Quantity::Surplus, 10),
    (Quantity::Small, 10),
    (Quantity::Sent, 0),
    (Quantity::Received, 0),
];

/// The state of one interface; it can be saved, and goes on where it was.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TrafficDetector {
    levels: Vec<Level>,
    latest: Latest,
    silence: Silence,
    /// Seconds watched.
    watched: f64,
    steps: u32,
}

impl Default for TrafficDetector {
    fn default() -> Self {
        let level = |(quantity, steps)| Level::new(quantity, steps);
        Self { levels: FIGURES.map(level).to_vec(), latest: Latest::default(), silence: Silence::default(), watched: 0.0, steps: 0 }
    }
}

impl TrafficDetector {
    /// What is odd in this step. Nothing is in the first `warm_up` seconds that this interface is watched.
    pub fn push(&mut self, sample: &Sample, warm_up: f64) -> Vec<Finding> {
        if sample.gap {
            self.latest.clear();
            self.silence.interrupt();
            return Vec::new();
        }
        let rates = Rates::of(sample);
        self.latest.push(rates);
        self.watched += sample.seconds;
        let warm = self.watched > warm_up;
        // Our own packets show that the line is alive.
        let packets = sample.amounts.packets_sent + sample.amounts.packets_received;
        let pause = self.silence.push(packets, sample.seconds).filter(|_| warm);
        let over = self.records(warm);
        let traffic = over.map(|over| traffic(sample.at, &over, self.latest.mean(10), self.watched));
        traffic.into_iter().chain(pause.map(|pause| silence(sample.at, &pause))).collect()
    }

    /// What somebody calls normal is so from now on, at this level and below.
    pub fn accept(&mut self, lesson: &Lesson) {
        match lesson {
            Lesson::Rates(rates) => self.levels.iter_mut().for_each(|level| level.accept(rates)),
            Lesson::Pause(seconds) => self.silence.accept(*seconds),
            Lesson::None | Lesson::Belongs(_) => {}
        }
    }

    /// The bytes a second, sent and received, from which a mean of ten steps is a finding now.
    #[must_use]
    pub fn threshold(&self) -> (f64, f64) {
        let of = |place: usize| self.levels.get(place).map_or(0.0, |level| level.threshold(self.watched));
        (of(0), of(1))
    }

    /// Seconds watched.
    #[must_use]
    pub const fn watched(&self) -> f64 {
        self.watched
    }

    /// Teaches every level; the first that is exceeded, once the warm-up is over: the plainer figures come first.
    fn records(&mut self, warm: bool) -> Option<Over> {
        let means = [self.latest.mean(10), self.latest.mean(120)];
        let mut first = None;
        self.steps = self.steps.wrapping_add(1);
        let turn = self.steps;
        for level in self.levels.iter_mut().filter(|level| turn.is_multiple_of(level.stride())) {
            let figure = match level.steps() {
                0 => self.latest.climb(level.quantity()),
                10 => means[0][level.quantity()],
                _ => means[1][level.quantity()],
            };
            let over = level.push(figure, warm, self.watched);
            first = first.or(over);
        }
        first
    }
}

fn traffic(at: Timestamp, over: &Over, rates: Rates, watched: f64) -> Finding {
    let severity = match over.times {
        times if times > 10.0 => Severity::High,
        times if times > 2.0 => Severity::Medium,
        _ => Severity::Low,
    };
    let explanation = over.explanation(watched);
    Finding {
        at,
        kind: AnomalyKind::Traffic,
        severity,
        subject: String::new(),
        explanation,
        weight: over.times,
        lesson: Lesson::Rates(rates),
    }
}

fn silence(at: Timestamp, pause: &Pause) -> Finding {
    let explanation = format!(
        "no packet for {:.0} s, though {:.0} % of the seconds before had one; the longest pause of the day was {:.0} s",
        pause.seconds,
        pause.busy * 100.0,
        pause.longest
    );
    let lesson = Lesson::Pause(pause.seconds);
    Finding {
        at,
        kind: AnomalyKind::Silence,
        severity: Severity::Medium,
        subject: String::new(),
        explanation,
        weight: pause.seconds,
        lesson,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sharekaro_proto::control::net::Counters;

    use super::*;

    const WARM_UP: f64 = 60.0;

    /// An interface that sends so many bytes a second, in packets of a thousand, and hears half as many.
    struct Line {
        detector: TrafficDetector,
        at: i64,
    }

    impl Line {
        fn calm() -> Self {
            let mut line = Self { detector: TrafficDetector::default(), at: 1_750_000_000 };
            assert_eq!(line.sends(50_000, 100), []);
            line
        }

        fn sends(&mut self, bytes: u64, seconds: u32) -> Vec<Finding> {
            let amounts = Counters {
                bytes_sent: bytes,
                packets_sent: bytes / 1000,
                bytes_received: 25_000,
                packets_received: 25,
                ..Counters::default()
            };
            let mut step = || {
                self.at += 1;
                let at = Timestamp::constant(self.at, 0);
                self.detector.push(
                    &Sample { interface: Arc::from("eth0"), at, seconds: 1.0, amounts, own: Counters::default(), gap: false },
                    WARM_UP,
                )
            };
            (0..seconds).flat_map(|_| step()).collect()
        }

        /// Takes all of these for one incident, and for normal.
        fn accept(&mut self, findings: Vec<Finding>) {
            let lessons = findings.into_iter().map(|finding| finding.lesson);
            let lesson = lessons.reduce(|mut all, lesson| {
                all.join(lesson);
                all
            });
            self.detector.accept(&lesson.expect("a finding"));
        }

        fn saved_and_restored(self) -> Self {
            let saved = serde_json::to_string(&self.detector).expect("it can be saved");
            Self { detector: serde_json::from_str(&saved).expect("it can be restored"), at: self.at }
        }
    }

    #[test]
    fn what_was_accepted_is_quiet_again_and_twice_as_much_is_not() {
        let mut line = Line::calm();
        let burst = [line.sends(4_000_000, 10), line.sends(50_000, 60)].concat();
        line.accept(burst);

        assert_eq!([line.sends(4_400_000, 10), line.sends(50_000, 120)].concat(), []);
        assert!(!line.sends(8_000_000, 10).is_empty());
    }

    #[test]
    fn ten_times_what_was_accepted_is_told_however_it_begins() {
        // The mean of ten seconds climbs over the threshold by degrees, and must not take it along.
        for bytes in [12_000_000, 20_000_000, 36_000_000, 40_000_000] {
            for pause in [0, 3, 8, 30] {
                let mut line = Line::calm();
                let burst = line.sends(4_000_000, 10);
                line.accept(burst);
                line.sends(50_000, 45);
                line.sends(4_000_000, 10);
                line.sends(50_000, pause);

                assert!(!line.sends(bytes, 10).is_empty(), "{bytes} after a pause of {pause} s");
            }
        }
    }

    #[test]
    fn accepting_what_is_sent_says_nothing_of_what_is_received() {
        let mut line = Line::calm();
        let burst = line.sends(4_000_000, 10);
        line.accept(burst);
        line.sends(50_000, 120);

        let amounts = Counters { bytes_received: 4_000_000, packets_received: 4000, ..Counters::default() };
        let at = Timestamp::constant(line.at + 1, 0);
        let sample = Sample { interface: Arc::from("eth0"), at, seconds: 1.0, amounts, own: Counters::default(), gap: false };

        assert!((0..10).any(|_| !line.detector.push(&sample, WARM_UP).is_empty()));
    }

    #[test]
    fn what_was_accepted_is_still_known_when_the_rest_is_forgotten() {
        let mut line = Line::calm();
        let burst = line.sends(4_000_000, 10);
        line.accept(burst);
        line.sends(50_000, 2 * 86_400);

        assert_eq!(line.sends(4_000_000, 10), []);
        line.sends(50_000, 600);
        assert!(!line.sends(16_000_000, 10).is_empty());
    }

    #[test]
    fn a_detector_that_was_saved_goes_on_as_if_it_had_not_been() {
        let mut line = Line::calm();
        let burst = line.sends(4_000_000, 10);
        line.accept(burst);
        line.sends(5_000_000, 3);

        let mut other = Line { detector: line.detector.clone(), at: line.at }.saved_and_restored();

        let told = |findings: Vec<Finding>| findings.into_iter().map(|it| (it.at, it.severity, it.explanation)).collect::<Vec<_>>();
        for (bytes, seconds) in [(5_000_000, 20), (50_000, 90), (4_000_000, 10), (9_000_000, 10), (0, 30)] {
            assert_eq!(told(other.sends(bytes, seconds)), told(line.sends(bytes, seconds)));
        }
    }
}
