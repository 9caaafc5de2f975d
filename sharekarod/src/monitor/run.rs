//! The monitor while it runs: a second is read, judged and kept, all of it in one go, so that the machine is woken once.
//! Others hold a cheap handle with questions (`questions.rs`); one listener is told of anomalies and of what is in the
//! way, and publishes it. The detectors themselves know no clock and no file.

use std::{
    collections::HashMap,
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::{Timestamp, tz::TimeZone};
use sharekaro_proto::control::net::{Anomaly, Counters};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    captures::Captures,
    counters::{Kernel, Own, Steps},
    detect::{
        finding::Finding,
        incidents::{Change, Incidents},
        rules::{Profiles, Rules},
        traffic::TrafficDetector,
    },
    history::{History, HistoryError},
    network_csv::{NetworkCsv, Target},
    sample::Reading,
    seconds::Seconds,
    sources::Sources,
};

/// Seconds between two writes of the history, and writes between two of what the detectors know.
const FLUSH_EVERY: u64 = 60;
const LEARNT_EVERY: u64 = 5;
/// Notices that the listener may be behind; beyond, it finds anomalies in `anomalies()`.
const BEHIND: usize = 256;
/// Detectors kept for interfaces that were watched once.
const MOST_DETECTORS: usize = 16;

/// Tells the totals that this daemon itself carried over these addresses of ours.
pub type Carried = Box<dyn Fn(&[IpAddr]) -> Counters + Send + Sync>;

/// What the monitor was told.
#[derive(Clone, Debug)]
pub struct Config {
    /// So long an interface must have been watched before traffic on it can be odd (`SHAREKARO_NET_WARMUP`).
    pub warm_up: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { warm_up: super::detect::replay::WARM_UP }
    }
}

/// What the monitor tells of its own accord.
#[derive(Clone, PartialEq, Debug)]
pub enum Notice {
    /// Something is out of the ordinary, or worse than it was said to be.
    Anomaly(Box<Anomaly>),
    /// From now on this cannot be watched.
    Trouble {
        /// For programs.
        code: &'static str,
        /// In a sentence.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// It can be watched (again).
    Resolved {
        /// As it was told.
        code: &'static str,
    },
}

#[derive(Default)]
pub(super) struct State {
    pub(super) readings: Vec<Reading>,
    pub(super) watched: Option<Arc<str>>,
    pub(super) steps: Steps,
    own: Own,
    /// Our addresses on the watched interface.
    over: Vec<IpAddr>,
    pub(super) detectors: HashMap<Arc<str>, TrafficDetector>,
    pub(super) rules: Rules,
    pub(super) incidents: Incidents,
    pub(super) csv: NetworkCsv,
    /// What is in the way, by code, so that it is told once.
    troubles: HashMap<&'static str, String>,
    /// Something that must not wait for the next minute to be written down.
    pub(super) unsaved: bool,
    /// Something that may: an incident lasts, or what could not be written.
    owed: bool,
}

pub(super) struct Shared {
    pub(super) config: Config,
    carried: Carried,
    state: Mutex<State>,
    history: Mutex<History>,
    told: mpsc::Sender<Notice>,
    pub(super) captures: Captures,
}

/// Questions to the monitor, and what it tells. Cheap to clone.
#[derive(Clone)]
pub struct Monitor(pub(super) Arc<Shared>);

/// The handle, what it tells, and its work.
pub type Started<Work> = (Monitor, mpsc::Receiver<Notice>, Work);

/// Starts the monitor with its file at `store`; `carried` tells at any time what this daemon itself carried. What it returns
/// is its handle, what it notices, for the one who publishes it, and the work itself, which ends when `shutdown` is
/// cancelled and all is written.
///
/// # Errors
/// The file cannot be opened or read.
pub fn start(
    config: Config,
    carried: Carried,
    store: &Path,
    shutdown: CancellationToken,
) -> Result<Started<impl Future<Output = ()> + Send + use<>>, HistoryError> {
    let history = History::open(store)?;
    let detectors: HashMap<String, TrafficDetector> = history.load("traffic")?;
    let mut state = State {
        detectors: detectors.into_iter().map(|(interface, detector)| (Arc::from(interface), detector)).collect(),
        rules: Rules::new(history.load::<Profiles>("profiles")?),
        incidents: history.load("incidents")?,
        ..State::default()
    };
    state.csv.go_on(history.load::<Option<Target>>("network_csv")?);
    let (told, listener) = mpsc::channel(BEHIND);
    let (state, history) = (Mutex::new(state), Mutex::new(history));
    let shared = Shared { config, carried, state, history, told, captures: Captures::default() };
    let monitor = Monitor(Arc::new(shared));
    Ok((monitor.clone(), listener, monitor.run(shutdown)))
}

impl Monitor {
    async fn run(self, shutdown: CancellationToken) {
        let (mut sources, began, zone, mut ticks, mut round) =
            (Sources::open(), Instant::now(), TimeZone::system(), Seconds::start(), 0u64);
        let mut kernel = Kernel::open().inspect_err(|error| self.trouble("counters_unavailable", error, "")).ok();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = ticks.next() => {}
            }
            if let Some(kernel) = &mut kernel {
                self.second(kernel, &mut sources, Timestamp::now(), began.elapsed(), &zone);
            }
            round += 1;
            if round.is_multiple_of(FLUSH_EVERY) || self.state().unsaved {
                self.keep(round.is_multiple_of(FLUSH_EVERY * LEARNT_EVERY)).await;
            }
        }
        self.keep(true).await;
    }

    /// Reads the counters, looks at every source, and judges the second.
    fn second(&self, kernel: &mut Kernel, sources: &mut Sources, now: Timestamp, ticks: Duration, zone: &TimeZone) {
        let mut readings = match kernel.read() {
            Ok(readings) => readings,
            Err(error) => return self.trouble("counters_unavailable", &error, ""),
        };
        sources.mark(&mut readings);
        let watched = sources.watched(&readings, self.state().watched.as_deref());
        let events = sources.second(readings.iter().find(|reading| Some(&reading.interface) == watched.as_ref()));
        sources.notices().into_iter().for_each(|notice| self.tell(notice));
        let mut guard = self.state();
        let state = &mut *guard;
        let mut samples = state.steps.push(&readings, now, ticks);
        if state.watched != watched {
            state.csv.clear();
            state.watched.clone_from(&watched);
        }
        let over = sources.addresses(watched.as_deref());
        let carried = (self.0.carried)(&over);
        let elsewhere = state.over != over;
        if elsewhere {
            state.own = Own::since(&carried);
            state.over = over;
        }
        if let Some(interface) = watched {
            let reading = readings.iter().find(|reading| reading.interface == interface);
            reading.iter().for_each(|reading| state.csv.push(now, zone, &reading.counters));
            let full = state.detectors.len() >= MOST_DETECTORS && !state.detectors.contains_key(&interface);
            if full {
                state.detectors.clear();
            }
            let detector = state.detectors.entry(interface.clone()).or_default();
            let warm_up = self.0.config.warm_up.as_secs_f64();
            let mut findings = Vec::new();
            // How much of a second was ours in which our addresses changed, nobody knows.
            for sample in samples.iter_mut().filter(|sample| !elsewhere && sample.interface == interface) {
                sample.own = state.own.part(&carried, &sample.amounts);
                findings.extend(detector.push(sample, warm_up));
            }
            findings.extend(events.iter().flat_map(|event| state.rules.push(event, now)));
            self.record(state, &interface, findings);
        }
        state.readings = readings;
        let incidents = &state.incidents;
        let written = state.csv.tick(|| incidents.iter().cloned().collect());
        drop(guard);
        self.history().push(&samples);
        match written {
            Ok(()) => self.resolved("network_csv"),
            Err(error) => self.trouble("network_csv", &error, "sharectl net csv --stop, or sharectl net csv with another path"),
        }
    }

    fn record(&self, state: &mut State, interface: &Arc<str>, findings: Vec<Finding>) {
        for finding in findings {
            match state.incidents.push(interface, finding) {
                Change::Began(anomaly) | Change::Worsened(anomaly) => {
                    tracing::info!(id = anomaly.id, kind = ?anomaly.kind, severity = ?anomaly.severity, "{}", anomaly.explanation);
                    state.unsaved = true;
                    self.tell(Notice::Anomaly(Box::new(anomaly)));
                }
                Change::Lasts => state.owed = true,
            }
        }
    }

    /// Writes everything down, away from the threads that serve.
    async fn keep(&self, learnt: bool) {
        let monitor = self.clone();
        let kept = tokio::task::spawn_blocking(move || monitor.write(Timestamp::now(), learnt)).await;
        match kept {
            Ok(Ok(())) => self.resolved("net_history"),
            Ok(Err(error)) => self.trouble("net_history", &error, "what was measured waits in memory; free some space in the state folder"),
            Err(error) => self.trouble("net_history", &error, ""),
        }
    }

    /// What could not be written is written with the next minute.
    fn write(&self, now: Timestamp, learnt: bool) -> Result<(), HistoryError> {
        let (detectors, profiles, incidents, target) = {
            let mut state = self.state();
            let told = std::mem::take(&mut state.unsaved) | std::mem::take(&mut state.owed);
            let detectors: HashMap<String, TrafficDetector> =
                state.detectors.iter().map(|(name, detector)| (name.to_string(), detector.clone())).collect();
            let (incidents, target) = told.then(|| (state.incidents.clone(), state.csv.target().cloned())).unzip();
            ((learnt || told).then_some(detectors), (learnt || told).then(|| state.rules.profiles.clone()), incidents, target)
        };
        let save = |history: &mut History| {
            history.flush(now)?;
            detectors.iter().try_for_each(|it| history.save("traffic", it))?;
            profiles.iter().try_for_each(|it| history.save("profiles", it))?;
            target.iter().try_for_each(|it| history.save("network_csv", it))?;
            incidents.iter().try_for_each(|it| history.save("incidents", it))
        };
        let saved = save(&mut self.history());
        if saved.is_err() && incidents.is_some() {
            self.state().owed = true;
        }
        saved
    }

    fn trouble(&self, code: &'static str, error: &dyn std::error::Error, hint: &str) {
        let message = match error.source() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        self.tell(Notice::Trouble { code, message, hint: hint.to_owned() });
    }

    fn resolved(&self, code: &'static str) {
        self.tell(Notice::Resolved { code });
    }

    /// Tells whoever listens; the same trouble once.
    fn tell(&self, notice: Notice) {
        let news = match &notice {
            Notice::Anomaly(_) => true,
            Notice::Trouble { code, message, .. } => {
                let before = self.state().troubles.insert(code, message.clone());
                before.as_ref() != Some(message)
            }
            Notice::Resolved { code } => self.state().troubles.remove(code).is_some(),
        };
        if news {
            // Nobody listens, or slowly: that is no error, and the table of anomalies has it.
            let _ = self.0.told.try_send(notice);
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.0.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::control::net::AnomalyKind;

    use super::*;
    use crate::monitor::detect::rules::event::Event;

    #[tokio::test]
    async fn a_running_monitor_counts_tells_and_remembers() {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, shutdown) = (folder.path().join("monitor.db"), CancellationToken::new());
        let (monitor, mut told, running) =
            start(Config::default(), Box::new(|_| Counters::default()), &store, shutdown.clone()).expect("started");
        let running = tokio::spawn(running);

        {
            let mut state = monitor.state();
            let findings = state.rules.push(&Event::Forged, Timestamp::now());
            monitor.record(&mut state, &"wlan0".into(), findings);
        }
        let anomaly = loop {
            match told.recv().await.expect("told") {
                Notice::Anomaly(anomaly) => break anomaly,
                _ => continue,
            }
        };
        assert_eq!(anomaly.kind, AnomalyKind::ForgedDeauthentication);
        assert!(monitor.acknowledge(&anomaly.id).is_some() && monitor.acknowledge("none").is_none());
        while monitor.interfaces().interfaces.is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(monitor.interfaces().interfaces.iter().any(|interface| interface.name == "lo" && !interface.watched));
        shutdown.cancel();
        running.await.expect("ended");

        let (again, ..) = start(Config::default(), Box::new(|_| Counters::default()), &store, CancellationToken::new()).expect("again");
        assert!(again.anomaly(&anomaly.id).is_some_and(|kept| kept.acknowledged));
        assert!(again.history_of(Some("nosuch0"), Timestamp::UNIX_EPOCH).expect("readable").is_none());
    }
}
