//! A packet socket without a ring, for the few packets that rules want: nobody is woken by them, they lie ready until
//! somebody looks. What comes faster than the socket holds is counted and lost.

use std::{io, os::fd::OwnedFd};

use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};

use super::{
    super::filter::notable,
    LiveError, helper,
    ring::{self, ETHERNET_HARDWARE},
};
use crate::kernel::packets;

/// Room for a DHCP answer with many options; every other packet is shorter.
const SNAP_BYTES: u32 = 1024;

/// A socket that hears one interface at a time.
pub struct Lookout {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Lookout {
    /// Opens the socket; it hears nothing yet. Blocks for as long as `sharekaro-capture` runs.
    ///
    /// # Errors
    /// Where there is no such interface or no right, or the program is missing.
    pub fn open(interface: &str) -> Result<Self, LiveError> {
        Ok(Self { socket: helper::open_socket(interface)?, buffer: vec![0; SNAP_BYTES as usize] })
    }

    /// From now on it hears this interface and no other; what was heard before is gone. Whether its frames are Ethernet's:
    /// of others nothing is heard.
    ///
    /// # Errors
    /// The kernel refuses: as a rule, the interface has just gone.
    pub fn hear(&mut self, index: u32) -> io::Result<bool> {
        let program = notable(SNAP_BYTES).ok_or(io::ErrorKind::InvalidInput)?;
        ring::attach(&self.socket, &program.0)?;
        let ethernet = packets::bind(&self.socket, index)? == ETHERNET_HARDWARE;
        while self.frame().is_some() {}
        self.passed()?;
        Ok(ethernet)
    }

    /// The next frame that lies ready, cut where it is long.
    pub fn frame(&mut self) -> Option<&[u8]> {
        loop {
            match recv(&self.socket, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => return self.buffer.get(..length),
                Err(Errno::INTR) => {}
                // Nothing there, or the interface went down: it is heard again when it comes up.
                Err(_) => return None,
            }
        }
    }

    /// How many packets came since the last call, those included that were lost.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn passed(&mut self) -> io::Result<u64> {
        packets::statistics(&self.socket).map(|counts| counts.tp_packets.into())
    }
}
