//! The few things used last, kept open. Linear, as it is small.

use std::sync::{Arc, Mutex, PoisonError};

/// So many files, and as many folders, are held open for one transfer: more than pieces are in flight at a time, and for
/// the sixteen transfers that run at a time still below the 1,024 that a process has by default.
const KEPT: usize = 16;

/// Things by number, the one used last at the end.
#[derive(Debug)]
pub(super) struct Recent<T>(Mutex<Vec<(u32, Arc<T>)>>);

impl<T> Recent<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Vec::with_capacity(KEPT)))
    }

    pub(super) fn get(&self, no: u32) -> Option<Arc<T>> {
        self.with(|kept| {
            let at = kept.iter().rposition(|(kept_no, _)| *kept_no == no)?;
            let found = kept.remove(at);
            let thing = found.1.clone();
            kept.push(found);
            Some(thing)
        })
    }

    pub(super) fn put(&self, no: u32, thing: T) -> Arc<T> {
        let thing = Arc::new(thing);
        self.with(|kept| {
            kept.retain(|(kept_no, _)| *kept_no != no);
            if kept.len() >= KEPT {
                kept.remove(0);
            }
            kept.push((no, thing.clone()));
        });
        thing
    }

    pub(super) fn forget(&self, no: u32) {
        self.with(|kept| kept.retain(|(kept_no, _)| *kept_no != no));
    }

    pub(super) fn forget_all(&self) {
        self.with(Vec::clear);
    }

    fn with<R>(&self, work: impl FnOnce(&mut Vec<(u32, Arc<T>)>) -> R) -> R {
        // The list is whole between any two steps, so that a panic elsewhere cannot have broken it.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
