//! The kernel's ring of packets (TPACKET_V3): memory that the kernel fills and we read, block by block.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    super::{
        captures::Packet,
        filter::{Filter, Instruction},
    },
    LiveError,
    block::{self, Kind},
};
use crate::kernel::packets::{self, Blocks};

/// 32 blocks of a MiB: a third of a second of a full gigabit, some four seconds of 400,000 cut packets.
const BLOCK_BYTES: u32 = 1 << 20;
const BLOCKS: u32 = 32;

/// A block that is not full is handed over after so many milliseconds.
const RETIRE_MS: u32 = 50;

/// Linux's hardware types (`ARPHRD_`) and what a capture calls them.
const LINKS: [(u16, u32); 7] = [(1, 1), (772, 1), (512, 9), (801, 105), (802, 119), (803, 127), (65_534, 101)];
const LOOPBACK: u16 = 772;
pub(super) const ETHERNET_HARDWARE: u16 = 1;

/// The link that the kernel's part of a filter knows.
const ETHERNET: u32 = 1;

/// A ring on an interface. Dropping it ends the capture.
pub struct Ring {
    socket: OwnedFd,
    blocks: Blocks,
    next: usize,
    kind: Kind,
    dropped: u64,
    scratch: Vec<u8>,
}

impl Ring {
    /// Sets a packet socket up: filter, ring, and only then the interface, so that nothing else is ever received.
    ///
    /// # Errors
    /// Where the kernel refuses a step.
    pub fn open(socket: OwnedFd, interface: &str, filter: Option<&Filter>, snap: u32) -> Result<Self, LiveError> {
        let refused = |step: &'static str| move |source| LiveError::Refused { step, interface: interface.to_owned(), source };
        let index = rustix::net::netdevice::name_to_index(&socket, interface).map_err(|_| LiveError::NoInterface(interface.into()))?;
        let blocks = Blocks::make(&socket, BLOCK_BYTES, BLOCKS, RETIRE_MS).map_err(refused("make a ring"))?;
        // Nothing may arrive before the filter stands, and which filter it is depends on the interface.
        attach(&socket, &[everything(0)]).map_err(refused("attach the filter"))?;
        let hardware = packets::bind(&socket, index).map_err(refused("bind the socket"))?;
        let link = LINKS.iter().find(|(known, _)| *known == hardware).map(|(_, link)| *link);
        let Some(link) = link else { return Err(LiveError::UnknownLink { interface: interface.into(), hardware }) };
        let kind = Kind { link, loopback: hardware == LOOPBACK };
        let program = filter.filter(|_| link == ETHERNET).and_then(|filter| filter.for_kernel(snap));
        // One that would be too long lets everything through, cut to its length.
        let program = program.map_or_else(|| vec![everything(snap)], |program| program.0);
        attach(&socket, &program).map_err(refused("attach the filter"))?;
        Ok(Self { socket, blocks, next: 0, kind, dropped: 0, scratch: Vec::new() })
    }

    /// Gives the packets of the next block to `take`, waiting for them so long at most; returns whether there was one.
    ///
    /// # Errors
    /// Where the system does not let us wait, or the interface is gone.
    pub fn read(&mut self, wait: Duration, take: impl FnMut(&Packet<'_>)) -> io::Result<bool> {
        if self.blocks.filled(self.next).is_none() {
            self.wait(wait)?;
        }
        let Some(bytes) = self.blocks.filled(self.next) else { return Ok(false) };
        block::packets(bytes, self.kind, &mut self.scratch, take);
        self.blocks.give_back(self.next);
        self.next = (self.next + 1) % BLOCKS as usize;
        Ok(true)
    }

    /// How many packets came faster than they were read, since the beginning.
    pub fn dropped(&mut self) -> u64 {
        // The kernel's counters begin anew each time they are read.
        if let Ok(counts) = packets::statistics(&self.socket) {
            self.dropped += u64::from(counts.tp_drops);
        }
        self.dropped
    }

    fn wait(&self, wait: Duration) -> io::Result<()> {
        let mut polled = [PollFd::new(&self.socket, PollFlags::IN)];
        let wait = Timespec::try_from(wait).ok();
        match poll(&mut polled, wait.as_ref()) {
            Err(e) if e != rustix::io::Errno::INTR => return Err(e.into()),
            _ => {}
        }
        let came = polled[0].revents();
        if came.contains(PollFlags::ERR) && !came.contains(PollFlags::IN) {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        Ok(())
    }
}

/// The kernel's part of a filter.
pub(super) fn attach(socket: &OwnedFd, program: &[Instruction]) -> io::Result<()> {
    let raw = |it: &Instruction| libc::sock_filter { code: it.code, jt: it.then, jf: it.otherwise, k: it.k };
    packets::attach(socket, program.iter().map(raw).collect())
}

/// Keeps so many bytes of every packet.
const fn everything(snap: u32) -> Instruction {
    const RETURN: u16 = 0x06;
    Instruction { code: RETURN, then: 0, otherwise: 0, k: snap }
}
