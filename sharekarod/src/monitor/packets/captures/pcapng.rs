//! pcapng: sections of blocks. <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html>
//!
//! Interfaces, enhanced, simple and obsolete packets are read, every other block and almost every option is skipped. A
//! section may have another byte order than the one before it.

use std::io::Read;

use super::{CaptureError, Order, Packet, RECORD_BYTES_MAX, buffer::Buffer};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE: u32 = 3;
const ENHANCED: u32 = 6;

/// A block is at least its type and twice its length.
const BLOCK_BYTES_MIN: u32 = 12;

/// Option of an interface: the unit of its times. <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html#section-4.2>
const OPTION_RESOLUTION: u16 = 9;
/// Option of an interface: seconds to be added to its times.
const OPTION_OFFSET: u16 = 14;

/// More interfaces than a machine has; a file with more is an attack on memory.
const INTERFACES_MAX: usize = 65_536;

/// A pcapng being read.
#[derive(Debug, Default)]
pub struct Pcapng {
    order: Option<Order>,
    interfaces: Vec<Interface>,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: u32,
    snap: u32,
    unit: Unit,
    offset: i64,
}

/// How long one step of an interface's clock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// So many steps are a nanosecond (finer clocks) ...
    PerNano(u128),
    /// ... or one step is so many nanoseconds ...
    Nanos(u128),
    /// ... or two to this power are a second.
    Binary(u8),
}

impl Unit {
    /// As `if_tsresol` says: a power of ten, or of two where the highest bit is set.
    fn from_resolution(value: u8) -> Self {
        match value {
            0..=9 => Self::Nanos(10_u128.pow(u32::from(9 - value))),
            10..=40 => Self::PerNano(10_u128.pow(u32::from(value - 9))),
            41..=127 => Self::PerNano(u128::MAX),
            _ => Self::Binary(value & 0x7f),
        }
    }

    /// Nanoseconds of so many steps.
    fn nanoseconds(self, steps: u64) -> i64 {
        let steps = u128::from(steps);
        let value = match self {
            Self::Nanos(each) => steps.saturating_mul(each),
            Self::PerNano(each) => steps / each,
            Self::Binary(power) => steps.saturating_mul(1_000_000_000).checked_shr(u32::from(power)).unwrap_or(0),
        };
        i64::try_from(value).unwrap_or(i64::MAX)
    }
}

/// Where a packet's bytes are in a block.
struct Found {
    time: i64,
    link: u32,
    length: u32,
    from: usize,
    captured: usize,
}

impl Pcapng {
    /// Whether a file that begins so is a pcapng.
    pub fn begins(magic: [u8; 4]) -> bool {
        u32::from_be_bytes(magic) == SECTION
    }

    /// The next packet; `None` at the end.
    ///
    /// # Errors
    /// Where the file is cut off or a block cannot be.
    #[inline]
    pub fn next_packet<'b, R: Read>(&mut self, buffer: &'b mut Buffer<R>) -> Result<Option<Packet<'b>>, CaptureError> {
        let (found, order, size) = loop {
            let at = buffer.position();
            let Some(head) = buffer.peek(12)? else {
                return if buffer.is_empty() { Ok(None) } else { Err(CaptureError::CutOff { at, what: "the header of a block" }) };
            };
            let order = self.order_of(head, at)?;
            let (kind, length) = (if head.starts_with(&SECTION.to_be_bytes()) { SECTION } else { order.u32(head, 0) }, order.u32(head, 4));
            let size = length.checked_next_multiple_of(4).and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
            if length < BLOCK_BYTES_MIN || size > RECORD_BYTES_MAX {
                return Err(CaptureError::Damaged { at, what: format!("a block of {length} bytes") });
            }
            let Some(block) = buffer.peek(size)? else { return Err(CaptureError::CutOff { at, what: "a block" }) };
            let body = block.get(8..size - 4).unwrap_or_default();
            if order.u32(block, size - 4) != length {
                return Err(CaptureError::Damaged { at, what: "a block whose two lengths differ".into() });
            }
            match self.block(kind, order, body, at)? {
                Some(found) => break (found, order, size),
                None => drop(buffer.take(size)?),
            }
        };
        let Found { time, link, length, from, captured } = found;
        let block = buffer.take(size)?.unwrap_or_default();
        let data = block.get(8 + from..8 + from + captured).unwrap_or_default();
        Ok(Some(Packet { time, link, big_endian: order == Order::Big, length, data }))
    }

    /// The order of this block's numbers: a section's header brings its own.
    fn order_of(&mut self, head: &[u8], at: u64) -> Result<Order, CaptureError> {
        if !head.starts_with(&SECTION.to_be_bytes()) {
            return self.order.ok_or(CaptureError::NotACapture);
        }
        let order = match Order::Big.u32(head, 8) {
            0x1a2b_3c4d => Order::Big,
            0x4d3c_2b1a => Order::Little,
            _ => return Err(CaptureError::Damaged { at, what: "a section without a known byte order".into() }),
        };
        self.order = Some(order);
        Ok(order)
    }

    /// What a block brings: perhaps a packet.
    fn block(&mut self, kind: u32, order: Order, body: &[u8], at: u64) -> Result<Option<Found>, CaptureError> {
        match kind {
            SECTION => {
                self.interfaces.clear();
                Ok(None)
            }
            INTERFACE => self.interface(order, body, at).map(|()| None),
            ENHANCED => self.packet(order, body, order.u32(body, 0), at).map(Some),
            PACKET => self.packet(order, body, u32::from(order.u16(body, 0)), at).map(Some),
            SIMPLE => self.simple(order, body, at).map(Some),
            _ => Ok(None),
        }
    }

    fn interface(&mut self, order: Order, body: &[u8], at: u64) -> Result<(), CaptureError> {
        let damaged = |what: &str| CaptureError::Damaged { at, what: what.into() };
        let Some(mut options) = body.get(8..) else { return Err(damaged("an interface without its fields")) };
        if self.interfaces.len() >= INTERFACES_MAX {
            return Err(damaged("too many interfaces"));
        }
        let mut interface =
            Interface { link: u32::from(order.u16(body, 0)), snap: order.u32(body, 4), unit: Unit::Nanos(1_000), offset: 0 };
        while let Some((head, rest)) = options.split_first_chunk::<4>() {
            let (code, size) = (order.u16(head, 0), usize::from(order.u16(head, 2)));
            let Some(value) = rest.get(..size).filter(|_| code != 0) else { break };
            match (code, value) {
                (OPTION_RESOLUTION, [resolution, ..]) => interface.unit = Unit::from_resolution(*resolution),
                (OPTION_OFFSET, [_, _, _, _, _, _, _, _]) => {
                    let (first, second) = (u64::from(order.u32(value, 0)), u64::from(order.u32(value, 4)));
                    let whole = if order == Order::Big { first << 32 | second } else { second << 32 | first };
                    interface.offset = whole.cast_signed();
                }
                _ => {}
            }
            options = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
        self.interfaces.push(interface);
        Ok(())
    }

    /// An enhanced or obsolete packet: their fields differ only before the time.
    fn packet(&self, order: Order, body: &[u8], interface: u32, at: u64) -> Result<Found, CaptureError> {
        let interface = self.known(interface, at)?;
        let steps = u64::from(order.u32(body, 4)) << 32 | u64::from(order.u32(body, 8));
        let captured = order.u32(body, 12);
        let length = order.u32(body, 16).max(captured);
        let time = interface.offset.saturating_mul(1_000_000_000).saturating_add(interface.unit.nanoseconds(steps));
        found(Found { time, link: interface.link, length, from: 20, captured: usize::try_from(captured).unwrap_or(usize::MAX) }, body, at)
    }

    /// A simple packet: no time, the first interface, as much of it as the interface keeps.
    fn simple(&self, order: Order, body: &[u8], at: u64) -> Result<Found, CaptureError> {
        let interface = self.known(0, at)?;
        let length = order.u32(body, 0);
        let kept = if interface.snap == 0 { length } else { length.min(interface.snap) };
        found(Found { time: 0, link: interface.link, length, from: 4, captured: usize::try_from(kept).unwrap_or(usize::MAX) }, body, at)
    }

    fn known(&self, number: u32, at: u64) -> Result<&Interface, CaptureError> {
        let known = usize::try_from(number).ok().and_then(|index| self.interfaces.get(index));
        known.ok_or_else(|| CaptureError::Damaged { at, what: format!("a packet of interface {number}, which the file does not describe") })
    }
}

/// Refuses a packet that says that it is longer than its block.
fn found(found: Found, body: &[u8], at: u64) -> Result<Found, CaptureError> {
    if body.len().checked_sub(found.from).is_none_or(|room| room < found.captured) {
        return Err(CaptureError::Damaged { at, what: format!("a packet of {} bytes in a block of {}", found.captured, body.len()) });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Capture, CaptureError};
    use super::Unit;

    fn block(kind: u32, words: &[u32], data: &[u8], big: bool) -> Vec<u8> {
        let bytes = |word: u32| if big { word.to_be_bytes() } else { word.to_le_bytes() };
        let mut body: Vec<u8> = words.iter().copied().flat_map(bytes).chain(data.iter().copied()).collect();
        body.resize(body.len().next_multiple_of(4), 0);
        let size = bytes(u32::try_from(body.len() + 12).unwrap());
        [bytes(kind).as_slice(), &size, &body, &size].concat()
    }

    fn section(big: bool) -> Vec<u8> {
        block(0x0a0d_0d0a, &[0x1a2b_3c4d, if big { 1 << 16 } else { 1 }, u32::MAX, u32::MAX], &[], big)
    }

    fn interface(link: u32, resolution: Option<u8>, big: bool) -> Vec<u8> {
        let link = if big { link << 16 } else { link };
        let option = if big { 9 << 16 | 1 } else { 1 << 16 | 9 };
        match resolution {
            Some(value) => block(1, &[link, 0, option], &[value, 0, 0, 0], big),
            None => block(1, &[link, 0], &[], big),
        }
    }

    /// (time, link, length, bytes) of a packet.
    type Seen = (i64, u32, u32, Vec<u8>);

    fn read(file: &[u8]) -> (Vec<Seen>, Option<CaptureError>) {
        let (mut packets, mut capture) = (Vec::new(), Capture::open(file).unwrap());
        loop {
            match capture.next_packet() {
                Ok(Some(packet)) => packets.push((packet.time, packet.link, packet.length, packet.data.to_vec())),
                Ok(None) => return (packets, None),
                Err(error) => return (packets, Some(error)),
            }
        }
    }

    #[test]
    fn sections_interfaces_and_all_kinds_of_packets_are_read() {
        let file = [
            section(false),
            interface(1, None, false),
            interface(101, Some(9), false),
            block(0x8000_0abc, &[], b"whatever", false),
            block(6, &[1, 0, 7, 3, 60], b"abc", false),
            block(2, &[0, 0, 7, 2, 60], b"de", false),
            block(3, &[4], b"fghi", false),
            section(true),
            interface(113, Some(0x80 | 10), true),
            block(6, &[0, 0, 1024, 1, 1], b"j", true),
        ]
        .concat();

        let (packets, error) = read(&file);

        assert!(error.is_none());
        assert_eq!(packets[0], (7, 101, 60, b"abc".to_vec()));
        assert_eq!(packets[1], (7_000, 1, 60, b"de".to_vec()));
        assert_eq!(packets[2], (0, 1, 4, b"fghi".to_vec()));
        assert_eq!(packets[3], (1_000_000_000, 113, 1, b"j".to_vec()));
    }

    #[test]
    fn the_units_of_time_are_powers_of_ten_or_two() {
        assert_eq!(Unit::from_resolution(6).nanoseconds(5), 5_000);
        assert_eq!(Unit::from_resolution(0).nanoseconds(5), 5_000_000_000);
        assert_eq!(Unit::from_resolution(12).nanoseconds(5_000), 5);
        assert_eq!(Unit::from_resolution(0x80 | 1).nanoseconds(4), 2_000_000_000);
        assert_eq!(Unit::from_resolution(127).nanoseconds(u64::MAX), 0);
        assert_eq!(Unit::from_resolution(0xff).nanoseconds(u64::MAX), 0);
    }

    #[test]
    fn what_comes_before_the_damage_is_read() {
        let good = [section(false), interface(1, None, false), block(6, &[0, 0, 7, 3, 60], b"abc", false)].concat();
        let damages = [
            (block(6, &[3, 0, 7, 3, 60], b"abc", false), "interface 3"),
            (block(6, &[0, 0, 7, 99, 60], b"abc", false), "99 bytes"),
            (block(6, &[], &[], false), "0 bytes in a block of 0"),
            ([6, 0, 0, 0].repeat(3), "a block of 6 bytes"),
            (vec![6, 0, 0, 0, 0xfc, 0xff, 0xff, 0xff, 0, 0, 0, 0], "4294967292"),
            (vec![6, 0], "cut off"),
        ];

        for (damage, what) in damages {
            let (packets, error) = read(&[good.clone(), damage].concat());
            assert_eq!(packets.len(), 1, "{what}");
            assert!(error.unwrap().to_string().contains(what), "{what}");
        }
    }

    proptest! {
        #[test]
        fn whatever_follows_the_section_never_panics(big: bool, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            read(&[section(big), interface(1, Some(bytes.first().copied().unwrap_or(6)), big), bytes].concat());
        }

        #[test]
        fn a_file_with_changed_bytes_never_panics(changes in proptest::collection::vec((0_usize..160, any::<u8>()), 1..8)) {
            let mut file = [section(false), interface(1, Some(9), false), block(6, &[0, 0, 7, 3, 60], b"abc", false)].concat();
            for (at, value) in changes {
                if let Some(byte) = file.get_mut(at).filter(|_| at > 11) {
                    *byte = value;
                }
            }
            if let Ok(mut capture) = Capture::open(file.as_slice()) {
                while let Ok(Some(_)) = capture.next_packet() {}
            }
        }
    }
}
