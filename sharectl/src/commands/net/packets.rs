//! `net packets FILE`: what the packets of a capture are.

use std::path::PathBuf;

use clap::Args;
use jiff::{Timestamp, tz::TimeZone};
use sharekaro_proto::{
    client::Client,
    control::{
        packets::{Abnormal, Amount, Flow, Packets as PacketsBody, ReadPackets, Talker},
        routes,
    },
    nouns::text::Shown,
};

use super::{absolute, absolute_of, ask_patiently};
use crate::{
    ending::End,
    print::{
        Screen,
        quantity::{count, rate, size},
        table,
    },
};

/// A screen has room for so many protocols and names; with --json there are more.
const PROTOCOLS: usize = 25;
const NAMES: usize = 20;

#[derive(Args, Debug)]
pub(crate) struct Packets {
    /// pcap or pcapng
    file: PathBuf,
    /// Only those packets, in the words of pcap-filter: udp and port 53
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// The length of each list; 0 counts only, and is faster [default: 20]
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Write those packets there: NAME.pcapng, NAME.csv or NAME.json
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,
}

impl Packets {
    /// Ends with 12 where the capture breaks after what was counted.
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let (path, write) = (absolute(&self.file)?, absolute_of(self.write.as_ref())?);
        let wanted = ReadPackets { path, filter: self.filter, top: self.top, write };
        let packets: PacketsBody = ask_patiently(client, routes::NET_PACKETS, &wanted).await?;
        screen.say(&packets, || shown(&packets))?;
        match packets.error {
            Some(error) => {
                screen.failure(&error);
                Err(End::Told(error.code.exit_code()))
            }
            None => Ok(()),
        }
    }
}

/// The report as people read it.
pub(super) fn shown(it: &PacketsBody) -> String {
    let mut parts = vec![summary(it)];
    let mut add = |title: &str, table: String, any: bool| {
        if any {
            parts.push(format!("{title}:\n{table}"));
        }
    };
    let mut protocols: Vec<(&String, &Amount)> = it.protocols.iter().collect();
    protocols.sort_by_key(|(_, amount)| std::cmp::Reverse(amount.packets));
    let rows = protocols.iter().take(PROTOCOLS).map(|(name, amount)| {
        let sizes = it.sizes.get(*name).map(|ranges| ranges.iter().map(|range| range.packets).collect::<Vec<_>>()).unwrap_or_default();
        let bars = crate::print::sparkline::sparkline(&sizes, sizes.len());
        [(*name).clone(), amount.packets.to_string(), size(amount.bytes), bars]
    });
    add("Protocols, and how many of them are how large", table::table(["PROTOCOL", "PACKETS", "BYTES", "SMALL TO LARGE"], rows), true);
    let rows = it.talkers.iter().map(|Talker { address, packets, bytes }| [address.clone(), packets.to_string(), size(*bytes)]);
    add("Who talks most", table::table(["ADDRESS", "PACKETS", "BYTES"], rows), !it.talkers.is_empty());
    let rows = it.flows.iter().map(flow);
    add("Flows", table::table(["FROM", "TO", "PROTOCOL", "PACKETS", "BYTES"], rows), !it.flows.is_empty());
    let mut names: Vec<String> = it.names.iter().take(NAMES).map(|name| Shown(name).to_string()).collect();
    if it.names.len() > NAMES {
        names.push(format!("and {} more", it.names.len() - NAMES));
    }
    add("Names", names.join("\n"), !names.is_empty());
    let rows =
        it.abnormal.iter().map(|Abnormal { number, score, reasons }| [number.to_string(), format!("{score:.3}"), reasons.join("; ")]);
    add("Unlike the others", table::table(["PACKET", "SCORE", "WHY"], rows), !it.abnormal.is_empty());
    parts.join("\n\n")
}

fn summary(it: &PacketsBody) -> String {
    let mut text = format!("{}, {}, {:.0} bytes on average", count(it.packets, "packet"), size(it.bytes), it.mean_size);
    if let Some(speed) = it.rate {
        text += &format!(", {}", rate(speed as u64));
    }
    if let (Some(from), Some(to)) = (it.started_at, it.ended_at) {
        let zone = TimeZone::system();
        text += &format!("\nfrom {} to {}", precisely(from, &zone), precisely(to, &zone));
    }
    text
}

/// Packets come many a second.
fn precisely(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%F %T%.3f").to_string()
}

fn flow(it: &Flow) -> [String; 5] {
    let end = |address: &str, port: Option<u16>| match port {
        Some(port) if address.contains(':') => format!("[{address}]:{port}"),
        Some(port) => format!("{address}:{port}"),
        None => address.to_owned(),
    };
    let (from, to) = (end(&it.source, it.source_port), end(&it.destination, it.destination_port));
    [from, to, it.protocol.clone(), it.packets.to_string(), size(it.bytes)]
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::nouns::text::is_obeyed;

    use super::*;

    #[test]
    fn what_a_stranger_named_is_shown_and_not_obeyed() {
        let hostile = "\u{1b}]0;owned\u{7}\nforged".to_owned();
        let packets = PacketsBody {
            packets: 1,
            bytes: 60,
            names: vec![hostile.clone()],
            talkers: vec![Talker { address: hostile.clone(), packets: 1, bytes: 60 }],
            abnormal: vec![Abnormal { number: 1, score: 0.7, reasons: vec![hostile] }],
            ..PacketsBody::default()
        };

        let text = shown(&packets);

        assert!(text.starts_with("1 packet, 60 B"), "{text}");
        assert!(text.lines().all(|line| !line.chars().any(is_obeyed) && !line.starts_with("forged")), "{text:?}");
    }
}
