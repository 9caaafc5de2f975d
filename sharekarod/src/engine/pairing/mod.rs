//! Making a stranger a peer that is trusted: by words that two people compare, or by a code that one passes on.

mod code;
mod spoken;
mod table;
mod words;

pub use table::PairingTable;
