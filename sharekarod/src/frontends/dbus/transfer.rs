//! `Transfer1`: one offer and its life, at `.../transfers/t8`.

use std::{borrow::Cow, collections::HashMap, path::PathBuf, sync::Arc};

use sharekaro_proto::{
    ErrorBody, TransferId,
    control::{
        inbox::{Accept, Decline},
        transfer::{RawPath, Transfer},
    },
};
use zbus::{OwnedObjectPath, OwnedVariant, interface};

use super::{
    cell::Cell,
    options::Options,
    paths::peer_path,
    refusal::Refusal,
    text::{bus_count, bus_text, bus_time},
    wishes::{Wish, Wishes},
};
use crate::engine::Engine;

/// So many paths or omissions go into one reply.
const LISTED_MAX: u32 = 10_000;

/// A transfer on the bus.
#[derive(Clone)]
pub(super) struct Transfer1 {
    engine: Engine,
    wishes: Wishes,
    cell: Cell<Transfer>,
}

impl Transfer1 {
    /// The object of a transfer.
    pub(super) fn new(engine: Engine, wishes: Wishes, transfer: Transfer) -> Self {
        Self { engine, wishes, cell: Cell::new(transfer) }
    }

    /// What it shows.
    pub(super) fn cell(&self) -> &Cell<Transfer> {
        &self.cell
    }

    fn id(&self) -> TransferId {
        self.cell.now().id
    }

    /// With all names; what is shown may have the first of many.
    fn whole(&self) -> Arc<Transfer> {
        self.engine.transfer(self.id()).map_or_else(|_| self.cell.now(), Arc::new)
    }

    /// What a verb returned is what the object shows when the caller gets its reply.
    async fn shown(&self, changed: Result<Transfer, ErrorBody>) -> Result<(), Refusal> {
        self.wishes.stand(Wish::Transfers(vec![changed?])).await;
        Ok(())
    }

    fn error(&self, part: impl FnOnce(&ErrorBody) -> Cow<'_, str>) -> String {
        self.cell.now().error.as_ref().map(|error| bus_text(&part(error))).unwrap_or_default()
    }
}

/// A transfer: an offer's life to its end, as this device knows it. The object stands while the transfer runs, and
/// for the newest of those that ended.
#[interface(name = "org.sharekaro.ShareKaro1.Transfer1")]
impl Transfer1 {
    /// Rests until Resume is called. Either side may pause; who paused resumes.
    async fn pause(&self) -> Result<(), Refusal> {
        self.shown(self.engine.pause(self.id()).await).await
    }

    /// Goes on, without sending again what was verified.
    async fn resume(&self) -> Result<(), Refusal> {
        self.shown(self.engine.resume(self.id()).await).await
    }

    /// Ends it on both sides.
    async fn cancel(&self) -> Result<(), Refusal> {
        self.shown(self.engine.cancel(self.id()).await).await
    }

    /// Lets one that waits try at once. One of ours that ended unfinished is sent again, as a new transfer.
    async fn retry(&self) -> Result<(), Refusal> {
        self.shown(self.engine.retry(self.id()).await).await
    }

    /// Takes an offer that waits for an answer. dir: where to, absolute, made where it is missing; empty for the
    /// inbox. There are no options yet.
    async fn accept(&self, dir: String, options: HashMap<String, OwnedVariant>) -> Result<(), Refusal> {
        Options::new(options).finish()?;
        let dir = (!dir.is_empty()).then(|| RawPath(PathBuf::from(dir)));
        self.shown(self.engine.accept(self.id(), Accept { dir }).await).await
    }

    /// Does not take an offer that waits for an answer. reason: what the sender is told; may be empty.
    async fn decline(&self, reason: String) -> Result<(), Refusal> {
        self.shown(self.engine.decline(self.id(), Decline { reason }).await).await
    }

    /// What is sent or, where it came in and is done, where it lies: `count` paths from `offset` on, at most 10,000.
    #[zbus(out_args("paths"))]
    async fn list_paths(&self, offset: u32, count: u32) -> Vec<String> {
        let transfer = self.whole();
        window(&transfer.paths, offset, count).map(|path| bus_text(path)).collect()
    }

    /// What was left out, and why: `special` and `link` are left out always, `unreadable`, `changed`, `vanished` and
    /// `unstorable` make it only partly done. `count` of them from `offset` on, at most 10,000.
    #[zbus(out_args("skipped"))]
    async fn list_skipped(&self, offset: u32, count: u32) -> Vec<(String, String)> {
        let transfer = self.whole();
        window(&transfer.skipped, offset, count).map(|it| (bus_text(&it.path), it.reason.word().to_owned())).collect()
    }

    /// Our number for it, as t8.
    #[zbus(property(emits_changed_signal = "const"), name = "Id")]
    fn id_text(&self) -> String {
        self.id().to_string()
    }

    /// `out` where we send, `in` where we receive.
    #[zbus(property(emits_changed_signal = "const"))]
    fn direction(&self) -> String {
        self.cell.now().direction.word().to_owned()
    }

    /// The other device.
    #[zbus(property(emits_changed_signal = "const"))]
    fn peer(&self) -> OwnedObjectPath {
        peer_path(&self.cell.now().peer_id)
    }

    /// Our name for the other device.
    #[zbus(property)]
    fn target(&self) -> String {
        bus_text(&self.cell.now().peer)
    }

    /// What it is, for people: the first name.
    #[zbus(property)]
    fn title(&self) -> String {
        bus_text(&self.cell.now().title)
    }

    /// A word to it.
    #[zbus(property(emits_changed_signal = "const"))]
    fn note(&self) -> String {
        bus_text(&self.cell.now().note)
    }

    /// `queued`, `offered`, `active`, `paused`, `waiting`; or the end: `done`, `declined`, `cancelled`, `expired`,
    /// `failed`.
    #[zbus(property)]
    fn state(&self) -> String {
        self.cell.now().state.word().to_owned()
    }

    /// What it does right now: `scanning`, `connecting`, `asking`, `comparing`, `transferring`, `stalled`, `storing`
    /// or `resting`.
    #[zbus(property)]
    fn phase(&self) -> String {
        self.cell.now().phase.word().to_owned()
    }

    /// Bytes that came over the network and were verified. Told at most four times a second, as all of its numbers.
    #[zbus(property)]
    fn bytes(&self) -> u64 {
        let transfer = self.cell.now();
        transfer.bytes_confirmed.saturating_sub(transfer.bytes_reused)
    }

    /// Bytes that the receiver holds, verified, those that were there already included. Never falls.
    #[zbus(property)]
    fn confirmed(&self) -> u64 {
        self.cell.now().bytes_confirmed
    }

    /// Bytes of all files.
    #[zbus(property)]
    fn total(&self) -> u64 {
        self.cell.now().bytes_total
    }

    /// How many files.
    #[zbus(property)]
    fn file_count(&self) -> u32 {
        bus_count(self.cell.now().files_total)
    }

    /// Files that are whole at the receiver.
    #[zbus(property)]
    fn files_done(&self) -> u32 {
        bus_count(self.cell.now().files_done)
    }

    /// How many things were left out; ListSkipped names them.
    #[zbus(property)]
    fn skipped_count(&self) -> u32 {
        bus_count(self.cell.now().skipped_count)
    }

    /// Bytes a second right now.
    #[zbus(property)]
    fn rate(&self) -> u64 {
        self.cell.now().rate
    }

    /// Seconds that it will still take at this rate; the largest number where nobody can say.
    #[zbus(property)]
    fn eta(&self) -> u64 {
        let transfer = self.cell.now();
        if transfer.state.ended() { 0 } else { transfer.eta_seconds.unwrap_or(u64::MAX) }
    }

    /// Bytes a second that are allowed; 0 where there is no limit.
    #[zbus(property)]
    fn limit(&self) -> u64 {
        self.cell.now().limit.unwrap_or(0)
    }

    /// `low`, `normal` or `high`.
    #[zbus(property)]
    fn priority(&self) -> String {
        self.cell.now().priority.word().to_owned()
    }

    /// What keeps it from going on or ended it, for programs, as `no_space`; empty where nothing does.
    #[zbus(property)]
    fn error_code(&self) -> String {
        self.error(|error| Cow::Borrowed(error.code.word()))
    }

    /// The same for people.
    #[zbus(property)]
    fn error_message(&self) -> String {
        self.error(|error| Cow::Borrowed(&error.message))
    }

    /// What to do about it; empty where there is nothing to do.
    #[zbus(property)]
    fn error_hint(&self) -> String {
        self.error(|error| Cow::Borrowed(&error.hint))
    }

    /// When it was recorded, in seconds since 1970.
    #[zbus(property(emits_changed_signal = "const"))]
    fn created(&self) -> u64 {
        bus_time(self.cell.now().created_at)
    }

    /// When its state changed last, in seconds since 1970.
    #[zbus(property)]
    fn updated(&self) -> u64 {
        bus_time(self.cell.now().changed_at)
    }

    /// When it ends by itself if nothing happens, in seconds since 1970; 0 where it does not.
    #[zbus(property)]
    fn expires(&self) -> u64 {
        self.cell.now().expires_at.map_or(0, bus_time)
    }
}

/// A part of a list, bounded.
fn window<T>(list: &[T], offset: u32, count: u32) -> impl Iterator<Item = &T> {
    let (offset, count) = (usize::try_from(offset).unwrap_or(usize::MAX), usize::try_from(count.min(LISTED_MAX)).unwrap_or(0));
    list.iter().skip(offset).take(count)
}
