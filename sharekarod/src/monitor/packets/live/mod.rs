//! Packets of an interface as they come: the socket from `sharekaro-capture`, the kernel's ring, what was lost.

mod block;
mod helper;
mod lookout;
mod ring;

use std::time::Duration;

pub use self::{helper::open_socket, lookout::Lookout, ring::Ring};
use super::filter::Filter;

/// Bytes kept of each packet where nobody asks for more: every header and most names.
pub const SNAP_BYTES: u32 = 512;

/// All of a packet, as Wireshark's default has it.
pub const SNAP_BYTES_ALL: u32 = 262_144;

/// Why packets cannot be captured.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// There is no such interface.
    #[error("there is no interface {0:?}")]
    NoInterface(String),
    /// We may not. The sentence says how to allow it.
    #[error("{0}")]
    NotPermitted(String),
    /// The program that opens the socket is not where we are, nor in the path.
    #[error("cannot start sharekaro-capture, which opens the packet socket")]
    NoHelper(#[source] std::io::Error),
    /// It ended in another way.
    #[error("sharekaro-capture did not hand over a socket: {0}")]
    Helper(String),
    /// The kernel refused a step of setting the socket up.
    #[error("cannot {step} for capturing on {interface}")]
    Refused {
        /// Which.
        step: &'static str,
        /// Where.
        interface: String,
        /// Why.
        source: std::io::Error,
    },
    /// Its packets begin with a header that we do not know.
    #[error("cannot capture on {interface}: hardware type {hardware} is unknown")]
    UnknownLink {
        /// Where.
        interface: String,
        /// Linux's `ARPHRD_` number.
        hardware: u16,
    },
}

/// Opens an interface: the kernel passes what the filter may mean, cut to `snap` bytes.
///
/// # Errors
/// Where that is not permitted, not there, or refused.
pub fn open(interface: &str, filter: Option<&Filter>, snap: u32) -> Result<Ring, LiveError> {
    Ring::open(open_socket(interface)?, interface, filter, snap)
}

/// How long a read waits for packets at most, so that whoever reads can look at the clock.
pub const WAIT: Duration = Duration::from_millis(100);
