//! `Network.csv`: the watched interface's totals, a row a second, under a header that never changes. Replaced as a whole
//! by a rename, so that no reader sees half a line; or appended to and rotated. Anomalies stand in a file beside it.

use std::{
    collections::VecDeque,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use sharekaro_proto::control::net::{Anomaly, Counters};

use super::counters::NETWORK_CSV_HEADER;

/// Rows of a file that is replaced: five minutes.
const ROWS: usize = 300;
/// Seconds between two writes.
const EVERY: u32 = 5;
/// A file that is appended to is put aside at this size; so many stay.
const LARGEST: u64 = 16 << 20;
const ASIDE: u32 = 3;

/// How the file is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Mode {
    /// The last rows, as a whole.
    Replace,
    /// All rows; put aside when it is large.
    Append,
}

/// Where the file is, and how it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Target {
    /// An absolute path.
    pub path: PathBuf,
    /// As a whole, or row after row.
    pub mode: Mode,
}

/// The latest rows, and where they go.
#[derive(Debug, Default)]
pub struct NetworkCsv {
    rows: VecDeque<String>,
    /// Rows that are not in the file yet, for appending.
    new: usize,
    target: Option<Target>,
    ticks: u32,
}

impl NetworkCsv {
    /// The next row; with the zone in which the clock is shown.
    pub fn push(&mut self, at: Timestamp, zone: &TimeZone, c: &Counters) {
        let time = at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string();
        self.rows.push_back(format!("{time},{},{},{},{}\n", c.bytes_sent, c.bytes_received, c.packets_sent, c.packets_received));
        self.new = (self.new + 1).min(ROWS);
        if self.rows.len() > ROWS {
            self.rows.pop_front();
        }
    }

    /// Another interface is watched: its totals have nothing to do with the old ones.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.new = 0;
    }

    /// Writes there from now on, and at once; without a target, no more.
    pub fn write_to(&mut self, target: Option<Target>, anomalies: &[Anomaly]) -> io::Result<()> {
        let path = |target: &Option<Target>| target.as_ref().map(|target| target.path.clone());
        let empty = |path: &PathBuf| fs::metadata(path).map_or(true, |found| found.len() == 0);
        self.new = match path(&target) {
            Some(path) if empty(&path) => self.rows.len(),
            // What is in a file that we write already is known; in another, time only goes on.
            to if to == path(&self.target) => self.new,
            _ => 0,
        };
        (self.target, self.ticks) = (target, 0);
        let written = self.write(anomalies);
        if written.is_err() {
            self.target = None;
        }
        written
    }

    /// Goes on where it was told to write before a restart, once there is something to write.
    pub fn go_on(&mut self, target: Option<Target>) {
        self.target = target;
    }

    /// Where it is written, if it is.
    #[must_use]
    pub const fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// Called each second; writes each fifth.
    pub fn tick(&mut self, anomalies: impl FnOnce() -> Vec<Anomaly>) -> io::Result<()> {
        self.ticks += 1;
        if self.target.is_none() || self.ticks < EVERY {
            return Ok(());
        }
        self.ticks = 0;
        self.write(&anomalies())
    }

    fn write(&mut self, anomalies: &[Anomaly]) -> io::Result<()> {
        let Some(Target { path, mode }) = &self.target else { return Ok(()) };
        match mode {
            Mode::Replace => replace(path, &format!("{NETWORK_CSV_HEADER}\n{}", String::from_iter(self.rows.iter().map(String::as_str)))),
            Mode::Append => append(path, self.rows.iter().skip(self.rows.len().saturating_sub(self.new))),
        }?;
        self.new = 0;
        replace(&path.with_extension("anomalies.csv"), &beside(anomalies))
    }
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // Nothing half-written is left behind; that it cannot be removed either is the same trouble.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn append<'a>(path: &Path, rows: impl Iterator<Item = &'a String>) -> io::Result<()> {
    let size = fs::metadata(path).map_or(0, |found| found.len());
    if size >= LARGEST {
        for number in (1..ASIDE).rev() {
            let _ = fs::rename(aside(path, number), aside(path, number + 1));
        }
        fs::rename(path, aside(path, 1))?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let before = file.metadata()?.len();
    let header = if before == 0 { format!("{NETWORK_CSV_HEADER}\n") } else { String::new() };
    // One write: a reader sees whole lines. One that a full disk cut short is taken back, and comes again as a whole.
    let text = header + &String::from_iter(rows.map(String::as_str));
    file.write_all(text.as_bytes()).inspect_err(|_| drop(file.set_len(before)))
}

fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{number}"));
    path.with_file_name(name)
}

/// The anomalies as CSV. Explanations hold names from the air: quoted, and no cell begins a formula.
fn beside(anomalies: &[Anomaly]) -> String {
    let mut text = "At,Until,Interface,Kind,Severity,Explanation\n".to_owned();
    for anomaly in anomalies {
        let (kind, severity) = (word(&anomaly.kind), word(&anomaly.severity));
        let (interface, explanation) = (cell(&anomaly.interface), cell(&anomaly.explanation));
        text += &format!("{},{},{interface},{kind},{severity},{explanation}\n", anomaly.at, anomaly.until);
    }
    text
}

/// An enum's word in the contract.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn cell(text: &str) -> String {
    let defused = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    let plain: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    format!("\"{defused}{}\"", plain.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::control::net::{AnomalyKind, Severity};

    use super::*;

    fn pushed(csv: &mut NetworkCsv, rows: i64) {
        for row in 0..rows {
            let counters = Counters { bytes_sent: row as u64, ..Counters::default() };
            csv.push(Timestamp::constant(1_750_000_000 + row, 0), &TimeZone::UTC, &counters);
        }
    }

    #[test]
    fn the_file_holds_the_last_rows_under_the_fixed_header() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("Network.csv");
        let mut csv = NetworkCsv::default();
        pushed(&mut csv, 400);

        csv.write_to(Some(Target { path: path.clone(), mode: Mode::Replace }), &[]).expect("written");

        let text = fs::read_to_string(&path).expect("there");
        assert_eq!(text.lines().next(), Some(NETWORK_CSV_HEADER));
        assert_eq!((text.lines().count(), text.lines().last()), (301, Some("15:13:19,399,0,0,0")));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
    }

    #[test]
    fn appended_rows_follow_each_other_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("Network.csv");
        let mut csv = NetworkCsv::default();
        pushed(&mut csv, 2);
        csv.write_to(Some(Target { path: path.clone(), mode: Mode::Append }), &[]).expect("written");

        for _ in 0..2 {
            pushed(&mut csv, 5);
            for _ in 0..EVERY {
                csv.tick(Vec::new).expect("written");
            }
        }

        assert_eq!(fs::read_to_string(&path).expect("there").lines().count(), 1 + 2 + 5 + 5);
    }

    #[test]
    fn told_again_to_append_it_repeats_no_row() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = |name: &str, mode| Some(Target { path: folder.path().join(name), mode });
        let lines = |name: &str| fs::read_to_string(folder.path().join(name)).expect("there").lines().count();
        let mut csv = NetworkCsv::default();
        pushed(&mut csv, 20);
        csv.write_to(target("a.csv", Mode::Append), &[]).expect("written");
        assert_eq!(lines("a.csv"), 1 + 20);

        pushed(&mut csv, 3);
        csv.write_to(target("a.csv", Mode::Append), &[]).expect("the same again");
        assert_eq!(lines("a.csv"), 1 + 23);

        csv.write_to(None, &[]).expect("stopped");
        pushed(&mut csv, 7);
        csv.write_to(target("a.csv", Mode::Append), &[]).expect("and begun again");
        pushed(&mut csv, 2);
        (0..EVERY).for_each(|_| csv.tick(Vec::new).expect("written"));
        assert_eq!(lines("a.csv"), 1 + 23 + 2);

        csv.write_to(target("b.csv", Mode::Replace), &[]).expect("another file");
        csv.write_to(target("b.csv", Mode::Append), &[]).expect("kept in another way");
        assert_eq!(lines("b.csv"), 1 + 32);
    }

    #[test]
    fn a_disk_that_fills_leaves_whole_lines_and_loses_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("Network.csv");
        let mut csv = NetworkCsv::default();
        pushed(&mut csv, 2);
        csv.write_to(Some(Target { path: path.clone(), mode: Mode::Append }), &[]).expect("written");
        let (before, beside) = (fs::read_to_string(&path).expect("there"), path.with_extension("anomalies.csv"));

        // Where the table beside it cannot be written, the rows were.
        fs::remove_file(&beside).and_then(|()| fs::create_dir(&beside)).expect("a folder in its place");
        pushed(&mut csv, 3);
        csv.ticks = EVERY;
        assert!(csv.tick(Vec::new).is_err());
        csv.ticks = EVERY;
        assert!(csv.tick(Vec::new).is_err());

        let after = fs::read_to_string(&path).expect("there");
        assert!(after.starts_with(&before) && after.lines().count() == 1 + 2 + 3, "{after}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_told_and_nothing_is_left() {
        let folder = tempfile::tempdir().expect("a folder");

        let refused = NetworkCsv::default().write_to(Some(Target { path: folder.path().join("no/Network.csv"), mode: Mode::Replace }), &[]);

        assert!(refused.is_err());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn what_strangers_write_is_no_formula() {
        let at = Timestamp::UNIX_EPOCH;
        let (id, interface, explanation) = ("1".into(), "eth0".into(), "=1+1|\"calc\"\u{1b}[2J".into());
        let anomaly = Anomaly {
            id,
            at,
            until: at,
            interface,
            kind: AnomalyKind::EvilTwin,
            severity: Severity::High,
            explanation,
            acknowledged: false,
        };

        let text = beside(&[anomaly]);

        assert!(text.ends_with("\"eth0\",evil_twin,high,\"'=1+1|\"\"calc\"\" [2J\"\n"), "{text}");
    }
}
