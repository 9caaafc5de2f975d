//! The few packets that the rules on a LAN want, as a program for the kernel: everything else costs an idle machine
//! nothing. ARP and neighbour advertisements, broadcasts, answers of DHCP servers, and first segments of TCP connections;
//! nothing that goes out.

use super::{
    ARP, V4, V6,
    bpf::{
        AND, HEADER_LENGTH, IP, JUMP_EQUAL, JUMP_SET, KIND, KernelFilter, LATER_FRAGMENT, LOAD_BYTE, LOAD_HALF, LOAD_HALF_INDEXED,
        LOAD_WORD, Program, RETURN,
    },
};

/// Where the kernel's own knowledge of a packet begins, and in it whether it goes out (`linux/filter.h`).
const PACKET_TYPE: u32 = 0xffff_f000 + 4;
const BROADCAST: u32 = 1;
const OUTGOING: u32 = 4;
const TCP: u32 = 6;
const UDP: u32 = 17;
const DHCP_SERVER: u32 = 67;
const ICMP_V6: u32 = 58;
const ADVERTISEMENT: u32 = 136;
const FLAGS: u32 = 13;
const SYN: u32 = 0x02;
const SYN_ACK: u32 = 0x12;
const LOAD_BYTE_INDEXED: u16 = 0x50;
/// The header of IPv6 has this length, and what stands behind it this place.
const V6_CONTENT: u32 = IP + 40;

/// The program; `snap` bytes of each packet are kept. It knows Ethernet frames only.
pub fn notable(snap: u32) -> Option<KernelFilter> {
    let mut program = Program::default();
    let (keep, drop) = (program.label(), program.label());
    let (four, tcp, udp) = (program.label(), program.label(), program.label());
    let (six, six_tcp, six_icmp) = (program.label(), program.label(), program.label());
    program.load(LOAD_WORD, PACKET_TYPE);
    program.branch(JUMP_EQUAL, OUTGOING, Some(drop), None);
    program.branch(JUMP_EQUAL, BROADCAST, Some(keep), None);
    program.load(LOAD_HALF, KIND);
    program.branch(JUMP_EQUAL, u32::from(ARP), Some(keep), None);
    program.branch(JUMP_EQUAL, u32::from(V4), Some(four), None);
    program.branch(JUMP_EQUAL, u32::from(V6), Some(six), Some(drop));

    program.place(four);
    program.load(LOAD_HALF, IP + 6);
    program.branch(JUMP_SET, LATER_FRAGMENT, Some(drop), None);
    program.load(HEADER_LENGTH, IP);
    program.load(LOAD_BYTE, IP + 9);
    program.branch(JUMP_EQUAL, TCP, Some(tcp), None);
    program.branch(JUMP_EQUAL, UDP, Some(udp), Some(drop));
    program.place(tcp);
    program.load(LOAD_BYTE_INDEXED, IP + FLAGS);
    program.load(AND, SYN_ACK);
    program.branch(JUMP_EQUAL, SYN, Some(keep), Some(drop));
    program.place(udp);
    program.load(LOAD_HALF_INDEXED, IP);
    program.branch(JUMP_EQUAL, DHCP_SERVER, Some(keep), Some(drop));

    program.place(six);
    program.load(LOAD_BYTE, IP + 6);
    program.branch(JUMP_EQUAL, ICMP_V6, Some(six_icmp), None);
    program.branch(JUMP_EQUAL, TCP, Some(six_tcp), Some(drop));
    program.place(six_icmp);
    program.load(LOAD_BYTE, V6_CONTENT);
    program.branch(JUMP_EQUAL, ADVERTISEMENT, Some(keep), Some(drop));
    program.place(six_tcp);
    program.load(LOAD_BYTE, V6_CONTENT + FLAGS);
    program.load(AND, SYN_ACK);
    program.branch(JUMP_EQUAL, SYN, Some(keep), Some(drop));

    program.place(keep);
    program.load(RETURN, snap);
    program.place(drop);
    program.load(RETURN, 0);
    program.finish()
}
