//! The messages, as prost structs. Their names and tags are the protocol.

mod greeting;
mod pairing;
mod requests;
mod texts;
mod transfers;
mod trouble;

pub use self::{greeting::*, pairing::*, requests::*, texts::*, transfers::*, trouble::*};
