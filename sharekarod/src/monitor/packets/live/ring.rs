//! The kernel's ring of packets (TPACKET_V3): memory that the kernel fills and we read, block by block.
//!
//! The only place of the monitor with `unsafe`: the options and the address of a packet socket, and the shared memory.
//! <https://docs.kernel.org/networking/packet_mmap.html>
#![allow(unsafe_code, reason = "a ring is memory that is shared with the kernel; no safe interface to it exists")]

use std::{
    ffi::c_void,
    io,
    os::fd::{AsRawFd, OwnedFd},
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::{
    super::{
        captures::Packet,
        filter::{Filter, Instruction},
    },
    LiveError,
    block::{self, Kind},
};

/// 32 blocks of a MiB: a third of a second of a full gigabit, some four seconds of 400,000 cut packets.
const BLOCK_BYTES: u32 = 1 << 20;
const BLOCKS: u32 = 32;

/// Only a unit of account with this version of the ring.
const FRAME_BYTES: u32 = 2048;

/// A block that is not full is handed over after so many milliseconds.
const RETIRE_MS: u32 = 50;

/// Where a block's state stands, and the bit that says that it is ours.
const STATUS_AT: usize = 8;
const OURS: u32 = 1;

/// Linux's hardware types (`ARPHRD_`) and what a capture calls them.
const LINKS: [(u16, u32); 7] = [(1, 1), (772, 1), (512, 9), (801, 105), (802, 119), (803, 127), (65_534, 101)];
const LOOPBACK: u16 = 772;
pub(super) const ETHERNET_HARDWARE: u16 = 1;

/// The link that the kernel's part of a filter knows.
const ETHERNET: u32 = 1;

/// A ring on an interface. Dropping it ends the capture.
pub struct Ring {
    socket: OwnedFd,
    memory: Memory,
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
        set(&socket, libc::PACKET_VERSION, &libc::tpacket_versions::TPACKET_V3).map_err(refused("choose the ring's version"))?;
        let request = libc::tpacket_req3 {
            tp_block_size: BLOCK_BYTES,
            tp_block_nr: BLOCKS,
            tp_frame_size: FRAME_BYTES,
            tp_frame_nr: BLOCK_BYTES / FRAME_BYTES * BLOCKS,
            tp_retire_blk_tov: RETIRE_MS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(&socket, libc::PACKET_RX_RING, &request).map_err(refused("make a ring"))?;
        let memory = Memory::map(&socket).map_err(refused("map the ring"))?;
        // Nothing may arrive before the filter stands, and which filter it is depends on the interface.
        attach(&socket, vec![everything(0)]).map_err(refused("attach the filter"))?;
        let hardware = bind(&socket, index).map_err(refused("bind the socket"))?;
        let link = LINKS.iter().find(|(known, _)| *known == hardware).map(|(_, link)| *link);
        let Some(link) = link else { return Err(LiveError::UnknownLink { interface: interface.into(), hardware }) };
        let kind = Kind { link, loopback: hardware == LOOPBACK };
        let program = filter.filter(|_| link == ETHERNET).and_then(|filter| filter.for_kernel(snap));
        // One that would be too long lets everything through, cut to its length.
        let program = program.map_or_else(|| vec![everything(snap)], |program| program.0);
        attach(&socket, program).map_err(refused("attach the filter"))?;
        Ok(Self { socket, memory, next: 0, kind, dropped: 0, scratch: Vec::new() })
    }

    /// Gives the packets of the next block to `take`, waiting for them so long at most; returns whether there was one.
    ///
    /// # Errors
    /// Where the system does not let us wait, or the interface is gone.
    pub fn read(&mut self, wait: Duration, take: impl FnMut(&Packet<'_>)) -> io::Result<bool> {
        if self.memory.status(self.next).load(Ordering::Acquire) & OURS == 0 {
            self.wait(wait)?;
        }
        let status = self.memory.status(self.next);
        if status.load(Ordering::Acquire) & OURS == 0 {
            return Ok(false);
        }
        // SAFETY: the kernel has given this block away, and gets it back only below.
        let bytes = unsafe { self.memory.block(self.next) };
        block::packets(bytes, self.kind, &mut self.scratch, take);
        status.store(0, Ordering::Release);
        self.next = (self.next + 1) % BLOCKS as usize;
        Ok(true)
    }

    /// How many packets came faster than they were read, since the beginning.
    pub fn dropped(&mut self) -> u64 {
        // The kernel's counters begin anew each time they are read.
        if let Ok(counts) = statistics(&self.socket) {
            self.dropped += u64::from(counts.tp_drops);
        }
        self.dropped
    }

    fn wait(&self, wait: Duration) -> io::Result<()> {
        let mut poll = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let milliseconds = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one entry, which lives until the call returns.
        let ready = unsafe { libc::poll(&mut poll, 1, milliseconds) };
        let error = io::Error::last_os_error();
        match ready {
            -1 if error.kind() != io::ErrorKind::Interrupted => Err(error),
            1 if poll.revents & libc::POLLIN == 0 && poll.revents & libc::POLLERR != 0 => Err(io::ErrorKind::NetworkDown.into()),
            _ => Ok(()),
        }
    }
}

/// The ring's memory.
struct Memory(NonNull<c_void>);

// SAFETY: the mapping belongs to this value alone and is not tied to the thread that made it.
unsafe impl Send for Memory {}

impl Memory {
    const BYTES: usize = BLOCK_BYTES as usize * BLOCKS as usize;

    fn map(socket: &OwnedFd) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses; the ring is exactly this long.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), Self::BYTES, protection, libc::MAP_SHARED, socket.as_raw_fd(), 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(address).map(Self).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    fn start(&self, block: usize) -> *mut u8 {
        debug_assert!(block < BLOCKS as usize);
        // SAFETY: `Ring::next` stays below the number of blocks.
        unsafe { self.0.as_ptr().cast::<u8>().add(block * BLOCK_BYTES as usize) }
    }

    fn status(&self, block: usize) -> &AtomicU32 {
        // SAFETY: aligned, as blocks are whole pages; the kernel too writes it as one word.
        unsafe { AtomicU32::from_ptr(self.start(block).add(STATUS_AT).cast()) }
    }

    /// # Safety
    /// Only while the block is ours, and not after it was given back.
    unsafe fn block(&self, block: usize) -> &[u8] {
        // SAFETY: within the mapping; the caller sees to it that nobody writes.
        unsafe { slice::from_raw_parts(self.start(block), BLOCK_BYTES as usize) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length, and nothing borrows it any more.
        unsafe { libc::munmap(self.0.as_ptr(), Self::BYTES) };
    }
}

fn outcome(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[allow(clippy::cast_possible_truncation, reason = "sizes of small structs")]
const fn size_of32<T>() -> u32 {
    size_of::<T>() as u32
}

fn set<T>(socket: &OwnedFd, option: i32, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as the value has.
    outcome(unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, std::ptr::from_ref(value).cast(), size_of32::<T>()) })
}

pub(super) fn statistics(socket: &OwnedFd) -> io::Result<libc::tpacket_stats_v3> {
    let mut counts = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
    let mut size = size_of32::<libc::tpacket_stats_v3>();
    let at = std::ptr::from_mut(&mut counts).cast();
    // SAFETY: the kernel writes at most as many bytes as the struct has.
    outcome(unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, at, &mut size) })?;
    Ok(counts)
}

/// Keeps so many bytes of every packet.
const fn everything(snap: u32) -> Instruction {
    const RETURN: u16 = 0x06;
    Instruction { code: RETURN, then: 0, otherwise: 0, k: snap }
}

/// The kernel's part of a filter.
pub(super) fn attach(socket: &OwnedFd, mut program: Vec<Instruction>) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let description = libc::sock_fprog { len: length, filter: program.as_mut_ptr().cast() };
    let at = std::ptr::from_ref(&description).cast();
    // SAFETY: `Instruction` is laid out like `sock_filter`; the kernel copies `length` of them before it returns.
    outcome(unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, at, size_of32::<libc::sock_fprog>()) })
}

/// From now on every packet of the interface arrives; returns its hardware type.
pub(super) fn bind(socket: &OwnedFd, index: u32) -> io::Result<u16> {
    // SAFETY: all of its fields may be zero.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL).map_err(io::Error::other)?.to_be();
    address.sll_ifindex = i32::try_from(index).map_err(io::Error::other)?;
    let mut size = size_of32::<libc::sockaddr_ll>();
    // SAFETY: an address of that size.
    outcome(unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), size) })?;
    // SAFETY: the kernel writes at most `size` bytes.
    outcome(unsafe { libc::getsockname(socket.as_raw_fd(), std::ptr::from_mut(&mut address).cast(), &mut size) })?;
    Ok(address.sll_hatype)
}
