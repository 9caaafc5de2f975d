//! Who may call: our own user, and on the system bus whom polkit allows to.
//!
//! The bus vouches for its senders; their user is asked for once and remembered, as unique names are never used again.
//! What polkit says is not remembered here: it may say something else the next time. Both are asked over a connection of
//! their own: an answer that had to pass through the queue of calls could wait for the very call that waits for it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};
use zbus::{Connection, fdo, message::Header};

use super::{Kind, callers::Callers, polkit};

/// The longest message: 100,000 paths of 160 bytes.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Listings of all objects that are made at once; the others wait, so that no flood of them takes every core.
const LISTINGS: usize = 1;

/// The bus answers at once or not at all.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What a call does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Deed {
    /// It asks what is so.
    Look,
    /// It has something done.
    Act,
}

/// Judges every call.
pub(super) struct Gate {
    asker: Connection,
    kind: Kind,
    own_user: u32,
    callers: Mutex<Callers>,
    listings: Semaphore,
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
    /// A gate for our own user; `asker` is a connection that serves nothing and waits for its answers without a limit.
    ///
    /// # Errors
    /// The bus does not say who we are.
    pub(super) async fn new(asker: Connection, kind: Kind) -> zbus::Result<Self> {
        // our user as the bus sees it, which may differ from our own view inside a user namespace
        let own = asker.unique_name().ok_or(zbus::Error::MissingField)?;
        let own_user = user_of(&asker, own.as_str()).await?;
        Ok(Self::of_user(asker, kind, own_user))
    }

    /// A gate that lets in the calls of this user, as the bus sees it.
    pub(super) fn of_user(asker: Connection, kind: Kind, own_user: u32) -> Self {
        Self { asker, kind, own_user, callers: Mutex::default(), listings: Semaphore::new(LISTINGS) }
    }

    /// Lets a call in, or says why not.
    pub(super) async fn enter(&self, header: &Header<'_>, message_bytes: usize, deed: Deed) -> fdo::Result<Pass<'_>> {
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
            self.ask_for_a_guest(header, deed).await?;
        }
        Ok(pass)
    }

    /// The turn to list all objects.
    pub(super) async fn listing(&self) -> Option<SemaphorePermit<'_>> {
        self.listings.acquire().await.ok()
    }

    /// The clients that hear what happens.
    pub(super) fn hearers(&self) -> Vec<String> {
        self.callers().hearers(Instant::now())
    }

    /// A client left the bus.
    pub(super) fn forget(&self, sender: &str) {
        self.callers().forget(sender);
    }

    async fn ask(&self, sender: &str) -> fdo::Result<bool> {
        let user = tokio::time::timeout(ANSWER_WITHIN, user_of(&self.asker, sender)).await;
        let Ok(Ok(user)) = user else { return Err(fdo::Error::AccessDenied("the bus does not say whose call this is".to_owned())) };
        let ours = user == self.own_user;
        if !ours {
            tracing::info!(sender, user, "another user calls");
        }
        self.callers().known(sender, ours);
        Ok(ours)
    }

    /// A client of another user: on a session bus there should be none.
    async fn ask_for_a_guest(&self, header: &Header<'_>, deed: Deed) -> fdo::Result<()> {
        if self.kind == Kind::Session {
            return Err(fdo::Error::AccessDenied("only the user whose daemon this is may call it".to_owned()));
        }
        polkit::allows(&self.asker, header, deed).await?;
        if let Some(sender) = header.sender() {
            self.callers().welcome(sender.as_str(), Instant::now());
        }
        Ok(())
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
