//! Packet sockets and their ring (TPACKET_V3): <https://docs.kernel.org/networking/packet_mmap.html>

use std::{
    ffi::c_void,
    io,
    os::fd::{AsRawFd, OwnedFd},
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU32, Ordering},
};

/// Where a block's state stands, and the bit that says that it is ours.
const STATUS_AT: usize = 8;
const OURS: u32 = 1;

/// Only a unit of account with this version of the ring.
const FRAME_BYTES: u32 = 2048;

/// The memory of a ring: blocks that the kernel fills and we read, in turn.
pub struct Blocks {
    start: NonNull<c_void>,
    block_bytes: usize,
    count: usize,
}

// SAFETY: the mapping belongs to this value alone and is not tied to the thread that made it.
unsafe impl Send for Blocks {}

impl Blocks {
    /// Makes the ring of a packet socket: so many blocks of so many bytes, a power of two and a page at least. One that is
    /// not full is handed over after `retire_ms` milliseconds.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn make(socket: &OwnedFd, block_bytes: u32, count: u32, retire_ms: u32) -> io::Result<Self> {
        set(socket, libc::SOL_PACKET, libc::PACKET_VERSION, &libc::tpacket_versions::TPACKET_V3)?;
        let request = libc::tpacket_req3 {
            tp_block_size: block_bytes,
            tp_block_nr: count,
            tp_frame_size: FRAME_BYTES,
            tp_frame_nr: block_bytes / FRAME_BYTES * count,
            tp_retire_blk_tov: retire_ms,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let (block_bytes, count) = (block_bytes as usize, count as usize);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses; the ring is exactly this long.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), block_bytes * count, protection, libc::MAP_SHARED, socket.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, block_bytes, count })
    }

    /// The bytes of a block that the kernel has filled and left to us; `None` where it has not.
    pub fn filled(&self, block: usize) -> Option<&[u8]> {
        let ours = self.status(block).load(Ordering::Acquire) & OURS != 0;
        // SAFETY: within the mapping. The kernel has given the block away and gets it back only by `give_back`, which needs
        // this value for itself: what is returned here lives no longer.
        ours.then(|| unsafe { slice::from_raw_parts(self.at(block), self.block_bytes) })
    }

    /// The kernel may fill it again.
    pub fn give_back(&mut self, block: usize) {
        self.status(block).store(0, Ordering::Release);
    }

    fn status(&self, block: usize) -> &AtomicU32 {
        // SAFETY: within the block and aligned, as blocks are whole pages; the kernel too writes it as one word.
        unsafe { AtomicU32::from_ptr(self.at(block).add(STATUS_AT).cast()) }
    }

    fn at(&self, block: usize) -> *mut u8 {
        assert!(block < self.count, "a ring of {} blocks has no block {block}", self.count);
        // SAFETY: within the mapping, as was just checked.
        unsafe { self.start.as_ptr().cast::<u8>().add(block * self.block_bytes) }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        // SAFETY: mapped by `make` with this length, and nothing borrows it any more.
        unsafe { libc::munmap(self.start.as_ptr(), self.block_bytes * self.count) };
    }
}

/// How many packets came to a socket, and how many of them were dropped, since the last call.
///
/// # Errors
/// What the kernel says.
pub fn statistics(socket: &OwnedFd) -> io::Result<libc::tpacket_stats_v3> {
    let mut counts = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
    let mut size = size_of32::<libc::tpacket_stats_v3>();
    let at = std::ptr::from_mut(&mut counts).cast();
    // SAFETY: the kernel writes at most as many bytes as the struct has.
    outcome(unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, at, &mut size) })?;
    Ok(counts)
}

/// The kernel's part of a filter, in classic BPF.
///
/// # Errors
/// The kernel finds it wrong, or too long.
pub fn attach(socket: &OwnedFd, mut program: Vec<libc::sock_filter>) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // The kernel copies `len` of them before it returns.
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &libc::sock_fprog { len, filter: program.as_mut_ptr() })
}

/// From now on every packet of the interface arrives; returns its hardware type (`ARPHRD_`).
///
/// # Errors
/// What the kernel says.
pub fn bind(socket: &OwnedFd, index: u32) -> io::Result<u16> {
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

fn set<T>(socket: &OwnedFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    let at = std::ptr::from_ref(value).cast();
    // SAFETY: the kernel reads as many bytes as the value has, and what a filter points to, which its caller holds.
    outcome(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, at, size_of32::<T>()) })
}

fn outcome(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[allow(clippy::cast_possible_truncation, reason = "sizes of small structs")]
const fn size_of32<T>() -> u32 {
    size_of::<T>() as u32
}
