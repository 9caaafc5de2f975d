//! Looking at what may be whole by now, and what follows from what is seen.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    time::Duration,
};

use sharekaro_proto::control::drop::DropState;
use tokio::time::Instant;

use super::{
    desk::{Bar, Desk},
    settle::{Held, Verdict, Why},
    table::Place,
};
use crate::{
    engine::clock,
    files::dropped::{DropDir, FileId, Print, Seen, Trouble, held_open},
};

/// So many are looked at in one go; the others a moment later.
const LOOKS_MAX: usize = 2_000;

/// What a look brought.
pub(super) struct Looked {
    pub(super) place: Place,
    pub(super) seen: Result<Option<Seen>, Trouble>,
    held: Held,
}

impl Desk {
    /// Looks at everything that is due.
    pub(super) async fn look(&mut self) {
        let now = Instant::now();
        let due = self.units.iter().filter(|(_, unit)| unit.is_looked_at() && unit.settle.due() <= now);
        let asked: Vec<(Place, Option<Print>)> =
            due.take(LOOKS_MAX).map(|(place, unit)| (place.clone(), unit.settle.expects(now))).collect();
        if asked.is_empty() {
            return;
        }
        let mut unfit = Vec::new();
        for looked in look_at(self.roots.clone(), asked).await {
            if let Some((seen, why)) = self.judge(&looked) {
                unfit.push((looked.place, seen, why));
            }
        }
        if !unfit.is_empty() {
            self.fail_unsent(unfit).await;
        }
    }

    /// Takes in what a look brought. Returns what can never be sent, with the reason.
    fn judge(&mut self, looked: &Looked) -> Option<(Seen, String)> {
        let now = Instant::now();
        let unit = self.units.get_mut(&looked.place)?;
        self.dirty.insert(looked.place.clone());
        let seen = match &looked.seen {
            Ok(seen) => seen.as_ref(),
            Err(trouble) if trouble.is_unsafe() => {
                unit.barred = Some(Bar::Folder);
                unit.stands(DropState::Waiting, Some(format!("nothing is sent from this folder: {trouble}")));
                return None;
            }
            Err(_) => None,
        };
        let age = seen.map_or(Duration::ZERO, age);
        match unit.settle.looked(now, seen, age, looked.held) {
            Verdict::Gone => drop(self.units.remove(&looked.place)),
            Verdict::Unfit(why) => return seen.map(|seen| (seen.clone(), why.to_owned())),
            Verdict::Whole => match seen {
                Some(seen) if !seen.readable => {
                    return Some((
                        seen.clone(),
                        "it cannot be read: permission denied; `chmod u+r` it, then `sharectl drop retry`".to_owned(),
                    ));
                }
                _ => {
                    unit.whole = seen.map(|seen| (seen.clone(), now));
                    self.dispatch = true;
                }
            },
            Verdict::Later(why) => unit.stands(DropState::Settling, reason(&why)),
        }
        None
    }
}

/// Looks at these places. Where what is expected is seen, it is found out too who holds it open.
pub(super) async fn look_at(roots: Vec<PathBuf>, asked: Vec<(Place, Option<Print>)>) -> Vec<Looked> {
    let looks = tokio::task::spawn_blocking(move || {
        let mut dirs: BTreeMap<usize, Result<DropDir, Trouble>> = BTreeMap::new();
        let mut candidates = HashSet::new();
        let mut looks = Vec::with_capacity(asked.len());
        for (place, expected) in asked {
            let mut files = Vec::new();
            let dir = dirs.entry(place.0).or_insert_with(|| match roots.get(place.0) {
                Some(root) => DropDir::open(root),
                None => Err(Trouble::Missing(std::io::ErrorKind::NotFound.into())),
            });
            let seen = match dir {
                Ok(dir) => dir.look(&place.1, &mut files),
                Err(trouble) => Err(trouble.again()),
            };
            let worth_asking = matches!(&seen, Ok(Some(seen)) if expected == Some(seen.print));
            if worth_asking {
                candidates.extend(files.iter().copied());
            } else {
                files.clear();
            }
            looks.push((place, seen, files));
        }
        let holders = if candidates.is_empty() { None } else { Some(held_open(&candidates)) };
        let held = |files: &[FileId]| match &holders {
            Some(holders) if files.iter().any(|file| holders.held.contains(file)) => Held::Yes,
            Some(holders) if holders.complete || files.is_empty() => Held::No,
            _ => Held::Unknown,
        };
        looks.into_iter().map(|(place, seen, files)| Looked { place, seen, held: held(&files) }).collect()
    });
    looks.await.unwrap_or_default()
}

/// How long ago its content changed, by the wall clock; nothing where that lies in the future.
fn age(seen: &Seen) -> Duration {
    let age = clock::now_ms().saturating_sub(seen.changed_ms);
    Duration::from_millis(u64::try_from(age).unwrap_or(0))
}

fn reason(why: &Why) -> Option<String> {
    match why {
        Why::Fresh => None,
        Why::Open => Some("a program has it open for writing".to_owned()),
        Why::Blind => Some("it changed a moment ago, and whether a program has it open cannot be seen here".to_owned()),
        Why::Unfinished(name) => Some(format!("{name} is the file of a download that goes on")),
        Why::Empty => Some("the folder is empty: it goes once there is a file in it".to_owned()),
    }
}
