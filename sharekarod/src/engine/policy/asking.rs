//! Asking the rules about a real offer: the facts are gathered here, `judge` decides.

use std::{path::Path, sync::Mutex};

use sharekaro_proto::{DeviceId, ErrorBody, nouns::hours::TimeOfDay};
use tokio::sync::Semaphore;

use super::{
    facts::{Facts, Folders, Names, Sender, wants_free, wants_today},
    network::Networks,
    refusals::Refusals,
    table::AllRules,
};
use crate::{
    engine::{Engine, State},
    files::Room,
    store,
};

/// What runs of policy.
pub struct Policy {
    /// Rules are changed one at a time.
    pub(super) changes: Semaphore,
    /// Offers are judged and recorded one at a time where a rule counts what came today: two at once would both fit.
    pub(super) counting: Semaphore,
    /// What came is released and taken back one at a time.
    pub(crate) aftermath: Semaphore,
    /// Programs of rules that run at a time.
    pub(super) programs: Semaphore,
    /// Who was turned away lately.
    pub(super) refusals: Mutex<Refusals>,
}

/// A program of a person's is often a script that starts others.
const PROGRAMS_AT_A_TIME: usize = 2;

impl Default for Policy {
    fn default() -> Self {
        Self {
            changes: Semaphore::new(1),
            counting: Semaphore::new(1),
            aftermath: Semaphore::new(1),
            programs: Semaphore::new(PROGRAMS_AT_A_TIME),
            refusals: Mutex::default(),
        }
    }
}

impl Engine {
    /// Held from judging an offer until it is recorded.
    pub(crate) async fn one_offer_at_a_time(&self, rules: &AllRules) -> Option<tokio::sync::SemaphorePermit<'_>> {
        if !rules.iter().any(|it| wants_today(&it.rule)) {
            return None;
        }
        self.inner.policy.counting.acquire().await.ok()
    }

    /// What is known of an offer of this peer, but for the names of its files.
    ///
    /// # Errors
    /// The database.
    pub(crate) async fn facts(&self, rules: &AllRules, peer: DeviceId, bytes: u64, files: u64) -> Result<Facts, ErrorBody> {
        let now = jiff::Zoned::now();
        let today = if rules.iter().any(|it| wants_today(&it.rule)) {
            let since = midnight_ms(&now);
            self.store().read(move |c| store::transfers::let_in_since(c, peer, since)).await?
        } else {
            0
        };
        let networks = if rules.iter().any(|it| !it.networks.is_empty()) { Networks::now() } else { Networks::default() };
        let hand = |number: i8| u8::try_from(number).unwrap_or_default();
        Ok(Facts {
            sender: self.look(|state| sender(state, peer)),
            bytes,
            files,
            time: TimeOfDay::new(hand(now.hour()), hand(now.minute())).unwrap_or_default(),
            networks,
            today,
            free: self.free(rules).await,
            names: Names::Unknown,
        })
    }

    /// What is free where each rule puts files, as far as a rule wants to know.
    async fn free(&self, rules: &AllRules) -> Vec<Option<u64>> {
        if !rules.iter().any(|it| wants_free(&it.rule)) {
            return Vec::new();
        }
        let (rules, folders) = (AllRules::clone(rules), self.folders());
        let looked = tokio::task::spawn_blocking(move || {
            let free = |it: &std::sync::Arc<super::rule::ParsedRule>| {
                let dir = wants_free(&it.rule).then(|| folders.of(it.dir.as_ref(), it.rule.action))?;
                free_at(&dir)
            };
            rules.iter().map(free).collect()
        });
        looked.await.unwrap_or_default()
    }

    /// Where files go that no rule sends elsewhere.
    pub(crate) fn folders(&self) -> Folders {
        Folders { inbox: self.config().inbox_dir.clone(), quarantine: self.config().quarantine_dir.clone() }
    }
}

/// When this day began here, in milliseconds since 1970. Where clocks were put forward over midnight, it began later.
fn midnight_ms(now: &jiff::Zoned) -> i64 {
    now.start_of_day().map_or(0, |start| start.timestamp().as_millisecond())
}

/// What is free at a folder, or where it would be made.
fn free_at(dir: &Path) -> Option<u64> {
    dir.ancestors().find_map(|dir| Room::at(dir).ok()).map(|room| room.bytes)
}

/// Who a peer is to the rules.
fn sender(state: &State, peer: DeviceId) -> Sender {
    let key = peer.to_string();
    let groups = state.groups.iter().filter(|(_, peers)| peers.contains(&peer)).map(|(name, _)| name.clone()).collect();
    let known = state.peers.get(&peer);
    let labels: Vec<String> = known.into_iter().flat_map(|known| known.alias.iter().chain([&known.name])).cloned().collect();
    let trust = known.map_or(sharekaro_proto::nouns::trust::Trust::Unknown, |known| known.trust);
    let names_it_alone = |label: &&String| state.peers.find(label).is_ok_and(|found| found.id == peer);
    let called = labels.iter().filter(|_| trust.paired()).filter(names_it_alone).cloned().collect();
    Sender { label: state.peers.label(&peer), key, trust, called, claims: labels, groups, rooms: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_where_our_person_is() {
        let midnight = |now: &str| {
            let now: jiff::Zoned = now.parse().unwrap();
            jiff::Timestamp::from_millisecond(midnight_ms(&now)).unwrap().to_string()
        };

        assert_eq!(midnight("2026-03-01T00:00:00+05:30[Asia/Kolkata]"), "2026-02-28T18:30:00Z");
        assert_eq!(midnight("2026-03-01T23:59:59-08:00[America/Los_Angeles]"), "2026-03-01T08:00:00Z");
        // a day of 23 hours, a day of 25, and one that has no midnight
        assert_eq!(midnight("2026-03-29T12:00:00+02:00[Europe/Berlin]"), "2026-03-28T23:00:00Z");
        assert_eq!(midnight("2026-10-25T12:00:00+01:00[Europe/Berlin]"), "2026-10-24T22:00:00Z");
        assert_eq!(midnight("2018-11-04T12:00:00-02:00[America/Sao_Paulo]"), "2018-11-04T03:00:00Z");
    }
}
