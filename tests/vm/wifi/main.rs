//! The Wi-Fi of a machine that boots: simulated radios, a real access point, a real supplicant, and somebody who
//! misbehaves. Everything that the monitor has a name for is named within seconds, and calm is named nothing.
//!
//! One command: `./test.sh wifi`, which builds the image first. `air.sh` has the air, `frames.py` what is forged.

#![allow(missing_docs, reason = "the names of tests are sentences")]

mod watch;

use std::fs;

use anyhow::{Context, Error, Result, ensure};
use sharekaro_tests::{Machine, Sandbox, among_radios, program};

use self::watch::{Expected, Watch};

/// The programs under test, and what the machine needs for the story.
const PROGRAMS: [&str; 3] = ["sharekarod", "sharectl", "sharekaro-capture"];
const SCRIPTS: [(&str, &str); 2] = [("air.sh", include_str!("air.sh")), ("frames.py", include_str!("frames.py"))];

/// Seconds; a network is learnt after ten.
const LEARNT: u32 = 15;

const fn one<'e>(kind: &'e str, severity: &'e str) -> Expected<'e> {
    Expected { kind, severity, beside: &[] }
}

/// Steps of a story that do not depend on each other: one that fails does not hide the others.
struct Story<'m> {
    watch: &'m Watch<'m>,
    failures: Vec<Error>,
}

impl Story<'_> {
    /// A misdeed, what it must be named, and what ends it.
    fn step(&mut self, what: &str, misdeed: &str, expected: &Expected<'_>, end: &str) {
        if let Err(error) = self.watch.names(what, misdeed, expected, end) {
            println!("{what}: FAILED: {error:#}");
            self.failures.push(error.context(format!("while {what}")));
        }
    }
}

fn on_the_air(story: impl FnOnce(&Watch<'_>) -> Result<()>) -> Result<()> {
    let carried = Sandbox::new("carried")?;
    for name in PROGRAMS {
        fs::copy(program(name)?, carried.path().join(name))?;
    }
    for (name, content) in SCRIPTS {
        fs::write(carried.path().join(name), content)?;
    }
    among_radios(carried.path(), |machine: &Machine| {
        let watch = Watch { machine };
        machine.ok(". /mnt/air.sh && radios && lan && home && supplicant && install_programs && daemon with")?;
        story(&watch).map_err(|error| {
            let log =
                machine.run("tail -n 40 /tmp/daemon.log; tail -n 20 /tmp/supplicant.log").map_or_else(|e| format!("{e:#}"), |it| it.text);
            error.context(format!("--- the ends of the machine's logs\n{log}\n---"))
        })
    })
}

/// The LAN's usual life: its DHCP server, its devices.
const LIFE: &str = "frames mallory offer eth0 $GATEWAY 10.9.0.1 && ip netns exec mallory ping -c 1 10.9.0.2";

#[test]
fn whatever_somebody_does_on_the_air_is_named_within_seconds() -> Result<()> {
    on_the_air(|watch| {
        // Twice, as the daemon may hear frames a moment later than it answers.
        watch.machine.ok(&format!("{LIFE} && sleep {LEARNT} && {LIFE} && sleep 2"))?;
        let calm = watch.anomalies()?;
        ensure!(calm.is_empty(), "an association is named {calm:#?}");

        let mut story = Story { watch, failures: Vec::new() };
        on_the_link(&mut story);
        on_the_lan(&mut story);
        at_another_access_point(&mut story);
        ensure!(story.failures.is_empty(), "{} steps failed: {:#?}", story.failures.len(), story.failures);
        Ok(())
    })
}

fn on_the_link(story: &mut Story<'_>) {
    let forge = "frames forger forge wlan3 $POINT $US 5";
    story.step("frames are forged where they are protected", forge, &one("forged_deauthentication", "critical"), "connected");
    story.step(
        "the access point fades",
        "begin ap iw dev wlan1 set txpower fixed 0",
        &one("signal_collapse", "low"),
        "ap iw dev wlan1 set txpower fixed 2000",
    );
    story.step(
        "the access point changes its channel",
        "begin home_cli chan_switch 5 2437",
        &one("channel_switch", "info"),
        "sleep 3; home_cli chan_switch 5 2412 && sleep 3 && connected",
    );
    story.step(
        "the access point throws us out",
        "begin home_cli deauthenticate $US",
        &one("deauthentication", "low"),
        "await 30 connected && protect 0",
    );
    story.step("frames are forged where nothing protects", forge, &one("deauthentication", "high"), "await 60 connected");
    story.step(
        "everybody is thrown out in the access point's name",
        "frames forger forge wlan3 $POINT ff:ff:ff:ff:ff:ff 20",
        &Expected { beside: &["gateway_loss"], ..one("deauthentication", "high") },
        "await 60 connected && protect 2 && ping -c 3 10.9.0.1",
    );
    let lost = Expected { beside: &["gateway_loss", "retries"], ..one("beacon_loss", "medium") };
    story.step("the access point loses its power", "begin crash ap wlan1", &lost, "home && await 60 connected && ping -c 3 10.9.0.1");
}

/// The gateway says where it really is: until then nothing reaches it.
const REPAIRED: &str = "ip -n ap neigh flush dev br0; frames ap claim br0 $GATEWAY 10.9.0.1 3 && ping -c 12 10.9.0.1";

fn on_the_lan(story: &mut Story<'_>) {
    let cut_off = &["gateway_loss"];
    story.step("a device comes", "begin ip netns exec dave ping -c 1 10.9.0.2", &one("new_device", "info"), "true");
    story.step("somebody tries our ports", "frames mallory knock 10.9.0.2 100", &one("port_scan", "high"), "true");
    story.step(
        "another DHCP server answers",
        "frames mallory offer eth0 02:00:00:00:0a:66 10.9.0.66",
        &one("second_dhcp_server", "critical"),
        "true",
    );
    story.step(
        "somebody claims our address",
        "frames mallory claim eth0 02:00:00:00:0a:66 10.9.0.2",
        &Expected { beside: cut_off, ..one("address_conflict", "high") },
        REPAIRED,
    );
    story.step(
        "the gateway's address changes hands",
        "frames mallory claim eth0 02:00:00:00:0a:66 10.9.0.1 3",
        &Expected { beside: cut_off, ..one("gateway_changed", "critical") },
        REPAIRED,
    );
    story.step(
        "broadcasts fill the air",
        "frames mallory storm eth0 02:00:00:00:0a:66 900 3",
        &Expected { beside: &["gateway_loss", "gateway_delay"], ..one("broadcast_storm", "medium") },
        "sleep 12",
    );
    story.step("the gateway falls silent", "begin lose", &one("gateway_loss", "medium"), "keep && sleep 12");
}

fn at_another_access_point(story: &mut Story<'_>) {
    let anew = Expected { beside: &["beacon_loss", "gateway_loss", "retries"], ..one("deauthentication", "low") };
    story.step("the access point begins anew", "begin restart", &anew, "await 60 connected && ping -c 3 10.9.0.1");
    let open = one("evil_twin", "high");
    story.step("an open twin stands beside ours", "twin 0e:11:22:33:44:55 6 '' && sleep 1 && begin scan", &open, "gone");
    story.step(
        "an open twin has our access point's address",
        "twin $POINT 6 '' && sleep 1 && begin scan",
        &open,
        "gone && await 60 connected",
    );
    let beside = &["beacon_loss", "gateway_changed", "gateway_loss", "new_device"];
    let with_key = Expected { beside, ..one("evil_twin", "critical") };
    story.step(
        "a twin with the key takes us in",
        "twin 0e:11:22:33:44:55 6 \"$KEY\" && sleep 1 && crash_and_go_to 0e:11:22:33:44:55",
        &with_key,
        "home && gone; await 60 connected_to $POINT && ping -c 3 10.9.0.1",
    );
    let weaker = Expected { beside: &["gateway_loss"], ..one("security_downgrade", "high") };
    story.step("our access point has no key any more", "open_home", &weaker, "closed_home && ping -c 3 10.9.0.1");
}

/// What stays to be seen by a plain user, and what does not, is said.
#[test]
fn without_the_right_to_capture_it_says_what_cannot_be_seen() -> Result<()> {
    on_the_air(|watch| {
        watch.machine.ok("end_daemon && daemon without && sleep 3")?;
        let status = watch.ctl("status")?;
        let warning = status["warnings"].as_array().and_then(|all| all.iter().find(|it| it["code"] == "capture_unavailable"));
        let message = warning.and_then(|it| it["message"].as_str()).with_context(|| format!("no warning: {status}"))?;
        ensure!(["conflicts", "DHCP", "storms"].iter().all(|word| message.contains(word)), "{message}");

        watch.machine.ok(&format!("ping -c 2 10.9.0.1; sleep {LEARNT}"))?;
        let mut story = Story { watch, failures: Vec::new() };
        let claim = "frames mallory claim eth0 02:00:00:00:0a:66 10.9.0.1 3";
        let by_a_stranger = Expected { beside: &["new_device"], ..one("gateway_changed", "critical") };
        story.step("the gateway's address changes hands", claim, &by_a_stranger, REPAIRED);
        story.step("somebody tries our ports", "frames mallory knock 10.9.0.2 100", &one("port_scan", "medium"), "true");
        ensure!(story.failures.is_empty(), "{:#?}", story.failures);
        Ok(())
    })
}

/// A neighbour's open network, a second access point of our own, scans, a renewed lease, a new group key, roaming.
#[test]
fn ten_calm_minutes_are_named_nothing() -> Result<()> {
    on_the_air(|watch| {
        watch.machine.ok(LIFE)?;
        watch.machine.ok("point rogue wlan2 6 '' ssid=Cafe")?;
        for _ in 0..10 {
            watch.machine.ok(&format!("scan && sleep 20 && {LIFE} && ping -c 20 -i 1 10.9.0.1 && sleep 18"))?;
        }
        watch.machine.ok("wpa reassociate && sleep 1 && await 30 connected && sleep 10")?;
        let named = watch.anomalies()?;
        ensure!(named.is_empty(), "calm is named {named:#?}");
        Ok(())
    })
}
