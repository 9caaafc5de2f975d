//! A file judged as if it happened now: the counters of a `Network.csv`, or any series of `timestamp,value`.

use std::{
    io::{Read, Seek},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, civil};
use sharekaro_proto::control::net::{AnomalyKind, Counters, Finding as Reply, Severity};
use thiserror::Error;

use super::{
    finding::{Finding, Lesson},
    incidents::Incidents,
    series::SeriesDetector,
    traffic::TrafficDetector,
};
use crate::monitor::{
    counters::{NETWORK_CSV_HEADER, Steps},
    packets::open,
    sample::Reading,
};

/// Two months of a row a second.
const LARGEST: u64 = 256 << 20;
/// Larger values are told with an exponent: hundreds of digits help nobody.
const PLAIN: f64 = 1e16;
/// In an hour of counters nothing is odd yet, as live.
pub const WARM_UP: Duration = Duration::from_secs(3600);

/// The file cannot be judged.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// It does not open or read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Too much of it.
    #[error("{} is larger than {} MiB", .0.display(), LARGEST >> 20)]
    TooLarge(PathBuf),
    /// Not one of the forms that we know.
    #[error("the first line is neither `{NETWORK_CSV_HEADER}` nor one with columns `timestamp` and `value`")]
    Header,
    /// No row.
    #[error("there is no row below the first line")]
    Empty,
    /// A row that does not fit.
    #[error("line {line} has no {what}")]
    Row {
        /// From 1.
        line: usize,
        /// What is missing in it.
        what: &'static str,
    },
    /// Scores are made of a series of values.
    #[error("scores need columns `timestamp` and `value`; this file has counters")]
    NoSeries,
}

/// A file that was read.
#[derive(Clone, PartialEq, Debug)]
pub enum Recording {
    /// The totals of one interface.
    Counters(Vec<(Timestamp, Counters)>),
    /// Values; where a file tells no time, its rows are a second apart.
    Series(Vec<(Timestamp, f64)>),
}

impl Recording {
    /// Whether the file begins like one that `read` knows.
    pub fn read(path: &Path) -> Result<Self, ReplayError> {
        let failed = |source| ReplayError::Read { path: path.into(), source };
        let mut file = open(path).map_err(failed)?;
        if file.seek(std::io::SeekFrom::End(0)).map_err(failed)? > LARGEST {
            return Err(ReplayError::TooLarge(path.into()));
        }
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.take(LARGEST).read_to_end(&mut bytes)).map_err(failed)?;
        Self::parse(&String::from_utf8_lossy(&bytes))
    }

    /// From a CSV's text.
    pub fn parse(text: &str) -> Result<Self, ReplayError> {
        let mut lines = text.lines();
        let header = lines.next().unwrap_or_default().trim_start_matches('\u{feff}').trim_end();
        let rows = lines.enumerate().filter(|(_, line)| !line.trim().is_empty()).map(|(number, line)| (number + 2, line));
        let recording = if header == NETWORK_CSV_HEADER {
            let mut clock = Clock::default();
            Self::Counters(rows.map(|(number, line)| counters(line, number, &mut clock)).collect::<Result<_, _>>()?)
        } else {
            let place = |name: &str| header.split(',').position(|column| column.trim().eq_ignore_ascii_case(name));
            let (at, value) = (place("timestamp").ok_or(ReplayError::Header)?, place("value").ok_or(ReplayError::Header)?);
            Self::Series(rows.map(|(number, line)| point(line, number, at, value)).collect::<Result<_, _>>()?)
        };
        let empty =
            matches!(&recording, Self::Counters(rows) if rows.is_empty()) || matches!(&recording, Self::Series(rows) if rows.is_empty());
        if empty { Err(ReplayError::Empty) } else { Ok(recording) }
    }

    /// What would have been told, had it happened live; of fewer rows where that is `wanted` no more.
    #[must_use]
    pub fn findings(&self, warm_up: Duration, wanted: impl Fn() -> bool) -> Vec<Reply> {
        let (mut incidents, interface) = (Incidents::of_a_file(), Arc::from(""));
        match self {
            Self::Counters(rows) => {
                judge_counters(rows.iter().take_while(|_| wanted()), warm_up).for_each(|finding| drop(incidents.push(&interface, finding)));
            }
            Self::Series(rows) => {
                judge_series(rows.iter().take_while(|_| wanted())).for_each(|finding| drop(incidents.push(&interface, finding)));
            }
        }
        let reply = |anomaly: &sharekaro_proto::control::net::Anomaly| Reply {
            at: anomaly.at,
            until: anomaly.until,
            kind: anomaly.kind,
            severity: anomaly.severity,
            explanation: anomaly.explanation.clone(),
        };
        incidents.iter().map(reply).collect()
    }

    /// One number in [0, 1] a row: how strange this value is after those before it. No row depends on a later one. Fewer
    /// rows where they are `wanted` no more.
    pub fn scores(&self, wanted: impl Fn() -> bool) -> Result<Vec<f64>, ReplayError> {
        let Self::Series(rows) = self else { return Err(ReplayError::NoSeries) };
        let mut detector = SeriesDetector::new();
        Ok(rows.iter().take_while(|_| wanted()).map(|(at, value)| detector.push(seconds(*at), *value)).collect())
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_second() as f64
}

fn judge_counters<'r>(rows: impl Iterator<Item = &'r (Timestamp, Counters)>, warm_up: Duration) -> impl Iterator<Item = Finding> {
    let (mut steps, mut detector) = (Steps::default(), TrafficDetector::default());
    let (mut before, mut ticks, interface) = (None, Duration::ZERO, Arc::<str>::from(""));
    rows.flat_map(move |(at, counters)| {
        // Rows are a second apart: that much passed where the clock was set back meanwhile. Rows of one second are one step.
        let passed = before.replace(*at).map_or(SignedDuration::ZERO, |before| at.duration_since(before));
        ticks = ticks.saturating_add(Duration::try_from(passed).unwrap_or(Duration::from_secs(1)));
        let reading = Reading { interface: interface.clone(), up: true, counters: *counters };
        let samples = steps.push(&[reading], *at, ticks);
        samples.iter().flat_map(|sample| detector.push(sample, warm_up.as_secs_f64())).collect::<Vec<_>>()
    })
}

fn judge_series<'r>(rows: impl Iterator<Item = &'r (Timestamp, f64)>) -> impl Iterator<Item = Finding> {
    let mut detector = SeriesDetector::new();
    rows.enumerate().filter_map(move |(number, (at, value))| {
        let score = detector.push(seconds(*at), *value);
        let severity = if score >= 0.5 { Severity::High } else { Severity::Low };
        let shown = if value.abs() < PLAIN { value.to_string() } else { format!("{value:e}") };
        let explanation = format!("the value {shown} in row {} is unlike all before; its score is {score:.3}", number + 1);
        (score > 0.0).then(|| Finding {
            at: *at,
            kind: AnomalyKind::Traffic,
            severity,
            subject: String::new(),
            explanation,
            weight: score,
            lesson: Lesson::None,
        })
    })
}

/// `Time,Bytes_sent,Bytes_received,Packets_sent,Packets_received`
fn counters(line: &str, number: usize, clock: &mut Clock) -> Result<(Timestamp, Counters), ReplayError> {
    let mut columns = line.split(',').map(str::trim);
    let row = |what| ReplayError::Row { line: number, what };
    let at = columns.next().and_then(|text| clock.read(text)).ok_or_else(|| row("time in its first column"))?;
    let mut total = || columns.next().and_then(|text| text.parse().ok()).ok_or_else(|| row("whole number in each of the other columns"));
    let (bytes_sent, bytes_received, packets_sent, packets_received) = (total()?, total()?, total()?, total()?);
    Ok((at, Counters { bytes_sent, bytes_received, packets_sent, packets_received, ..Counters::default() }))
}

fn point(line: &str, number: usize, at: usize, value: usize) -> Result<(Timestamp, f64), ReplayError> {
    let column = |place: usize| line.split(',').nth(place).map(str::trim).unwrap_or_default();
    let row = |what| ReplayError::Row { line: number, what };
    let value: f64 = column(value).parse().map_err(|_| row("number as its value"))?;
    let at = moment(column(at)).ok_or_else(|| row("time as its timestamp"))?;
    Ok((at, value))
}

/// `2014-04-10 07:15:00`, with or without T, fractions and a zone (UTC where there is none), or seconds since 1970.
fn moment(text: &str) -> Option<Timestamp> {
    let civil = || text.parse::<civil::DateTime>().ok()?.in_tz("UTC").ok().map(|zoned| zoned.timestamp());
    let number = || {
        text.parse::<f64>()
            .ok()
            .filter(|seconds| seconds.abs() < 1e11)
            .and_then(|seconds| Timestamp::from_millisecond((seconds * 1e3) as i64).ok())
    };
    text.parse().ok().or_else(civil).or_else(number)
}

/// Times without a date go on to the next day where they fall back by half a day.
#[derive(Default)]
struct Clock {
    day: i64,
    last: Option<i64>,
}

impl Clock {
    fn read(&mut self, text: &str) -> Option<Timestamp> {
        if let Some(moment) = moment(text) {
            return Some(moment);
        }
        let time: civil::Time = text.parse().ok()?;
        let second = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
        if self.last.replace(second).is_some_and(|last| last - second > 43_200) {
            self.day += 1;
        }
        Timestamp::from_second(self.day.checked_mul(86_400)? + second).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Six hours of calm, with these amounts of bytes sent added in these seconds, as cumulative rows.
    fn day(extra: impl Fn(u64) -> u64) -> String {
        let (mut text, mut totals, mut seed) = (format!("{NETWORK_CSV_HEADER}\n"), [0u64; 4], 9u64);
        for second in 0..6 * 3600u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (sent, received) = (20_000 + (seed >> 40) % 20_000 + extra(second), 60_000 + (seed >> 20) % 80_000);
            for (total, amount) in totals.iter_mut().zip([sent, received, sent / 500, received / 900]) {
                *total += amount;
            }
            let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
            text += &format!("{:02}:{minute:02}:{second:02},{},{},{},{}\n", (hour + 22) % 24, totals[0], totals[1], totals[2], totals[3]);
        }
        text
    }

    fn findings(text: &str) -> Vec<Reply> {
        Recording::parse(text).expect("a CSV of ours").findings(WARM_UP, || true)
    }

    #[test]
    fn a_calm_night_has_no_finding_and_a_burst_exactly_one_with_numbers() {
        assert_eq!(findings(&day(|_| 0)), []);

        let found = findings(&day(|second| if (18_000..18_030).contains(&second) { 9_800_000 } else { 0 }));

        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].at.as_second() - 22 * 3600, 18_000);
        assert!(found[0].explanation.contains("tx 9.8 MB/s over 10 s; the highest 10 s mean in 5 h was"), "{}", found[0].explanation);
    }

    /// The same totals, with the clock set by so many seconds after row 14,400: at two in the morning.
    fn set_by(text: &str, seconds: i64) -> String {
        let set = |(number, line): (usize, &str)| {
            let Some((time, totals)) = line.split_once(',').filter(|_| number > 14_400) else { return format!("{line}\n") };
            let time: civil::Time = time.parse().expect("a time of day");
            format!("{},{totals}\n", time.wrapping_add(SignedDuration::from_secs(seconds)).strftime("%H:%M:%S"))
        };
        text.lines().enumerate().map(set).collect()
    }

    #[test]
    fn a_clock_that_is_set_is_no_traffic_and_what_comes_after_is_still_judged() {
        for seconds in [-3600, -60, -6, -3, -1, 1, 60, 3600] {
            assert_eq!(findings(&set_by(&day(|_| 0), seconds)), [], "set by {seconds} s");

            let burst = day(|second| if (18_000..18_030).contains(&second) { 9_800_000 } else { 0 });
            assert_eq!(findings(&set_by(&burst, seconds)).len(), 1, "set by {seconds} s");
        }
    }

    #[test]
    fn a_pause_and_counters_that_begin_again_are_no_traffic() {
        let text = day(|_| 0);
        let mut lines: Vec<&str> = text.lines().collect();
        lines.drain(9000..16_000);
        let columns = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        let start = columns(lines[12_000]);
        let since = |line: &&str| {
            let totals = columns(line).into_iter().zip(&start).skip(1);
            let rest: String =
                totals.map(|(now, start)| format!(",{}", now.parse::<u64>().unwrap_or(0) - start.parse::<u64>().unwrap_or(0))).collect();
            columns(line)[0].clone() + &rest
        };
        let again: Vec<String> = lines[12_000..].iter().map(since).collect();
        lines.truncate(12_000);
        lines.extend(again.iter().map(String::as_str));

        assert_eq!(findings(&lines.join("\n")), []);
    }

    #[test]
    fn a_series_gets_a_score_for_every_row() {
        let mut text = "timestamp,value\n".to_owned();
        for row in 0..400 {
            text += &format!(
                "2020-01-0{} {:02}:{:02}:00,{}\n",
                row / 288 + 1,
                row / 12 % 24,
                row % 12 * 5,
                if row == 350 { 900 } else { row % 7 }
            );
        }

        let scores = Recording::parse(&text).and_then(|recording| recording.scores(|| true)).expect("scores");

        assert_eq!(scores.len(), 400);
        assert!(scores[350] > 0.9);
    }

    #[test]
    fn a_value_is_told_as_people_write_it() {
        for (value, told) in [("900", "the value 900 in row 301"), ("1e300", "the value 1e300 in row 301")] {
            let text = format!("timestamp,value\n{}400,{value}\n", (0..300).map(|row| format!("{row},0\n")).collect::<String>());

            let found = findings(&text);

            assert!(found.len() == 1 && found[0].explanation.starts_with(told), "{found:?}");
        }
    }

    #[test]
    fn what_is_no_such_csv_is_refused_with_the_place() {
        let refused = |text: &str| Recording::parse(text).expect_err("refused").to_string();

        assert!(refused("").contains("first line"));
        assert!(refused(&"\0\u{1}\u{2}".repeat(100)).contains("first line"));
        assert!(refused("timestamp,value\n").contains("no row"));
        assert!(refused("timestamp,value\n2020-01-01 00:00:00,many\n").contains("line 2"));
        assert!(refused(&format!("{NETWORK_CSV_HEADER}\n10:00:00,1,2,3\n")).contains("line 2"));
        assert!(Recording::read(Path::new("/nowhere.csv")).is_err());
    }
}
