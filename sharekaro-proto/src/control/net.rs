//! The network, watched: interfaces, their history, what was out of the ordinary.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{error::ErrorBody, transfer::RawPath};

/// Every interface.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Interfaces {
    /// By name.
    pub interfaces: Vec<Interface>,
}

/// One interface with the kernel's totals since it exists.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Interface {
    /// As the kernel calls it.
    pub name: String,
    /// It can carry packets now.
    pub up: bool,
    /// Anomalies are looked for here, and `Network.csv` tells of this one.
    pub watched: bool,
    /// Its totals.
    #[serde(flatten)]
    pub counters: Counters,
    /// From which rates on its traffic is an anomaly now; of the watched interface only.
    pub threshold: Option<Threshold>,
}

/// The variable threshold: what was highest so far, slowly forgotten, and a margin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Threshold {
    /// Bytes a second, as a mean of ten seconds.
    pub bytes_sent: u64,
    /// Bytes a second, as a mean of ten seconds.
    pub bytes_received: u64,
    /// The interface was watched for so many seconds; nothing is an anomaly in the first of them.
    pub watched_seconds: u64,
}

/// Which part of the history is wanted.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct NetHistoryQuery {
    /// Of which interface; the watched one where none is named.
    pub interface: Option<String>,
    /// From when on; one hour back where it is not said.
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    pub since: Option<Timestamp>,
}

/// Where `Network.csv` goes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteCsv {
    /// An absolute path.
    #[schema(value_type = String)]
    pub path: RawPath,
    /// Rows are appended, and the file is put aside when it is large; otherwise it is replaced as a whole.
    #[serde(default)]
    pub append: bool,
}

/// A file to be judged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadRecording {
    /// An absolute path: a `Network.csv`, a CSV with `timestamp` and `value`, or a capture.
    #[schema(value_type = String)]
    pub path: RawPath,
}

/// How unlike the rows before it each row of a CSV is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Scores {
    /// From 0, as always, to 1; one a row.
    pub scores: Vec<f64>,
}

/// The networks that were learnt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Networks {
    /// Those met first come first.
    pub networks: Vec<Network>,
}

/// What belongs to a network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Network {
    /// For `forget`.
    pub id: u64,
    /// Its name on the air; none on a wire.
    pub name: Option<String>,
    /// The gateway's address.
    pub gateway: Option<String>,
    /// The gateway's hardware addresses.
    pub gateway_macs: Vec<String>,
    /// DHCP servers.
    pub dhcp_servers: Vec<String>,
    /// Name servers.
    pub name_servers: Vec<String>,
    /// Devices that were seen on it.
    pub devices: usize,
    /// When it was met first.
    #[schema(value_type = String)]
    pub since: Timestamp,
}

/// Totals of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, ToSchema)]
pub struct Counters {
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets received.
    pub packets_received: u64,
    /// Packets that could not be sent.
    pub errors_sent: u64,
    /// Packets that came broken.
    pub errors_received: u64,
    /// Packets dropped before they were sent.
    pub drops_sent: u64,
    /// Packets dropped after they came.
    pub drops_received: u64,
}

/// The amounts of an interface over time, oldest first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// Which interface.
    pub interface: String,
    /// Steps; those further back are longer.
    pub samples: Vec<HistorySample>,
}

/// The amounts of one step.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct HistorySample {
    /// When the step ended.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// How long it was.
    pub seconds: f64,
    /// Bytes sent in it.
    pub bytes_sent: u64,
    /// Bytes received in it.
    pub bytes_received: u64,
    /// Packets sent in it.
    pub packets_sent: u64,
    /// Packets received in it.
    pub packets_received: u64,
    /// Nobody looked for a while before it, or the counters began again: the amounts may lack some.
    pub gap: bool,
}

/// What was out of the ordinary, newest last.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Anomalies {
    /// Each incident once.
    pub anomalies: Vec<Anomaly>,
}

/// One incident.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Anomaly {
    /// For `explain` and `ack`.
    pub id: String,
    /// When it began.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// When it was last seen; the same as `at` for a moment's fact.
    #[schema(value_type = String)]
    pub until: Timestamp,
    /// Where.
    pub interface: String,
    /// What kind of thing it is.
    pub kind: AnomalyKind,
    /// How bad.
    pub severity: Severity,
    /// In a sentence with numbers.
    pub explanation: String,
    /// Somebody said that this is normal.
    pub acknowledged: bool,
}

/// What a replay of a file found, oldest first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Findings {
    /// Each incident once.
    pub findings: Vec<Finding>,
    /// Why the file ends early, where it is broken: everything before that is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

/// One incident in a file, in the file's time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// When it began.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// When it was last seen.
    #[schema(value_type = String)]
    pub until: Timestamp,
    /// What kind of thing it is.
    pub kind: AnomalyKind,
    /// How bad.
    pub severity: Severity,
    /// In a sentence with numbers.
    pub explanation: String,
}

/// Kinds of anomalies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnomalyKind {
    /// More, or otherwise than ever before.
    Traffic,
    /// No packet, where there always were some.
    Silence,
    /// The access point, or somebody in its name, threw us out.
    Deauthentication,
    /// Somebody threw us out in the access point's name: proven, as management frames are protected.
    ForgedDeauthentication,
    /// From access point to access point and back.
    RoamFlapping,
    /// The signal fell.
    SignalCollapse,
    /// The bit rate fell.
    RateCollapse,
    /// Frames have to be sent again and again.
    Retries,
    /// The access point is not heard any more.
    BeaconLoss,
    /// The access point went to another channel.
    ChannelSwitch,
    /// A network's name at an access point that is not its own.
    EvilTwin,
    /// A known network with weaker protection than before.
    SecurityDowngrade,
    /// The gateway answers with another hardware address.
    GatewayChanged,
    /// Somebody else uses our address.
    AddressConflict,
    /// A DHCP server that this network did not have.
    SecondDhcpServer,
    /// Names are asked elsewhere.
    DnsChanged,
    /// Somebody tries our ports.
    PortScan,
    /// Broadcasts fill the network.
    BroadcastStorm,
    /// A device that was not seen on this network before.
    NewDevice,
    /// The gateway does not answer.
    GatewayLoss,
    /// The gateway answers late.
    GatewayDelay,
}

/// How bad an anomaly is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AnomalySeverity)] // the doctor has severities too
pub enum Severity {
    /// Good to know.
    Info,
    /// Odd.
    Low,
    /// Somebody should look.
    Medium,
    /// Somebody should look now.
    High,
    /// An attack, as good as certain.
    Critical,
}
