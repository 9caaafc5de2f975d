//! Who may call, and how much: only our own user, and no client so much that others wait.
//!
//! The bus vouches for its senders; their user is asked for once and remembered, as unique names are never used again.
//! It is asked over a connection of its own: an answer that had to pass through the queue of calls could wait for the
//! very call that waits for it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};
use zbus::{Connection, fdo, message::Header};

/// Calls of one client at once: enough for one that asks for every object at the same time.
const IN_FLIGHT_PER_SENDER: u32 = 512;

/// Calls of all clients at once: a thousand clients with a few each.
const IN_FLIGHT: u32 = 8_192;

/// Calls that one client may make at once after a rest.
const BURST: f64 = 4_000.0;

/// Calls a second that one client may go on making.
const CALLS_A_SECOND: f64 = 500.0;

/// Clients remembered at once; those with nothing in flight are forgotten when there are more, and asked for again.
const SENDERS_MAX: usize = 4_096;

/// The longest message: 100,000 paths of 160 bytes.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Listings of all objects that are made at once; the others wait, so that no flood of them takes every core.
const LISTINGS: usize = 1;

/// The bus answers at once or not at all.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Judges every call.
pub(super) struct Gate {
    asker: Connection,
    own_user: u32,
    callers: Mutex<Callers>,
    listings: Semaphore,
}

#[derive(Default)]
struct Callers {
    senders: HashMap<String, Caller>,
    in_flight: u32,
}

/// One client.
struct Caller {
    /// Whether it is our own user, once the bus said so.
    ours: Option<bool>,
    in_flight: u32,
    tokens: f64,
    counted_at: Instant,
}

impl Callers {
    /// Counts a call that comes in now; returns whether the sender is known to be ours.
    fn enter(&mut self, sender: &str, now: Instant) -> Result<Option<bool>, &'static str> {
        if self.senders.len() >= SENDERS_MAX && !self.senders.contains_key(sender) {
            self.senders.retain(|_, caller| caller.in_flight > 0);
        }
        if self.in_flight >= IN_FLIGHT {
            return Err("too many calls at once");
        }
        let caller = self.senders.entry(sender.to_owned()).or_insert(Caller { ours: None, in_flight: 0, tokens: BURST, counted_at: now });
        let rested = now.saturating_duration_since(caller.counted_at).as_secs_f64();
        caller.tokens = (caller.tokens + rested * CALLS_A_SECOND).min(BURST);
        caller.counted_at = now;
        if caller.in_flight >= IN_FLIGHT_PER_SENDER || caller.tokens < 1.0 {
            return Err("too many calls of this client");
        }
        caller.tokens -= 1.0;
        caller.in_flight += 1;
        self.in_flight += 1;
        Ok(caller.ours)
    }

    fn leave(&mut self, sender: &str) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(caller) = self.senders.get_mut(sender) {
            caller.in_flight = caller.in_flight.saturating_sub(1);
        }
    }
}

/// A call that was let in; dropping it says that it is over.
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    sender: String,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.gate.callers().leave(&self.sender);
    }
}

impl Gate {
    /// A gate for our own user; `asker` is a connection that serves nothing.
    ///
    /// # Errors
    /// The bus does not say who we are.
    pub(super) async fn new(asker: Connection) -> zbus::Result<Self> {
        // our user as the bus sees it, which may differ from our own view inside a user namespace
        let own = asker.unique_name().ok_or(zbus::Error::MissingField)?;
        let own_user = user_of(&asker, own.as_str()).await?;
        Ok(Self::of_user(asker, own_user))
    }

    /// A gate that lets in the calls of this user, as the bus sees it.
    pub(super) fn of_user(asker: Connection, own_user: u32) -> Self {
        Self { asker, own_user, callers: Mutex::default(), listings: Semaphore::new(LISTINGS) }
    }

    /// Lets a call in, or says why not.
    pub(super) async fn enter(&self, header: &Header<'_>, message_bytes: usize) -> fdo::Result<Pass<'_>> {
        let sender = header.sender().ok_or_else(|| fdo::Error::AccessDenied("the bus does not say who calls".to_owned()))?;
        let known = self.callers().enter(sender.as_str(), Instant::now());
        let known = known.map_err(|why| fdo::Error::LimitsExceeded(format!("{why}; try again in a moment")))?;
        let pass = Pass { gate: self, sender: sender.as_str().to_owned() };
        if message_bytes > MESSAGE_BYTES_MAX {
            return Err(fdo::Error::LimitsExceeded(format!("a message of {message_bytes} bytes where {MESSAGE_BYTES_MAX} are taken")));
        }
        let ours = match known {
            Some(ours) => ours,
            None => self.ask(sender.as_str()).await?,
        };
        if !ours {
            return Err(fdo::Error::AccessDenied("only the user whose daemon this is may call it".to_owned()));
        }
        Ok(pass)
    }

    /// The turn to list all objects.
    pub(super) async fn listing(&self) -> Option<SemaphorePermit<'_>> {
        self.listings.acquire().await.ok()
    }

    async fn ask(&self, sender: &str) -> fdo::Result<bool> {
        let user = tokio::time::timeout(ANSWER_WITHIN, user_of(&self.asker, sender)).await;
        let Ok(Ok(user)) = user else { return Err(fdo::Error::AccessDenied("the bus does not say whose call this is".to_owned())) };
        let ours = user == self.own_user;
        if !ours {
            tracing::warn!(sender, user, "refused a call of another user");
        }
        if let Some(caller) = self.callers().senders.get_mut(sender) {
            caller.ours = Some(ours);
        }
        Ok(ours)
    }

    fn callers(&self) -> MutexGuard<'_, Callers> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The user behind a unique name, as the bus sees it.
async fn user_of(asker: &Connection, name: &str) -> zbus::Result<u32> {
    let bus = "org.freedesktop.DBus";
    let reply = asker.call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "GetConnectionUnixUser", &name).await?;
    reply.body().deserialize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_floods_is_stopped_and_the_others_are_not() {
        let (mut callers, now) = (Callers::default(), Instant::now());

        let let_in = (0..100_000).filter(|_| callers.enter(":1.1", now).map(|_| callers.leave(":1.1")).is_ok()).count();

        assert_eq!(let_in as f64, BURST);
        assert!(callers.enter(":1.2", now).is_ok());
        assert!(callers.enter(":1.1", now + Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn a_thousand_clients_at_once_are_let_in() {
        let (mut callers, now) = (Callers::default(), Instant::now());

        let refused =
            (0..1_000).flat_map(|i| std::iter::repeat_n(i, 8)).filter(|i| callers.enter(&format!(":1.{i}"), now).is_err()).count();

        assert_eq!(refused, 0);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut callers, now) = (Callers::default(), Instant::now());

        for i in 0..50_000 {
            let sender = format!(":1.{i}");
            callers.enter(&sender, now).unwrap();
            callers.leave(&sender);
        }
        let hanging = (0..20_000).filter(|i| callers.enter(&format!(":2.{i}"), now).is_ok()).count();

        assert_eq!(hanging, IN_FLIGHT as usize);
        assert!(callers.senders.len() <= IN_FLIGHT as usize + SENDERS_MAX);
    }
}
