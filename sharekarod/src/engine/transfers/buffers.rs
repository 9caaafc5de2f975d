//! Memory for pieces, used again and again while something moves: fresh memory has to be zeroed and faulted in, page by
//! page, which costs a tenth of what a transfer over a fast line costs.

use std::{
    mem,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::runtime::Handle;

use crate::files::PIECE_BYTES;

/// Buffers that wait for their next use, at most: two transfers' worth of pieces in flight.
const KEPT: usize = 16;

/// Those that nobody wanted for so long are given back to the system.
const UNUSED: Duration = Duration::from_secs(5);

/// Where buffers come from and go to.
#[derive(Default)]
pub struct Buffers(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    kept: Vec<Vec<u8>>,
    /// Something came back since the last look.
    used: bool,
    /// Somebody looks now and then, as long as anything is kept.
    watched: bool,
}

/// Room for one piece; it holds whatever was in it last.
pub struct Buffer {
    bytes: Vec<u8>,
    home: Weak<Buffers>,
}

impl Buffers {
    /// One that was used before, or a new one.
    pub fn take(self: &Arc<Self>) -> Buffer {
        let kept = self.shelf().kept.pop();
        Buffer { bytes: kept.unwrap_or_else(|| Vec::with_capacity(PIECE_BYTES)), home: Arc::downgrade(self) }
    }

    fn give(self: Arc<Self>, bytes: Vec<u8>) {
        let mut shelf = self.shelf();
        let Ok(runtime) = Handle::try_current() else { return }; // nobody would look after it
        if shelf.kept.len() == KEPT || bytes.capacity() < PIECE_BYTES {
            return;
        }
        shelf.kept.push(bytes);
        shelf.used = true;
        if !mem::replace(&mut shelf.watched, true) {
            runtime.spawn(clear_when_unused(Arc::downgrade(&self)));
        }
    }

    /// Gives back what was not used since the last look; says whether that was all.
    fn clear_if_unused(&self) -> bool {
        let mut shelf = self.shelf();
        if mem::take(&mut shelf.used) {
            return false;
        }
        *shelf = Shelf::default();
        true
    }

    fn shelf(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn clear_when_unused(buffers: Weak<Buffers>) {
    loop {
        tokio::time::sleep(UNUSED).await;
        if buffers.upgrade().is_none_or(|buffers| buffers.clear_if_unused()) {
            return;
        }
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade() {
            home.give(mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_came_back_is_used_again_until_nobody_wants_it() {
        let buffers = Arc::new(Buffers::default());
        let first = buffers.take();
        let at = first.as_ptr();
        drop(first);

        let second = buffers.take();
        assert_eq!(second.as_ptr(), at);
        drop(second);
        tokio::time::sleep(3 * UNUSED).await;

        assert!(buffers.shelf().kept.is_empty() && !buffers.shelf().watched);
    }

    #[tokio::test]
    async fn only_so_many_are_kept_and_none_that_are_too_small() {
        let buffers = Arc::new(Buffers::default());
        let many: Vec<_> = (0..2 * KEPT).map(|_| buffers.take()).collect();
        drop(many);
        assert_eq!(buffers.shelf().kept.len(), KEPT);

        let mut small = buffers.take();
        *small = Vec::new();
        drop(small);

        assert_eq!(buffers.shelf().kept.len(), KEPT - 1);
    }
}
