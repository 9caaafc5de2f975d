//! The protocols that are told apart, under the names that Wireshark filters by.

/// The enumeration and its names, from one list.
macro_rules! protocols {
    ($($variant:ident = $name:literal,)*) => {
        /// A protocol.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u16)]
        #[allow(missing_docs, reason = "the names say it")]
        pub enum Protocol { $($variant,)* }

        /// All of them, in the order of the enumeration.
        const ALL: &[(Protocol, &str)] = &[$((Protocol::$variant, $name),)*];
    };
}

protocols! {
    Eth = "eth", Llc = "llc", Vlan = "vlan", Ieee8021ad = "ieee8021ad", Ieee8021ah = "ieee8021ah", Etag = "etag", Vntag = "vntag",
    Mpls = "mpls", Pwach = "pwach", Pwmcw = "pwmcw", Pwethcw = "pwethcw", Pweth = "pweth", Macsec = "macsec", Hsr = "hsr", Pppoed = "pppoed",
    Pppoes = "pppoes", Ppp = "ppp", Lcp = "lcp", Ipcp = "ipcp", Ipv6cp = "ipv6cp", Pap = "pap", Chap = "chap", Eap = "eap", Ccp = "ccp",
    CompData = "comp_data", Mp = "mp", Sll = "sll", Null = "null", Loop = "loop", Raw = "raw", Wlan = "wlan", WlanRadio = "wlan_radio",
    Radiotap = "radiotap", Prism = "prism", Wlancap = "wlancap", WlanMgt = "wlan.mgt", WlanAggregate = "wlan_aggregate", Chdlc = "chdlc", Slarp = "slarp", Fr = "fr",
    Pflog = "pflog", Ppi = "ppi", HsrPrpSupervision = "hsr_prp_supervision", Tr = "tr", Fddi = "fddi", Enc = "enc", Ipnet = "ipnet", Pktap = "pktap", Arp = "arp",
    Ip = "ip", Ipv6 = "ipv6", Icmp = "icmp", Icmpv6 = "icmpv6", Igmp = "igmp", Tcp = "tcp", Udp = "udp", Udplite = "udplite",
    Sctp = "sctp", Dccp = "dccp", Gre = "gre", Esp = "esp", Ah = "ah", Ipcomp = "ipcomp", Etherip = "etherip", Pim = "pim",
    Vrrp = "vrrp", Carp = "carp", Ospf = "ospf", Eigrp = "eigrp", Rsvp = "rsvp", Hip = "hip", L2tp = "l2tp", Pgm = "pgm", Egp = "egp",
    Igrp = "igrp", Nhrp = "nhrp", Mipv6 = "mipv6", Shim6 = "shim6", Udpencap = "udpencap", Vxlan = "vxlan", VxlanGpe = "vxlan_gpe",
    Geneve = "geneve", Gtp = "gtp", Gtpv2 = "gtpv2", Gtpprime = "gtpprime", Teredo = "teredo", Capwap = "capwap",
    CapwapData = "capwap.data", Lisp = "lisp", LispData = "lisp-data", Ayiya = "ayiya", Nsh = "nsh", Erspan = "erspan", Wccp = "wccp",
    Tzsp = "tzsp", Batadv = "batadv", Wg = "wg", Openvpn = "openvpn", Isakmp = "isakmp", Lwapp = "lwapp", Amt = "amt", Stp = "stp",
    Cdp = "cdp", Udld = "udld", Vtp = "vtp", Dtp = "dtp", Lldp = "lldp", Slow = "slow", Lacp = "lacp", Eapol = "eapol", Ipx = "ipx",
    Netbios = "netbios", Isis = "isis", Cfm = "cfm", Ptp = "ptp", PnRt = "pn_rt", Homeplug = "homeplug", HomeplugAv = "homeplug-av",
    Aoe = "aoe", Lltd = "lltd", Ieee1905 = "ieee1905", MrpMvrp = "mrp-mvrp", MrpMmrp = "mrp-mmrp", MrpMsrp = "mrp-msrp",
    Realtek = "realtek", Ecatf = "ecatf", Tipc = "tipc", Wol = "wol", Aarp = "aarp", Ddp = "ddp", Fcoe = "fcoe", Dns = "dns",
    Mdns = "mdns", Llmnr = "llmnr", Nbns = "nbns", Nbdgm = "nbdgm", Nbss = "nbss", Smb = "smb", Tls = "tls", Dtls = "dtls",
    Quic = "quic", Gquic = "gquic", Http = "http", Http2 = "http2", Ssdp = "ssdp", Dhcp = "dhcp", Dhcpv6 = "dhcpv6", Ntp = "ntp",
    Snmp = "snmp", Ssh = "ssh", Ftp = "ftp", FtpData = "ftp-data", Telnet = "telnet", Smtp = "smtp", Pop = "pop", Imap = "imap",
    Ldap = "ldap", Cldap = "cldap", Tftp = "tftp", Syslog = "syslog", Radius = "radius", Rip = "rip", Ripng = "ripng", Sip = "sip",
    Rtsp = "rtsp", Stun = "stun", Rtp = "rtp", Rtcp = "rtcp", H225 = "h225", Mgcp = "mgcp", Megaco = "megaco", Rpc = "rpc", Nfs = "nfs",
    Mount = "mount", Kerberos = "kerberos", Kpasswd = "kpasswd", Bgp = "bgp", Bfd = "bfd", BfdEcho = "bfd_echo", Ldp = "ldp",
    Hsrp = "hsrp", Glbp = "glbp", Olsr = "olsr", Babel = "babel", Mysql = "mysql", Pgsql = "pgsql", Tds = "tds", Tns = "tns",
    Resp = "resp", Memcache = "memcache", Mqtt = "mqtt", Coap = "coap", Amqp = "amqp", Cql = "cql", Kafka = "kafka", Gearman = "gearman",
    Git = "git", Rsync = "rsync", Irc = "irc", Xmpp = "xmpp", Nntp = "nntp", Socks = "socks", Vnc = "vnc", X11 = "x11", Tpkt = "tpkt",
    Rdpudp = "rdpudp", Bittorrent = "bittorrent", BtDht = "bt-dht", Gnutella = "gnutella", Edonkey = "edonkey", Afp = "afp", Dsi = "dsi",
    Ipp = "ipp", Cups = "cups", Bjnp = "bjnp", Srvloc = "srvloc", Sap = "sap", Rtmpt = "rtmpt", Sflow = "sflow", Cflow = "cflow",
    Collectd = "collectd", DbLspDisc = "db-lsp-disc", DbLsp = "db-lsp", Dnp3 = "dnp3", Mbtcp = "mbtcp", Enip = "enip", Opcua = "opcua",
    Cipio = "cipio", Bvlc = "bvlc", S7comm = "s7comm", Iec60870104 = "iec60870_104", Tacacs = "tacacs", Tacplus = "tacplus",
    Diameter = "diameter", Whois = "whois", Finger = "finger", Gopher = "gopher", Time = "time", Daytime = "daytime", Echo = "echo",
    Chargen = "chargen", Rlogin = "rlogin", Rsh = "rsh", Exec = "exec", Lpd = "lpd", Who = "who", Xdmcp = "xdmcp", Rmcp = "rmcp",
    Pptp = "pptp", Portcontrol = "portcontrol", SteamIhsDiscovery = "steam_ihs_discovery", Rx = "rx", Raknet = "raknet",
    Quake3 = "quake3", Msproxy = "msproxy", Rmi = "rmi", Ajp13 = "ajp13", Skinny = "skinny", Iax2 = "iax2", Mndp = "mndp",
    Elasticsearch = "elasticsearch", Gsmtap = "gsmtap", TplinkSmarthome = "tplink-smarthome", Artnet = "artnet", Slimp3 = "slimp3",
    AutoRp = "auto_rp", Lwres = "lwres", Couchbase = "couchbase", Msrp = "msrp", Xot = "xot", Winsrepl = "winsrepl", Wow = "wow",
    Smb2 = "smb2", Usb = "usb", Wpan = "wpan", Can = "can", Netlink = "netlink", Bluetooth = "bluetooth",
    HciH4 = "hci_h4", Btle = "btle", Docsis = "docsis", UserDlt = "user_dlt", Mstp = "mstp", Ipfc = "ipfc", Ap1394 = "ap1394",
    Netanalyzer = "netanalyzer", Clip = "clip", Distcc = "distcc", Openflow = "openflow", Ndmp = "ndmp", Nbd = "nbd", Iscsi = "iscsi",
    Macc = "macc", Trill = "trill", NatPmp = "nat-pmp", Modbus = "modbus", PwethWord = "pweth.cw",
}

const WORDS: usize = 5;

/// Room for one number for each protocol.
pub const PROTOCOLS_MAX: usize = WORDS * 64;

const _: () = assert!(ALL.len() <= PROTOCOLS_MAX);

impl Protocol {
    /// What Wireshark's filters call it.
    pub fn name(self) -> &'static str {
        ALL.get(self.index()).map_or("", |(_, name)| name)
    }

    /// The protocol of that name.
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().find(|(_, known)| *known == name).map(|(protocol, _)| *protocol)
    }

    /// The protocol of that number.
    pub fn numbered(index: usize) -> Option<Self> {
        ALL.get(index).map(|(protocol, _)| *protocol)
    }

    /// Its number, below `PROTOCOLS_MAX`.
    pub fn index(self) -> usize {
        usize::from(self as u16)
    }
}

/// The protocols of one packet: however often one is nested, it is in it once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProtocolSet([u64; WORDS]);

impl ProtocolSet {
    /// Adds one.
    #[inline]
    pub fn insert(&mut self, protocol: Protocol) {
        if let Some(word) = self.0.get_mut(protocol.index() / 64) {
            *word |= 1 << (protocol.index() % 64);
        }
    }

    /// Adds what there is.
    #[inline]
    pub fn extend(&mut self, protocol: Option<Protocol>) {
        protocol.into_iter().for_each(|protocol| self.insert(protocol));
    }

    /// Whether it is in it.
    #[inline]
    pub fn contains(&self, protocol: Protocol) -> bool {
        self.0.get(protocol.index() / 64).is_some_and(|word| word >> (protocol.index() % 64) & 1 == 1)
    }

    /// The numbers of those in it, smallest first.
    #[inline]
    pub fn indices(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(at, word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(at * 64 + usize::try_from(bit).ok()?)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_protocol() {
        for (at, (protocol, name)) in ALL.iter().enumerate() {
            assert_eq!(Protocol::named(name), Some(*protocol), "{name} stands twice");
            assert_eq!(Protocol::numbered(at), Some(*protocol));
            assert_eq!(protocol.name(), *name);
        }
        assert_eq!(Protocol::named("nonsense"), None);
    }

    #[test]
    fn a_set_holds_each_protocol_once() {
        let mut set = ProtocolSet::default();

        for protocol in [Protocol::Ip, Protocol::Iscsi, Protocol::Eth, Protocol::Ip] {
            set.insert(protocol);
        }

        let held: Vec<_> = set.indices().filter_map(Protocol::numbered).collect();
        assert_eq!(held, [Protocol::Eth, Protocol::Ip, Protocol::Iscsi]);
        assert!(set.contains(Protocol::Iscsi) && !set.contains(Protocol::Tcp));
    }
}
