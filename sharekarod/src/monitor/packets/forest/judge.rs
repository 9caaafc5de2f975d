//! Which packets are unlike the others, and in what: the features, the scores, the reasons.
//!
//! A packet is judged by itself and by its flow. How rare an address, a port or a protocol is, is counted in small fixed
//! tables in which rare ones may share a place: that makes them a little less rare, never more.

use sharekaro_proto::control::packets::Abnormal;

use super::{
    super::{
        captures::Packet,
        dissect::Dissection,
        stats::{FlowState, Stats},
    },
    Forest,
    grid::{Cell, Grid, from_octaves, from_quarters, grow, octaves, quarters},
};

/// Below this score a packet is not worth a word: "definitely smaller than 0.5 is normal, close to 1 is an anomaly" says
/// the paper, and evenly spread noise reaches 0.55.
const SCORE_MIN: f64 = 0.6;

/// Among fewer packets or flows, nothing is usual.
const OTHERS_MIN: u64 = 32;

/// A reason explains at least so much of the score.
const REASON_MIN: f64 = 0.01;

/// More reasons than this do not help anybody.
const REASONS_MAX: usize = 3;

/// The forest's seed: the same capture gives the same judgement.
const SEED: u64 = 0x5ba6_e4a0;

const PLACES: usize = 1 << 14;

/// Features of a packet: see `PACKET`.
const PACKET_FEATURES: usize = 8;
/// Features of a flow: see `FLOW`.
const FLOW_FEATURES: usize = 6;

/// One feature: what it is called, and what its value stands for.
struct Feature {
    name: &'static str,
    unit: Unit,
}

#[derive(Clone, Copy)]
enum Unit {
    Quarters(&'static str),
    Octaves(&'static str),
    /// In octaves: one of so many.
    OneOf,
    Count,
}

const PACKET: [Feature; PACKET_FEATURES] = [
    Feature { name: "length", unit: Unit::Quarters(" bytes") },
    Feature { name: "time since the packet before in its flow", unit: Unit::Octaves(" µs") },
    Feature { name: "its protocol", unit: Unit::OneOf },
    Feature { name: "its port", unit: Unit::OneOf },
    Feature { name: "its TCP flags", unit: Unit::OneOf },
    Feature { name: "hops more or less than usual from its source", unit: Unit::Octaves("") },
    Feature { name: "its source and destination together", unit: Unit::OneOf },
    Feature { name: "fragment, options, tunnel or damage", unit: Unit::Count },
];

const FLOW: [Feature; FLOW_FEATURES] = [
    Feature { name: "packets of its flow", unit: Unit::Quarters("") },
    Feature { name: "mean length in its flow", unit: Unit::Quarters(" bytes") },
    Feature { name: "duration of its flow", unit: Unit::Octaves(" µs") },
    Feature { name: "flows to its port", unit: Unit::OneOf },
    Feature { name: "flows of its protocol", unit: Unit::OneOf },
    Feature { name: "flows with its TCP flags", unit: Unit::OneOf },
];

impl Unit {
    fn say(self, value: u8) -> String {
        match self {
            Self::Quarters(unit) => format!("{}{unit}", from_quarters(value)),
            Self::Octaves(unit) => format!("{}{unit}", from_octaves(value)),
            Self::OneOf => format!("1 of {}", from_octaves(value).max(1)),
            Self::Count => value.to_string(),
        }
    }
}

/// What is usual so far.
pub(crate) struct Judge {
    packets: Grid<PACKET_FEATURES>,
    pairs: Box<[u32; PLACES]>,
    ports: Box<[u32; PLACES]>,
    flags: Box<[u32; 256]>,
    hops: Box<[u8; PLACES]>,
    latest: Option<i64>,
}

impl Default for Judge {
    fn default() -> Self {
        let counts = || Box::new([0; PLACES]);
        Self {
            packets: Grid::default(),
            pairs: counts(),
            ports: counts(),
            flags: Box::new([0; 256]),
            hops: Box::new([0; PLACES]),
            latest: None,
        }
    }
}

impl Judge {
    /// Takes note of a packet. `before`: its flow without it; `share`: packets of its protocol and all packets so far.
    #[inline]
    pub(crate) fn observe(&mut self, number: u64, packet: &Packet<'_>, d: &Dissection<'_>, before: &FlowState, share: (u64, u64)) {
        let (of_protocol, all) = share;
        let rarity = |count: u64| octaves(all / count.max(1));
        // The first packet of a flow has none before it there: then any other counts.
        let earlier = if before.packets > 0 { before.latest } else { self.latest.unwrap_or(packet.time) };
        let gap = octaves(packet.time.abs_diff(earlier) / 1_000);
        self.latest = Some(packet.time);
        let port = d.ports.map_or(0, |(source, destination)| u64::from(source.min(destination)));
        let source = place(d.source.folded());
        let pair = place(d.source.folded().rotate_left(17) ^ d.destination.folded());
        let usual_hops = self.hops.get_mut(source).map_or(d.ttl, |usual| {
            if *usual == 0 {
                *usual = d.ttl;
            }
            *usual
        });
        let point = [
            quarters(u64::from(packet.on_the_wire())),
            gap,
            rarity(of_protocol),
            if d.ports.is_some() { rarity(count(&mut *self.ports, place(port))) } else { 0 },
            rarity(count(&mut *self.flags, usize::from(d.tcp_flags))),
            octaves(u64::from(d.ttl.abs_diff(usual_hops))),
            rarity(count(&mut *self.pairs, pair)),
            u8::try_from(d.oddities.count_ones()).unwrap_or(0),
        ];
        self.packets.add(point, number);
    }

    /// The packets most unlike the others, most so first.
    pub(crate) fn abnormal(self, stats: &Stats, top: usize) -> Vec<Abnormal> {
        let mut found = judged(self.packets.into_cells(), &PACKET, top);
        found.extend(judged(flows(stats).into_cells(), &FLOW, top));
        // Of a packet that is abnormal twice, the stronger judgement stays.
        found.sort_by(|a, b| a.number.cmp(&b.number).then(b.score.total_cmp(&a.score)));
        found.dedup_by_key(|abnormal| abnormal.number);
        found.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.number.cmp(&b.number)));
        found.truncate(top);
        found
    }
}

/// Where a number is counted.
#[inline]
fn place(value: u64) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    usize::try_from(value.wrapping_mul(ODD) >> (64 - PLACES.ilog2())).unwrap_or(0)
}

/// Counts one more at a place; how many there are then.
#[inline]
fn count(counts: &mut [u32], at: usize) -> u64 {
    let Some(count) = counts.get_mut(at) else { return 0 };
    *count = count.saturating_add(1);
    u64::from(*count)
}

/// The flows as points.
fn flows(stats: &Stats) -> Grid<FLOW_FEATURES> {
    let mut grid = Grid::default();
    let (mut ports, mut protocols, mut flags, mut all) = (vec![0; PLACES], vec![0; PLACES], vec![0; 256], 0_u64);
    let port_of = |ports: Option<(u16, u16)>| place(ports.map_or(0, |(source, destination)| u64::from(source.min(destination))));
    let protocol_of =
        |protocol: Option<_>| place(protocol.map_or(0, |protocol: super::super::dissect::protocol::Protocol| protocol.index() as u64 + 1));
    let in_order = stats.flows();
    for &(flow, between, protocol) in &in_order {
        all += 1;
        count(&mut ports, port_of(between));
        count(&mut protocols, protocol_of(protocol));
        count(&mut flags, usize::from(flow.flags));
    }
    let rarity = |counts: &[u32], at: usize| octaves(all / u64::from(counts.get(at).copied().unwrap_or(0).max(1)));
    for &(flow, between, protocol) in &in_order {
        let point = [
            quarters(flow.packets),
            quarters(flow.bytes / flow.packets.max(1)),
            octaves(flow.latest.abs_diff(flow.started) / 1_000),
            rarity(&ports, port_of(between)),
            rarity(&protocols, protocol_of(protocol)),
            rarity(&flags, usize::from(flow.flags)),
        ];
        grid.add(point, flow.first);
    }
    grid
}

/// Scores cells; the worst become packets with reasons.
fn judged<const D: usize>(cells: Vec<([u8; D], Cell)>, features: &[Feature; D], top: usize) -> Vec<Abnormal> {
    let all: u64 = cells.iter().map(|(_, cell)| cell.count).sum();
    let Some(forest) = grow(&cells, SEED).filter(|_| all >= OTHERS_MIN) else { return Vec::new() };
    let mut scored: Vec<_> = cells.iter().map(|(point, cell)| (forest.score(&point.map(f32::from)), point, cell)).collect();
    scored.retain(|(score, ..)| *score >= SCORE_MIN);
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let usual: [Usual; D] = std::array::from_fn(|feature| Usual::of(&cells, feature, all));
    let worst = scored.into_iter().take(top);
    worst
        .flat_map(|(score, point, cell)| {
            let reasons = reasons(&forest, score, *point, &usual, features);
            cell.examples().map(move |number| Abnormal { number, score: rounded(score), reasons: reasons.clone() })
        })
        .take(top)
        .collect()
}

/// The values of one feature that most points have.
#[derive(Clone, Copy)]
struct Usual {
    low: u8,
    middle: u8,
    high: u8,
}

impl Usual {
    /// From the 5th to the 95th hundredth.
    fn of<const D: usize>(cells: &[([u8; D], Cell)], feature: usize, all: u64) -> Self {
        let mut counts = [0_u64; 256];
        for (point, cell) in cells {
            if let Some(count) = point.get(feature).and_then(|value| counts.get_mut(usize::from(*value))) {
                *count += cell.count;
            }
        }
        let reached = |part: u64| {
            let mut sum = 0;
            let at = counts.iter().position(|count| {
                sum += count;
                sum.saturating_mul(100) >= all.saturating_mul(part)
            });
            u8::try_from(at.unwrap_or(255)).unwrap_or(u8::MAX)
        };
        Self { low: reached(5), middle: reached(50), high: reached(95) }
    }
}

/// The features that push the score: those with which it falls when they are as in most packets.
fn reasons<const D: usize>(forest: &Forest<D>, score: f64, point: [u8; D], usual: &[Usual; D], features: &[Feature; D]) -> Vec<String> {
    let mut pushes: Vec<(f64, String)> = Vec::new();
    for ((at, feature), usual) in features.iter().enumerate().zip(usual) {
        let mut other = point;
        let Some(value) = other.get_mut(at) else { continue };
        let own = std::mem::replace(value, usual.middle);
        let push = score - forest.score(&other.map(f32::from));
        if push >= REASON_MIN && own != usual.middle {
            let (said, low, high) = (feature.unit.say(own), feature.unit.say(usual.low), feature.unit.say(usual.high));
            let range = if low == high { format!("usually {low}") } else { format!("usually {low} to {high}") };
            pushes.push((push, format!("{}: {said}, {range}", feature.name)));
        }
    }
    pushes.sort_by(|a, b| b.0.total_cmp(&a.0));
    pushes.truncate(REASONS_MAX);
    if pushes.is_empty() {
        return vec!["no single feature: their combination is rare".to_owned()];
    }
    pushes.into_iter().map(|(_, text)| text).collect()
}

/// Three digits are what a hundred trees are good for.
fn rounded(score: f64) -> f64 {
    (score * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv4 packet with TCP from 10.0.0.`from`.
    fn segment(from: u8, port: u16, flags: u8, ttl: u8) -> Vec<u8> {
        let ip = [0x45, 0, 0, 40, 0, 1, 0, 0, ttl, 6, 0, 0, 10, 0, 0, from, 10, 0, 0, 200];
        [&ip[..], &[0x9c, 0x40], &port.to_be_bytes(), &[0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0, 0, 0, 0, 0, 0]].concat()
    }

    fn judge(packets: &[(u32, Vec<u8>)]) -> Vec<Abnormal> {
        let (mut stats, mut judge) = (Stats::default(), Judge::default());
        for (number, (length, data)) in (1..).zip(packets) {
            let packet = Packet { time: i64::try_from(number).unwrap() * 1_000_000, link: 101, big_endian: false, length: *length, data };
            let dissection = Dissection::of(&packet);
            let before = stats.add(number, &packet, &dissection);
            judge.observe(number, &packet, &dissection, &before, stats.share(dissection.last));
        }
        judge.abnormal(&stats, 10)
    }

    #[test]
    fn an_odd_packet_among_ordinary_ones_is_found_with_its_reasons() {
        let mut packets: Vec<_> = (0..2_000_u32).map(|i| (60 + i % 40, segment(u8::try_from(i % 5).unwrap(), 443, 0x10, 64))).collect();
        packets[1_500] = (65_000, segment(9, 31_337, 0x29, 3));

        let found = judge(&packets);

        assert_eq!(found[0].number, 1_501);
        assert!(found[0].score > 0.7, "{found:?}");
        assert!(found[0].reasons.iter().any(|reason| reason.contains("usually")), "{found:?}");
        assert_eq!(found, judge(&packets));
    }

    #[test]
    fn the_same_packets_are_judged_the_same_whatever_the_tables_hash() {
        // Flows that are alike share a cell, which names the first of them only.
        let packets: Vec<_> = (0..400_u32)
            .map(|i| {
                let (from, port) = (u8::try_from(i % 50).unwrap(), 2000 + u16::try_from(i % 40).unwrap());
                if i % 57 == 3 { (9_000, segment(from, port + 100, 0x29, 3)) } else { (60 + i % 7, segment(from, 443, 0x10, 64)) }
            })
            .collect();

        let found = judge(&packets);

        assert!(!found.is_empty());
        (0..10).for_each(|_| assert_eq!(judge(&packets), found));
    }

    #[test]
    fn among_a_few_packets_nothing_is_abnormal() {
        let packets: Vec<_> = (0..20).map(|i| (60 + i * 50, segment(1, 443, 0x10, 64))).collect();

        assert_eq!(judge(&packets), []);
    }
}
