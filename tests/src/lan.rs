//! A LAN on one machine: a network namespace for each host, cables (veth) into a bridge that has a namespace of its own.
//!
//! Two LANs never meet, so tests run beside each other with the same addresses. Loss and shaping switch the offloads
//! off first: otherwise nft and tbf see bursts of segments as one packet, and what they do then is no loss of packets.

use std::{
    fs, process,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, Result, bail};

use crate::{machine::Tap, sh};

/// Begins the name of every namespace of ours; after it come the process and the LAN.
const PREFIX: &str = "sharekaro-";

static LANS: AtomicU32 = AtomicU32::new(0);

/// Namespaces on a bridge. Dropping it removes them and all that is in them.
pub struct Lan {
    tag: String,
    cables: AtomicU32,
    mtu: u32,
}

impl Lan {
    /// A bridge without hosts.
    ///
    /// # Errors
    /// This process may make no network namespaces; the text says what to do.
    pub fn new(mtu: u32) -> Result<Self> {
        sweep();
        let tag = format!("{PREFIX}{}-{}", process::id(), LANS.fetch_add(1, Ordering::Relaxed));
        let lan = Self { tag, cables: AtomicU32::new(0), mtu };
        let switch = lan.switch();
        if let Err(e) = sh(&["ip", "netns", "add", &switch]) {
            bail!(
                "cannot make a network namespace ({e:#}). Run these tests with `./test.sh lan`, which makes a user namespace for them, \
                 or as root; they need the packages iproute2, nftables and ethtool"
            );
        }
        sh(&["ip", "-n", &switch, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0"])?;
        sh(&["ip", "-n", &switch, "addr", "add", "10.77.0.1/24", "dev", "br0"])?;
        sh(&["ip", "-n", &switch, "link", "set", "br0", "up"])?;
        Ok(lan)
    }

    /// A new namespace with a cable into the bridge.
    ///
    /// # Errors
    /// One of the steps failed.
    pub fn plug(&self, name: &str) -> Result<Cable> {
        let number = self.cables.fetch_add(1, Ordering::Relaxed);
        let (namespace, switch, port) = (format!("{}-{name}", self.tag), self.switch(), format!("p{number}"));
        let mtu = self.mtu.to_string();
        sh(&["ip", "netns", "add", &namespace])?;
        sh(&["ip", "-n", &namespace, "link", "set", "lo", "up"])?;
        sh(&["ip", "link", "add", &port, "netns", &switch, "type", "veth", "peer", "name", "eth0", "netns", &namespace])?;
        sh(&["ip", "-n", &switch, "link", "set", &port, "mtu", &mtu, "master", "br0", "up"])?;
        sh(&["ip", "-n", &namespace, "link", "set", "eth0", "mtu", &mtu, "up"])?;
        let cable = Cable { namespace, switch, port, address: Mutex::new(String::new()) };
        cable.move_to(&format!("10.77.0.{}", 10 + number))?;
        Ok(cable)
    }

    /// A network card for an emulated machine, plugged into the bridge.
    ///
    /// # Errors
    /// One of the steps failed.
    pub(crate) fn tap(&self) -> Result<Tap> {
        let (namespace, device) = (self.switch(), format!("t{}", self.cables.fetch_add(1, Ordering::Relaxed)));
        sh(&["ip", "-n", &namespace, "tuntap", "add", "dev", &device, "mode", "tap"])?;
        sh(&["ip", "-n", &namespace, "link", "set", &device, "master", "br0", "up"])?;
        Ok(Tap { namespace, device })
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.tag)
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        remove(|name| name.starts_with(&format!("{}-", self.tag)));
    }
}

/// Removes what test runs left behind that were killed.
fn sweep() {
    remove(|name| {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && !fs::exists(format!("/proc/{pid}")).unwrap_or(true))
    });
}

fn remove(which: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir("/run/netns") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if which(&name) {
            let _ = sh(&["ip", "netns", "del", &name]);
        }
    }
}

/// A host's end of the LAN, and everything that can happen to it.
pub struct Cable {
    namespace: String,
    switch: String,
    port: String,
    address: Mutex<String>,
}

impl Cable {
    /// The network namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The IPv4 address.
    pub fn address(&self) -> String {
        self.address.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Another address on the same cable.
    ///
    /// # Errors
    /// The kernel refused it.
    pub fn move_to(&self, address: &str) -> Result<()> {
        self.settle(address, "10.77.0.1")
    }

    fn settle(&self, address: &str, gateway: &str) -> Result<()> {
        sh(&["ip", "-n", &self.namespace, "addr", "flush", "dev", "eth0", "scope", "global"])?;
        sh(&["ip", "-n", &self.namespace, "addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
        sh(&["ip", "-n", &self.namespace, "route", "replace", "default", "via", gateway])?;
        *self.address.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = address.to_owned();
        Ok(())
    }

    /// Pulls it out of the switch; the host sees its carrier go.
    ///
    /// # Errors
    /// The kernel refused it.
    pub fn pull(&self) -> Result<()> {
        sh(&["ip", "-n", &self.switch, "link", "set", &self.port, "down"]).map(drop)
    }

    /// Puts it back.
    ///
    /// # Errors
    /// The kernel refused it.
    pub fn put_back(&self) -> Result<()> {
        sh(&["ip", "-n", &self.switch, "link", "set", &self.port, "up"]).map(drop)
    }

    /// Both directions carry no more than this, as `tc` writes it: `400mbit`.
    ///
    /// # Errors
    /// `tc` refused it.
    pub fn shape(&self, rate: &str) -> Result<()> {
        self.no_offloads()?;
        for (namespace, device) in self.ends() {
            let tbf = ["root", "tbf", "rate", rate, "burst", "256kb", "latency", "30ms"];
            sh(&[&["ip", "netns", "exec", namespace, "tc", "qdisc", "replace", "dev", device], &tbf[..]].concat())?;
        }
        Ok(())
    }

    /// So many of a hundred arriving packets vanish.
    ///
    /// # Errors
    /// `nft` refused it.
    pub fn lose(&self, percent: u32) -> Result<()> {
        self.no_offloads()?;
        self.filter("lossy", &format!("iifname eth0 meta l4proto udp numgen random mod 100 < {percent} drop"))
    }

    /// The same of every protocol.
    ///
    /// # Errors
    /// `nft` refused it.
    pub fn lose_of_all(&self, percent: u32) -> Result<()> {
        self.no_offloads()?;
        self.filter("lossy", &format!("iifname eth0 numgen random mod 100 < {percent} drop"))
    }

    /// Nothing arrives that was sent to a group.
    ///
    /// # Errors
    /// `nft` refused it.
    pub fn no_multicast(&self) -> Result<()> {
        self.filter("unicast", "iifname eth0 meta pkttype { multicast, broadcast } meta l4proto udp drop")
    }

    /// Everybody reaches the gateway, nobody who is isolated too: as access points do it.
    ///
    /// # Errors
    /// `bridge` refused it.
    pub fn isolate(&self) -> Result<()> {
        sh(&["bridge", "-n", &self.switch, "link", "set", "dev", &self.port, "isolated", "on"]).map(drop)
    }

    /// From now on it hangs on a bridge of its own: the gateway there routes to the others, and announcements end there.
    ///
    /// # Errors
    /// The kernel refused one of the steps.
    pub fn behind_a_router(&self, gateway: &str, address: &str) -> Result<()> {
        sh(&["ip", "-n", &self.switch, "link", "add", "br1", "type", "bridge", "mcast_snooping", "0"])?;
        sh(&["ip", "-n", &self.switch, "addr", "add", &format!("{gateway}/24"), "dev", "br1"])?;
        sh(&["ip", "-n", &self.switch, "link", "set", "br1", "up"])?;
        sh(&["ip", "-n", &self.switch, "link", "set", &self.port, "master", "br1"])?;
        self.in_switch(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
        self.settle(address, gateway)
    }

    /// Runs a command where the switch is: what it filters, nobody's own firewall filters.
    ///
    /// # Errors
    /// It failed.
    pub fn in_switch(&self, argv: &[&str]) -> Result<()> {
        sh(&[&["ip", "netns", "exec", &self.switch], argv].concat()).map(drop)
    }

    /// Bytes that have arrived so far, headers included.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn bytes_in(&self) -> Result<u64> {
        self.bytes("rx")
    }

    /// Bytes that have left so far, headers included.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn bytes_out(&self) -> Result<u64> {
        self.bytes("tx")
    }

    fn bytes(&self, way: &str) -> Result<u64> {
        let text = sh(&["ip", "-n", &self.namespace, "-j", "-s", "link", "show", "dev", "eth0"])?;
        let links: serde_json::Value = serde_json::from_str(&text).context("ip printed no JSON")?;
        links[0]["stats64"][way]["bytes"].as_u64().with_context(|| format!("no counters in {text}"))
    }

    fn filter(&self, table: &str, rule: &str) -> Result<()> {
        let chain = format!("table inet {table} {{ chain in {{ type filter hook input priority -300; {rule}; }}; }}");
        sh(&["ip", "netns", "exec", &self.namespace, "nft", &chain]).map(drop)
    }

    fn no_offloads(&self) -> Result<()> {
        for (namespace, device) in self.ends() {
            let off = ["tso", "off", "gso", "off", "gro", "off", "tx-udp-segmentation", "off"];
            sh(&[&["ip", "netns", "exec", namespace, "ethtool", "-K", device], &off[..]].concat())?;
        }
        Ok(())
    }

    fn ends(&self) -> [(&str, &str); 2] {
        [(&self.namespace, "eth0"), (&self.switch, &self.port)]
    }
}
