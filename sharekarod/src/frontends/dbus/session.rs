//! One connection to the bus, from its first message to its end.
//!
//! Objects stand before the name is asked for: whoever waits for the name, or started us by calling it, finds them all.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures_util::StreamExt;
use sharekaro_proto::control::event::Fact;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use zbus::{
    Connection,
    connection::Builder,
    fdo::{DBusProxy, NameOwnerChangedStream, RequestNameFlags},
    names::BusName,
};

use super::{
    Bus, Kind,
    gate::Gate,
    objects::Objects,
    paths::NAME,
    spool::Spool,
    wishes::{Waiting, Wishes},
};
use crate::engine::{Engine, Subscription};

/// A bus that says nothing for so long is none.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How a connection ended.
pub(super) enum Ended {
    /// The daemon ends.
    Shutdown,
    /// The name was ours, and the bus is gone.
    Lost,
    /// Somebody was faster and has the name.
    NameTaken,
    /// It never came so far.
    Never(zbus::Error),
}

/// Connects, serves everything, and returns when the bus is gone or the daemon ends.
pub(super) async fn serve(bus: &Bus, engine: &Engine, spool: &Arc<Spool>, shutdown: &CancellationToken) -> Ended {
    tokio::select! {
        ended = serve_connected(bus, engine, spool) => ended,
        () = shutdown.cancelled() => Ended::Shutdown, // dropping the rest closes the connections
    }
}

async fn serve_connected(bus: &Bus, engine: &Engine, spool: &Arc<Spool>) -> Ended {
    let mut named = false;
    let stopped = serve_objects(bus, engine, spool, &mut named).await.map_or_else(|e| e, |never| match never {});
    match stopped {
        _ if named => Ended::Lost,
        zbus::Error::NameTaken => Ended::NameTaken,
        e => Ended::Never(e),
    }
}

fn builder(bus: &Bus) -> Builder<'_> {
    match (&bus.address, bus.kind) {
        (Some(address), _) => Builder::address(address.as_str()),
        (None, Kind::Session) => Builder::session(),
        (None, Kind::System) => Builder::system(),
    }
}

/// Serves until something stops it. `named` says whether the name was ours.
async fn serve_objects(bus: &Bus, engine: &Engine, spool: &Arc<Spool>, named: &mut bool) -> zbus::Result<Infallible> {
    let asker = in_time(builder(bus).build()).await?; // asks one by one, each with a limit of its own
    or_closed(&asker, wait_until_free(&asker, bus.kind, engine)).await?;
    let (wishes, waiting) = Wishes::channel();
    let gate = Arc::new(in_time(Gate::new(asker.clone(), bus.kind)).await?);
    let leaving = in_time(who_leaves(&asker, bus.kind)).await?;
    let serving = (builder(bus).method_timeout(ANSWER_WITHIN), bus.kind);
    let mut objects = in_time(Objects::connect(serving, engine.clone(), &gate, wishes, Arc::clone(spool))).await?;
    let connection = objects.connection().clone();
    let served = async {
        let mut events = engine.subscribe();
        let first = events.next().await;
        let Some(Fact::Snapshot(snapshot)) = first.as_deref().map(|event| &event.fact) else { return Err(over()) };
        objects.put_up(snapshot).await?;
        // never in anybody's place, and nobody in ours
        objects.connection().request_name_with_flags(NAME, RequestNameFlags::DO_NOT_QUEUE).await?;
        *named = true;
        engine.unwarn(bus.kind.no_bus());
        engine.unwarn(bus.kind.name_taken());
        tracing::info!(name = NAME, "on the {}", bus.kind.words());
        objects.tell_what_waits(snapshot).await?;
        tokio::select! {
            ended = follow(objects, events, waiting) => ended,
            ended = forget_who_leaves(leaving, &gate) => ended,
        }
    };
    or_closed(&connection, or_closed(&asker, served)).await
}

/// Tells which clients leave, where signals go to each of them by name.
async fn who_leaves(asker: &Connection, kind: Kind) -> zbus::Result<Option<NameOwnerChangedStream>> {
    match kind {
        Kind::Session => Ok(None),
        Kind::System => DBusProxy::new(asker).await?.receive_name_owner_changed_with_args(&[(2, "")]).await.map(Some),
    }
}

async fn forget_who_leaves(leaving: Option<NameOwnerChangedStream>, gate: &Gate) -> zbus::Result<Infallible> {
    let Some(mut leaving) = leaving else { return std::future::pending().await };
    while let Some(left) = leaving.next().await {
        gate.forget(left.args()?.name());
    }
    Err(over())
}

/// The work's result, unless the connection ends before.
async fn or_closed<T>(connection: &Connection, work: impl Future<Output = zbus::Result<T>>) -> zbus::Result<T> {
    tokio::select! {
        done = work => done,
        () = connection.closed() => Err(over()),
    }
}

/// The work's result, if the bus answers in time.
async fn in_time<T>(work: impl Future<Output = zbus::Result<T>>) -> zbus::Result<T> {
    let done = tokio::time::timeout(ANSWER_WITHIN, work).await;
    done.unwrap_or_else(|_| Err(zbus::Error::Failure("it does not answer".to_owned())))
}

async fn follow(mut objects: Objects, mut events: Subscription, mut waiting: mpsc::Receiver<Waiting>) -> zbus::Result<Infallible> {
    loop {
        let due = objects.due(Instant::now());
        tokio::select! {
            event = events.next() => match event {
                Some(event) => objects.follow(&event).await?,
                None => return Err(over()),
            },
            Some((wish, done)) = waiting.recv() => {
                objects.grant(&wish).await?;
                let _ = done.send(()); // the caller may be gone
            }
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => objects.tell_due(Instant::now()).await?,
        }
    }
}

/// Returns when nobody has the name. Waiting for that costs nothing: the bus tells.
async fn wait_until_free(connection: &Connection, kind: Kind, engine: &Engine) -> zbus::Result<()> {
    let bus = in_time(DBusProxy::new(connection)).await?;
    let mut changes = in_time(bus.receive_name_owner_changed_with_args(&[(0, NAME)])).await?;
    let name = BusName::try_from(NAME)?;
    while in_time(async { Ok(bus.name_has_owner(name.clone()).await?) }).await? {
        let message = format!("another program has the name {NAME} on the {}", kind.words());
        engine.unwarn(kind.no_bus());
        engine.warn(kind.name_taken(), message, kind.name_taken_hint());
        if changes.next().await.is_none() {
            return Err(over());
        }
    }
    Ok(())
}

fn over() -> zbus::Error {
    zbus::Error::Failure("the bus went away".to_owned())
}
