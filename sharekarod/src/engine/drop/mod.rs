//! The drop folder: what is put there is sent to whom the folder says, once it is whole, and filed away afterwards.
//!
//! A watcher says where something happened. One task, the desk, does the rest, again and again the same: look, judge,
//! send, file. The files themselves are the list of what is to do; the journal in the store knows only what was taken
//! from them, so that nothing is sent twice, wherever the daemon was killed.

mod deed;
mod desk;
mod dispatch;
mod finish;
mod folders;
mod look;
mod names;
mod retry;
mod rows;
pub mod settle;
mod shown;
mod survey;
pub mod table;

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sharekaro_proto::{
    ErrorBody,
    control::drop::{DropItem, Drops, SENT_SHOWN},
    nouns::text::lossless,
};
use tokio::sync::{Notify, oneshot};

use self::settle::Sign;
use super::Engine;
use crate::store;

/// So many signs wait to be read; with more, some are lost, and everything is looked at.
const SIGNS_MAX: usize = 20_000;

/// So many people ask for another try at once.
const RETRIES_MAX: usize = 64;

/// What others have to say to the desk.
#[derive(Default)]
pub struct DropDesk {
    inbox: Mutex<Inbox>,
    /// Something is in the inbox.
    arrived: Notify,
    /// A drop folder was made, or it is time to look whether what could not be watched can be now.
    rewatch: Notify,
}

/// What was noticed since the desk looked last.
#[derive(Default)]
struct Inbox {
    /// In which drop folder, where from there on, and what.
    signs: Vec<(usize, PathBuf, Sign)>,
    /// Signs were lost: everything may have changed.
    lost: bool,
    /// Groups or settings are others than before.
    targets_changed: bool,
    /// Not everything can be watched.
    blind: Option<bool>,
    retries: Vec<Retry>,
}

/// Somebody wants another try, of what lies at a path or of everything.
struct Retry {
    path: Option<PathBuf>,
    reply: oneshot::Sender<Result<Drops, ErrorBody>>,
}

impl DropDesk {
    fn tell(&self, say: impl FnOnce(&mut Inbox)) {
        say(&mut self.lock());
        self.arrived.notify_one();
    }

    fn take(&self) -> Inbox {
        std::mem::take(&mut self.lock())
    }

    /// Nothing that can panic runs under this lock.
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Everything in the drop folders, and what was sent from them.
    ///
    /// # Errors
    /// The database.
    pub async fn drops(&self) -> Result<Drops, ErrorBody> {
        let mut items = self.dropped();
        let sent = self.store().read(|c| store::drops::sent(c, SENT_SHOWN)).await?;
        items.extend(sent.into_iter().map(|row| sent_item(&row)));
        Ok(Drops { items })
    }

    /// What lies in the drop folders and is not sent yet.
    pub fn dropped(&self) -> Vec<DropItem> {
        self.look(|state| state.drops.views())
    }

    /// Tries again what failed, and at once what waits: all of it, or what lies at a path and below.
    ///
    /// # Errors
    /// Nothing there waits or failed.
    pub async fn retry_drops(&self, path: Option<PathBuf>) -> Result<Drops, ErrorBody> {
        let (reply, answer) = oneshot::channel();
        let mut refused = false;
        self.inner.drops.tell(|inbox| match inbox.retries.len() < RETRIES_MAX {
            true => inbox.retries.push(Retry { path, reply }),
            false => refused = true,
        });
        let busy = || ErrorBody::new(sharekaro_proto::ErrorCode::Busy, "the drop folder is busy").hint("try again in a moment");
        if refused { Err(busy()) } else { answer.await.unwrap_or_else(|_| Err(busy())) }
    }

    /// Something happened in a drop folder: its number in `Config::drop_dirs`, where from there on, and what.
    pub fn drop_noticed(&self, root: usize, path: PathBuf, sign: Sign) {
        self.inner.drops.tell(|inbox| {
            if inbox.signs.len() >= SIGNS_MAX {
                inbox.signs.clear();
                inbox.lost = true;
            }
            inbox.signs.push((root, path, sign));
        });
    }

    /// Things happened that nobody noticed.
    pub fn drop_signs_lost(&self) {
        self.inner.drops.tell(|inbox| inbox.lost = true);
    }

    /// Groups, or the settings of the drop folder, are others than before.
    pub(super) fn drop_targets_changed(&self) {
        self.inner.drops.tell(|inbox| inbox.targets_changed = true);
    }

    /// Whether there is something in the drop folders that cannot be watched; then they are looked through now and then.
    pub fn drop_watch_is_blind(&self, blind: bool) {
        self.inner.drops.tell(|inbox| inbox.blind = Some(blind));
    }

    /// Returns when whoever watches should begin again, as a drop folder was made or some time has passed.
    pub async fn drop_to_be_watched(&self) {
        self.inner.drops.rewatch.notified().await;
    }

    /// Runs what the drop folders need.
    pub(super) fn keep_drop_folders(&self) {
        self.spawn(desk::run(self.clone()));
    }
}

fn sent_item(row: &store::drops::DropRow) -> DropItem {
    let place = row.filed.as_ref().unwrap_or(&row.place);
    DropItem {
        path: lossless(row.root.join(place).as_os_str().as_encoded_bytes()),
        target: row.target.clone(),
        state: sharekaro_proto::control::drop::DropState::Sent,
        reason: row.reason.clone(),
    }
}
