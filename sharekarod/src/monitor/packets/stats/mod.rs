//! Volume, protocols, sizes, talkers, flows and names of packets, in bounded memory.
//!
//! Who writes the packets chooses how many addresses, ports and names there are: each table keeps the largest and says
//! how much the rest was. Totals and protocols are exact whatever happens to the tables.

mod sizes;
pub mod table;

use jiff::Timestamp;
use sharekaro_proto::control::packets::{Amount, Flow, Other, Packets, Talker};

use self::{
    sizes::Tally,
    table::{Table, Weight},
};
use super::{
    captures::Packet,
    dissect::{
        Dissection,
        address::Address,
        protocol::{PROTOCOLS_MAX, Protocol},
    },
};

/// Flows in memory: some 10 MiB.
const FLOWS_MAX: usize = 65_536;
/// Addresses in memory.
const TALKERS_MAX: usize = 65_536;
/// A stream that does not tell what it holds may be answered by one that did: asked of its first segments only.
const BEGINNING: u64 = 6;
/// Names that are told where a shorter list is asked for: each is a few bytes, and the one that matters is seldom among
/// the most frequent.
const NAMES_TOLD: usize = 200;
/// Names in memory, each up to 255 characters.
const NAMES_MAX: usize = 8_192;

/// What makes packets one flow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct FlowKey {
    source: Address,
    destination: Address,
    ports: Option<(u16, u16)>,
    protocol: Option<Protocol>,
}

impl FlowKey {
    fn of(d: &Dissection<'_>) -> Self {
        Self { source: d.source, destination: d.destination, ports: d.ports, protocol: d.transport.or(d.last) }
    }

    fn reversed(self) -> Self {
        let ports = self.ports.map(|(source, destination)| (destination, source));
        Self { source: self.destination, destination: self.source, ports, ..self }
    }
}

/// A flow so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FlowState {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Number of its first packet.
    pub(crate) first: u64,
    /// When its first and its latest packet came, in nanoseconds.
    pub(crate) started: i64,
    pub(crate) latest: i64,
    /// Every flag of TCP that it has had.
    pub(crate) flags: u8,
    /// What its content told once: what follows of the stream is the same.
    content: Option<Protocol>,
}

/// A flow with its ports and its protocol.
pub(crate) type Counted<'s> = (&'s FlowState, Option<(u16, u16)>, Option<Protocol>);

impl Weight for FlowState {
    fn weight(&self) -> u64 {
        self.bytes
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Volume(Amount);

impl Weight for Volume {
    fn weight(&self) -> u64 {
        self.0.bytes
    }
}

impl Volume {
    fn add(&mut self, packets: u64, bytes: u64) {
        self.0.packets = self.0.packets.saturating_add(packets);
        self.0.bytes = self.0.bytes.saturating_add(bytes);
    }
}

impl Weight for u64 {
    fn weight(&self) -> u64 {
        *self
    }
}

/// Everything that is counted.
pub struct Stats {
    total: Amount,
    earliest: i64,
    latest: i64,
    protocols: Vec<Tally>,
    flows: Table<FlowKey, FlowState>,
    /// Of flows that were forgotten; those in memory are added at the end.
    talkers: Table<Address, Volume>,
    lost_flows: Volume,
    lost_talkers: Volume,
    names: Table<String, u64>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            total: Amount::default(),
            earliest: i64::MAX,
            latest: i64::MIN,
            protocols: vec![Tally::default(); PROTOCOLS_MAX],
            flows: Table::new(FLOWS_MAX),
            talkers: Table::new(TALKERS_MAX),
            lost_flows: Volume::default(),
            lost_talkers: Volume::default(),
            names: Table::new(NAMES_MAX),
        }
    }
}

impl Stats {
    /// Counts a packet; returns its flow as it was before.
    #[inline]
    pub(crate) fn add(&mut self, number: u64, packet: &Packet<'_>, dissection: &Dissection<'_>) -> FlowState {
        let length = packet.on_the_wire();
        let bytes = u64::from(length);
        self.total.packets += 1;
        self.total.bytes = self.total.bytes.saturating_add(bytes);
        self.earliest = self.earliest.min(packet.time);
        self.latest = self.latest.max(packet.time);
        if let Some(name) = dissection.name.and_then(|source| source.read()) {
            let (count, _) = self.names.entry(name, |_, _| ());
            *count += 1;
        }
        let before = self.flow(number, packet, dissection);
        let mut protocols = dissection.protocols;
        if dissection.transport == Some(Protocol::Tcp) && dissection.payload > 0 {
            protocols.extend(self.stream(dissection, &before));
        }
        for index in protocols.indices() {
            if let Some(tally) = self.protocols.get_mut(index) {
                tally.add(length);
            }
        }
        before
    }

    /// What the stream of this segment is known to hold, where the segment itself does not tell.
    fn stream(&mut self, d: &Dissection<'_>, before: &FlowState) -> Option<Protocol> {
        let told = d.last.filter(|last| matches!(last, Protocol::Tls | Protocol::Http | Protocol::Http2));
        let untold = told.is_none() && d.last == Some(Protocol::Tcp);
        if before.content.is_some() || !(untold && before.packets < BEGINNING || told.is_some()) {
            return before.content.filter(|_| untold);
        }
        let key = FlowKey::of(d);
        let content = told.or_else(|| self.flows.get(&key.reversed())?.content)?;
        self.flows.get_mut(&key)?.content = Some(content);
        Some(content).filter(|_| untold)
    }

    #[inline]
    fn flow(&mut self, number: u64, packet: &Packet<'_>, d: &Dissection<'_>) -> FlowState {
        let key = FlowKey::of(d);
        let (talkers, lost, lost_talkers) = (&mut self.talkers, &mut self.lost_flows, &mut self.lost_talkers);
        let (flow, _) = self.flows.entry(key, |key, flow| {
            lost.add(flow.packets, flow.bytes);
            credit(talkers, lost_talkers, &key, &flow);
        });
        let before = *flow;
        if flow.packets == 0 {
            (flow.first, flow.started) = (number, packet.time);
        }
        flow.packets += 1;
        flow.bytes = flow.bytes.saturating_add(u64::from(packet.on_the_wire()));
        flow.latest = packet.time;
        flow.flags |= d.tcp_flags;
        before
    }

    /// Packets so far, and of one protocol.
    #[inline]
    pub(crate) fn share(&self, protocol: Option<Protocol>) -> (u64, u64) {
        let of = protocol.and_then(|protocol| self.protocols.get(protocol.index()));
        (of.map_or(0, |tally| tally.amount.packets), self.total.packets)
    }

    /// The flows in memory, in the order of their first packets: that of a table is chance.
    pub(crate) fn flows(&self) -> Vec<Counted<'_>> {
        let mut flows: Vec<_> = self.flows.iter().map(|(key, flow)| (flow, key.ports, key.protocol)).collect();
        flows.sort_unstable_by_key(|(flow, ..)| flow.first);
        flows
    }

    /// The result, with the `top` largest of each list; what is abnormal is added by others.
    pub(crate) fn report(mut self, top: usize) -> Packets {
        let mut flows: Vec<_> = self.flows.iter().collect();
        flows.sort_unstable_by_key(|(_, flow)| flow.first);
        for (key, flow) in flows {
            credit(&mut self.talkers, &mut self.lost_talkers, key, flow);
        }
        let (talkers, mut talkers_beyond) = self.talkers.into_largest(top);
        let (flows, flows_beyond) = self.flows.into_largest(top);
        talkers_beyond.push((Address::default(), self.lost_talkers));
        flows_beyond.iter().for_each(|(_, flow)| self.lost_flows.add(flow.packets, flow.bytes));
        let other = Other { talkers: sum(talkers_beyond.iter().map(|(_, volume)| volume.0)), flows: self.lost_flows.0 };
        let seen = self.protocols.iter().enumerate().filter(|(_, tally)| tally.amount.packets > 0);
        let named: Vec<_> = seen.filter_map(|(at, tally)| Some((Protocol::numbered(at)?.name().to_owned(), tally))).collect();
        Packets {
            packets: self.total.packets,
            bytes: self.total.bytes,
            mean_size: ratio(self.total.bytes, self.total.packets),
            rate: rate(self.total.bytes, self.earliest, self.latest),
            started_at: moment(self.earliest).filter(|_| self.total.packets > 0),
            ended_at: moment(self.latest).filter(|_| self.total.packets > 0),
            protocols: named.iter().map(|(name, tally)| (name.clone(), tally.amount)).collect(),
            sizes: named.iter().map(|(name, tally)| (name.clone(), tally.ranges())).collect(),
            talkers: talkers.into_iter().map(|(address, volume)| talker(address, volume.0)).collect(),
            flows: flows.iter().map(|(key, flow)| told(key, flow)).collect(),
            other,
            names: self.names.into_largest(if top == 0 { 0 } else { top.max(NAMES_TOLD) }).0.into_iter().map(|(name, _)| name).collect(),
            abnormal: Vec::new(),
            error: None,
        }
    }
}

/// Adds a flow to both ends of it.
fn credit(talkers: &mut Table<Address, Volume>, lost: &mut Volume, key: &FlowKey, flow: &FlowState) {
    let ends = [Some(key.source), Some(key.destination).filter(|end| *end != key.source)];
    for end in ends.into_iter().flatten().filter(|end| !end.is_none()) {
        let (volume, _) = talkers.entry(end, |_, volume| lost.add(volume.0.packets, volume.0.bytes));
        volume.add(flow.packets, flow.bytes);
    }
}

fn sum(amounts: impl Iterator<Item = Amount>) -> Amount {
    let mut all = Volume::default();
    amounts.for_each(|amount| all.add(amount.packets, amount.bytes));
    all.0
}

fn talker(address: Address, amount: Amount) -> Talker {
    Talker { address: address.to_string(), packets: amount.packets, bytes: amount.bytes }
}

fn told(key: &FlowKey, flow: &FlowState) -> Flow {
    Flow {
        source: key.source.to_string(),
        source_port: key.ports.map(|ports| ports.0),
        destination: key.destination.to_string(),
        destination_port: key.ports.map(|ports| ports.1),
        protocol: key.protocol.map_or_else(String::new, |protocol| protocol.name().to_owned()),
        packets: flow.packets,
        bytes: flow.bytes,
    }
}

/// A time in nanoseconds, where the calendar has it.
pub(crate) fn moment(nanoseconds: i64) -> Option<Timestamp> {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).ok()
}

#[allow(clippy::cast_precision_loss, reason = "a mean needs no more digits than an f64 has")]
fn ratio(amount: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { amount as f64 / of as f64 }
}

#[allow(clippy::cast_precision_loss, reason = "as for `ratio`")]
fn rate(bytes: u64, from: i64, to: i64) -> Option<f64> {
    let nanoseconds = to.checked_sub(from).filter(|length| *length > 0)?;
    Some(bytes as f64 / (nanoseconds as f64 / 1e9))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv4 packet between hosts of 10.0.0.0/8, which its two numbers choose.
    fn raw(from: u32, to: u32) -> Vec<u8> {
        let ends = [0x0a00_0000 | from, 0x0a00_0000 | to].map(u32::to_be_bytes).concat();
        [&[0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0][..], &ends, &[0x9c, 0x40, 0x9c, 0x41, 0, 8, 0, 0]].concat()
    }

    fn count(stats: &mut Stats, number: u64, data: &[u8], length: u32) {
        let packet = Packet { time: i64::try_from(number).unwrap() * 1_000_000_000, link: 101, big_endian: false, length, data };
        stats.add(number, &packet, &Dissection::of(&packet));
    }

    #[test]
    fn totals_sizes_talkers_and_flows_agree() {
        let mut stats = Stats::default();

        for number in 1..=10 {
            count(&mut stats, number, &raw(1, 2), 100);
        }
        count(&mut stats, 11, &raw(2, 1), 5_000);
        let report = stats.report(1);

        assert_eq!((report.packets, report.bytes, report.mean_size), (11, 6_000, 6_000.0 / 11.0));
        assert_eq!(report.rate, Some(600.0));
        assert_eq!(report.protocols["udp"], Amount { packets: 11, bytes: 6_000 });
        let sizes: Vec<_> = report.sizes["udp"].iter().filter(|range| range.packets > 0).map(|range| (range.from, range.packets)).collect();
        assert_eq!(sizes, [(80, 10), (2_560, 1)]);
        assert_eq!((report.flows[0].source.as_str(), report.flows[0].bytes), ("10.0.0.2", 5_000));
        assert_eq!(report.other.flows, Amount { packets: 10, bytes: 1_000 });
        assert_eq!(report.talkers[0].packets, 11);
        assert_eq!(report.other.talkers, Amount { packets: 11, bytes: 6_000 });
    }

    #[test]
    fn what_the_capture_put_before_a_packet_is_no_part_of_it() {
        let ppp = [&[1, 0xff, 3, 0, 0x21][..], &raw(1, 2)].concat();
        let length = u32::try_from(ppp.len()).unwrap();
        let mut stats = Stats::default();

        for link in [204, 50] {
            let packet = Packet { time: 0, link, big_endian: false, length, data: &ppp };
            stats.add(1, &packet, &Dissection::of(&packet));
        }

        assert_eq!(stats.report(1).bytes, u64::from(2 * length - 1));
    }

    /// A segment of TCP between two hosts, at ports that announce nothing.
    fn segment(from: (u8, u16), to: (u8, u16), content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(40 + content.len()).unwrap().to_be_bytes();
        let ip = [&[0x45, 0][..], &length, &[0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, from.0, 10, 0, 0, to.0]].concat();
        let ports = [from.1, to.1].map(u16::to_be_bytes).concat();
        [&ip[..], &ports, &[0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x18, 0, 0, 0, 0, 0, 0], content].concat()
    }

    #[test]
    fn a_stream_that_told_what_it_holds_goes_on_with_it_both_ways() {
        let (mut stats, client, server) = (Stats::default(), (1, 41_000), (2, 8_443));
        let stream = [
            segment(client, server, &[]),
            segment(client, server, &[22, 3, 1, 0, 200, 1, 0, 0, 196, 3]),
            segment(server, client, &[0x7f; 30]),
            segment(server, client, &[0x6f; 30]),
            segment(client, server, &[0x5f; 30]),
            segment((3, 41_000), server, &[0x5f; 30]),
        ];

        for (number, data) in (1..).zip(&stream) {
            count(&mut stats, number, data, u32::try_from(data.len()).unwrap());
        }
        let report = stats.report(1);

        assert_eq!(report.protocols["tls"].packets, 4);
        assert_eq!(report.protocols["tcp"].packets, 6);
    }

    #[test]
    fn the_same_packets_are_counted_the_same_also_where_a_table_overflows() {
        let report = || {
            let mut stats = Stats::default();
            for number in 0..150_000_u32 {
                count(&mut stats, u64::from(number), &raw(number.wrapping_mul(40_503) % 90_000, 1 << 22), 60);
            }
            stats.report(TALKERS_MAX)
        };

        assert!(report() == report());
    }

    #[test]
    fn a_flood_of_addresses_is_summed_up_and_hides_nobody() {
        let mut stats = Stats::default();
        let flood = 200_000;

        for number in 0..flood {
            count(&mut stats, u64::from(number), &raw(number, 1 << 22), 60);
            if number.is_multiple_of(20) {
                count(&mut stats, u64::from(number), &raw(1 << 20, 1 << 21), 1_400);
            }
        }
        assert!(stats.flows.len() <= FLOWS_MAX && stats.talkers.len() <= TALKERS_MAX);
        let report = stats.report(3);

        assert_eq!(report.flows[0].bytes, u64::from(flood / 20) * 1_400);
        assert_eq!(report.flows.iter().map(|flow| flow.bytes).sum::<u64>() + report.other.flows.bytes, report.bytes);
        assert_eq!(report.talkers.iter().map(|talker| talker.bytes).sum::<u64>() + report.other.talkers.bytes, 2 * report.bytes);
        assert!(report.talkers.iter().any(|talker| talker.address == "10.16.0.0"));
    }
}
