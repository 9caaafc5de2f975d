//! Where events come from, besides the counters: each source is a task that sends what it notices and ends with the
//! daemon. One that the kernel does not permit says so in a sentence, and the others go on.

pub(super) mod lan;
pub(super) mod probe;
mod proc;
