//! Which content a port announces.
//!
//! The ports are those at which Wireshark expects a protocol; the lower of the two is asked first, as there. Whether the
//! content can be that, and what tells itself on other ports, is told in `content`.

use super::{content, protocol::Protocol, protocol::Protocol as P, span::Span};

/// First port, last port, what is spoken there.
type Row = (u16, u16, P);

const UDP: &[Row] = &[
    (7, 7, P::Echo),
    (13, 13, P::Daytime),
    (19, 19, P::Chargen),
    (37, 37, P::Time),
    (49, 49, P::Tacacs),
    (53, 53, P::Dns),
    (67, 68, P::Dhcp),
    (69, 69, P::Tftp),
    (88, 88, P::Kerberos),
    (111, 111, P::Rpc),
    (123, 123, P::Ntp),
    (137, 137, P::Nbns),
    (138, 138, P::Nbdgm),
    (161, 162, P::Snmp),
    (177, 177, P::Xdmcp),
    (213, 213, P::Ipx),
    (319, 320, P::Ptp),
    (389, 389, P::Cldap),
    (427, 427, P::Srvloc),
    (464, 464, P::Kpasswd),
    (496, 496, P::AutoRp),
    (500, 500, P::Isakmp),
    (513, 513, P::Who),
    (514, 514, P::Syslog),
    (520, 520, P::Rip),
    (521, 521, P::Ripng),
    (546, 547, P::Dhcpv6),
    (623, 623, P::Rmcp),
    (631, 631, P::Cups),
    (646, 646, P::Ldp),
    (698, 698, P::Olsr),
    (853, 853, P::Dtls),
    (921, 921, P::Lwres),
    (1069, 1069, P::Slimp3),
    (1194, 1194, P::Openvpn),
    (1645, 1646, P::Radius),
    (1700, 1700, P::Radius),
    (1701, 1701, P::L2tp),
    (1718, 1719, P::H225),
    (1745, 1745, P::Msproxy),
    (1812, 1813, P::Radius),
    (1900, 1900, P::Ssdp),
    (1985, 1985, P::Hsrp),
    (2029, 2029, P::Hsrp),
    (2048, 2048, P::Wccp),
    (2055, 2055, P::Cflow),
    (2123, 2123, P::Gtp),
    (2152, 2152, P::Gtp),
    (2221, 2221, P::Dtls),
    (2222, 2222, P::Enip),
    (2268, 2268, P::Amt),
    (2427, 2427, P::Mgcp),
    (2727, 2727, P::Mgcp),
    (2944, 2944, P::Megaco),
    (3222, 3222, P::Glbp),
    (3386, 3386, P::Gtpprime),
    (3389, 3389, P::Rdpudp),
    (3455, 3455, P::Rsvp),
    (3478, 3478, P::Stun),
    (3483, 3483, P::Slimp3),
    (3544, 3544, P::Teredo),
    (3784, 3784, P::Bfd),
    (3785, 3785, P::BfdEcho),
    (3799, 3799, P::Radius),
    (4011, 4011, P::Dhcp),
    (4341, 4341, P::LispData),
    (4342, 4342, P::Lisp),
    (4500, 4500, P::Udpencap),
    (4569, 4569, P::Iax2),
    (4665, 4665, P::Edonkey),
    (4672, 4672, P::Edonkey),
    (4729, 4729, P::Gsmtap),
    (4739, 4739, P::Cflow),
    (4754, 4754, P::Gre),
    (4784, 4784, P::Bfd),
    (4789, 4789, P::Vxlan),
    (4790, 4790, P::VxlanGpe),
    (5060, 5060, P::Sip),
    (5072, 5072, P::Ayiya),
    (5246, 5246, P::Capwap),
    (5247, 5247, P::CapwapData),
    (5350, 5351, P::Portcontrol),
    (5353, 5353, P::Mdns),
    (5355, 5355, P::Llmnr),
    (5436, 5436, P::Mipv6),
    (5678, 5678, P::Mndp),
    (5683, 5683, P::Coap),
    (5684, 5684, P::Dtls),
    (5868, 5868, P::Dtls),
    (6081, 6081, P::Geneve),
    (6118, 6118, P::Tipc),
    (6343, 6343, P::Sflow),
    (6635, 6635, P::Mpls),
    (6696, 6696, P::Babel),
    (6784, 6784, P::Bfd),
    (7000, 7009, P::Rx),
    (7021, 7021, P::Rx),
    (7784, 7784, P::Bfd),
    (8161, 8161, P::Snmp),
    (8611, 8614, P::Bjnp),
    (9875, 9875, P::Sap),
    (9899, 9899, P::Sctp),
    (9996, 9996, P::Cflow),
    (9999, 9999, P::TplinkSmarthome),
    (10500, 10500, P::Hip),
    (11211, 11211, P::Memcache),
    (12000, 12004, P::Llc),
    (12222, 12223, P::Lwapp),
    (17500, 17500, P::DbLspDisc),
    (19132, 19132, P::Raknet),
    (20000, 20000, P::Dnp3),
    (25826, 25826, P::Collectd),
    (27036, 27036, P::SteamIhsDiscovery),
    (27950, 27953, P::Quake3),
    (27960, 27963, P::Quake3),
    (34962, 34962, P::PnRt),
    (34980, 34980, P::Ecatf),
    (37008, 37008, P::Tzsp),
    (44818, 44818, P::Enip),
    (47808, 47808, P::Bvlc),
    (54328, 54328, P::Elasticsearch),
];

const TCP: &[Row] = &[
    (7, 7, P::Echo),
    (13, 13, P::Daytime),
    (19, 19, P::Chargen),
    (20, 20, P::FtpData),
    (21, 21, P::Ftp),
    (22, 22, P::Ssh),
    (23, 23, P::Telnet),
    (25, 25, P::Smtp),
    (37, 37, P::Time),
    (42, 42, P::Winsrepl),
    (43, 43, P::Whois),
    (49, 49, P::Tacplus),
    (53, 53, P::Dns),
    (70, 70, P::Gopher),
    (79, 79, P::Finger),
    (80, 80, P::Http),
    (88, 88, P::Kerberos),
    (102, 102, P::Tpkt),
    (110, 110, P::Pop),
    (111, 111, P::Rpc),
    (119, 119, P::Nntp),
    (123, 123, P::Ntp),
    (139, 139, P::Nbss),
    (143, 143, P::Imap),
    (161, 162, P::Snmp),
    (179, 179, P::Bgp),
    (324, 324, P::Tls),
    (389, 389, P::Ldap),
    (427, 427, P::Srvloc),
    (443, 443, P::Tls),
    (445, 445, P::Nbss),
    (464, 464, P::Kpasswd),
    (465, 465, P::Tls),
    (500, 500, P::Isakmp),
    (502, 502, P::Mbtcp),
    (512, 512, P::Exec),
    (513, 513, P::Rlogin),
    (514, 514, P::Rsh),
    (515, 515, P::Lpd),
    (548, 548, P::Dsi),
    (554, 554, P::Rtsp),
    (587, 587, P::Smtp),
    (631, 631, P::Http),
    (636, 636, P::Tls),
    (646, 646, P::Ldp),
    (802, 802, P::Tls),
    (853, 853, P::Tls),
    (873, 873, P::Rsync),
    (993, 993, P::Tls),
    (995, 995, P::Tls),
    (1080, 1080, P::Socks),
    (1099, 1099, P::Rmi),
    (1194, 1194, P::Openvpn),
    (1300, 1300, P::Tls),
    (1433, 1433, P::Tds),
    (1521, 1521, P::Tns),
    (1723, 1723, P::Pptp),
    (1883, 1883, P::Mqtt),
    (1900, 1900, P::Http),
    (1935, 1935, P::Rtmpt),
    (1998, 1998, P::Xot),
    (2000, 2000, P::Skinny),
    (2123, 2123, P::Gtp),
    (2152, 2152, P::Gtp),
    (2221, 2221, P::Tls),
    (2404, 2404, P::Iec60870104),
    (2427, 2427, P::Mgcp),
    (2433, 2433, P::Tds),
    (2443, 2443, P::Tls),
    (2710, 2710, P::Http),
    (2727, 2727, P::Mgcp),
    (2855, 2855, P::Msrp),
    (2869, 2869, P::Http),
    (2944, 2944, P::Megaco),
    (3128, 3128, P::Http),
    (3132, 3132, P::Http),
    (3249, 3252, P::Tls),
    (3268, 3268, P::Ldap),
    (3306, 3306, P::Mysql),
    (3386, 3386, P::Gtpprime),
    (3389, 3389, P::Tpkt),
    (3478, 3478, P::Stun),
    (3496, 3496, P::Tls),
    (3632, 3632, P::Distcc),
    (3689, 3689, P::Http),
    (3724, 3724, P::Wow),
    (3868, 3868, P::Diameter),
    (4661, 4663, P::Edonkey),
    (4730, 4730, P::Gearman),
    (4739, 4739, P::Cflow),
    (4840, 4840, P::Opcua),
    (5060, 5060, P::Sip),
    (5061, 5061, P::Tls),
    (5222, 5222, P::Xmpp),
    (5353, 5353, P::Dns),
    (5432, 5432, P::Pgsql),
    (5500, 5501, P::Vnc),
    (5671, 5671, P::Tls),
    (5672, 5672, P::Amqp),
    (5683, 5683, P::Coap),
    (5684, 5684, P::Tls),
    (5868, 5868, P::Tls),
    (5900, 5901, P::Vnc),
    (5985, 5985, P::Http),
    (6000, 6063, P::X11),
    (6346, 6346, P::Gnutella),
    (6379, 6379, P::Resp),
    (6653, 6653, P::Openflow),
    (6667, 6667, P::Irc),
    (6881, 6889, P::Bittorrent),
    (7236, 7236, P::Rtsp),
    (8009, 8009, P::Ajp13),
    (8080, 8080, P::Http),
    (8088, 8088, P::Http),
    (8554, 8554, P::Rtsp),
    (8883, 8883, P::Tls),
    (9042, 9042, P::Cql),
    (9092, 9092, P::Kafka),
    (9300, 9300, P::Elasticsearch),
    (9418, 9418, P::Git),
    (9999, 9999, P::TplinkSmarthome),
    (10000, 10000, P::Ndmp),
    (11207, 11207, P::Tls),
    (11210, 11210, P::Couchbase),
    (11211, 11211, P::Memcache),
    (11371, 11371, P::Http),
    (17500, 17500, P::DbLsp),
    (19999, 19999, P::Tls),
    (20000, 20000, P::Dnp3),
    (27017, 27017, P::Tls),
    (29418, 29418, P::Ssh),
    (34980, 34980, P::Ecatf),
    (44818, 44818, P::Enip),
    (57000, 57000, P::Irc),
];

/// One bit a port: most ports announce nothing, which is known then without a search.
struct Known([u64; 1024]);

static UDP_KNOWN: Known = Known::of(UDP);
static TCP_KNOWN: Known = Known::of(TCP);

impl Known {
    const fn of(rows: &[Row]) -> Self {
        let mut bits = [0; 1024];
        let mut row = 0;
        while row < rows.len() {
            let mut port = rows[row].0 as usize;
            while port <= rows[row].1 as usize {
                bits[port / 64] |= 1 << (port % 64);
                port += 1;
            }
            row += 1;
        }
        Self(bits)
    }

    #[inline]
    fn find(&self, rows: &[Row], port: u16) -> Option<Protocol> {
        let word = self.0.get(usize::from(port / 64))?;
        if word >> (port % 64) & 1 == 0 {
            return None;
        }
        let after = rows.partition_point(|row| row.0 <= port);
        rows.get(after.checked_sub(1)?).filter(|row| port <= row.1).map(|row| row.2)
    }
}

/// What a segment of TCP between these ports holds.
#[inline]
pub(super) fn tcp((source, destination): (u16, u16), span: Span<'_>) -> Option<Protocol> {
    let known = |port| TCP_KNOWN.find(TCP, port).and_then(|protocol| content::of_segment(protocol, span));
    known(source.min(destination)).or_else(|| known(source.max(destination))).or_else(|| content::told_by_segment(span))
}

/// What a datagram between these ports holds. A protocol that rejects the content leaves it to the other port.
#[inline]
pub(super) fn udp((source, destination): (u16, u16), span: Span<'_>) -> Option<Protocol> {
    let known = |port| UDP_KNOWN.find(UDP, port).and_then(|protocol| content::of_datagram(protocol, span));
    known(source.min(destination)).or_else(|| known(source.max(destination))).or_else(|| content::told_by_datagram(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(rows: &[Row]) -> bool {
        rows.iter().all(|row| row.0 <= row.1) && rows.windows(2).all(|pair| pair[0].1 < pair[1].0)
    }

    #[test]
    fn the_tables_are_sorted_as_the_search_needs_them() {
        assert!(sorted(UDP) && sorted(TCP));
    }

    #[test]
    fn the_lower_port_is_asked_first_and_content_last() {
        let nothing = Span::new(&[0; 40], 40);
        let greeting = Span::new(&[22, 3, 1, 0, 200, 1], 205);

        assert_eq!(udp((50_000, 53), nothing), Some(P::Dns));
        assert_eq!(udp((4789, 53), nothing), Some(P::Dns));
        assert_eq!(udp((50_000, 50_001), nothing), None);
        assert_eq!(tcp((50_000, 40_000), greeting), Some(P::Tls));
        assert_eq!(tcp((6040, 40_000), greeting), Some(P::X11));
    }
}
