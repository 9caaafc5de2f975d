//! pcap: one header, then records. <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-05.html>
//!
//! Besides the format of tcpdump (microseconds or nanoseconds, either byte order) the variants that Wireshark knows:
//! Kuznetzov's (more in each record), IXIA's (more in the header), AIX's (other link numbers), and the files of tcpdump
//! before 1997 with both lengths of a record exchanged.

use std::io::Read;

use super::{CaptureError, Order, Packet, RECORD_BYTES_MAX, buffer::Buffer};

const HEADER_BYTES: usize = 24;

/// The largest packet that is believed of a pcap: Wireshark's `WTAP_MAX_PACKET_SIZE_STANDARD`. The few links with larger
/// ones (D-Bus, USB) get `RECORD_BYTES_MAX`.
const PACKET_BYTES_MAX: usize = 262_144;

const LINK_USB: [u32; 5] = [186, 189, 220, 231, 249];

/// The part of the header's last number that is the link: above it stands the length of the frame check sequence.
const LINK_MASK: u32 = 0x03ff_ffff;

/// Which unit the second number of a time is in.
#[derive(Clone, Copy, Debug)]
enum Fraction {
    Micro,
    Nano,
}

/// How the header of a record is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lengths {
    /// Captured, then original.
    Usual,
    /// Original, then captured (minor version below 3, DG/UX).
    Exchanged,
    /// Either, as the versions in between were written by both kinds of tool.
    Unclear,
}

/// A pcap after its header.
#[derive(Debug)]
pub struct Pcap {
    order: Order,
    fraction: Fraction,
    lengths: Lengths,
    record_header: usize,
    link: u32,
    packet_max: usize,
}

impl Pcap {
    /// Reads the header.
    ///
    /// # Errors
    /// Where `magic` is not that of a pcap, or the header is cut off.
    pub fn open<R: Read>(buffer: &mut Buffer<R>, magic: [u8; 4]) -> Result<Self, CaptureError> {
        let (order, fraction, record_header, more) = kind(magic).ok_or(CaptureError::NotACapture)?;
        let Some(header) = buffer.take(HEADER_BYTES)? else {
            return Err(CaptureError::CutOff { at: 0, what: "its header" });
        };
        let (major, minor) = (order.u16(header, 4), order.u16(header, 6));
        let number = order.u32(header, 20) & LINK_MASK;
        let aix = major == 2 && minor == 2 && matches!(number, 6 | 9 | 15);
        if more > 0 && buffer.take(more)?.is_none() {
            return Err(CaptureError::CutOff { at: 0, what: "its header" });
        }
        let link = if aix { from_aix(number) } else { number };
        Ok(Self {
            order,
            fraction: if aix { Fraction::Nano } else { fraction },
            lengths: match (major, minor) {
                _ if aix => Lengths::Usual,
                (2, 3) => Lengths::Unclear,
                (2, 0..3) | (543, 0) => Lengths::Exchanged,
                _ => Lengths::Usual,
            },
            record_header,
            link,
            packet_max: if LINK_USB.contains(&link) { RECORD_BYTES_MAX } else { PACKET_BYTES_MAX },
        })
    }

    /// The next packet; `None` at the end.
    ///
    /// # Errors
    /// Where the file is cut off or a length cannot be.
    #[inline]
    pub fn next_packet<'b, R: Read>(&mut self, buffer: &'b mut Buffer<R>) -> Result<Option<Packet<'b>>, CaptureError> {
        let at = buffer.position();
        let Some(header) = buffer.take(self.record_header)? else {
            return if buffer.is_empty() { Ok(None) } else { Err(CaptureError::CutOff { at, what: "the header of a packet" }) };
        };
        let (seconds, fraction) = (self.order.u32(header, 0), self.order.u32(header, 4));
        let (first, second) = (self.order.u32(header, 8), self.order.u32(header, 12));
        let (captured, length) = match self.lengths {
            Lengths::Usual => (first, second),
            Lengths::Exchanged => (second, first),
            Lengths::Unclear => (first.min(second), first.max(second)),
        };
        let size = usize::try_from(captured).unwrap_or(usize::MAX);
        if size > self.packet_max {
            let what = format!("a packet of {captured} bytes, where {} are the most", self.packet_max);
            return Err(CaptureError::Damaged { at, what });
        }
        let Some(data) = buffer.take(size)? else { return Err(CaptureError::CutOff { at, what: "a packet" }) };
        let nanoseconds = match self.fraction {
            Fraction::Micro => i64::from(fraction) * 1_000,
            Fraction::Nano => i64::from(fraction),
        };
        Ok(Some(Packet {
            time: i64::from(seconds) * 1_000_000_000 + nanoseconds,
            link: self.link,
            big_endian: self.order == Order::Big,
            length: length.max(captured),
            data,
        }))
    }
}

/// Byte order, unit of time, bytes of a record's header, bytes after the file's header.
fn kind(magic: [u8; 4]) -> Option<(Order, Fraction, usize, usize)> {
    let known = |number: u32| match number {
        0xa1b2_c3d4 => Some((Fraction::Micro, 16, 0)),
        0xa1b2_3c4d => Some((Fraction::Nano, 16, 0)),
        0xa1b2_cd34 => Some((Fraction::Micro, 24, 0)),
        0x1c00_01ac | 0x1c00_01ab => Some((Fraction::Nano, 16, 4)),
        _ => None,
    };
    let of = |order| move |(fraction, record, more)| (order, fraction, record, more);
    known(u32::from_le_bytes(magic)).map(of(Order::Little)).or_else(|| known(u32::from_be_bytes(magic)).map(of(Order::Big)))
}

/// AIX numbers its links as SNMP does (`ifType`).
fn from_aix(number: u32) -> u32 {
    match number {
        6 => 1,
        9 => 6,
        _ => 10,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Capture, CaptureError};

    fn header(magic: [u8; 4], words: [u32; 5], big: bool) -> Vec<u8> {
        let words = words.iter().flat_map(|word| if big { word.to_be_bytes() } else { word.to_le_bytes() });
        magic.into_iter().chain(words).collect()
    }

    fn little(minor: u32, link: u32) -> Vec<u8> {
        header(0xa1b2_c3d4_u32.to_le_bytes(), [2 | minor << 16, 0, 0, 65_535, link], false)
    }

    fn record(words: &[u32], data: &[u8]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).chain(data.iter().copied()).collect()
    }

    /// (time, link, length, bytes captured) of a packet.
    type Seen = (i64, u32, u32, usize);

    /// Every packet, and how it ended.
    fn read(file: &[u8]) -> (Vec<Seen>, Option<CaptureError>) {
        let mut packets = Vec::new();
        let mut capture = match Capture::open(file) {
            Ok(capture) => capture,
            Err(error) => return (packets, Some(error)),
        };
        loop {
            match capture.next_packet() {
                Ok(Some(packet)) => packets.push((packet.time, packet.link, packet.length, packet.data.len())),
                Ok(None) => return (packets, None),
                Err(error) => return (packets, Some(error)),
            }
        }
    }

    #[test]
    fn both_orders_and_both_units_of_time_are_read() {
        let mut big = header(0xa1b2_3c4d_u32.to_be_bytes(), [2 << 16 | 4, 0, 0, 65_535, 101], true);
        big.extend([5_u32, 7, 3, 60].iter().flat_map(|word| word.to_be_bytes()));
        big.extend(*b"abc");
        let small = [little(4, 1), record(&[5, 7, 3, 60], b"abc")].concat();

        assert_eq!(read(&small).0, [(5_000_007_000, 1, 60, 3)]);
        assert_eq!(read(&big).0, [(5_000_000_007, 101, 60, 3)]);
    }

    #[test]
    fn the_variants_are_read_like_the_original() {
        let kuznetzov = header(0xa1b2_cd34_u32.to_le_bytes(), [2 | 4 << 16, 0, 0, 65_535, 1], false);
        let ixia = header(0x1c00_01ac_u32.to_le_bytes(), [2 | 4 << 16, 0, 0, 65_535, 1], false);
        let aix = [little(2, 6), record(&[5, 7, 3, 60], b"abc")].concat();
        let old = [little(1, 1), record(&[5, 7, 60, 3], b"abc")].concat();
        let checked = [little(4, 0x1400_0001), record(&[5, 7, 3, 60], b"abc")].concat();

        assert_eq!(read(&[kuznetzov, record(&[5, 7, 3, 60, 9, 9], b"abc")].concat()).0, [(5_000_007_000, 1, 60, 3)]);
        assert_eq!(read(&[ixia, record(&[0, 5, 7, 3, 60], b"abc")].concat()).0, [(5_000_000_007, 1, 60, 3)]);
        assert_eq!(read(&aix).0, [(5_000_000_007, 1, 60, 3)]);
        assert_eq!(read(&old).0, [(5_000_007_000, 1, 60, 3)]);
        assert_eq!(read(&checked).0, [(5_000_007_000, 1, 60, 3)]);
    }

    #[test]
    fn what_comes_before_the_damage_is_read() {
        let good = [little(4, 1), record(&[5, 7, 3, 60], b"abc")].concat();
        let huge = [good.clone(), record(&[5, 7, 0xffff_fff0, 0xffff_fff0], b"xxx")].concat();
        let cut = [good.clone(), record(&[5, 7, 30, 60], b"xxx")].concat();
        let half = [good.clone(), vec![1; 9]].concat();

        for (file, what) in [(huge, "4294967280 bytes"), (cut, "a packet"), (half, "the header of a packet")] {
            let (packets, error) = read(&file);
            assert_eq!(packets.len(), 1);
            assert!(error.unwrap().to_string().contains(what), "{what}");
        }
        assert!(matches!(read(&good[..13]).1, Some(CaptureError::CutOff { .. })));
    }

    proptest! {
        #[test]
        fn whatever_follows_the_header_never_panics(minor in 0_u32..6, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let (packets, _) = read(&[little(minor, 1), bytes].concat());

            prop_assert!(packets.iter().all(|(_, _, length, captured)| usize::try_from(*length).unwrap() >= *captured));
        }
    }
}
