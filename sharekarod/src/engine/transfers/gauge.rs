//! What is measured while a transfer runs: how many of its requests are at which station at a time.
//!
//! Requests queue where it is slow (Little's law), so the station that holds most of them, on average over the last
//! seconds, is the bottleneck; nothing has to be timed. Beside it: loss and round trip of the line, our CPU.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sharekaro_proto::wire::Figures;

use crate::net::Stats;

/// Averages forget with this time constant: long enough to be calm, short enough to follow a changed limit.
const FORGETS: Duration = Duration::from_secs(2);

/// Loss and CPU are those of at least so long.
const STEP: Duration = Duration::from_secs(1);

/// Clock ticks a second in `/proc/self/stat`: the kernel's USER_HZ, 100 on every Linux we run on.
const TICKS: f64 = 100.0;

/// How many are at a station, on average.
pub struct Station(Mutex<Count>);

struct Count {
    now: u32,
    mean: f64,
    at: Instant,
}

impl Default for Station {
    fn default() -> Self {
        Self(Mutex::new(Count { now: 0, mean: 0.0, at: Instant::now() }))
    }
}

impl Count {
    fn settle(&mut self, at: Instant) {
        let kept = (-at.saturating_duration_since(self.at).as_secs_f64() / FORGETS.as_secs_f64()).exp();
        self.mean = self.mean * kept + f64::from(self.now) * (1.0 - kept);
        self.at = at;
    }
}

impl Station {
    fn step(&self, at: Instant, change: impl FnOnce(u32) -> u32) -> f64 {
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        count.settle(at);
        count.now = change(count.now);
        count.mean
    }

    /// Thousandths of a request that are here on average.
    fn mean(&self) -> u32 {
        (self.step(Instant::now(), |now| now) * 1e3) as u32
    }
}

/// A request at a station; dropping it lets it go on.
pub struct Visit {
    gauge: Arc<Gauge>,
    station: fn(&Gauge) -> &Station,
}

impl Drop for Visit {
    fn drop(&mut self) {
        (self.station)(&self.gauge).step(Instant::now(), |now| now.saturating_sub(1));
    }
}

/// The stations of one transfer on this device, and its line.
#[derive(Default)]
pub struct Gauge {
    /// Receiver: asked for and not here yet.
    pub asked: Station,
    /// Receiver: being verified and written.
    pub writing: Station,
    /// Either: held back by a limit here.
    pub held: Station,
    /// Sender: being read and hashed.
    pub reading: Station,
    line: Mutex<Line>,
    theirs: Mutex<Figures>,
}

#[derive(Default)]
struct Line {
    since: Option<(Instant, Stats)>,
    lost: u32,
    rtt_min: Duration,
}

impl Gauge {
    /// A request comes to a station.
    pub fn visit(self: &Arc<Self>, station: fn(&Self) -> &Station) -> Visit {
        station(self).step(Instant::now(), |now| now + 1);
        Visit { gauge: Arc::clone(self), station }
    }

    /// What the other side measured.
    pub fn heard(&self, figures: Option<Figures>) {
        if let Some(figures) = figures {
            *self.theirs.lock().unwrap_or_else(PoisonError::into_inner) = figures;
        }
    }

    /// What the other side measured last.
    pub fn theirs(&self) -> Figures {
        *self.theirs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is measured here.
    pub fn figures(&self, stats: Stats, cpu: u32) -> Figures {
        let (lost, rtt_min) = self.line(stats, Instant::now());
        Figures {
            asked: self.asked.mean(),
            writing: self.writing.mean(),
            held: self.held.mean(),
            reading: self.reading.mean(),
            cpu,
            lost,
            rtt_us: micros(stats.rtt),
            rtt_min_us: micros(rtt_min),
        }
    }

    /// Thousandths of the packets that got lost in the last seconds, and the shortest round trip seen.
    fn line(&self, stats: Stats, at: Instant) -> (u32, Duration) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.rtt_min = if line.rtt_min.is_zero() { stats.rtt } else { line.rtt_min.min(stats.rtt) };
        match line.since {
            Some((since, _)) if at.saturating_duration_since(since) < STEP => {}
            Some((_, before)) => {
                let sent = stats.sent_packets.saturating_sub(before.sent_packets);
                let lost = stats.lost_packets.saturating_sub(before.lost_packets).min(sent);
                line.lost = u32::try_from(lost * 1000 / sent.max(1)).unwrap_or(1000);
                line.since = Some((at, stats));
            }
            None => line.since = Some((at, stats)),
        }
        (line.lost, line.rtt_min)
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// Our CPU use over the last second or more.
#[derive(Default)]
pub struct Cpu(Mutex<Option<(Instant, f64, u32)>>);

impl Cpu {
    /// Thousandths of one core.
    pub fn permille(&self) -> u32 {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let used = |text: String| ticks(&text).map(|ticks| ticks / TICKS);
        match *last {
            Some((at, _, permille)) if now.saturating_duration_since(at) < STEP => permille,
            before => {
                let Some(seconds) = std::fs::read_to_string("/proc/self/stat").ok().and_then(used) else { return 0 };
                let permille = before.map_or(0, |(at, had, _)| ((seconds - had) / (now - at).as_secs_f64() * 1e3).max(0.0) as u32);
                *last = Some((now, seconds, permille));
                permille
            }
        }
    }
}

/// User and system time of a process, in ticks: fields 14 and 15, counted behind the name, which may hold blanks.
fn ticks(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_station_remembers_who_waited_and_forgets_in_seconds() {
        let (station, start) = (Station::default(), Instant::now());
        station.step(start, |_| 12);

        let after = |seconds| station.step(start + Duration::from_secs(seconds), |now| now);

        assert!((11.0..12.1).contains(&after(10)));
        station.step(start + Duration::from_secs(10), |_| 0);
        assert!((0.5..2.0).contains(&after(14)));
        assert!(after(60) < 0.01);
    }

    #[test]
    fn loss_is_that_of_the_last_step() {
        let (gauge, start) = (Gauge::default(), Instant::now());
        let stats =
            |sent_packets, lost_packets, ms| Stats { sent_packets, lost_packets, rtt: Duration::from_millis(ms), ..Stats::default() };

        gauge.line(stats(1_000, 500, 9), start);
        let (lost, rtt_min) = gauge.line(stats(2_000, 520, 30), start + Duration::from_secs(2));

        assert_eq!((lost, rtt_min), (20, Duration::from_millis(9)));
    }

    #[test]
    fn a_process_with_an_odd_name_is_still_counted() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 100";

        assert_eq!(ticks(stat), Some(300.0));
        assert_eq!(ticks("7 (x"), None);
    }
}
