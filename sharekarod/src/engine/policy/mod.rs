//! Policy: ordered rules say what becomes of an offer. `judge` is pure; around it the facts are gathered, the rules
//! kept, the programs of rules run, and what was decided is written down.

pub mod asking;
pub mod facts;
pub mod judge;
mod kind;
pub mod log;
pub mod network;
mod refusals;
pub mod rule;
mod rules;
mod run;
pub mod table;
