//! From facts to verdicts: pure, so that each verdict has a row in a table of tests. Directions are as this host sees
//! them.

use std::net::SocketAddr;

use sharekaro_proto::{
    control::doctor::{Severity, Verdict, VerdictCode},
    nouns::shell::ShellWord,
};

use super::facts::{Exposed, Facts, Machine, MdnsPort, Presence, Way};
use crate::net::Knock;

/// Clocks that differ by more make times on screens lie, and expiries come early or late.
const CLOCK_AHEAD_MAX_MS: u64 = 120_000;

/// So many peers that fell silent together are no coincidence; a single one may have lost its power.
const ISOLATED_MIN: usize = 2;

/// The verdicts on these facts: the worst first, each code once.
pub(super) fn judge(facts: &Facts) -> Vec<Verdict> {
    let mut found = judge_machine(&facts.machine);
    found.extend(judge_neighbours(facts));
    let one_is_asked_for = facts.ways.iter().any(|way| way.asked_for); // then the others are only its neighbours
    for way in facts.ways.iter().filter(|way| way.asked_for || !one_is_asked_for) {
        found.extend(judge_way(way, &facts.machine));
    }
    merged(found)
}

fn verdict(code: VerdictCode, severity: Severity, evidence: impl Into<String>, fix: impl Into<String>) -> Verdict {
    Verdict { code, severity, evidence: evidence.into(), fix: fix.into() }
}

/// The same again from another peer is more evidence, not another verdict.
fn merged(found: Vec<Verdict>) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = Vec::new();
    for next in found {
        match verdicts.iter_mut().find(|verdict| verdict.code == next.code) {
            Some(verdict) => {
                verdict.evidence = format!("{}; {}", verdict.evidence, next.evidence);
                if rank(next.severity) < rank(verdict.severity) {
                    (verdict.severity, verdict.fix) = (next.severity, next.fix);
                }
            }
            None => verdicts.push(next),
        }
    }
    verdicts.sort_by_key(|verdict| rank(verdict.severity));
    verdicts
}

fn rank(severity: Severity) -> u8 {
    match severity {
        Severity::Error => 0,
        Severity::Warning => 1,
        Severity::Note => 2,
    }
}

// ---- this machine -----------------------------------------------------------------------------------

fn judge_machine(machine: &Machine) -> Vec<Verdict> {
    let mut found = Vec::new();
    if let MdnsPort::Taken(by) = &machine.mdns {
        found.push(verdict(
            VerdictCode::MdnsPortTaken,
            Severity::Error,
            format!("UDP port 5353 is kept by {by}; mDNS cannot use it, so nobody is found and nobody finds us"),
            "end that program, or let it share the port; for avahi: disallow-other-stacks=no in /etc/avahi/avahi-daemon.conf, then `sudo systemctl restart avahi-daemon`",
        ));
    }
    if machine.mdns == MdnsPort::Open && !machine.without_multicast.is_empty() {
        let evidence = format!("nothing can be sent to groups on {}", machine.without_multicast.join(", "));
        let fix = format!("sudo ip link set {} multicast on", machine.without_multicast.first().map_or("", String::as_str));
        found.push(verdict(VerdictCode::NoMulticast, Severity::Error, evidence, fix));
    }
    if let Some(bytes) = machine.small_buffer {
        found.push(verdict(
            VerdictCode::SmallBuffers,
            Severity::Warning,
            format!(
                "the kernel grants {bytes} bytes of receive buffer; a fast peer fills that in a few milliseconds, and packets are lost"
            ),
            "sudo sysctl -w net.core.rmem_max=8388608 net.core.wmem_max=8388608",
        ));
    }
    for path in &machine.full {
        let evidence = format!("there is no room left on the file system of {}", path.display());
        let fix = format!("free some space: du -xh {} | sort -h", ShellWord(&path.to_string_lossy()));
        found.push(verdict(VerdictCode::NoSpace, Severity::Error, evidence, fix));
    }
    if let Some(limit) = &machine.watches {
        let value = limit.value.map_or_else(|| "its limit".to_owned(), |value| value.to_string());
        found.push(verdict(
            VerdictCode::InotifyLimit,
            Severity::Error,
            format!("the kernel grants no more watches for folders: {} is {value}, and all are used", limit.key),
            format!("sudo sysctl -w {}={}", limit.key, if limit.key.ends_with("instances") { 1024 } else { 524_288 }),
        ));
    }
    for (path, exposed) in &machine.drop_folders {
        let (path, word) = (path.display(), path.to_string_lossy());
        let word = ShellWord(&word);
        let (evidence, fix) = match exposed {
            Exposed::Link => {
                (format!("{path} in the drop folder is a link, which is not followed"), "put a folder in its place".to_owned())
            }
            Exposed::Owner(user) => (format!("the drop folder {path} belongs to user {user}"), format!("sudo chown \"$(id -u):\" {word}")),
            Exposed::Writable(mode) => (
                format!("others on this machine may put files into the drop folder {path} (mode {mode:o}), which would be sent"),
                format!("chmod go-w {word}"),
            ),
        };
        found.push(verdict(VerdictCode::DropFolderUnsafe, Severity::Error, evidence, fix));
    }
    found
}

// ---- all peers together -----------------------------------------------------------------------------

/// Several peers of our link fell silent without a word and do not even say their hardware address, while the gateway
/// does: the network lets nobody reach another.
fn judge_neighbours(facts: &Facts) -> Option<Verdict> {
    let (gateway, true) = facts.gateway? else { return None };
    let neighbours = || facts.ways.iter().filter(|way| way.on_our_link);
    if neighbours().any(|way| way.connected || way.machine == Presence::There) {
        return None;
    }
    let cut_off: Vec<&str> =
        neighbours().filter(|way| way.machine == Presence::Absent && (way.lost || way.announced)).map(|way| way.name.as_str()).collect();
    let severity = match cut_off.len() {
        0 => return None,
        count if count < ISOLATED_MIN => Severity::Note,
        _ => Severity::Error,
    };
    Some(verdict(
        VerdictCode::ApIsolation,
        severity,
        format!("{} vanished from our link without a word, while the gateway {gateway} answers", cut_off.join(" and ")),
        "where they are switched on: turn off client isolation (also AP isolation or guest mode) in the access point, or use another network",
    ))
}

// ---- the way to one peer ----------------------------------------------------------------------------

/// What explains the rest comes first, and alone.
fn judge_way(way: &Way, machine: &Machine) -> Vec<Verdict> {
    if let Some([one, other]) = way.copies {
        return vec![verdict(
            VerdictCode::ClonedIdentity,
            Severity::Error,
            format!("two machines use the key of {}: one at {one}, one at {other}", way.name),
            "on one of them: stop sharekarod, remove its state folder (`sharectl config` names it as state_dir), start it and pair it anew",
        )];
    }
    if let Some(key) = way.other_key {
        return vec![verdict(
            VerdictCode::KeyChanged,
            Severity::Error,
            format!("{} is known by another key; who answers in its place has the key {}", way.name, key.short()),
            format!(
                "only where you know that it was set up anew: sharectl peer forget k:{}; sharectl pair k:{}",
                way.id.short(),
                key.short()
            ),
        )];
    }
    [judge_direction(way, machine.port), judge_multicast(way, machine), judge_subnet(way), judge_clock(way)].into_iter().flatten().collect()
}

fn judge_direction(way: &Way, port: u16) -> Option<Verdict> {
    let (name, address) = (&way.name, way.address?);
    let knock = way.knock?;
    let answered = knock == Knock::Answered;
    match way.view.and_then(|view| view.reached_us) {
        Some(reached_us) if way.connected => match (answered, reached_us) {
            (true, true) => None,
            (true, false) => Some(firewall_in(name, port)),
            (false, true) => Some(firewall_out(name, address, knock)),
            (false, false) => {
                let evidence = format!("neither can {name} call us nor we {name} at {address}; a session that stands is all that passes");
                Some(udp_blocked(evidence, port, address))
            }
        },
        _ if answered => None,
        _ if way.connected || knock == Knock::Forbidden => Some(firewall_out(name, address, knock)),
        _ if knock == Knock::Closed || way.machine == Presence::Absent => None, // nobody is there: nothing is wrong with the way
        _ if way.missed_call => Some(firewall_out(name, address, knock)),
        _ if way.machine == Presence::There || way.announced => {
            let (theirs, ip) = (address.port(), address.ip());
            let evidence = format!("the machine of {name} is there, and nothing comes back from UDP port {theirs} of {ip}");
            Some(udp_blocked(evidence, port, address))
        }
        _ => None,
    }
}

fn firewall_in(name: &str, port: u16) -> Verdict {
    verdict(
        VerdictCode::FirewallIn,
        Severity::Error,
        format!("{name} tried to call us from a fresh port, and no packet came through; we can call {name}"),
        format!("let UDP port {port} in here: {}", let_in(port)),
    )
}

fn firewall_out(name: &str, address: SocketAddr, knock: Knock) -> Verdict {
    let why = match knock {
        Knock::Forbidden => "this machine does not let the packet out",
        Knock::Closed | Knock::Unreachable => "the packet is refused on the way",
        Knock::Answered | Knock::Silent => "nothing comes back",
    };
    let port = address.port();
    let fix = if knock == Knock::Forbidden {
        format!("let UDP port {port} out here: `sudo nft list ruleset` or `sudo iptables -S OUTPUT` shows the rule")
    } else {
        format!("on {name}, let UDP port {port} in: {}", let_in(port))
    };
    verdict(VerdictCode::FirewallOut, Severity::Error, format!("we cannot call {name} at {address}: {why}; its packets reach us"), fix)
}

/// With each of the firewalls that distributions bring.
fn let_in(port: u16) -> String {
    format!("sudo ufw allow {port}/udp, or sudo firewall-cmd --permanent --add-port={port}/udp && sudo firewall-cmd --reload")
}

fn udp_blocked(evidence: String, ours: u16, theirs: SocketAddr) -> Verdict {
    let ports = if ours == theirs.port() { ours.to_string() } else { format!("{ours} here and {} there", theirs.port()) };
    let fix = format!(
        "let UDP port {ports} pass between the two machines, in both directions: in their firewalls and in the network between them"
    );
    verdict(VerdictCode::UdpBlocked, Severity::Error, evidence, fix)
}

/// Who is connected on our own link, looks for announcements as we do, and does not see ours or is not seen.
fn judge_multicast(way: &Way, machine: &Machine) -> Option<Verdict> {
    let view = way.view.filter(|view| way.connected && way.on_our_link && view.looks)?;
    if machine.mdns != MdnsPort::Open {
        return None;
    }
    let what = match (way.announced, view.sees_us) {
        (true, true) => return None,
        (false, false) => format!("neither we hear the announcements of {0} nor does {0} hear ours", way.name),
        (false, true) => format!("{0} hears our announcements, and we do not hear those of {0}", way.name),
        (true, false) => format!("we hear the announcements of {0}, and {0} does not hear ours", way.name),
    };
    Some(verdict(
        VerdictCode::NoMulticast,
        Severity::Error,
        format!("{what}, though both are on one link"),
        "let UDP port 5353 to 224.0.0.251 pass in both firewalls (sudo ufw allow 5353/udp), and turn off multicast filtering in the access point; until then: sharectl peer add HOST",
    ))
}

/// Worth a warning to who asks for this peer; in passing, a note: it works.
fn judge_subnet(way: &Way) -> Option<Verdict> {
    let address = way.address.filter(|_| !way.on_our_link && !way.announced)?;
    Some(verdict(
        VerdictCode::OtherSubnet,
        if way.asked_for { Severity::Warning } else { Severity::Note },
        format!("{} is at {}, which is on no link of ours: announcements do not pass the router", way.name, address.ip()),
        format!("sharectl peer add {address} finds it whatever happens to announcements; after it gets another address, again"),
    ))
}

fn judge_clock(way: &Way) -> Option<Verdict> {
    let ahead_ms = way.clock_ahead_ms.filter(|ms| ms.unsigned_abs() > CLOCK_AHEAD_MAX_MS)?;
    let direction = if ahead_ms > 0 { "ahead of" } else { "behind" };
    Some(verdict(
        VerdictCode::ClockOff,
        Severity::Warning,
        format!("the clock of {} is {} {direction} ours", way.name, span(ahead_ms.unsigned_abs() / 1000)),
        "on the machine whose clock is wrong: sudo timedatectl set-ntp true",
    ))
}

/// Seconds in the largest unit that has at least two of them.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
