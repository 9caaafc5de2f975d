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
            make_room(&mut state.detectors, &interface);
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

/// One interface more: of too many, the one that was watched least is forgotten.
fn make_room(detectors: &mut HashMap<Arc<str>, TrafficDetector>, newcomer: &Arc<str>) {
    while detectors.len() >= MOST_DETECTORS && !detectors.contains_key(newcomer) {
        let least = detectors.iter().min_by(|(_, one), (_, other)| one.watched().total_cmp(&other.watched()));
        let Some(least) = least.map(|(interface, _)| interface.clone()) else { return };
        detectors.remove(&least);
    }
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::control::net::AnomalyKind;

    use super::*;
    use crate::monitor::{detect::rules::event::Event, sample::Sample};

    /// A monitor that does not run, with its file there.
    fn monitor(store: &Path) -> Monitor {
        let carried = Box::new(|_: &[IpAddr]| Counters::default());
        start(Config::default(), carried, store, CancellationToken::new()).expect("started").0
    }

    fn forged(monitor: &Monitor, at: Timestamp) {
        let mut state = monitor.state();
        let findings = state.rules.push(&Event::Forged, at);
        assert_eq!(findings.len(), 1);
        monitor.record(&mut state, &"wlan0".into(), findings);
    }

    #[test]
    fn what_could_not_be_written_is_written_when_it_can_be() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("monitor.db");
        let (monitor, now) = (monitor(&store), Timestamp::now());
        let elsewhere = rusqlite::Connection::open(&store).expect("the same file");
        elsewhere.execute_batch("ALTER TABLE step RENAME TO away").expect("in the way");
        forged(&monitor, now);
        assert!(monitor.acknowledge("1").is_some());

        assert!(monitor.write(now, false).is_err());
        assert!(!monitor.state().unsaved, "it does not try again each second");
        elsewhere.execute_batch("ALTER TABLE away RENAME TO step").expect("out of the way");
        monitor.write(now, false).expect("written");

        assert!(self::monitor(&store).anomaly("1").is_some_and(|kept| kept.acknowledged));
    }

    #[test]
    fn an_incident_that_lasts_is_the_same_one_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("monitor.db");
        let began = Timestamp::constant(1_750_000_000, 0);
        let second = |second: u64| began + Duration::from_secs(second);
        let first = monitor(&store);
        forged(&first, began);
        first.write(began, false).expect("written");

        (1..10).for_each(|step| forged(&first, second(step * 20)));
        first.write(second(180), false).expect("written");
        let again = monitor(&store);
        forged(&again, second(200));

        let all = again.anomalies().anomalies;
        assert_eq!(all.iter().map(|anomaly| (anomaly.at, anomaly.until)).collect::<Vec<_>>(), [(began, second(200))]);
    }

    #[test]
    fn of_too_many_interfaces_the_one_that_was_watched_least_is_forgotten() {
        let mut detectors = HashMap::new();
        for number in 0..40_usize {
            let interface: Arc<str> = format!("eth{number}").into();
            make_room(&mut detectors, &interface);
            let detector: &mut TrafficDetector = detectors.entry(interface.clone()).or_default();
            let (at, amounts, own) = (Timestamp::UNIX_EPOCH, Counters::default(), Counters::default());
            let sample = Sample { interface, at, seconds: 1.0, amounts, own, gap: false };
            (0..if number == 0 { 3600 } else { number }).for_each(|_| drop(detector.push(&sample, 3600.0)));
        }

        assert_eq!(detectors.len(), MOST_DETECTORS);
        assert!(detectors.contains_key("eth0") && detectors.contains_key("eth39"), "{:?}", detectors.keys());
    }

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
