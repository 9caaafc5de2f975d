//! What runs for messages: a sender for each peer that has something to hear, and whose turn it is to be heard.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sharekaro_proto::DeviceId;
use tokio::sync::{Mutex as AsyncMutex, Notify};

/// Senders, and turns.
#[derive(Default)]
pub struct Desk {
    senders: Mutex<HashMap<DeviceId, Arc<Notify>>>,
    turns: Mutex<HashMap<DeviceId, Arc<AsyncMutex<()>>>>,
}

impl Desk {
    /// Wakes the sender for this peer. Where there is none yet, the caller has to run it, and gets what wakes it.
    pub fn wake(&self, peer: DeviceId) -> Option<Arc<Notify>> {
        let mut senders = lock(&self.senders);
        if let Some(sender) = senders.get(&peer) {
            sender.notify_one();
            return None;
        }
        let sender = Arc::new(Notify::new());
        senders.insert(peer, Arc::clone(&sender));
        Some(sender)
    }

    /// What this peer sends is taken in one after the other: the rest waits in its streams, and the peer with it.
    pub fn turn(&self, peer: DeviceId) -> Arc<AsyncMutex<()>> {
        let mut turns = lock(&self.turns);
        turns.retain(|other, turn| *other == peer || Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(peer).or_default())
    }
}

/// Nothing that can panic runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_one_sender_and_one_turn() {
        let (desk, peer) = (Desk::default(), DeviceId::from_bytes([1; 32]));

        assert!(desk.wake(peer).is_some() && desk.wake(peer).is_none());
        let held = desk.turn(peer);
        let _busy = held.try_lock().unwrap();
        assert!(desk.turn(peer).try_lock().is_err());
        assert!(desk.turn(DeviceId::from_bytes([2; 32])).try_lock().is_ok());
    }
}
