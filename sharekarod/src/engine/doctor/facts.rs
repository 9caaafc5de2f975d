//! What was measured, without a word on what it means.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use sharekaro_proto::DeviceId;

use crate::net::Knock;

/// Everything that verdicts are made of.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) machine: Machine,
    /// The way out of our LAN, and whether it answers there.
    pub(super) gateway: Option<(Ipv4Addr, bool)>,
    pub(super) ways: Vec<Way>,
}

/// This machine.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// Our UDP port.
    pub(super) port: u16,
    pub(super) mdns: MdnsPort,
    /// Bytes of receive buffer that the kernel grants everybody, as it counts them.
    pub(super) small_buffer: Option<usize>,
    /// Folders whose file system has no room left for us.
    pub(super) full: Vec<PathBuf>,
    /// Which limit on watches is reached.
    pub(super) watches: Option<WatchLimit>,
    /// Drop folders, and folders in them, into which others can put files, and why.
    pub(super) drop_folders: Vec<(PathBuf, Exposed)>,
    /// Interfaces of LANs that carry nothing to groups.
    pub(super) without_multicast: Vec<String>,
}

/// The port of mDNS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum MdnsPort {
    /// mDNS is switched off.
    Unwanted,
    /// It can be shared.
    Open,
    /// Somebody keeps it to himself: who, as far as the kernel says.
    Taken(String),
}

/// A limit on watches that is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct WatchLimit {
    /// The sysctl.
    pub(super) key: &'static str,
    /// Its value, where it can be read.
    pub(super) value: Option<u64>,
}

/// How others get at a drop folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Exposed {
    /// It is a link, which leads who knows where.
    Link,
    /// It belongs to this user id.
    Owner(u32),
    /// Others may write to it: its mode.
    Writable(u32),
}

/// The way to a peer.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// Who it is.
    pub(super) id: DeviceId,
    /// Our name for it.
    pub(super) name: String,
    /// A person asked for this one.
    pub(super) asked_for: bool,
    /// Where it is or was.
    pub(super) address: Option<SocketAddr>,
    /// No router is between.
    pub(super) on_our_link: bool,
    /// It answers over a session.
    pub(super) connected: bool,
    /// Its last session broke without a goodbye.
    pub(super) lost: bool,
    /// mDNS shows it.
    pub(super) announced: bool,
    /// What came of a packet from a fresh port of ours; `None` where it was not tried.
    pub(super) knock: Option<Knock>,
    /// Whether its machine is there at all.
    pub(super) machine: Presence,
    /// Its calls reach us, and never become a session.
    pub(super) missed_call: bool,
    /// How it sees us; `None` where it did not say.
    pub(super) view: Option<View>,
    /// Its clock less ours, in milliseconds.
    pub(super) clock_ahead_ms: Option<i64>,
    /// Another key answers in its place.
    pub(super) other_key: Option<DeviceId>,
    /// Two machines that use its key.
    pub(super) copies: Option<[SocketAddr; 2]>,
}

/// Whether a machine is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Presence {
    /// It answered something.
    There,
    /// It answers nothing, which a filter would look like too.
    Silent,
    /// It is on our link, and does not even say its hardware address.
    Absent,
    /// Nobody asked.
    Unasked,
}

/// How a peer sees us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct View {
    /// Whether its packet from a fresh port reached us and was answered; nothing where it sent none.
    pub(super) reached_us: Option<bool>,
    /// It looks for announcements.
    pub(super) looks: bool,
    /// It sees ours.
    pub(super) sees_us: bool,
}
