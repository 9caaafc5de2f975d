//! Packets, live and from files: what they are, who talks to whom, which are out of the ordinary.
//!
//! A capture is streamed through one pass (`captures`, `dissect`, `filter`, `stats`, `forest`) in bounded memory, however
//! long it is and whatever is in it. Nothing here writes to the network or needs a privilege: `live` reads a
//! packet socket that another program has opened.

pub mod analyse;
pub mod captures;
pub mod dissect;
pub mod export;
pub mod filter;
pub mod forest;
pub mod live;
pub mod stats;

pub use analyse::{Failure, Options, analyse};
