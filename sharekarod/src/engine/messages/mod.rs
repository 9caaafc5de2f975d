//! Messages between people: at least once on the wire, exactly once in effect, in the order in which they were written.
//!
//! The store is the truth: a text is in the outbox before anything is said about it, and in the other's history before
//! it is acknowledged. Here is what runs: one task a peer that has something to hear from us.

mod deliver;
pub mod desk;
mod history;
mod receive;
mod send;
pub mod table;
