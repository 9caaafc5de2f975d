//! Every number of the network's ground floor, with its reason.
//!
//! Whoever can send us a packet may spend of ours only what stands here, until the engine trusts its key.

use std::time::Duration;

use sharekaro_proto::wire;

// ---- before anybody is known ------------------------------------------------------------------------

/// Handshakes that run at the same time. One takes about 2 ms of CPU, so a queue of these is over in a blink.
pub(super) const HANDSHAKES: usize = 64;

/// Of these, from one address: a household behind one address, and no more.
pub(super) const HANDSHAKES_PER_ADDRESS: usize = 8;

/// From so many handshakes with unproven addresses on, a newcomer must first echo a token: then spoofed ones cost nothing.
pub(super) const UNPROVEN_HANDSHAKES: usize = 16;

/// A handshake older than this gives its place to a newcomer where all are taken. On a LAN one takes milliseconds.
pub(super) const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(1);

/// For the handshake, and once more for the greeting: far more than a bad radio needs, and then the place is free again.
pub(super) const GREETING_DEADLINE: Duration = Duration::from_secs(10);

/// Connection attempts that quinn may hold before we look at them; we look at once.
pub(super) const INCOMING: usize = 64;

/// Bytes that an attempt may send before we look at it: a ClientHello and its certificate fit many times.
pub(super) const INCOMING_BYTES: u64 = 64 << 10;

/// The same, of all attempts together.
pub(super) const INCOMING_BYTES_TOTAL: u64 = 4 << 20;

/// The longest certificate: ours have under 300 bytes.
pub(super) const CERTIFICATE_MAX: usize = 4 << 10;

// ---- strangers --------------------------------------------------------------------------------------

/// Sessions with devices that are not trusted, at most: a classroom that pairs at the same minute.
pub(super) const STRANGERS: usize = 64;

/// Of these, from one address.
pub(super) const STRANGERS_PER_ADDRESS: usize = 4;

/// Sessions of one trusted device: two that dialled each other, a restart whose dead session is not noticed yet.
pub(super) const SESSIONS_PER_DEVICE: usize = 8;

/// Requests that a stranger may have open: an offer, a pairing, a ping, one to spare.
pub(super) const STRANGER_STREAMS: u32 = 4;

/// Bytes in flight from and to a stranger: one of its longest frames for each of its streams.
pub(super) const STRANGER_WINDOW: u32 = STRANGER_STREAMS * wire::FRAME_MAX_STRANGER as u32;

// ---- trusted peers ----------------------------------------------------------------------------------

/// Requests that a trusted peer may have open. quinn prepares for each: 256 cost about 50 KiB a connection, 4,096 near 600.
pub(super) const PEER_STREAMS: u32 = 256;

/// Bytes in flight on one stream: a whole piece and its frame. Above about 1.1 MiB a lossy path can leave 1,024 gaps in
/// a stream, and quinn then closes the connection.
pub(super) const STREAM_WINDOW: u32 = (1 << 20) + (64 << 10);

/// The widest receive window of a connection: 1 Gbit/s over 250 ms. Bounds what a peer may make us hold.
pub(super) const WINDOW_MAX: u32 = 32 << 20;

/// The narrowest that still moves data at LAN speed (3.3 Gbit/s were measured with it).
pub(super) const WINDOW_MIN: u32 = 256 << 10;

/// What we write ahead of a trusted peer's acknowledgements: 1 Gbit/s over 60 ms. Bounds what a peer that never reads
/// makes us hold.
pub(super) const SEND_WINDOW: u64 = 8 << 20;

/// What we ask the kernel for; many grant less. A receive window beyond half of it loses packets in our own kernel.
pub(super) const SOCKET_BUFFER: usize = 7 << 20;

// ---- liveness ---------------------------------------------------------------------------------------

/// On a quiet connection, who dialled sends a packet this often, so that both sides and every box between know it is alive.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Nothing was heard for so long: the peer is gone. Four keep-alives may be lost.
pub(super) const IDLE: Duration = Duration::from_secs(20);

/// No byte moved on a stream for so long: it never will. More than `IDLE`, so that a dead connection says so itself.
pub(super) const STALL: Duration = Duration::from_secs(30);

/// From its first byte to its last, a request must be here by then.
pub(super) const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// Between the end of all work and the closing of its sessions. quinn holds a close back while the congestion window is
/// full and streams still want to send, and then for ever, as a closed connection hears no acknowledgements: until then,
/// what was handed over has to be out of the way: a send window's 8 MiB at 70 Mbit/s.
pub(super) const LULL: Duration = Duration::from_secs(1);

/// For closing all sessions with a word: three round trips of a slow link.
pub(super) const GOODBYE: Duration = Duration::from_millis(500);

// ---- sessions ---------------------------------------------------------------------------------------

/// Requests that were read and wait for the engine. Beyond, they wait in their streams, and the peer with them.
pub(super) const WAITING_REQUESTS: usize = 32;

/// Notes that were read and wait for the engine.
pub(super) const WAITING_NOTES: usize = 64;

/// Notes that wait to be sent. A peer that lets more pile up does not read: the session ends, the next one starts afresh.
pub(super) const OUTGOING_NOTES: usize = 1000;

/// Broken requests that a session may send in one go; then it is closed.
pub(super) const FAULTS: f64 = 64.0;

/// Broken requests a second that are forgiven.
pub(super) const FAULTS_FORGIVEN: f64 = 4.0;

/// Sessions that wait for the engine to take them.
pub(super) const WAITING_SESSIONS: usize = 64;

// ---- dialling ---------------------------------------------------------------------------------------

/// The next address is tried after this long (RFC 8305 says 100 to 250 ms).
pub(super) const NEXT_ADDRESS: Duration = Duration::from_millis(100);

/// Addresses that are tried at the same time.
pub(super) const ADDRESSES_AT_ONCE: usize = 4;

/// Addresses of one dial, at most; the caller puts the best first.
pub(super) const ADDRESSES: usize = 32;

/// An address that did not greet by then does not answer.
pub(super) const DIAL_DEADLINE: Duration = Duration::from_secs(5);

// ---- packets ----------------------------------------------------------------------------------------

/// The largest UDP payload on an interface with jumbo frames (9000, less IPv4 and UDP headers).
pub(super) const PAYLOAD_JUMBO: u16 = 8972;

/// The largest UDP payload on plain Ethernet (1500, less IPv4 and UDP headers).
pub(super) const PAYLOAD_PLAIN: u16 = 1472;

/// What one call may hand to the kernel to be cut into packets: it refuses what does not fit into one IP packet, which
/// quinn takes for a broken path and falls back to the smallest packets.
pub(super) const SEGMENTED_MAX: usize = 65_000;
