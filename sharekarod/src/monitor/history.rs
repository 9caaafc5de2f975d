//! What passed, kept: seconds for a day, minutes for a month, hours for two years, and what the detectors know. SQLite in
//! a file of its own, `monitor.db`: losing it loses no transfer.
//!
//! Samples wait in memory and are written once a minute in one transaction; a kill loses that minute at most.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Serialize, de::DeserializeOwned};
use sharekaro_proto::control::net::HistorySample;
use thiserror::Error;

use super::sample::Sample;

/// How long steps of which length are kept: a day, a month, two years.
const TIERS: [(i64, i64); 3] = [(1, 86_400), (60, 31 * 86_400), (3600, 731 * 86_400)];
/// How far back steps of which length are told: a day of seconds would be a reply of many megabytes.
const TOLD: [(i64, i64); 3] = [(1, 3 * 3600), (60, 7 * 86_400), (3600, 731 * 86_400)];
/// As many rows as so many interfaces make in the whole time, which is some 80 MiB of seconds and as much of all else.
/// Whoever makes interfaces without end pushes the oldest out.
const MOST_INTERFACES: i64 = 16;
/// Samples that wait when the disk refuses them.
const MOST_WAITING: usize = 20_000;
const BUSY: Duration = Duration::from_secs(5);

/// The history cannot be kept or read.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The file does not open.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A statement failed.
    #[error("cannot {what} the history")]
    Statement {
        /// What we tried.
        what: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
    /// What the detectors know cannot be written down.
    #[error("cannot write down {what}")]
    Encode {
        /// Whose.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
}

fn failed(what: &'static str) -> impl Fn(rusqlite::Error) -> HistoryError {
    move |source| HistoryError::Statement { what, source }
}

/// The file, and the samples that wait.
#[derive(Debug)]
pub struct History {
    database: Connection,
    waiting: Vec<Sample>,
    flushes: usize,
}

impl History {
    /// Opens the file, or makes it.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        let open = |source| HistoryError::Open { path: path.into(), source };
        let database = Connection::open(path).map_err(open)?;
        database.busy_timeout(BUSY).map_err(open)?;
        // Nothing here is worth a sync: after a power cut the last minutes are gone, and the file is whole.
        let schema = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -512;
            CREATE TABLE IF NOT EXISTS step (
                interface TEXT NOT NULL, tier INTEGER NOT NULL, at INTEGER NOT NULL, seconds REAL NOT NULL,
                bytes_sent INTEGER NOT NULL, bytes_received INTEGER NOT NULL,
                packets_sent INTEGER NOT NULL, packets_received INTEGER NOT NULL, gap INTEGER NOT NULL,
                PRIMARY KEY (tier, interface, at)) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;";
        database.execute_batch(schema).map_err(open)?;
        Ok(Self { database, waiting: Vec::new(), flushes: 0 })
    }

    /// Takes samples in; `flush` writes them.
    pub fn push(&mut self, samples: &[Sample]) {
        if self.waiting.len() < MOST_WAITING {
            self.waiting.extend_from_slice(samples);
        }
    }

    /// Writes what waits, sums up minutes and hours, and removes what is too old.
    pub fn flush(&mut self, now: Timestamp) -> Result<(), HistoryError> {
        let transaction = self.database.transaction().map_err(failed("write"))?;
        for sample in &self.waiting {
            insert(&transaction, sample).map_err(failed("write"))?;
        }
        // They may have waited long: the machine slept, or the disk was full.
        let oldest = self.waiting.iter().map(|sample| sample.at).fold(now, Timestamp::min);
        for pair in TIERS.windows(2) {
            sum_up(&transaction, pair[0].0, pair[1].0, oldest).map_err(failed("sum up"))?;
        }
        for (tier, kept) in TIERS {
            let oldest = now.as_millisecond() - kept * 1000;
            transaction.execute("DELETE FROM step WHERE tier = ?1 AND at < ?2", params![tier, oldest]).map_err(failed("shorten"))?;
        }
        // Counting rows takes its time: one kind of them each time.
        let (tier, kept) = TIERS[self.flushes % TIERS.len()];
        shed(&transaction, tier, MOST_INTERFACES * kept / tier).map_err(failed("shorten"))?;
        transaction.commit().map_err(failed("write"))?;
        self.flushes = self.flushes.wrapping_add(1);
        self.waiting.clear();
        Ok(())
    }

    /// The steps of an interface since then, oldest first: seconds of the last hours, before those minutes, then hours.
    /// `None` for an interface that was never seen.
    pub fn since(&self, interface: &str, since: Timestamp, now: Timestamp) -> Result<Option<Vec<HistorySample>>, HistoryError> {
        let waiting = self.waiting.iter().filter(|sample| &*sample.interface == interface);
        let known: bool = self
            .database
            .query_row("SELECT EXISTS (SELECT 1 FROM step WHERE tier IN (1, 60, 3600) AND interface = ?1)", [interface], |row| row.get(0))
            .map_err(failed("read"))?;
        if !known && waiting.clone().next().is_none() {
            return Ok(None);
        }
        let mut samples = Vec::new();
        let mut until = now.as_millisecond();
        for (tier, told) in TOLD {
            // On a whole hour, where the longer steps end too.
            let hour = (now.as_millisecond() - told * 1000).div_euclid(3_600_000) * 3_600_000;
            // A step that ends there belongs to the longer ones.
            let from = hour.max(since.as_millisecond().saturating_sub(1));
            samples.extend(self.tier(interface, tier, from, until).map_err(failed("read"))?);
            until = from;
        }
        samples.extend(waiting.filter(|sample| sample.at >= since).map(as_history));
        samples.sort_by_key(|sample| sample.at);
        samples.dedup_by_key(|sample| sample.at);
        Ok(Some(samples))
    }

    fn tier(&self, interface: &str, tier: i64, from: i64, until: i64) -> rusqlite::Result<Vec<HistorySample>> {
        let columns = "at, seconds, bytes_sent, bytes_received, packets_sent, packets_received, gap";
        let text = format!("SELECT {columns} FROM step WHERE tier = ?1 AND interface = ?2 AND at > ?3 AND at <= ?4 ORDER BY at");
        let mut statement = self.database.prepare_cached(&text)?;
        let rows = statement.query_map(params![tier, interface, from, until], |row| {
            let amount = |place| row.get::<_, i64>(place).map(|amount| u64::try_from(amount).unwrap_or_default());
            Ok(HistorySample {
                at: Timestamp::from_millisecond(row.get(0)?).unwrap_or_default(),
                seconds: row.get(1)?,
                bytes_sent: amount(2)?,
                bytes_received: amount(3)?,
                packets_sent: amount(4)?,
                packets_received: amount(5)?,
                gap: row.get(6)?,
            })
        })?;
        rows.collect()
    }

    /// Writes down what a detector knows.
    pub fn save(&self, name: &str, state: &impl Serialize) -> Result<(), HistoryError> {
        let text = serde_json::to_string(state).map_err(|source| HistoryError::Encode { what: name.into(), source })?;
        let statement = "INSERT INTO state VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.database.execute(statement, params![name, text]).map_err(failed("write"))?;
        Ok(())
    }

    /// What it knew; the default where there is nothing, or something from another version: it learns again.
    pub fn load<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, HistoryError> {
        let query = self.database.query_row("SELECT value FROM state WHERE name = ?1", [name], |row| row.get::<_, String>(0));
        let text = query.optional().map_err(failed("read"))?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }
}

fn as_history(sample: &Sample) -> HistorySample {
    let a = sample.amounts;
    HistorySample {
        at: Timestamp::from_millisecond(sample.at.as_millisecond()).unwrap_or(sample.at),
        seconds: sample.seconds,
        bytes_sent: a.bytes_sent,
        bytes_received: a.bytes_received,
        packets_sent: a.packets_sent,
        packets_received: a.packets_received,
        gap: sample.gap,
    }
}

fn insert(database: &Connection, sample: &Sample) -> rusqlite::Result<()> {
    let amount = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    let a = sample.amounts;
    database.prepare_cached("INSERT OR REPLACE INTO step VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(params![
        &*sample.interface,
        sample.at.as_millisecond(),
        sample.seconds,
        amount(a.bytes_sent),
        amount(a.bytes_received),
        amount(a.packets_sent),
        amount(a.packets_received),
        sample.gap
    ])?;
    Ok(())
}

/// The sums of the coarser steps from the one before `oldest` on, made of the finer ones. Done again and again, it changes
/// nothing; a sum of fewer seconds than the one that is there is none of the whole step, and does not replace it.
fn sum_up(database: &Connection, fine: i64, coarse: i64, oldest: Timestamp) -> rusqlite::Result<()> {
    let step = coarse * 1000;
    let from = (oldest.as_millisecond().div_euclid(step) - 1) * step;
    let text = "INSERT INTO step
        SELECT interface, ?1, (at + ?2 - 1) / ?2 * ?2, sum(seconds), sum(bytes_sent), sum(bytes_received), sum(packets_sent),
            sum(packets_received), max(gap)
        FROM step WHERE tier = ?3 AND at > ?4 GROUP BY interface, (at + ?2 - 1) / ?2
        ON CONFLICT (tier, interface, at) DO UPDATE SET seconds = excluded.seconds, bytes_sent = excluded.bytes_sent,
            bytes_received = excluded.bytes_received, packets_sent = excluded.packets_sent,
            packets_received = excluded.packets_received, gap = excluded.gap
        WHERE excluded.seconds >= step.seconds";
    database.prepare_cached(text)?.execute(params![coarse, step, fine, from])?;
    Ok(())
}

/// Removes the oldest rows of a tier beyond so many.
fn shed(database: &Connection, tier: i64, most: i64) -> rusqlite::Result<()> {
    let rows: i64 = database.query_row("SELECT count(*) FROM step WHERE tier = ?1", [tier], |row| row.get(0))?;
    if rows > most {
        let oldest: i64 =
            database
                .query_row("SELECT at FROM step WHERE tier = ?1 ORDER BY at LIMIT 1 OFFSET ?2", [tier, rows - most], |row| row.get(0))?;
        database.execute("DELETE FROM step WHERE tier = ?1 AND at < ?2", [tier, oldest])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::control::net::Counters;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::constant(1_750_000_000, 0) + Duration::from_secs(second as u64)
    }

    fn sample(second: i64, bytes: u64) -> Sample {
        let amounts = Counters { bytes_sent: bytes, bytes_received: 1, ..Counters::default() };
        Sample { interface: "eth0".into(), at: at(second), seconds: 1.0, amounts, own: Counters::default(), gap: false }
    }

    fn sent(samples: &[HistorySample]) -> u64 {
        samples.iter().map(|sample| sample.bytes_sent).sum()
    }

    #[test]
    fn what_waits_and_what_is_written_are_one_history() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut history = History::open(&folder.path().join("monitor.db")).expect("a file");
        for second in 0..90 {
            history.push(&[sample(second, 10)]);
            if second == 59 {
                history.flush(at(second)).expect("written");
            }
        }

        let samples = history.since("eth0", at(0), at(90)).expect("readable").expect("known");

        assert_eq!((samples.len(), sent(&samples)), (90, 900));
        assert!(samples.windows(2).all(|pair| pair[0].at < pair[1].at));
        assert_eq!(history.since("eth9", at(0), at(90)).expect("readable"), None);
    }

    #[test]
    fn old_seconds_become_minutes_and_hours_and_nothing_is_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut history = History::open(&folder.path().join("monitor.db")).expect("a file");
        for second in 0..7200 {
            history.push(&[sample(second, 10)]);
            if second % 60 == 59 {
                history.flush(at(second)).expect("written");
            }
        }

        for later in [2 * 86_400, 40 * 86_400] {
            history.flush(at(later)).expect("shortened");
            let samples = history.since("eth0", at(0), at(later)).expect("readable").expect("known");
            assert!(samples.len() < 130);
            assert!((71_000..=72_000).contains(&sent(&samples)), "{later}: {}", sent(&samples));
        }
        history.flush(at(3 * 366 * 86_400)).expect("shortened");
        assert_eq!(history.since("eth0", at(0), at(3 * 366 * 86_400)).expect("readable"), None);
    }

    #[test]
    fn samples_that_waited_through_a_sleep_or_a_full_disk_are_in_every_sum() {
        let (hour, day) = (3600, 86_400);
        for slept in [90, 10 * 60, 3 * hour, 2 * day, 40 * day] {
            let folder = tempfile::tempdir().expect("a folder");
            let mut history = History::open(&folder.path().join("monitor.db")).expect("a file");
            for second in 0..330 {
                history.push(&[sample(second, 10)]);
                if second % 60 == 20 {
                    history.flush(at(second)).expect("written");
                }
            }

            history.push(&[sample(330 + slept, 10)]);
            history.flush(at(331 + slept)).expect("written");
            history.flush(at(391 + slept)).expect("written");

            let mut sums = history.database.prepare("SELECT tier, sum(bytes_sent) FROM step WHERE tier > 1 GROUP BY tier").expect("sums");
            let rows = sums.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).and_then(Iterator::collect);
            let sums: Vec<(i64, i64)> = rows.expect("sums");
            let minutes = if slept < 31 * day { 3310 } else { 10 };
            assert_eq!(sums, [(60, minutes), (3600, 3310)], "slept {slept} s");
        }
    }

    #[test]
    fn interfaces_without_end_push_the_oldest_rows_out_of_every_tier() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut history = History::open(&folder.path().join("monitor.db")).expect("a file");
        for number in 0..300 {
            history.push(&[Sample { interface: format!("veth{number}").into(), ..sample(number * 7200, 10) }]);
            history.flush(at(number * 7200)).expect("written");
        }

        for tier in [60, 3600] {
            shed(&history.database, tier, 100).expect("shortened");

            let query = "SELECT count(*), max(interface = 'veth299'), max(interface = 'veth0') FROM step WHERE tier = ?1";
            let left = history.database.query_row(query, [tier], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
            assert_eq!(left, Ok((100, true, false)), "steps of {tier} s");
        }
    }

    #[test]
    fn what_a_detector_knows_is_there_after_opening_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("monitor.db");
        History::open(&path).and_then(|history| history.save("levels", &vec![1.5, 2.5])).expect("saved");

        let history = History::open(&path).expect("again");

        assert_eq!(history.load::<Vec<f64>>("levels").expect("loaded"), [1.5, 2.5]);
        assert_eq!(history.load::<Vec<String>>("levels").expect("another version"), Vec::<String>::new());
    }
}
