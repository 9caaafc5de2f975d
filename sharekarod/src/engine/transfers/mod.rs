//! Transfers: an offer's life to its end. The receiver pulls; the sender serves what it is asked for.

mod buffers;
mod by_code;
mod complete;
pub mod crowd;
mod delta;
mod explain;
mod fetch;
mod gauge;
mod holes;
mod inbox;
mod incoming;
pub mod jobs;
mod limiter;
mod offers;
mod outgoing;
mod plan;
mod progress;
mod pull;
mod receipt;
pub mod record;
mod reuse;
mod send;
mod serve;
pub mod sources;
mod steer;
mod sweep;
pub mod table;
