//! The desk: one task that takes in what was noticed, and goes as far as it can with everything that is in a drop
//! folder. Between two turns it sleeps until something happens or something is due.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    time::Duration,
};

use sharekaro_proto::{
    TransferId,
    control::{
        drop::{DropItem, DropState},
        event::Fact,
    },
    nouns::transfer::TransferState,
};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    Inbox, Retry,
    finish::Unkept,
    folders::{Wanted, folder_of},
    names::{Names, is_target},
    settle::{Settle, Sign},
    table::Place,
};
use crate::{
    engine::{Engine, Subscription},
    files::{
        FileName,
        dropped::{Seen, is_hidden, is_ours, unfinished},
    },
    store::{self, drops::DropRow},
};

/// What comes in a burst is read together.
const BURST: Duration = Duration::from_millis(100);

/// A folder that was removed is made again after this: whoever removes a tree is not disturbed in the middle of it.
const MAKE_AGAIN: Duration = Duration::from_secs(1);

/// Between two rounds of looks: what becomes whole at about the same time is looked at together.
const LOOKS: Duration = Duration::from_millis(250);

/// The folders are looked through this often, though events should have told everything.
const SURVEY: Duration = Duration::from_secs(600);

/// The same where not everything can be watched.
const SURVEY_BLIND: Duration = Duration::from_secs(30);

/// What could not be recorded or filed away is tried again after this.
const AGAIN: Duration = Duration::from_secs(30);

/// Something in a drop folder that no transfer was recorded for.
pub(super) struct Unit {
    pub(super) settle: Settle,
    /// What it is, once it is whole, and when that was seen.
    pub(super) whole: Option<(Seen, Instant)>,
    /// Where it stands, for people.
    pub(super) state: DropState,
    /// Why it does not go.
    pub(super) reason: Option<String>,
    /// What keeps us from looking at it: its name, or the folder that it is in.
    pub(super) barred: Option<Bar>,
}

/// Why something is not even looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Bar {
    /// Its name says that it is not finished.
    Name,
    /// The folder that it is in cannot, or must not, be used.
    Folder,
}

impl Unit {
    pub(super) fn new(settle: Settle) -> Self {
        Self { settle, whole: None, state: DropState::Settling, reason: None, barred: None }
    }

    /// It stands so from now on.
    pub(super) fn stands(&mut self, state: DropState, reason: Option<String>) {
        (self.state, self.reason) = (state, reason);
    }

    /// What it is, where it is whole and nothing keeps it from going.
    pub(super) fn is_whole(&self) -> Option<&Seen> {
        self.whole.as_ref().filter(|_| self.barred.is_none()).map(|(seen, _)| seen)
    }

    /// Whether it is still to be found out whether it is whole.
    pub(super) fn is_looked_at(&self) -> bool {
        self.whole.is_none() && self.barred.is_none()
    }
}

/// What the task knows.
pub(super) struct Desk {
    pub(super) engine: Engine,
    pub(super) roots: Vec<PathBuf>,
    pub(super) names: Names,
    /// What lies there and was not taken yet.
    pub(super) units: BTreeMap<Place, Unit>,
    /// What was taken and is not over.
    pub(super) rows: BTreeMap<i64, DropRow>,
    /// Where a row was taken from.
    pub(super) at: HashMap<Place, i64>,
    /// The rows that a transfer carries.
    pub(super) carried: HashMap<TransferId, Vec<i64>>,
    /// How each of these transfers stood when we looked last.
    pub(super) standing: HashMap<TransferId, (TransferState, Option<String>)>,
    /// Why the disk does not let us do what a row needs, as long as it does not.
    pub(super) refused: HashMap<i64, String>,
    /// What became of rows and is not in the journal yet.
    pub(super) unkept: Unkept,
    /// Rows to look at in this turn.
    pub(super) check: BTreeSet<i64>,
    /// Places that are shown otherwise from now on.
    pub(super) dirty: BTreeSet<Place>,
    /// What each drop folder should have in it, as it was made last.
    pub(super) kept: Wanted,
    keep_at: Option<Instant>,
    survey_at: Instant,
    looks_at: Instant,
    again_at: Option<Instant>,
    /// What was sent in this turn.
    pub(super) sent: Vec<(Place, DropItem)>,
    /// The lists of what waits, as they were written last.
    pub(super) listed: Vec<Vec<String>>,
    blind: bool,
    lost: bool,
    /// Something may go now that could not before.
    pub(super) dispatch: bool,
}

/// Runs as long as the engine does.
pub(super) async fn run(engine: Engine) {
    let mut events = engine.subscribe();
    let Some(mut desk) = Desk::open(engine.clone()) else { return };
    loop {
        desk.turn().await;
        let due = desk.due();
        tokio::select! {
            () = engine.inner.drops.arrived.notified() => {}
            relevant = hear(&mut desk, &mut events) => {
                if !relevant {
                    return;
                }
            }
            () = sleep_until(due) => continue,
        }
        sleep(BURST).await;
    }
}

/// Returns when something happened that matters here: true; false when the engine ends. Safe to cancel.
async fn hear(desk: &mut Desk, events: &mut Subscription) -> bool {
    while let Some(event) = events.next().await {
        if desk.hears(&event.fact) {
            return true;
        }
    }
    false
}

impl Desk {
    fn open(engine: Engine) -> Option<Self> {
        let kept = engine.store().now(store::drops::names).and_then(|names| Ok((names, engine.store().now(store::drops::open)?)));
        let (names, rows) = match kept {
            Ok(kept) => kept,
            Err(e) => {
                engine.warn("drop_folder_off", format!("the drop folder is not used: {e}"), "restart the daemon; its log says more");
                return None;
            }
        };
        let now = Instant::now();
        let mut desk = Self {
            roots: engine.config().drop_dirs(),
            engine,
            names: Names::new(names),
            units: BTreeMap::new(),
            rows: BTreeMap::new(),
            at: HashMap::new(),
            carried: HashMap::new(),
            standing: HashMap::new(),
            refused: HashMap::new(),
            unkept: Unkept::default(),
            check: BTreeSet::new(),
            dirty: BTreeSet::new(),
            kept: Wanted::default(),
            keep_at: Some(now),
            survey_at: now,
            looks_at: now,
            again_at: None,
            sent: Vec::new(),
            listed: Vec::new(),
            blind: false,
            lost: false,
            dispatch: false,
        };
        for row in rows {
            desk.check.insert(row.id);
            desk.take_row(row);
        }
        Some(desk)
    }

    /// Goes as far as it can right now.
    async fn turn(&mut self) {
        let inbox = self.engine.inner.drops.take();
        self.take_in(inbox).await;
        let now = Instant::now();
        if self.keep_at.is_some_and(|at| at <= now) {
            self.survey_at = now;
        }
        if self.survey_at <= now {
            // somebody may be in the middle of removing it all
            if self.keep_at.is_none_or(|at| at <= now) {
                self.keep_at = None;
                self.keep_folders().await;
            }
            let lost = std::mem::take(&mut self.lost);
            self.survey(lost).await;
            self.survey_at = Instant::now() + if self.blind { SURVEY_BLIND } else { SURVEY };
        }
        if self.again_at.is_some_and(|at| at <= now) {
            (self.again_at, self.dispatch) = (None, true);
            self.check.extend(self.rows.keys());
        }
        if !self.check.is_empty() {
            self.finish().await;
        }
        if self.looks_at <= now {
            self.look().await;
            self.looks_at = Instant::now() + LOOKS;
        }
        if std::mem::take(&mut self.dispatch) {
            self.dispatch_all().await;
        }
        self.show().await;
    }

    /// When there is something to do next.
    fn due(&self) -> Instant {
        if !self.check.is_empty() {
            return Instant::now(); // one step of a row led to the next
        }
        let looks = self.units.values().filter(|unit| unit.is_looked_at()).map(|unit| unit.settle.due().max(self.looks_at));
        let others = [self.keep_at, self.again_at].into_iter().flatten();
        looks.chain(others).fold(self.survey_at, Instant::min)
    }

    async fn take_in(&mut self, inbox: Inbox) {
        let now = Instant::now();
        if let Some(blind) = inbox.blind.filter(|blind| *blind != self.blind) {
            self.blind = blind;
            self.survey_at = self.survey_at.min(now + if blind { SURVEY_BLIND } else { SURVEY });
        }
        for (root, path, sign) in inbox.signs {
            self.noticed(now, (root, path), sign);
        }
        if inbox.lost {
            (self.lost, self.survey_at) = (true, now);
        }
        if inbox.targets_changed {
            self.peers_changed();
        }
        for Retry { path, reply } in inbox.retries {
            let tried = self.retry(path).await;
            let _ = reply.send(tried); // who asked is gone
        }
    }

    /// Something happened somewhere in a drop folder.
    fn noticed(&mut self, now: Instant, (root, path): Place, sign: Sign) {
        let mut parts = path.iter();
        let Some(first) = parts.next().and_then(|name| FileName::parse(name.as_encoded_bytes()).ok()) else {
            return self.keep_soon(now); // the drop folder itself
        };
        if is_hidden(&first) || is_ours(&first) {
            return;
        }
        let second = parts.next().and_then(|name| FileName::parse(name.as_encoded_bytes()).ok());
        let in_target = first.as_os_str().to_str().is_some_and(|name| is_target(&self.names, name));
        let (place, name) = match second {
            None if in_target => return self.keep_soon(now),
            Some(second) if in_target => (PathBuf::from(first.as_os_str()).join(second.as_os_str()), second),
            _ => (PathBuf::from(first.as_os_str()), first),
        };
        if is_hidden(&name) {
            return;
        }
        if sign == Sign::Gone && self.kept.is_obsolete(&path) {
            self.keep_soon(now); // a folder of nobody, which may be empty now
        }
        let inner = path.strip_prefix(&place).map(PathBuf::from).unwrap_or_default();
        let place = (root, place);
        if let Some(id) = self.row_at(&place) {
            if sign == Sign::Gone && inner.as_os_str().is_empty() {
                self.check.insert(id);
            }
            return;
        }
        match self.units.get_mut(&place) {
            Some(unit) => {
                unit.settle.touch(now, &inner, sign);
                unit.whole = None;
            }
            None if sign == Sign::Gone => return,
            None => drop(self.units.insert(place.clone(), Unit::new(Settle::heard(now, &inner, sign)))),
        }
        self.judge_name(&place);
        self.dirty.insert(place);
    }

    /// A name that says that its file is not finished is enough to wait, until it has another name.
    pub(super) fn judge_name(&mut self, place: &Place) {
        let name = place.1.file_name().and_then(|name| FileName::parse(name.as_encoded_bytes()).ok());
        let ending = name.as_ref().and_then(unfinished);
        if let Some(unit) = self.units.get_mut(place) {
            let why =
                ending.map(|ending| format!("a name that ends in {ending} is that of a file in the making: it goes once it has another"));
            unit.barred = ending.map(|_| Bar::Name);
            unit.stands(DropState::Settling, why);
        }
    }

    fn keep_soon(&mut self, now: Instant) {
        self.keep_at = Some(now + MAKE_AGAIN);
    }

    /// Something happened to a peer, a transfer, or we fell behind; whether it matters here.
    fn hears(&mut self, fact: &Fact) -> bool {
        match fact {
            Fact::TransferChanged(it) => {
                let Some(rows) = self.carried.get(&it.id) else { return false };
                let stands = (it.state, it.error.as_ref().map(|e| e.message.clone()));
                if self.standing.insert(it.id, stands.clone()).as_ref() == Some(&stands) {
                    return false;
                }
                self.check.extend(rows);
                true
            }
            Fact::PeerChanged(_) | Fact::PeerForgotten(_) => {
                self.peers_changed();
                true
            }
            Fact::Snapshot(_) => {
                self.peers_changed();
                self.check.extend(self.rows.keys());
                true
            }
            _ => false,
        }
    }

    /// Peers or groups are others than before, or can be reached now.
    pub(super) fn peers_changed(&mut self) {
        self.dispatch = true;
        if self.kept != self.wanted() {
            self.keep_at = Some(Instant::now());
        }
    }

    /// To whom something goes, as a person wrote it.
    pub(super) fn target_of(&self, place: &Place) -> String {
        match folder_of(&self.names, &place.1) {
            Some(folder) => folder.to_owned(),
            None => self.target_at_the_top(place.0).unwrap_or_default(),
        }
    }

    /// To whom goes what lies at the top of a drop folder.
    pub(super) fn target_at_the_top(&self, root: usize) -> Option<String> {
        self.engine.config().drop_target_in(self.roots.get(root)?).map(str::to_owned)
    }

    /// What was lost sight of is found again by a survey.
    pub(super) fn survey_again_soon(&mut self) {
        self.survey_at = self.survey_at.min(Instant::now() + AGAIN);
    }

    /// What the disk refused is tried again a little later.
    pub(super) fn again_soon(&mut self) {
        self.again_at.get_or_insert(Instant::now() + AGAIN);
    }
}
