//! The receiver's side of one transfer: wait for a yes, for the sender, for room; pull; store; send the receipt.

use std::{sync::Arc, time::Duration};

use sharekaro_proto::{
    ErrorBody, ErrorCode, TransferId,
    nouns::transfer::{Phase, Priority, TransferState},
    wire::ChangeKind,
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    crowd, ending,
    outgoing::{rest, until},
    pull,
    record::Record,
    stop::Stop,
    table::Row,
};
use crate::{
    engine::{Engine, clock},
    files,
    store::Durability,
};

/// What it waits for is looked for this often, and less often where that takes long.
const ROOM_LOOK: Duration = Duration::from_secs(2);

/// ... but at least so often.
const REST_MAX: Duration = Duration::from_secs(60);

/// After trouble that may pass, the pull begins again after this.
const AGAIN: Duration = Duration::from_millis(500);

/// How often it is looked whether bytes still come in after a pause, and how many times at most.
const DRAIN_LOOK: Duration = Duration::from_millis(100);
const DRAIN_LOOKS: u32 = 20;

/// So few bytes in that time are not those of a transfer.
const DRAINED: u64 = 16 << 10;

/// From so many bytes on a transfer waits for its turn at a disk that spins. Smaller ones are over before it matters.
const TAKES_TURNS: u64 = 64 << 20;

/// Runs until the transfer ends.
pub async fn run(engine: Engine, id: TransferId) {
    let mut changes = engine.inner.jobs.of(id).changes();
    while let Some(record) = engine.record(id).filter(|record| !record.state.ended()) {
        changes.borrow_and_update();
        if record.expires_ms.is_some_and(|at| at <= clock::now_ms()) {
            engine.expire_transfer(id).await;
            break;
        }
        let pause = tokio::select! {
            pause = step(&engine, &record) => pause,
            _ = changes.changed() => continue,
            () = tokio::time::sleep(until(record.expires_ms)) => continue,
        };
        rest(&mut changes, pause).await;
    }
    ending::let_go(&engine, id).await;
}

/// Goes as far as it can right now and says how long to rest then. Cancelled when something changes.
async fn step(engine: &Engine, record: &Record) -> Duration {
    let id = record.id;
    if !record.judged {
        return be_judged(engine, record).await;
    }
    if !record.accepted {
        std::future::pending::<()>().await; // until a person answers, or it expires
    }
    if record.paused() {
        if let Some(session) = engine.open_session(&record.peer).filter(|_| record.state == TransferState::Active) {
            drain(&session).await;
        }
        enter(engine, id, TransferState::Paused, Phase::Resting).await;
        std::future::pending::<()>().await;
    }
    let Some(session) = engine.open_session(&record.peer) else {
        return away(engine, record).await;
    };
    if record.steered {
        engine.tell_steering(id).await; // the sender was not there to hear it
    } else if record.limit_here.is_some() {
        engine.tell_change(id, ChangeKind::Limit).await; // a rule set it
    }
    let _turn = turn(engine, record).await;
    let began = Instant::now();
    let stopped = tokio::select! {
        stopped = pull::run(engine, &session, id) => stopped,
        _ = session.closed() => Err(Stop::Lost),
    };
    match stopped {
        Ok(()) => Duration::ZERO,
        Err(stop) => {
            let moved = engine.record(id).is_some_and(|now| now.state == TransferState::Active);
            stopped_by(engine, record, stop, if moved { Duration::ZERO } else { began.elapsed() }).await
        }
    }
}

/// A rule has to know the names of all files before anybody is asked: gets their list, which is judged and then received by.
async fn be_judged(engine: &Engine, record: &Record) -> Duration {
    let Some(session) = engine.open_session(&record.peer) else {
        engine.session(record.peer).await;
        return Duration::ZERO;
    };
    let paired = engine.look(|state| state.peers.get(&record.peer).is_some_and(|known| known.trust.paired()));
    let manifest = match pull::manifest(engine, paired.then_some(&session), record).await {
        Ok(manifest) => Some(Arc::new(manifest)),
        Err(Stop::Lost) if !paired => None, // of a stranger no more is fetched than came with the offer
        Err(Stop::Senseless(why)) => return refused(engine, record.id, &why).await,
        Err(_) => return AGAIN * 4,
    };
    match engine.judge_by_names(record.id, manifest).await {
        Ok(()) => Duration::ZERO,
        Err(why) => {
            tracing::warn!(id = %record.id, "an offer cannot be judged: {}", why.message);
            AGAIN * 4
        }
    }
}

/// What makes no sense is declined.
async fn refused(engine: &Engine, id: TransferId, why: &ErrorBody) -> Duration {
    engine.note_transfer(id, |row| senseless(row, why)).await;
    engine.tell_the_end(id);
    Duration::ZERO
}

fn senseless(row: &mut Row, why: &ErrorBody) {
    row.record.judged = true;
    row.record.untold = true;
    row.enter_with(TransferState::Declined, Phase::Resting, ErrorBody::new(ErrorCode::Declined, why.message.clone()));
}

/// A turn at the disk, waited for where that spins and this is not one of the transfers that pass by.
async fn turn(engine: &Engine, record: &Record) -> Option<OwnedSemaphorePermit> {
    if record.bytes_total < TAKES_TURNS || record.priority == Priority::High {
        return None;
    }
    let destination = engine.destination(record);
    let disk = tokio::task::spawn_blocking(move || files::spinning_disk(&destination)).await.ok()??;
    let turns = engine.inner.jobs.turns(disk);
    if let Ok(turn) = Arc::clone(&turns).try_acquire_owned() {
        return Some(turn);
    }
    enter(engine, record.id, TransferState::Active, Phase::Resting).await;
    turns.acquire_owned().await.ok()
}

/// There is no way to the sender: the others go on helping each other until it is back.
async fn away(engine: &Engine, record: &Record) -> Duration {
    if record.crowd.is_some() {
        let stopped = tokio::select! {
            stopped = crowd::without_source(engine, record) => stopped,
            _ = engine.session(record.peer) => return Duration::ZERO,
        };
        match stopped {
            Ok(()) => return Duration::ZERO,
            Err(Stop::Lost) => {} // too little is known to go on
            Err(stop) => return stopped_by(engine, record, stop, Duration::ZERO).await,
        }
    }
    enter(engine, record.id, TransferState::Waiting, Phase::Connecting).await;
    engine.session(record.peer).await;
    Duration::ZERO
}

/// What a pull that did not get to its end means for the transfer, and how long to rest after a try that came to
/// nothing and took so long.
async fn stopped_by(engine: &Engine, record: &Record, stop: Stop, tried: Duration) -> Duration {
    let id = record.id;
    match stop {
        Stop::Lost => AGAIN,
        Stop::Paused => {
            engine.note_transfer(id, |row| row.record.paused_there = true).await;
            Duration::ZERO
        }
        Stop::Cancelled => {
            let why = ErrorBody::new(ErrorCode::Cancelled, "the sender cancelled it");
            engine.note_transfer(id, |row| row.enter_with(TransferState::Cancelled, Phase::Resting, why.clone())).await;
            Duration::ZERO
        }
        Stop::Senseless(why) => refused(engine, id, &why).await,
        Stop::Wait(why) => {
            // a tree of a million files is not looked through every other second
            let pause = ROOM_LOOK.max(tried * 10).min(REST_MAX);
            let news = record.error.as_ref() != Some(&why);
            engine.note_transfer(id, |row| row.enter_with(TransferState::Waiting, Phase::Resting, why.clone())).await;
            if news {
                tracing::warn!(%id, "waiting: {}", why.message);
            }
            engine.tell_progress(id);
            pause
        }
    }
}

/// Waits, within bounds, until what was on its way when the pull stopped has come in.
async fn drain(session: &crate::net::Session) {
    let mut seen = session.stats().received_bytes;
    for _ in 0..DRAIN_LOOKS {
        tokio::time::sleep(DRAIN_LOOK).await;
        let now = session.stats().received_bytes;
        if now.saturating_sub(seen) < DRAINED {
            return;
        }
        seen = now;
    }
}

async fn enter(engine: &Engine, id: TransferId, state: TransferState, phase: Phase) {
    let already = engine.look(|it| it.transfers.get(id).is_some_and(|row| row.record.state == state && row.phase == phase));
    if already {
        return;
    }
    let away = engine.record(id).map(|record| engine.label(record.peer)).unwrap_or_default();
    let change = engine.change_transfer(id, Durability::Soon, |row| {
        if state == TransferState::Waiting {
            let why = ErrorBody::new(ErrorCode::Offline, format!("{away} cannot be reached")).hint("it goes on by itself when it is back");
            row.enter_with(state, phase, why);
        } else {
            row.enter(state, phase);
        }
    });
    if let Err(e) = change.await {
        tracing::warn!(%id, "cannot keep where a transfer stands: {}", e.message);
    }
}
