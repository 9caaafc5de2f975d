//! The nouns of ShareKaro as types: ids that cannot be mixed up, states that cannot be misspelt.

pub mod amount;
pub mod device;
pub mod hours;
pub mod shell;
pub mod text;
pub mod transfer;
pub mod trust;
