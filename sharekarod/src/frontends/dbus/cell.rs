//! What an object shows: the newest state, written by the one task that hears the events, read by every getter.

use std::sync::{Arc, Mutex, PoisonError};

/// The newest state of one object; a cheap handle.
pub(super) struct Cell<T>(Arc<Mutex<Arc<T>>>);

impl<T> Clone for Cell<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Cell<T> {
    /// A cell that shows this.
    pub(super) fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(value))))
    }

    /// What it shows now.
    pub(super) fn now(&self) -> Arc<T> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on it shows this.
    pub(super) fn set(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}
