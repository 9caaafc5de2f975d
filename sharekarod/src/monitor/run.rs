//! The monitor while it runs: a second is read, judged and kept. Others hold a cheap handle with questions; one
//! listener is told of anomalies and publishes them; the detectors themselves know no clock and no file.

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::{Timestamp, tz::TimeZone};
use sharekaro_proto::control::net::{Anomalies, Anomaly, History as HistoryReply, Interface, Interfaces};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    counters::{Kernel, Steps},
    detect::{
        finding::{Finding, Lesson},
        incidents::{Change, Incidents},
        rules::{Profiles, Rules, event::Event},
        traffic::TrafficDetector,
    },
    history::{History, HistoryError},
    network_csv::{Mode, NetworkCsv},
    sample::Reading,
    sources,
};

const EVERY: Duration = Duration::from_secs(1);
/// Seconds between two writes of the history.
const FLUSH_EVERY: u64 = 60;
/// Events on their way; a source that is faster waits.
const EVENTS: usize = 1024;
/// Anomalies that the listener may be behind; beyond, it finds the rest in `anomalies()`.
const BEHIND: usize = 256;
/// Detectors kept for interfaces that were watched once.
const MOST_DETECTORS: usize = 16;

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

#[derive(Default)]
struct State {
    readings: Vec<Reading>,
    watched: Option<Arc<str>>,
    steps: Steps,
    detectors: HashMap<Arc<str>, TrafficDetector>,
    rules: Rules,
    incidents: Incidents,
    csv: NetworkCsv,
    warnings: Vec<(&'static str, String)>,
    unsaved: bool,
}

struct Shared {
    config: Config,
    state: Mutex<State>,
    history: Mutex<History>,
    told: mpsc::Sender<Anomaly>,
    events: mpsc::Sender<Event>,
}

/// Questions to the monitor, and what it tells. Cheap to clone.
#[derive(Clone)]
pub struct Monitor(Arc<Shared>);

/// The handle, what it tells, and its work.
pub type Started<Work> = (Monitor, mpsc::Receiver<Anomaly>, Work);

/// Starts the monitor with its file at `store`: its handle, the anomalies as they begin or worsen, for the one who
/// publishes them, and the work itself, which ends when `shutdown` is cancelled and all is written.
pub fn start(
    config: Config,
    store: &Path,
    shutdown: CancellationToken,
) -> Result<Started<impl Future<Output = ()> + Send + use<>>, HistoryError> {
    let history = History::open(store)?;
    let detectors: HashMap<String, TrafficDetector> = history.load("traffic")?;
    let state = State {
        detectors: detectors.into_iter().map(|(interface, detector)| (Arc::from(interface), detector)).collect(),
        rules: Rules::new(history.load::<Profiles>("profiles")?),
        incidents: history.load("incidents")?,
        ..State::default()
    };
    let (told, listener) = mpsc::channel(BEHIND);
    let (events, received) = mpsc::channel(EVENTS);
    let shared = Shared { config, state: Mutex::new(state), history: Mutex::new(history), told, events };
    let monitor = Monitor(Arc::new(shared));
    Ok((monitor.clone(), listener, monitor.run(received, shutdown)))
}

impl Monitor {
    async fn run(self, mut events: mpsc::Receiver<Event>, shutdown: CancellationToken) {
        let (watched, _) = watch::channel(None);
        let mut sources = self.sources(&watched, &shutdown);
        let (began, zone, mut ticks, mut round) = (Instant::now(), TimeZone::system(), interval(EVERY), 0u64);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut kernel = match Kernel::open() {
            Ok(kernel) => Some(kernel),
            Err(error) => {
                self.warn("counters", &error);
                None
            }
        };
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(event) = events.recv() => self.judge(&event, Timestamp::now()),
                _ = ticks.tick() => {
                    if let Some(kernel) = &mut kernel {
                        self.second(kernel, Timestamp::now(), began.elapsed(), &zone);
                        watched.send_if_modified(|known| change(known, self.state().watched.clone()));
                    }
                    round += 1;
                    if round.is_multiple_of(FLUSH_EVERY) || self.state().unsaved {
                        self.keep().await;
                    }
                }
            }
        }
        sources.shutdown().await;
        self.keep().await;
    }

    fn sources(&self, watched: &watch::Sender<Option<Arc<str>>>, shutdown: &CancellationToken) -> JoinSet<()> {
        let mut sources = JoinSet::new();
        let (monitor, events) = (self.clone(), self.0.events.clone());
        let lan = sources::lan::run(watched.subscribe(), events.clone(), shutdown.clone());
        sources.spawn(async move {
            if let Err(error) = lan.await {
                monitor.warn("lan", &error);
            }
        });
        sources.spawn(sources::probe::run(watched.subscribe(), events, shutdown.clone()));
        sources
    }

    /// Reads the counters and judges the second.
    fn second(&self, kernel: &mut Kernel, now: Timestamp, ticks: Duration, zone: &TimeZone) {
        let readings = match kernel.read() {
            Ok(readings) => readings,
            Err(error) => return self.warn("counters", &error),
        };
        let watched = kernel.watched(&readings);
        let mut guard = self.state();
        let state = &mut *guard;
        let samples = state.steps.push(&readings, now, ticks);
        if state.watched != watched {
            state.csv.clear();
            state.watched.clone_from(&watched);
        }
        let mut findings = Vec::new();
        if let Some(interface) = watched {
            let reading = readings.iter().find(|reading| reading.interface == interface);
            reading.iter().for_each(|reading| state.csv.push(now, zone, &reading.counters));
            let full = state.detectors.len() >= MOST_DETECTORS && !state.detectors.contains_key(&interface);
            if full {
                state.detectors.clear();
            }
            let detector = state.detectors.entry(interface.clone()).or_default();
            let warm_up = self.0.config.warm_up.as_secs_f64();
            let own = samples.iter().filter(|sample| sample.interface == interface);
            findings.extend(own.flat_map(|sample| detector.push(sample, warm_up)));
            self.record(state, &interface, findings);
        }
        state.readings = readings;
        let incidents = &state.incidents;
        let written = state.csv.tick(|| incidents.iter().cloned().collect());
        drop(guard);
        self.history().push(&samples);
        match written {
            Ok(()) => self.clear("network_csv"),
            Err(error) => self.warn("network_csv", &error),
        }
    }

    fn judge(&self, event: &Event, now: Timestamp) {
        let mut guard = self.state();
        let state = &mut *guard;
        let findings = state.rules.push(event, now);
        let interface = state.watched.clone().unwrap_or_else(|| Arc::from(""));
        self.record(state, &interface, findings);
    }

    fn record(&self, state: &mut State, interface: &Arc<str>, findings: Vec<Finding>) {
        for finding in findings {
            if let Change::Began(anomaly) | Change::Worsened(anomaly) = state.incidents.push(interface, finding) {
                tracing::info!(id = anomaly.id, kind = ?anomaly.kind, severity = ?anomaly.severity, "{}", anomaly.explanation);
                state.unsaved = true;
                // Nobody listens, or slowly: that is no error, and the table has it.
                let _ = self.0.told.try_send(anomaly);
            }
        }
    }

    /// Writes everything down, away from the threads that serve.
    async fn keep(&self) {
        let monitor = self.clone();
        let kept = tokio::task::spawn_blocking(move || monitor.write(Timestamp::now())).await;
        match kept {
            Ok(Ok(())) => self.clear("history"),
            Ok(Err(error)) => self.warn("history", &error),
            Err(error) => self.warn("history", &error),
        }
    }

    fn write(&self, now: Timestamp) -> Result<(), HistoryError> {
        let (detectors, profiles, incidents) = {
            let mut state = self.state();
            state.unsaved = false;
            let detectors: HashMap<String, TrafficDetector> =
                state.detectors.iter().map(|(name, detector)| (name.to_string(), detector.clone())).collect();
            (detectors, state.rules.profiles.clone(), state.incidents.clone())
        };
        let mut history = self.history();
        history.flush(now)?;
        history.save("traffic", &detectors)?;
        history.save("profiles", &profiles)?;
        history.save("incidents", &incidents)
    }

    /// Every interface with its totals.
    #[must_use]
    pub fn interfaces(&self) -> Interfaces {
        let state = self.state();
        let one = |reading: &Reading| Interface {
            name: reading.interface.to_string(),
            up: reading.up,
            watched: state.watched.as_ref() == Some(&reading.interface),
            counters: reading.counters,
        };
        Interfaces { interfaces: state.readings.iter().map(one).collect() }
    }

    /// What passed on an interface (the watched one where none is named) since then; `None` where it was never seen.
    pub fn history_of(&self, interface: Option<&str>, since: Timestamp) -> Result<Option<HistoryReply>, HistoryError> {
        let watched = self.state().watched.clone();
        let Some(interface) = interface.or(watched.as_deref()) else { return Ok(None) };
        let samples = self.history().since(interface, since, Timestamp::now())?;
        Ok(samples.map(|samples| HistoryReply { interface: interface.to_owned(), samples }))
    }

    /// All incidents, oldest first.
    #[must_use]
    pub fn anomalies(&self) -> Anomalies {
        Anomalies { anomalies: self.state().incidents.iter().cloned().collect() }
    }

    /// One incident.
    #[must_use]
    pub fn anomaly(&self, id: &str) -> Option<Anomaly> {
        self.state().incidents.get(id).cloned()
    }

    /// Takes an incident as normal: this level, this pause, this device; not more. `None` where there is no such one.
    #[must_use]
    pub fn acknowledge(&self, id: &str) -> Option<Anomaly> {
        let mut state = self.state();
        let (anomaly, lesson) = state.incidents.acknowledge(id)?;
        match &lesson {
            Lesson::Belongs(belonging) => state.rules.accept(belonging),
            lesson => {
                if let Some(detector) = state.detectors.get_mut(anomaly.interface.as_str()) {
                    detector.accept(lesson);
                }
            }
        }
        state.unsaved = true;
        Some(anomaly)
    }

    /// Writes `Network.csv` there from now on, and at once.
    pub fn write_csv(&self, path: &Path, mode: Mode) -> io::Result<()> {
        let mut guard = self.state();
        let state = &mut *guard;
        let anomalies: Vec<Anomaly> = state.incidents.iter().cloned().collect();
        state.csv.start(path, mode, &anomalies)
    }

    /// For further sources, as captured packets: what they notice on the watched interface.
    #[must_use]
    pub fn events(&self) -> mpsc::Sender<Event> {
        self.0.events.clone()
    }

    /// What cannot be watched, in sentences, by source.
    #[must_use]
    pub fn warnings(&self) -> Vec<(&'static str, String)> {
        self.state().warnings.clone()
    }

    fn warn(&self, source: &'static str, error: &dyn std::error::Error) {
        let text = match error.source() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        let mut state = self.state();
        if state.warnings.iter().all(|(known, said)| *known != source || *said != text) {
            tracing::warn!(source, "{text}");
            state.warnings.retain(|(known, _)| *known != source);
            state.warnings.push((source, text));
        }
    }

    fn clear(&self, source: &'static str) {
        self.state().warnings.retain(|(known, _)| *known != source);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.0.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn change(known: &mut Option<Arc<str>>, now: Option<Arc<str>>) -> bool {
    let other = *known != now;
    *known = now;
    other
}

#[cfg(test)]
mod tests {
    use super::*;
    use sharekaro_proto::control::net::AnomalyKind;

    #[tokio::test]
    async fn a_running_monitor_counts_tells_and_remembers() {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, shutdown) = (folder.path().join("monitor.db"), CancellationToken::new());
        let (monitor, mut told, running) = start(Config::default(), &store, shutdown.clone()).expect("started");
        let running = tokio::spawn(running);

        monitor.events().send(Event::Forged).await.expect("it listens");
        let anomaly = told.recv().await.expect("told");
        assert_eq!(anomaly.kind, AnomalyKind::ForgedDeauthentication);
        assert!(monitor.acknowledge(&anomaly.id).is_some() && monitor.acknowledge("none").is_none());
        while monitor.interfaces().interfaces.is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(monitor.interfaces().interfaces.iter().any(|interface| interface.name == "lo" && !interface.watched));
        shutdown.cancel();
        running.await.expect("ended");

        let (again, ..) = start(Config::default(), &store, CancellationToken::new()).expect("again");
        assert!(again.anomaly(&anomaly.id).is_some_and(|kept| kept.acknowledged));
        assert!(again.history_of(Some("nosuch0"), Timestamp::UNIX_EPOCH).expect("readable").is_none());
    }
}
