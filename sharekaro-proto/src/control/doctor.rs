//! What is wrong: named verdicts, each with what shows it and what mends it.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::nouns::transfer::words;

words! {
    /// What is wrong. Directions are seen from the host that asks.
    VerdictCode {
        /// What is sent to a group does not arrive: nobody is found by mDNS.
        NoMulticast = "no_multicast",
        /// A peer cannot call us.
        FirewallIn = "firewall_in",
        /// We cannot call a peer.
        FirewallOut = "firewall_out",
        /// No UDP passes in either direction.
        UdpBlocked = "udp_blocked",
        /// The access point or switch lets nobody reach another, only the gateway.
        ApIsolation = "ap_isolation",
        /// A peer is in another subnet, where announcements do not reach it.
        OtherSubnet = "other_subnet",
        /// Another program keeps the port of mDNS to itself.
        MdnsPortTaken = "mdns_port_taken",
        /// The kernel grants less buffer than a fast peer fills.
        SmallBuffers = "small_buffers",
        /// Another key answers for a paired device.
        KeyChanged = "key_changed",
        /// Two machines use one key.
        ClonedIdentity = "cloned_identity",
        /// A clock is far off.
        ClockOff = "clock_off",
        /// There is no room where files are received or the state lies.
        NoSpace = "no_space",
        /// The kernel grants no more watches for folders.
        InotifyLimit = "inotify_limit",
        /// Others may put files into the drop folder.
        DropFolderUnsafe = "drop_folder_unsafe",
    }
}

words! {
    /// How bad it is.
    Severity {
        /// Something does not work.
        Error = "error",
        /// It works, and not as it should.
        Warning = "warning",
        /// Good to know; also on healthy hosts.
        Note = "note",
    }
}

/// Something that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// For programs.
    pub code: VerdictCode,
    /// How bad it is.
    pub severity: Severity,
    /// What shows it, with names and figures.
    pub evidence: String,
    /// What to do, with the command to type where there is one.
    pub fix: String,
}

/// All that is wrong as far as can be seen from here; the worst first, each code once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Diagnosis {
    /// The verdicts; none, or notes only, where all is well.
    pub verdicts: Vec<Verdict>,
}

/// What to look at.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DoctorQuery {
    /// This peer and the way to it; without it, this machine and the ways to paired peers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}
