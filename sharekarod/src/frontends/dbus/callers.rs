//! How much each client asks: none so much that others wait. And which of them hear what happens.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

/// Calls of one client at once: enough for one that asks for every object at the same time.
const IN_FLIGHT_PER_SENDER: u32 = 512;

/// Calls of all clients at once: a thousand clients with a few each.
const IN_FLIGHT: u32 = 8_192;

/// Calls that one client may make at once after a rest.
const BURST: f64 = 4_000.0;

/// Calls a second that one client may go on making.
const CALLS_A_SECOND: f64 = 500.0;

/// Clients remembered at once; those that neither wait for a reply nor hear signals are forgotten when there are more.
const SENDERS_MAX: usize = 4_096;

/// So long a client of another user hears what happens after a call that polkit allowed: as long as polkit itself
/// keeps an answer.
const GUEST_HEARS: Duration = Duration::from_secs(300);

/// All clients that called.
#[derive(Default)]
pub(super) struct Callers {
    senders: HashMap<String, Caller>,
    in_flight: u32,
}

/// One client.
struct Caller {
    /// Whether it is our own user, once the bus said so.
    ours: Option<bool>,
    /// Until when a client of another user hears what happens.
    guest_until: Option<Instant>,
    in_flight: u32,
    tokens: f64,
    counted_at: Instant,
}

impl Caller {
    fn hears(&self, now: Instant) -> bool {
        self.ours == Some(true) || self.guest_until.is_some_and(|until| now < until)
    }
}

impl Callers {
    /// Counts a call that comes in now; returns whether the sender is known to be ours.
    pub(super) fn enter(&mut self, sender: &str, now: Instant) -> Result<Option<bool>, &'static str> {
        if self.in_flight >= IN_FLIGHT {
            return Err("too many calls at once");
        }
        if self.senders.len() >= SENDERS_MAX && !self.senders.contains_key(sender) {
            self.make_room(now);
        }
        let new = || Caller { ours: None, guest_until: None, in_flight: 0, tokens: BURST, counted_at: now };
        let caller = self.senders.entry(sender.to_owned()).or_insert_with(new);
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

    /// A call is over.
    pub(super) fn leave(&mut self, sender: &str) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(caller) = self.senders.get_mut(sender) {
            caller.in_flight = caller.in_flight.saturating_sub(1);
        }
    }

    /// The bus said whose client this is.
    pub(super) fn known(&mut self, sender: &str, ours: bool) {
        if let Some(caller) = self.senders.get_mut(sender) {
            caller.ours = Some(ours);
        }
    }

    /// A client of another user was let in.
    pub(super) fn welcome(&mut self, sender: &str, now: Instant) {
        if let Some(caller) = self.senders.get_mut(sender) {
            caller.guest_until = Some(now + GUEST_HEARS);
        }
    }

    /// A client left the bus. What it asked for last may still be under way.
    pub(super) fn forget(&mut self, sender: &str) {
        let Some(gone) = self.senders.get_mut(sender) else { return };
        (gone.ours, gone.guest_until) = (None, None);
        if gone.in_flight == 0 {
            self.senders.remove(sender);
        }
    }

    /// Who hears what happens, on a bus on which not everybody may.
    pub(super) fn hearers(&self, now: Instant) -> Vec<String> {
        self.senders.iter().filter(|(_, caller)| caller.hears(now)).map(|(sender, _)| sender.clone()).collect()
    }

    /// Those whose client is ours may be forgotten too where there are that many: they are asked for again with their
    /// next call.
    fn make_room(&mut self, now: Instant) {
        self.senders.retain(|_, caller| caller.in_flight > 0 || caller.hears(now));
        if self.senders.len() >= SENDERS_MAX {
            self.senders.retain(|_, caller| caller.in_flight > 0);
        }
    }
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
            callers.known(&sender, true);
            callers.leave(&sender);
        }
        let hanging = (0..20_000).filter(|i| callers.enter(&format!(":2.{i}"), now).is_ok()).count();

        assert_eq!(hanging, IN_FLIGHT as usize);
        assert!(callers.senders.len() <= IN_FLIGHT as usize + SENDERS_MAX);
    }

    #[test]
    fn our_own_hear_for_as_long_as_they_are_there_and_guests_for_a_while() {
        let (mut callers, now) = (Callers::default(), Instant::now());
        for (sender, ours) in [(":1.1", true), (":1.2", false), (":1.3", false)] {
            callers.enter(sender, now).unwrap();
            callers.known(sender, ours);
        }
        callers.welcome(":1.2", now);

        let mut hear = callers.hearers(now);
        hear.sort();
        assert_eq!(hear, [":1.1", ":1.2"], "and nobody who was not let in");
        assert_eq!(callers.hearers(now + GUEST_HEARS), [":1.1"]);

        callers.forget(":1.1");
        assert!(callers.hearers(now + GUEST_HEARS).is_empty());
        for sender in [":1.1", ":1.2", ":1.3"] {
            callers.leave(sender);
            callers.forget(sender);
        }
        assert!(callers.in_flight == 0 && callers.senders.is_empty());
    }
}
