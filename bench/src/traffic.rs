//! How often the monitor is wrong in a day, and what it finds: days of made-up traffic with incidents at known times, judged
//! by `sharectl net replay`, as a person would judge a `Network.csv`.
//!
//! The models are yardsticks, not what the detector assumes: heavy tails in sizes, rates and pauses, day and night, backups,
//! bursts of downloads. An alarm counts once, from its start; a note does not count; one that began before an incident does
//! not find it, and one more than a minute after it is wrong.

use std::{
    f64::consts::TAU,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use sharekaro_tests::Host;

use crate::table::{Figure, Goal};

const DAY: usize = 86_400;
/// 100 Mbit/s.
const LINE: f64 = 12.5e6;
/// An alarm so soon after an incident is about it.
const AFTER: usize = 60;

/// Bytes sent and received, packets sent and received in a second.
type Second = [f64; 4];
type Model = fn(&mut [Second], &mut Chance);

const MODELS: [(&str, Model); 7] = [
    ("a laptop", laptop),
    ("sources that are on and off", on_and_off),
    ("log-normal seconds", log_normal),
    ("a backup each night", backup),
    ("bursts of downloads", downloads),
    ("an idle machine", idle),
    ("a small server", server),
];

const INCIDENTS: [&str; 5] = ["flood", "upload", "small packets", "silence", "ramp"];
/// Of these kinds in turn, each day but the first.
const A_DAY: usize = 10;

struct Incident {
    kind: usize,
    from: usize,
    to: usize,
}

/// The worst model's false alarms a day and share found, once for each seed.
pub(crate) fn traffic(alice: &Host, days: usize, seeds: u64) -> Result<[Figure; 2]> {
    let mut wrong = Figure::new("false alarms a day, worst of 7 kinds of traffic", "", Goal::AtMost(10.0));
    let mut found = Figure::new("  incidents found there, worst of 7", "", Goal::AtLeast(0.9));
    for seed in 1..=seeds {
        let mut worst = (0.0_f64, 1.0_f64);
        for (number, (name, model)) in MODELS.into_iter().enumerate() {
            let (false_alarms, recall) = judge(alice, model, days, Chance::new(seed * 7919 + number as u64))?;
            eprintln!("   {name}: {false_alarms:.1} false alarms a day, {recall:.2} found");
            worst = (worst.0.max(false_alarms), worst.1.min(recall));
        }
        wrong.add(worst.0);
        found.add(worst.1);
    }
    Ok([wrong, found])
}

fn judge(alice: &Host, model: Model, days: usize, mut chance: Chance) -> Result<(f64, f64)> {
    let mut seconds = vec![[0.0; 4]; days * DAY];
    model(&mut seconds, &mut chance);
    let planted = plant(&mut seconds, days, &mut chance);
    let path = alice.home().join("Network.csv");
    write(&path, &seconds).context("cannot write a Network.csv")?;
    let alarms = alarms(alice, &path)?;
    let about = |incident: &Incident, alarm: usize| (incident.from..=incident.to + AFTER).contains(&alarm);
    let wrong = alarms.iter().filter(|alarm| !planted.iter().any(|incident| about(incident, **alarm))).count();
    let finds = |incident: &&Incident| alarms.iter().any(|alarm| (incident.from..=incident.to).contains(alarm));
    for missed in planted.iter().filter(|incident| !finds(incident)) {
        eprintln!("     {} of {} s not found", INCIDENTS[missed.kind], missed.to - missed.from);
    }
    let found = planted.iter().filter(finds).count();
    ensure!(!planted.is_empty(), "{days} days are too few: nothing happens on the first");
    Ok((wrong as f64 / days as f64, found as f64 / planted.len() as f64))
}

/// The seconds at which something worse than a note began.
fn alarms(alice: &Host, path: &Path) -> Result<Vec<usize>> {
    let reply = alice.ctl("net replay").arg(path).within(600).ok()?.last()?;
    let findings = reply["findings"].as_array().context("no findings")?;
    let alarming = findings.iter().filter(|finding| finding["severity"] != "info");
    alarming.map(|finding| second(finding["at"].as_str().context("no time")?)).collect()
}

/// Seconds since the start of `2025-06-17T01:02:03Z`: within a month, as no run is longer.
fn second(at: &str) -> Result<usize> {
    let digits = |place: std::ops::Range<usize>| at.get(place).and_then(|text| text.parse::<usize>().ok()).context("no time");
    let (day, hour, minute, second) = (digits(8..10)?, digits(11..13)?, digits(14..16)?, digits(17..19)?);
    Ok((day.checked_sub(16).context("before the start")?) * DAY + hour * 3600 + minute * 60 + second)
}

fn write(path: &Path, seconds: &[Second]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "Time,Bytes_sent,Bytes_received,Packets_sent,Packets_received")?;
    let mut totals = [0_u64; 4];
    for (number, second) in seconds.iter().enumerate() {
        for (total, amount) in totals.iter_mut().zip(second) {
            *total += amount.min(LINE).ceil() as u64;
        }
        let [sent, received, packets_sent, packets_received] = totals;
        let (day, rest) = (16 + number / DAY, number % DAY);
        let time = format!("2025-06-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60);
        writeln!(file, "{time},{sent},{received},{packets_sent},{packets_received}")?;
    }
    file.flush()
}

// -- what is usual -------------------------------------------------------------------------------------------------------------

/// How busy people are at this second of the day, up to 1.
fn activity(second: usize) -> f64 {
    let hour = (second % DAY) as f64 / 3600.0;
    0.08 + 0.92 * (0.5 - 0.5 * ((hour - 3.0) / 24.0 * TAU).cos()).powf(1.5)
}

/// Bytes one way, in large packets, and their acknowledgements the other way.
fn transfer(second: &mut Second, bytes: f64, up: bool) {
    let (data, back, acknowledgements) = if up { (0, 1, bytes / 3000.0) } else { (1, 0, bytes / 3000.0) };
    second[data] += bytes;
    second[data + 2] += bytes / 1350.0;
    second[back] += acknowledgements * 66.0;
    second[back + 2] += acknowledgements;
}

/// So many bytes from a second on, at about this rate.
fn session(seconds: &mut [Second], from: usize, bytes: f64, rate: f64, up: bool, chance: &mut Chance) {
    let mut left = bytes;
    for second in seconds.iter_mut().skip(from).take(7200) {
        let now = (rate * (chance.normal() * 0.3).exp()).min(LINE).min(left);
        transfer(second, now, up);
        left -= now;
        if left <= 0.0 {
            return;
        }
    }
}

/// What a machine says that nobody uses.
fn chatter(seconds: &mut [Second], chance: &mut Chance) {
    for (number, second) in seconds.iter_mut().enumerate() {
        if chance.unit() < 0.35 + 0.6 * activity(number) {
            transfer(second, (chance.normal() * 1.2 + 6.5).exp(), chance.unit() < 0.4);
            second[2] += 1.0;
        }
    }
}

/// Sessions at random, of Pareto sizes and log-normal rates.
fn sessions(seconds: &mut [Second], chance: &mut Chance, each: f64, least: f64, shape: f64, rate: f64) {
    for at in 0..seconds.len() {
        if chance.unit() < activity(at) / each {
            let (bytes, up) = (chance.pareto(least, shape).min(3e9), chance.unit() < 0.15);
            let rate = ((chance.normal() * 1.1).exp() * rate).min(11e6);
            session(seconds, at, bytes, rate, up, chance);
        }
    }
}

/// Sessions, and a film each evening, whose pieces come every few seconds.
fn laptop(seconds: &mut [Second], chance: &mut Chance) {
    chatter(seconds, chance);
    sessions(seconds, chance, 20.0, 30e3, 1.15, 4e5);
    for day in 0..seconds.len() / DAY {
        let start = day * DAY + (chance.between(17.0, 21.0) * 3600.0) as usize;
        let mut at = start;
        while at < start + 5400 {
            transfer(&mut seconds[at], chance.between(3e6, 8e6), false);
            at += chance.between(5.0, 11.0) as usize;
        }
    }
}

/// Twelve sources, on and off for times that are Pareto: together they are self-similar.
fn on_and_off(seconds: &mut [Second], chance: &mut Chance) {
    chatter(seconds, chance);
    for _ in 0..12 {
        let up = chance.unit() < 0.25;
        let mut at = 0;
        loop {
            at += chance.pareto(20.0, 1.2).min(20_000.0) as usize;
            let on = chance.pareto(1.0, 1.3).min(3000.0) as usize;
            let rate = (chance.normal() * 0.9).exp() * if up { 4e4 } else { 1.5e5 };
            if at >= seconds.len() {
                break;
            }
            if chance.unit() < activity(at) {
                let now = seconds.iter_mut().skip(at).take(on);
                now.for_each(|second| transfer(second, (rate * (chance.normal() * 0.4).exp()).min(11e6), up));
                at += on;
            }
        }
    }
}

/// Every second log-normal, around levels that wander.
fn log_normal(seconds: &mut [Second], chance: &mut Chance) {
    let (mut down, mut up) = (0.0, 0.0);
    for (number, second) in seconds.iter_mut().enumerate() {
        down = down * 0.995 + chance.normal() * 0.1;
        up = up * 0.99 + chance.normal() * 0.14;
        let usual = (activity(number) * 20.0).ln();
        transfer(second, (9.0 + usual + down + chance.normal()).exp().min(11e6), false);
        transfer(second, (7.5 + usual + up + chance.normal()).exp().min(11e6), true);
    }
}

/// Sessions by day; at two in the night some gigabytes go out.
fn backup(seconds: &mut [Second], chance: &mut Chance) {
    chatter(seconds, chance);
    sessions(seconds, chance, 40.0, 50e3, 1.2, 5e5);
    for day in 0..seconds.len() / DAY {
        let at = day * DAY + 7200 + chance.between(0.0, 600.0) as usize;
        let (bytes, rate) = (chance.between(2e9, 6e9), chance.between(5e6, 9e6));
        session(seconds, at, bytes, rate, true, chance);
    }
}

/// Nothing for a long time, then up to twenty downloads within minutes.
fn downloads(seconds: &mut [Second], chance: &mut Chance) {
    chatter(seconds, chance);
    let mut at = chance.after(2400.0);
    while at < seconds.len() {
        if chance.unit() < activity(at) {
            let mut begins = at;
            for _ in 0..=chance.pareto(1.0, 1.3).min(20.0) as usize {
                let (bytes, rate) = (chance.pareto(1e6, 1.2).min(2e9), (13.5 + 0.8 * chance.normal()).exp().min(11e6));
                session(seconds, begins, bytes, rate, false, chance);
                begins += chance.after(20.0);
            }
        }
        at += chance.after(2400.0);
    }
}

/// A few hundred bytes a second, and something fetched every hour or two.
fn idle(seconds: &mut [Second], chance: &mut Chance) {
    for second in seconds.iter_mut() {
        if chance.unit() < 0.9 {
            transfer(second, (chance.normal() * 0.8 + 6.0).exp(), chance.unit() < 0.5);
        }
    }
    let mut at = 3600 + chance.after(3600.0);
    while at < seconds.len() {
        let (bytes, rate) = (chance.pareto(3e5, 1.3).min(2e8), chance.between(5e5, 3e6));
        session(seconds, at, bytes, rate, false, chance);
        at += 3600 + chance.after(3600.0);
    }
}

/// Some requests a second by day, with replies of Pareto sizes.
fn server(seconds: &mut [Second], chance: &mut Chance) {
    for at in 0..seconds.len() {
        let requests = activity(at) * 6.0;
        let mut time = chance.exponential(1.0);
        while time < requests {
            let (bytes, rate) = (chance.pareto(8e3, 1.3).min(2e8), chance.between(5e5, 4e6));
            session(seconds, at, bytes, rate, true, chance);
            transfer(&mut seconds[at], chance.between(500.0, 3000.0), false);
            time += chance.exponential(1.0);
        }
    }
}

// -- what is not ---------------------------------------------------------------------------------------------------------------

fn plant(seconds: &mut [Second], days: usize, chance: &mut Chance) -> Vec<Incident> {
    let mut planted: Vec<Incident> = Vec::new();
    for (day, number) in (1..days).flat_map(|day| (0..A_DAY).map(move |number| (day, number))) {
        let kind = number % INCIDENTS.len();
        let long = if kind == 1 || kind == 4 { (300.0, 700.0) } else { (40.0, 90.0) };
        let (from, to) = loop {
            let from = day * DAY + (chance.between(8.0, 22.5) * 3600.0) as usize;
            let to = from + chance.between(long.0, long.1) as usize;
            if planted.iter().all(|other| to + 300 < other.from || from > other.to + 300) {
                break (from, to);
            }
        };
        act(&mut seconds[from..to], kind, chance);
        planted.push(Incident { kind, from, to });
    }
    planted
}

fn act(seconds: &mut [Second], kind: usize, chance: &mut Chance) {
    let (up, count) = (chance.unit() < 0.5, seconds.len() as f64);
    let (flood, upload, small, ramp) =
        (chance.between(10e6, 12.4e6), chance.between(1.5e6, 6e6), chance.between(3e3, 15e3), chance.between(4e6, 10e6));
    let way = usize::from(!up);
    for (number, second) in seconds.iter_mut().enumerate() {
        match kind {
            0 => {
                second[way] += flood;
                second[way + 2] += flood / 900.0;
            }
            1 => transfer(second, upload * chance.between(0.8, 1.2), true),
            2 => {
                second[way] += small * 66.0;
                second[way + 2] += small;
            }
            3 => *second = [0.0; 4],
            _ => transfer(second, ramp * number as f64 / count, up),
        }
    }
}

/// Repeatable numbers (xorshift): the same seed, the same days.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        let mut chance = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        (0..8).for_each(|_| _ = chance.unit());
        chance
    }

    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (TAU * self.unit()).cos()
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Whole seconds.
    fn after(&mut self, mean: f64) -> usize {
        self.exponential(mean) as usize
    }

    fn pareto(&mut self, least: f64, shape: f64) -> f64 {
        least * (1.0 - self.unit()).powf(-1.0 / shape)
    }
}
