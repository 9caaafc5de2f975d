//! D-Bus: the daemon as `org.sharekaro.ShareKaro1` on the session bus. Typed methods, objects and signals over the
//! same engine calls as every other door; translation only.
//!
//! The bus is optional. Without one, or with the name taken, the daemon says so in its warnings and tries again; when
//! the bus comes back everything stands there again.

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
mod refusal;
mod session;
mod spool;
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

/// The warning where there is no bus.
const NO_BUS: &str = "no_session_bus";

/// The warning where another program has the name.
const NAME_TAKEN: &str = "bus_name_taken";

/// Which bus.
#[derive(Clone, Debug)]
enum Bus {
    /// That of the login session: `DBUS_SESSION_BUS_ADDRESS`, or `bus` in the runtime folder.
    Session,
    /// The one at this address.
    #[cfg(test)]
    At(String),
}

/// Serves the session bus until `shutdown`, whenever there is one.
pub async fn run(engine: Engine, shutdown: CancellationToken) {
    run_on(Bus::Session, engine, shutdown).await;
}

async fn run_on(bus: Bus, engine: Engine, shutdown: CancellationToken) {
    let spool = Spool::new(&engine.config().state_dir);
    tokio::join!(serve_for_ever(bus, &engine, &spool, &shutdown), spool::keep_tidy(Arc::clone(&spool), engine.clone(), shutdown.clone()));
}

async fn serve_for_ever(bus: Bus, engine: &Engine, spool: &Arc<Spool>, shutdown: &CancellationToken) {
    let mut pause = BACKOFF_FIRST;
    loop {
        match session::serve(&bus, engine, spool, shutdown).await {
            Ended::Shutdown => return,
            Ended::Lost => {
                warn_no_bus(engine, "the session bus went away");
                pause = BACKOFF_FIRST;
            }
            Ended::NameTaken => {} // the next attempt waits until the name is free
            Ended::Never(e) => warn_no_bus(engine, &format!("cannot use the session bus: {e}")),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
        pause = (pause * 2).min(BACKOFF_MAX);
    }
}

fn warn_no_bus(engine: &Engine, message: &str) {
    let hint = "nothing to do on a host without a desktop: `dbus = false` in config.toml ends this warning; else start a session bus (package dbus-user-session)";
    let standing = engine.status().warnings.into_iter().any(|it| it.code == NO_BUS && it.message == message);
    if !standing {
        engine.warn(NO_BUS, message, hint); // said once, not with every attempt
    }
}
