//! Who may come in, counted: handshakes under way and sessions of strangers, together and by address.
//!
//! Tables only. A place is given back when its guard is dropped.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use sharekaro_proto::DeviceId;
use tokio_util::sync::CancellationToken;

use crate::net::limits;

/// What the engine says of a device whose key was just proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It gets a full session.
    Trusted,
    /// It gets a small share, and there are few places for its kind.
    Stranger,
    /// It is sent away and learns nothing.
    Blocked,
}

/// Shared by all that count.
pub(super) type Shared<T> = Arc<Mutex<T>>;

/// The tables hold plain numbers, which a panic elsewhere cannot leave half-changed.
fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

// ---- handshakes -------------------------------------------------------------------------------------

/// Handshakes under way.
#[derive(Default)]
pub(super) struct Handshakes {
    running: BTreeMap<u64, Running>,
    next: u64,
}

struct Running {
    address: IpAddr,
    proven: bool,
    since: Instant,
    stop: CancellationToken,
}

/// What becomes of a newcomer.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It may begin, under this number.
    Enter(u64),
    /// It must first prove its address.
    Prove,
    /// Not now; unanswered, it asks again by itself.
    Later,
}

impl Handshakes {
    /// Finds a place for a newcomer, if need be that of one that takes too long. `stop` is cancelled where the
    /// newcomer must in turn give way.
    pub(super) fn enter(&mut self, address: IpAddr, proven: bool, now: Instant, stop: CancellationToken) -> Verdict {
        if !proven && self.running.values().filter(|running| !running.proven).count() >= limits::UNPROVEN_HANDSHAKES {
            return Verdict::Prove;
        }
        let neighbours = self.running.values().filter(|running| running.address == address).count();
        let victim = if neighbours >= limits::HANDSHAKES_PER_ADDRESS {
            self.slow(now, |running| running.address == address)
        } else if self.running.len() >= limits::HANDSHAKES {
            self.slow(now, |_| true)
        } else {
            return self.insert(Running { address, proven, since: now, stop });
        };
        let Some(victim) = victim.and_then(|number| self.running.remove(&number)) else { return Verdict::Later };
        victim.stop.cancel();
        self.insert(Running { address, proven, since: now, stop })
    }

    pub(super) fn leave(&mut self, number: u64) {
        self.running.remove(&number);
    }

    fn insert(&mut self, running: Running) -> Verdict {
        self.next += 1;
        self.running.insert(self.next, running);
        Verdict::Enter(self.next)
    }

    /// The oldest of some that has had its time; numbers grow with time.
    fn slow(&self, now: Instant, among: impl Fn(&Running) -> bool) -> Option<u64> {
        let (number, oldest) = self.running.iter().find(|(_, running)| among(running))?;
        (now.duration_since(oldest.since) >= limits::HANDSHAKE_PATIENCE).then_some(*number)
    }
}

/// A running handshake's place in the table.
pub(super) struct HandshakePlace {
    pub(super) table: Shared<Handshakes>,
    pub(super) number: u64,
}

impl Drop for HandshakePlace {
    fn drop(&mut self) {
        lock(&self.table).leave(self.number);
    }
}

// ---- sessions ---------------------------------------------------------------------------------------

/// Sessions that others opened.
#[derive(Default)]
pub(super) struct Places {
    strangers: HashMap<IpAddr, usize>,
    devices: HashMap<DeviceId, usize>,
}

impl Places {
    fn take(&mut self, device: DeviceId, stranger: Option<IpAddr>) -> bool {
        if self.devices.get(&device).is_some_and(|count| *count >= limits::SESSIONS_PER_DEVICE) {
            return false;
        }
        if let Some(address) = stranger {
            let here = self.strangers.get(&address).copied().unwrap_or(0);
            if here >= limits::STRANGERS_PER_ADDRESS || self.strangers.values().sum::<usize>() >= limits::STRANGERS {
                return false;
            }
            self.strangers.insert(address, here + 1);
        }
        *self.devices.entry(device).or_default() += 1;
        true
    }
}

fn count_down<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// A session's place; dropping it gives it back.
pub(super) struct Place {
    table: Shared<Places>,
    device: DeviceId,
    stranger: Option<IpAddr>,
}

impl Place {
    /// A place for a session of `device`; `None` where there is no more. Strangers say where they come from.
    pub(super) fn take(table: &Shared<Places>, device: DeviceId, stranger: Option<IpAddr>) -> Option<Self> {
        let taken = lock(table).take(device, stranger);
        taken.then(|| Self { table: table.clone(), device, stranger })
    }

    /// It is no stranger any more: another may have its place among them.
    pub(super) fn trust(&mut self) {
        if let Some(address) = self.stranger.take() {
            count_down(&mut lock(&self.table).strangers, &address);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.trust();
        count_down(&mut lock(&self.table).devices, &self.device);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + number).into()
    }

    fn device(number: u8) -> DeviceId {
        DeviceId::from_bytes([number; 32])
    }

    #[test]
    fn many_unproven_addresses_make_the_next_one_prove_its_own() {
        let (mut handshakes, now) = (Handshakes::default(), Instant::now());
        for i in 0..limits::UNPROVEN_HANDSHAKES as u32 {
            assert!(matches!(handshakes.enter(address(i), false, now, CancellationToken::new()), Verdict::Enter(_)));
        }

        assert_eq!(handshakes.enter(address(99), false, now, CancellationToken::new()), Verdict::Prove);
        assert!(matches!(handshakes.enter(address(99), true, now, CancellationToken::new()), Verdict::Enter(_)));
    }

    #[test]
    fn one_address_has_a_share_and_a_slow_one_gives_way() {
        let (mut handshakes, now) = (Handshakes::default(), Instant::now());
        let stop = CancellationToken::new();
        for _ in 0..limits::HANDSHAKES_PER_ADDRESS {
            assert!(matches!(handshakes.enter(address(1), true, now, stop.clone()), Verdict::Enter(_)));
        }

        assert_eq!(handshakes.enter(address(1), true, now, CancellationToken::new()), Verdict::Later);
        assert!(matches!(handshakes.enter(address(2), true, now, CancellationToken::new()), Verdict::Enter(_)));
        assert!(!stop.is_cancelled());

        let later = now + limits::HANDSHAKE_PATIENCE;
        assert!(matches!(handshakes.enter(address(1), true, later, CancellationToken::new()), Verdict::Enter(_)));
        assert!(stop.is_cancelled());
    }

    #[test]
    fn all_together_never_exceed_their_number() {
        let (mut handshakes, now) = (Handshakes::default(), Instant::now());
        for i in 0..limits::HANDSHAKES as u32 {
            assert!(matches!(handshakes.enter(address(i), true, now, CancellationToken::new()), Verdict::Enter(_)));
        }

        assert_eq!(handshakes.enter(address(999), true, now, CancellationToken::new()), Verdict::Later);
        handshakes.leave(1);
        assert!(matches!(handshakes.enter(address(999), true, now, CancellationToken::new()), Verdict::Enter(_)));
    }

    #[test]
    fn a_stranger_that_is_trusted_makes_room_for_another() {
        let table = Shared::<Places>::default();
        let mut places: Vec<Place> = (0..4).filter_map(|i| Place::take(&table, device(i), Some(address(1)))).collect();

        assert_eq!(places.len(), limits::STRANGERS_PER_ADDRESS);
        assert!(Place::take(&table, device(9), Some(address(1))).is_none());
        assert!(Place::take(&table, device(9), None).is_some());

        places[0].trust();
        assert!(Place::take(&table, device(9), Some(address(1))).is_some());

        drop(places);
        assert!(lock(&table).strangers.is_empty() && lock(&table).devices.is_empty());
    }

    #[test]
    fn one_device_cannot_have_sessions_without_end() {
        let table = Shared::<Places>::default();
        let places: Vec<Place> = (0..100).filter_map(|_| Place::take(&table, device(1), None)).collect();

        assert_eq!(places.len(), limits::SESSIONS_PER_DEVICE);
    }

    #[test]
    fn strangers_from_everywhere_are_bounded_together() {
        let table = Shared::<Places>::default();
        let places: Vec<Place> = (0..200u8).filter_map(|i| Place::take(&table, device(i), Some(address(i.into())))).collect();

        assert_eq!(places.len(), limits::STRANGERS);
    }
}
