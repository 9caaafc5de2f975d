//! Packets: what they are, who talks to whom, which are out of the ordinary.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{error::ErrorBody, transfer::RawPath};

/// What the packets of a capture are.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Packets {
    /// How many were chosen.
    pub packets: u64,
    /// Their bytes, as on the wire, also where fewer were captured.
    pub bytes: u64,
    /// Bytes of one on average.
    pub mean_size: f64,
    /// Bytes a second from the first to the last; nothing where that is no time.
    pub rate: Option<f64>,
    /// When the earliest was captured.
    #[schema(value_type = Option<String>)]
    pub started_at: Option<Timestamp>,
    /// When the latest was captured.
    #[schema(value_type = Option<String>)]
    pub ended_at: Option<Timestamp>,
    /// By protocol, under Wireshark's names: a packet counts once for each protocol in it, tunnels included.
    pub protocols: BTreeMap<String, Amount>,
    /// By protocol: how many are how large.
    pub sizes: BTreeMap<String, Vec<SizeRange>>,
    /// Who sends and receives the most, largest first.
    pub talkers: Vec<Talker>,
    /// Who sends to whom the most, largest first.
    pub flows: Vec<Flow>,
    /// What `talkers` and `flows` leave out.
    pub other: Other,
    /// Names that DNS, TLS and HTTP told, most frequent first, fit for a screen.
    pub names: Vec<String>,
    /// Packets that are unlike the others, most so first.
    pub abnormal: Vec<Abnormal>,
    /// Why the capture ends early, where it is broken: everything before that is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

/// Packets and their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Amount {
    /// How many.
    pub packets: u64,
    /// Their bytes, as on the wire.
    pub bytes: u64,
}

/// How many packets are so large.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SizeRange {
    /// Bytes at least.
    pub from: u32,
    /// Bytes at most.
    pub to: u32,
    /// How many.
    pub packets: u64,
}

/// Somebody who sends or receives.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Talker {
    /// Its IP address; that of its interface where it does not speak IP.
    pub address: String,
    /// Packets from it and to it.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Packets of one kind in one direction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Flow {
    /// Who sends; in a tunnel, who sends inside.
    pub source: String,
    /// From which port, where there are ports.
    pub source_port: Option<u16>,
    /// To whom.
    pub destination: String,
    /// To which port.
    pub destination_port: Option<u16>,
    /// The protocol that carries it: `tcp`, `udp`, `icmp`, `arp`, ...
    pub protocol: String,
    /// How many.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What lists of the largest leave out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Other {
    /// Everybody beyond those in `talkers`; as there, a packet counts for its sender and its receiver.
    pub talkers: Amount,
    /// Everything beyond what is in `flows`.
    pub flows: Amount,
}

/// A packet that is unlike the others.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Abnormal {
    /// Which one of the capture, counted from 1.
    pub number: u64,
    /// How unlike: 0.5 is ordinary, 1 is the most.
    pub score: f64,
    /// What makes it so, in words with numbers, strongest first.
    pub reasons: Vec<String>,
}

/// What a live capture brought.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Captured {
    /// How many packets were chosen.
    pub packets: u64,
    /// Their bytes, as on the wire.
    pub bytes: u64,
    /// How many came faster than they could be taken, and are missing.
    pub dropped: u64,
    /// The file that holds them, where one was asked for.
    pub file: Option<String>,
}

/// Which packets of which file are wanted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadPackets {
    /// An absolute path: pcap or pcapng.
    #[schema(value_type = String)]
    pub path: RawPath,
    /// In the words of pcap-filter; nothing is all.
    #[serde(default)]
    pub filter: Option<String>,
    /// The length of each list, 20 where it is not said; 0: packets are counted and not judged.
    #[serde(default)]
    pub top: Option<usize>,
    /// Where those packets are written: an absolute path that ends in `.pcapng`, `.csv` or `.json`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub write: Option<RawPath>,
}

/// What is captured live.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginCapture {
    /// On which interface.
    pub interface: String,
    /// In the words of pcap-filter; nothing is all.
    #[serde(default)]
    pub filter: Option<String>,
    /// Ends by itself after so many milliseconds.
    #[serde(default)]
    pub duration_ms: Option<u64>,
    /// The length of each list of the report, as in `ReadPackets`.
    #[serde(default)]
    pub top: Option<usize>,
    /// Where the packets are written, as in `ReadPackets`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub write: Option<RawPath>,
}

/// A live capture. One that nobody asks for in ten seconds ends by itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Capture {
    /// For asking and ending.
    pub id: u64,
    /// It goes on.
    pub running: bool,
    /// What it brought so far.
    #[serde(flatten)]
    pub captured: Captured,
    /// What the packets are, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Packets>,
    /// Why it ended early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}
