//! One sender a peer: everything that waits for it, oldest first, a batch at a time, until each is acknowledged.

use std::{sync::Arc, time::Duration};

use sharekaro_proto::{
    DeviceId, ErrorBody,
    wire::{self, Request, Status, request},
};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    engine::{Engine, clock},
    net::{Ask, Session},
    store::{self, Durability, messages::MessageRow},
};

/// Texts of one batch, and ids of what was read.
pub(super) const BATCH_MAX: usize = 256;

/// Bytes of text of one batch: two of the longest texts; with what stands around them they fit into one frame.
const BATCH_BYTES: usize = 128 << 10;

/// A message that nobody acknowledged for a week is given up, and says so.
const LASTS_MS: i64 = 7 * 86_400_000;

/// So often we look for such messages.
const EXPIRY_LOOK: Duration = Duration::from_secs(3_600);

/// The pause after the first failure; it doubles up to `BACKOFF_MAX`.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// A peer that keeps saying no is asked this often.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Messages go before the bytes of files.
const PRIORITY: i32 = 100;

impl Engine {
    /// Goes on with what waited when the daemon ended.
    pub(crate) fn resume_messages(&self) {
        let engine = self.clone();
        self.spawn(async move {
            match engine.store().read(store::messages::pending_peers).await {
                Ok(peers) => peers.into_iter().for_each(|peer| engine.wake_sender(peer)),
                Err(e) => tracing::error!("cannot look for messages that wait: {e}"),
            }
            loop {
                engine.expire_messages().await;
                tokio::time::sleep(EXPIRY_LOOK).await;
            }
        });
    }

    async fn expire_messages(&self) {
        let before = clock::now_ms().saturating_sub(LASTS_MS);
        match self.store().write(Durability::Soon, move |t| store::messages::expire(t, before)).await {
            Ok(rows) => self.update(|state| state.messages.changed(rows)),
            Err(e) => tracing::warn!("cannot look for messages that waited too long: {e}"),
        }
    }

    /// There is something for this peer.
    pub(crate) fn wake_sender(&self, peer: DeviceId) {
        if let Some(woken) = self.inner.desk.wake(peer) {
            self.spawn(run(self.clone(), peer, woken));
        }
    }

    /// Sends the next batch and takes its acknowledgement. An outbox that was `renewed` and that nothing was taken of since
    /// is not renewed again.
    async fn deliver_messages(&self, session: &Session, renewed: bool) -> Result<Step, ErrorBody> {
        let peer = session.peer();
        let (count, receipts) = if self.is_paired(peer) { (BATCH_MAX, BATCH_MAX) } else { (1, 0) };
        let (epoch, batch) = self.store().read(move |c| store::messages::pending(c, peer, count, BATCH_BYTES)).await?;
        let read = self.store().read(move |c| store::messages::receipts(c, peer, receipts)).await?;
        if batch.is_empty() && read.is_empty() {
            return Ok(Step::AllSaid);
        }
        let numbers: Vec<u64> = batch.iter().map(|row| row.no).collect();
        self.on_their_way(numbers.clone()).await?;
        let messages = wire::Messages {
            texts: batch.into_iter().map(|row| text(row, epoch)).collect(),
            read: read.iter().map(|id| id.as_bytes().to_vec()).collect(),
        };
        let request = Request { kind: Some(request::Kind::Messages(messages)) };
        let reply = match session.request(Ask::new(request).priority(PRIORITY)).await {
            Ok((reply, _)) => reply,
            Err(e) => return Ok(Step::Failed(e.to_string())),
        };
        match reply.status() {
            Status::Ok => {
                let rows = self.store().write(Durability::Soon, move |t| store::messages::acknowledge(t, &numbers)).await?;
                self.update(|state| state.messages.changed(rows));
                self.receipts_told(peer, read).await?;
                Ok(Step::Said)
            }
            Status::Changed if !renewed => {
                tracing::warn!(peer = %self.label(peer), "our database is older than the peer remembers: a new outbox begins");
                self.store().write(Durability::Durable, move |t| store::messages::renew(t, peer)).await?;
                Ok(Step::Renewed)
            }
            status => Ok(Step::Failed(format!("{status:?} {}", reply.message))),
        }
    }

    async fn on_their_way(&self, numbers: Vec<u64>) -> Result<(), ErrorBody> {
        let rows = self.store().write(Durability::Soon, move |t| store::messages::sent(t, &numbers)).await?;
        self.update(|state| state.messages.changed(rows));
        Ok(())
    }

    async fn receipts_told(&self, peer: DeviceId, ids: Vec<Uuid>) -> Result<(), ErrorBody> {
        if !ids.is_empty() {
            self.store().write(Durability::Soon, move |t| store::messages::receipts_told(t, peer, &ids)).await?;
        }
        Ok(())
    }
}

/// How a batch went.
enum Step {
    /// There is nothing to say.
    AllSaid,
    /// It is acknowledged; there may be more.
    Said,
    /// It is not, and is put into a new outbox.
    Renewed,
    /// It is not; later.
    Failed(String),
}

/// Says what waits for a peer whenever there is a session with it, for as long as the daemon runs.
async fn run(engine: Engine, peer: DeviceId, woken: Arc<Notify>) {
    let (mut pause, mut renewed) = (BACKOFF_FIRST, false);
    loop {
        let session = engine.session(peer).await;
        match engine.deliver_messages(&session, renewed).await {
            Ok(Step::Said) => (pause, renewed) = (BACKOFF_FIRST, false),
            Ok(Step::Renewed) => renewed = true,
            Ok(Step::AllSaid) => woken.notified().await,
            Ok(Step::Failed(why)) => {
                tracing::debug!(peer = %engine.label(peer), "messages were not taken: {why}");
                rest(&session, &woken, &mut pause).await;
            }
            Err(e) => {
                tracing::error!(peer = %engine.label(peer), "cannot send what waits: {}", e.message);
                rest(&session, &woken, &mut pause).await;
            }
        }
    }
}

/// Waits longer each time; another session is another chance, and so is another text.
async fn rest(session: &Session, woken: &Notify, pause: &mut Duration) {
    tokio::select! {
        () = tokio::time::sleep(pause.mul_f64(rand::random_range(0.8..1.2))) => *pause = (*pause * 2).min(BACKOFF_MAX),
        () = woken.notified() => {}
        _ = session.closed() => *pause = BACKOFF_FIRST,
    }
}

fn text(row: MessageRow, epoch: u64) -> wire::Text {
    wire::Text { id: row.id.as_bytes().to_vec(), epoch, seq: row.seq, at_ms: row.at_ms.max(0).unsigned_abs(), text: row.text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_batch_fits_into_a_frame() {
        let row = |text: String| wire::Text { id: vec![1; 16], epoch: u64::MAX, seq: u64::MAX, at_ms: u64::MAX, text };
        let longest = sharekaro_proto::control::message::TEXT_MAX;
        let batch = |count: usize, bytes: usize| {
            let texts = (0..count).map(|_| row("x".repeat(bytes))).collect();
            let messages = wire::Messages { texts, read: vec![vec![1; 16]; BATCH_MAX] };
            wire::encode_frame(&Request { kind: Some(request::Kind::Messages(messages)) }).len()
        };

        assert!(batch(BATCH_BYTES / longest, longest) < wire::FRAME_MAX);
        assert!(batch(BATCH_MAX, BATCH_BYTES / BATCH_MAX) < wire::FRAME_MAX);
    }
}
