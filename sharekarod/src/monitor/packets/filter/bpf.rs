//! A filter as a program for the kernel (classic BPF), so that what is not meant costs almost nothing.
//!
//! The kernel's part may let through too much, never too little: what it cannot tell passes, and the filter itself looks
//! again. It knows Ethernet frames only, without tags.

use std::net::IpAddr;

use super::{ARP, Filter, Net, Node, RARP, Side, Test, V4, V6, Versions};

/// As `struct sock_filter` of `linux/filter.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to pass over where a comparison holds.
    pub then: u8,
    /// And where it does not.
    pub otherwise: u8,
    /// A number.
    pub k: u32,
}

/// A program for the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFilter(pub Vec<Instruction>);

pub(super) const LOAD_WORD: u16 = 0x20;
pub(super) const LOAD_HALF: u16 = 0x28;
pub(super) const LOAD_BYTE: u16 = 0x30;
pub(super) const LOAD_HALF_INDEXED: u16 = 0x48;
const LOAD_LENGTH: u16 = 0x80;
pub(super) const HEADER_LENGTH: u16 = 0xb1;
pub(super) const AND: u16 = 0x54;
pub(super) const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_AT_LEAST: u16 = 0x35;
pub(super) const JUMP_SET: u16 = 0x45;
pub(super) const RETURN: u16 = 0x06;

/// Offsets in an Ethernet frame.
pub(super) const KIND: u32 = 12;
pub(super) const IP: u32 = 14;
/// Bits of the fragment's offset: a part that is not the first has no ports.
pub(super) const LATER_FRAGMENT: u32 = 0x1fff;
const ARP_SENDER: u32 = 28;
const ARP_TARGET: u32 = 38;

/// Headers before the network's own, which only the filter itself passes.
const WRAPPINGS: [u32; 8] = [0x8100, 0x88a8, 0x9100, 0x8847, 0x8848, 0x8864, 0x893f, 0x8926];

/// Longer programs need other jumps than these; the kernel takes up to 4,096 instructions.
const JUMP_MAX: usize = 255;

/// Where a jump goes; only forwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Label(usize);

struct Step {
    code: u16,
    then: Option<Label>,
    otherwise: Option<Label>,
    k: u32,
}

#[derive(Default)]
pub(super) struct Program {
    steps: Vec<Step>,
    /// Which step a label stands before.
    labels: Vec<usize>,
}

impl Filter {
    /// The kernel's part of this filter, keeping `snap` bytes of each packet; `None` where it would be too long.
    pub fn for_kernel(&self, snap: u32) -> Option<KernelFilter> {
        let mut program = Program::default();
        let (pass, drop) = (program.label(), program.label());
        program.load(LOAD_HALF, KIND);
        for kind in WRAPPINGS {
            program.branch(JUMP_EQUAL, kind, Some(pass), None);
        }
        program.node(&self.0, true, pass, drop);
        program.place(pass);
        program.load(RETURN, snap);
        program.place(drop);
        program.load(RETURN, 0);
        program.finish()
    }
}

impl Program {
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(usize::MAX);
        Label(self.labels.len() - 1)
    }

    pub(super) fn place(&mut self, label: Label) {
        let at = self.steps.len();
        if let Some(slot) = self.labels.get_mut(label.0) {
            *slot = at;
        }
    }

    pub(super) fn load(&mut self, code: u16, k: u32) {
        self.steps.push(Step { code, then: None, otherwise: None, k });
    }

    pub(super) fn branch(&mut self, code: u16, k: u32, then: Option<Label>, otherwise: Option<Label>) {
        self.steps.push(Step { code, then, otherwise, k });
    }

    /// `unsure`: how a question that the kernel cannot answer counts, so that the whole lets through too much.
    fn node(&mut self, node: &Node, unsure: bool, yes: Label, no: Label) {
        match node {
            Node::Not(inner) => self.node(inner, !unsure, no, yes),
            Node::All(nodes) => {
                for inner in nodes {
                    let next = self.label();
                    self.node(inner, unsure, next, no);
                    self.place(next);
                }
                self.jump(yes);
            }
            Node::Any(nodes) => {
                for inner in nodes {
                    let next = self.label();
                    self.node(inner, unsure, yes, next);
                    self.place(next);
                }
                self.jump(no);
            }
            Node::Test(test) => self.test(*test, unsure, yes, no),
        }
    }

    fn test(&mut self, test: Test, unsure: bool, yes: Label, no: Label) {
        match test {
            Test::Kind(kind) => self.kind(kind, yes, no),
            Test::Carries(number, versions) => self.carries(number, versions, yes, no),
            Test::Holds(_) => self.jump(if unsure { yes } else { no }),
            Test::Within(side, net, kinds) => self.within(side, net, kinds, yes, no),
            Test::Port(side, from, to, carriers) => self.port(side, (from, to), carriers, yes, no),
            Test::Length(min, max) => {
                self.load(LOAD_LENGTH, 0);
                self.branch(JUMP_AT_LEAST, min, None, Some(no));
                self.branch(JUMP_GREATER, max, Some(no), Some(yes));
            }
        }
    }

    /// An unconditional jump, as a comparison both of whose ways lead there.
    fn jump(&mut self, to: Label) {
        self.branch(JUMP_EQUAL, 0, Some(to), Some(to));
    }

    fn kind(&mut self, kind: u16, yes: Label, no: Label) {
        self.load(LOAD_HALF, KIND);
        self.branch(JUMP_EQUAL, u32::from(kind), Some(yes), Some(no));
    }

    fn carries(&mut self, number: u8, versions: Versions, yes: Label, no: Label) {
        const FRAGMENT: u32 = 44;
        let number = u32::from(number);
        if versions != Versions::Six {
            let (four, six) = (self.label(), self.label());
            self.kind(V4, four, if versions == Versions::Both { six } else { no });
            self.place(four);
            self.load(LOAD_BYTE, IP + 9);
            self.branch(JUMP_EQUAL, number, Some(yes), Some(no));
            self.place(six);
        }
        if versions != Versions::Four {
            let six = self.label();
            self.kind(V6, six, no);
            self.place(six);
            self.load(LOAD_BYTE, IP + 6);
            self.branch(JUMP_EQUAL, number, Some(yes), None);
            self.branch(JUMP_EQUAL, FRAGMENT, None, Some(no));
            self.load(LOAD_BYTE, IP + 40);
            self.branch(JUMP_EQUAL, number, Some(yes), Some(no));
        }
    }

    fn within(&mut self, side: Side, net: Net, kinds: Option<u16>, yes: Label, no: Label) {
        let places: &[(u16, u32, u32)] = match net.address {
            IpAddr::V4(_) => &[(V4, IP + 12, IP + 16), (ARP, ARP_SENDER, ARP_TARGET), (RARP, ARP_SENDER, ARP_TARGET)],
            IpAddr::V6(_) => &[(V6, IP + 8, IP + 24)],
        };
        for (kind, source, destination) in places.iter().filter(|(kind, ..)| kinds.is_none_or(|wanted| wanted == *kind)) {
            let (this, next) = (self.label(), self.label());
            self.kind(*kind, this, next);
            self.place(this);
            let other = self.label();
            match side {
                Side::Source => self.equal(net, *source, yes, no),
                Side::Destination => self.equal(net, *destination, yes, no),
                Side::Either => self.equal(net, *source, yes, other),
                Side::Both => self.equal(net, *source, other, no),
            }
            self.place(other);
            if let Side::Either | Side::Both = side {
                self.equal(net, *destination, yes, no);
            }
            self.place(next);
        }
        self.jump(no);
    }

    /// Compares the address at an offset, word by word, as far as the prefix goes.
    fn equal(&mut self, net: Net, offset: u32, yes: Label, no: Label) {
        let (bits, mask, words) = match net.address {
            IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, u128::from(net.mask_4()) << 96, 1),
            IpAddr::V6(address) => (address.to_bits(), net.mask_6(), 4),
        };
        for word in 0..words {
            let part = |value: u128| u32::try_from(value >> (96 - 32 * word) & 0xffff_ffff).unwrap_or_default();
            self.load(LOAD_WORD, offset + 4 * word);
            self.load(AND, part(mask));
            self.branch(JUMP_EQUAL, part(bits), None, Some(no));
        }
        self.jump(yes);
    }

    fn port(&mut self, side: Side, range: (u16, u16), carriers: Option<u8>, yes: Label, no: Label) {
        let (four, six, not_four, carried_4, carried_6) = (self.label(), self.label(), self.label(), self.label(), self.label());
        self.kind(V4, four, not_four);
        self.place(four);
        self.load(LOAD_BYTE, IP + 9);
        self.carrier(carriers, carried_4, no);
        self.place(carried_4);
        self.load(LOAD_HALF, IP + 6);
        self.branch(JUMP_SET, LATER_FRAGMENT, Some(no), None);
        self.load(HEADER_LENGTH, IP);
        self.ports(side, LOAD_HALF_INDEXED, IP, range, yes, no);
        self.place(not_four);
        self.kind(V6, six, no);
        self.place(six);
        // Behind extension headers the kernel does not look; the filter itself does not either.
        self.load(LOAD_BYTE, IP + 6);
        self.carrier(carriers, carried_6, no);
        self.place(carried_6);
        self.ports(side, LOAD_HALF, IP + 40, range, yes, no);
    }

    fn carrier(&mut self, carriers: Option<u8>, yes: Label, no: Label) {
        match carriers {
            Some(number) => self.branch(JUMP_EQUAL, u32::from(number), Some(yes), Some(no)),
            None => {
                self.branch(JUMP_EQUAL, 6, Some(yes), None);
                self.branch(JUMP_EQUAL, 17, Some(yes), None);
                self.branch(JUMP_EQUAL, 132, Some(yes), Some(no));
            }
        }
    }

    fn ports(&mut self, side: Side, load: u16, at: u32, (from, to): (u16, u16), yes: Label, no: Label) {
        let one = |this: &mut Self, at: u32, yes: Label, no: Label| {
            this.load(load, at);
            this.branch(JUMP_AT_LEAST, u32::from(from), None, Some(no));
            this.branch(JUMP_GREATER, u32::from(to), Some(no), Some(yes));
        };
        let other = self.label();
        match side {
            Side::Source => one(self, at, yes, no),
            Side::Destination => one(self, at + 2, yes, no),
            Side::Either => one(self, at, yes, other),
            Side::Both => one(self, at, other, no),
        }
        self.place(other);
        if let Side::Either | Side::Both = side {
            one(self, at + 2, yes, no);
        }
    }

    /// Jumps become distances.
    pub(super) fn finish(self) -> Option<KernelFilter> {
        let labels = &self.labels;
        let distance = |at: usize, label: Option<Label>| match label {
            None => Some(0),
            Some(Label(index)) => {
                labels.get(index)?.checked_sub(at + 1).filter(|far| *far <= JUMP_MAX).and_then(|far| u8::try_from(far).ok())
            }
        };
        let steps = self.steps.iter().enumerate();
        let program = steps.map(|(at, step)| {
            let (then, otherwise) = (distance(at, step.then)?, distance(at, step.otherwise)?);
            Some(Instruction { code: step.code, then, otherwise, k: step.k })
        });
        program.collect::<Option<_>>().map(KernelFilter)
    }
}
