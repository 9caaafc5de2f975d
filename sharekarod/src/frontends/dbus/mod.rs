//! D-Bus: the daemon as `org.sharekaro.ShareKaro1` on the session bus and, where it runs before anybody logs in, also on
//! that of the system. Typed methods, objects and signals over the same engine calls as every other door; translation
//! only.
//!
//! A bus is optional. Without one, or with the name taken, the daemon says so in its warnings and tries again; when
//! the bus comes back everything stands there again.

mod ahead;
mod audience;
mod callers;
mod cell;
mod drop;
mod gate;
mod gated;
mod manager;
mod messages;
mod objects;
mod options;
mod paths;
mod peer;
mod polkit;
mod refusal;
mod session;
mod spool;
mod standing;
mod text;
mod told;
mod transfer;
mod uris;
mod wishes;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use self::{session::Ended, spool::Spool};
use crate::engine::Engine;

/// The pause after a bus that is not there or went away; it doubles up to `BACKOFF_MAX`.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// A host without a session bus is not kept awake by looking for one.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Which kind of bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Of a login session: nobody is there but its user.
    Session,
    /// Of the machine: everybody is there.
    System,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Session => "session bus",
            Self::System => "system bus",
        }
    }

    /// The code of the warning where there is no bus.
    fn no_bus(self) -> &'static str {
        match self {
            Self::Session => "no_session_bus",
            Self::System => "no_system_bus",
        }
    }

    /// The code of the warning where another program has the name.
    fn name_taken(self) -> &'static str {
        match self {
            Self::Session => "bus_name_taken",
            Self::System => "system_bus_name_taken",
        }
    }

    fn no_bus_hint(self) -> &'static str {
        match self {
            Self::Session => {
                "nothing to do on a host without a desktop: `dbus = false` in config.toml ends this warning; else start a session bus (package dbus-user-session)"
            }
            Self::System => {
                "the package puts what allows it into /usr/share/dbus-1/system.d, and its unit sharekarod@ is in the group sharekaro-bus: start it by systemctl, or set `system_bus = false`"
            }
        }
    }

    fn name_taken_hint(self) -> &'static str {
        match self {
            Self::Session => "only one daemon a user is on the bus; `busctl --user status org.sharekaro.ShareKaro1` shows which",
            Self::System => {
                "one user's daemon is on the bus of the system, the first; `busctl --system status org.sharekaro.ShareKaro1` shows whose"
            }
        }
    }
}

/// What it means that there is no bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Absence {
    /// Something is missing.
    Trouble,
    /// Nobody is logged in.
    Usual,
}

/// A bus to serve.
#[derive(Clone, Debug)]
struct Bus {
    kind: Kind,
    absence: Absence,
    /// `None`: where the environment says, or else where this kind of bus is by custom.
    address: Option<String>,
}

/// Serves the buses that the configuration names until `shutdown`, whenever they are there.
pub async fn run(engine: Engine, shutdown: CancellationToken) {
    let config = engine.config();
    let absence = if config.system_bus { Absence::Usual } else { Absence::Trouble };
    let session = config.dbus.then_some(Bus { kind: Kind::Session, absence, address: None });
    let system = config.system_bus.then_some(Bus { kind: Kind::System, absence: Absence::Trouble, address: None });
    if session.is_some() || system.is_some() {
        run_on(session, system, engine, shutdown).await;
    }
}

async fn run_on(session: Option<Bus>, system: Option<Bus>, engine: Engine, shutdown: CancellationToken) {
    let spool = Spool::new(&engine.config().state_dir);
    tokio::join!(
        serve_for_ever(session.as_ref(), &engine, &spool, &shutdown),
        serve_for_ever(system.as_ref(), &engine, &spool, &shutdown),
        spool::keep_tidy(Arc::clone(&spool), engine.clone(), shutdown.clone()),
    );
}

async fn serve_for_ever(bus: Option<&Bus>, engine: &Engine, spool: &Arc<Spool>, shutdown: &CancellationToken) {
    let Some(bus) = bus else { return };
    let mut pause = BACKOFF_FIRST;
    loop {
        match session::serve(bus, engine, spool, shutdown).await {
            Ended::Shutdown => return,
            Ended::Lost => {
                warn_no_bus(bus, engine, &format!("the {} went away", bus.kind.words()));
                pause = BACKOFF_FIRST;
            }
            Ended::NameTaken => {} // the next attempt waits until the name is free
            Ended::Never(e) => warn_no_bus(bus, engine, &format!("cannot use the {}: {e}", bus.kind.words())),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
        pause = (pause * 2).min(BACKOFF_MAX);
    }
}

fn warn_no_bus(bus: &Bus, engine: &Engine, message: &str) {
    if bus.absence == Absence::Usual {
        return;
    }
    let code = bus.kind.no_bus();
    let standing = engine.status().warnings.into_iter().any(|it| it.code == code && it.message == message);
    if !standing {
        engine.warn(code, message, bus.kind.no_bus_hint()); // said once, not with every attempt
    }
}
