//! What is remembered of a transfer; the store, which keeps it, has its shape.

pub use crate::store::record::{Record, SKIPPED_NAMED_MAX, SendOptions};
