//! A block of the kernel's ring (TPACKET_V3, `linux/if_packet.h`): its packets, one after the other.
//!
//! The kernel writes it, and is trusted no more than a file: every offset is checked.

use super::super::captures::Packet;

/// Offsets in the block's header.
const COUNT: usize = 12;
const FIRST: usize = 16;

/// Offsets in a packet's header.
const NEXT: usize = 0;
const SECONDS: usize = 4;
const NANOSECONDS: usize = 8;
const CAPTURED: usize = 12;
const LENGTH: usize = 16;
const STATUS: usize = 20;
const START: usize = 24;
const TAG: usize = 32;
const TAG_TYPE: usize = 36;
/// `sll_pkttype` of the address behind the header of 48 bytes.
const DIRECTION: usize = 48 + 10;

const TAG_VALID: u32 = 1 << 4;
const TAG_TYPE_VALID: u32 = 1 << 6;
const OUTGOING: u8 = 4;

/// Tags of this type where the kernel does not say another one.
const VLAN: u16 = 0x8100;

/// How the packets of an interface are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) link: u32,
    /// On a loopback interface each packet comes twice, going out and coming in.
    pub(super) loopback: bool,
}

/// Gives every packet of a block to `take`. `scratch` is for packets whose tag the card has taken off: it is put back.
pub(super) fn packets(block: &[u8], kind: Kind, scratch: &mut Vec<u8>, mut take: impl FnMut(&Packet<'_>)) -> Option<()> {
    let count = u32_at(block, COUNT)?;
    let mut at = size(u32_at(block, FIRST)?)?;
    for _ in 0..count {
        let header = block.get(at..)?;
        packet(header, kind, scratch, &mut take)?;
        let next = size(u32_at(header, NEXT)?)?;
        if next == 0 {
            break;
        }
        at = at.checked_add(next)?;
    }
    Some(())
}

fn packet(header: &[u8], kind: Kind, scratch: &mut Vec<u8>, take: &mut impl FnMut(&Packet<'_>)) -> Option<()> {
    if kind.loopback && *header.get(DIRECTION)? == OUTGOING {
        return Some(());
    }
    let start = usize::from(u16_at(header, START)?);
    let data = header.get(start..)?.get(..size(u32_at(header, CAPTURED)?)?)?;
    let (length, status) = (u32_at(header, LENGTH)?, u32_at(header, STATUS)?);
    let time = i64::from(u32_at(header, SECONDS)?) * 1_000_000_000 + i64::from(u32_at(header, NANOSECONDS)?);
    let whole = Packet { time, link: kind.link, big_endian: cfg!(target_endian = "big"), length, data };
    match data.split_at_checked(12) {
        Some((addresses, rest)) if status & TAG_VALID != 0 => {
            let tag_type = if status & TAG_TYPE_VALID == 0 { VLAN } else { u16_at(header, TAG_TYPE)? };
            let [_, _, a, b] = u32_at(header, TAG)?.to_be_bytes();
            scratch.clear();
            scratch.extend_from_slice(addresses);
            scratch.extend_from_slice(&tag_type.to_be_bytes());
            scratch.extend_from_slice(&[a, b]);
            scratch.extend_from_slice(rest);
            take(&Packet { length: length.saturating_add(4), data: scratch, ..whole });
        }
        _ => take(&whole),
    }
    Some(())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

fn size(value: u32) -> Option<usize> {
    usize::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ETHERNET: Kind = Kind { link: 1, loopback: false };

    /// A packet's header of 80 bytes and its content.
    fn entry(next: u32, status: u32, direction: u8, data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap();
        let words = [next, 5, 7, length, length + 100, status];
        let mut header: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        header.resize(80, 0);
        header[START..START + 2].copy_from_slice(&80_u16.to_ne_bytes());
        header[TAG..TAG + 4].copy_from_slice(&7_u32.to_ne_bytes());
        header[DIRECTION] = direction;
        [header, data.to_vec()].concat()
    }

    fn block(entries: &[Vec<u8>]) -> Vec<u8> {
        let count = u32::try_from(entries.len()).unwrap();
        let mut bytes: Vec<u8> = [0_u32, 0, 1, count, 48].iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.resize(48, 0);
        [bytes, entries.concat()].concat()
    }

    fn read(block: &[u8], kind: Kind) -> Vec<(i64, u32, Vec<u8>)> {
        let mut found = Vec::new();
        packets(block, kind, &mut Vec::new(), |packet| found.push((packet.time, packet.length, packet.data.to_vec())));
        found
    }

    #[test]
    fn every_packet_comes_out_once_and_with_its_tag() {
        let frame: Vec<u8> = (0..16).collect();
        let block = block(&[entry(96, 0, 0, &frame), entry(0, TAG_VALID, OUTGOING, &frame)]);

        let found = read(&block, ETHERNET);

        assert_eq!(found[0], (5_000_000_007, 116, frame.clone()));
        assert_eq!((found[1].1, found[1].2.as_slice()), (120, &[&frame[..12], &[0x81, 0, 0, 7], &frame[12..]].concat()[..]));
        assert_eq!(read(&block, Kind { link: 1, loopback: true }).len(), 1);
    }

    proptest! {
        #[test]
        fn a_damaged_block_never_panics(at in 0_usize..160, value: u8, cut in 0_usize..250) {
            let mut block = block(&[entry(96, 0, 0, &[7; 16]), entry(0, TAG_VALID, 0, &[8; 16])]);
            if let Some(byte) = block.get_mut(at) {
                *byte = value;
            }
            block.truncate(cut);
            prop_assert!(read(&block, ETHERNET).len() <= 256);
        }
    }
}
