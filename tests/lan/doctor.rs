//! What the doctor names: one scene a verdict, in which exactly that one is named, and a healthy one.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;
use sharekaro_tests::{Host, on_a_dark_lan, on_a_lan, pair, patience, sh, until, within};

/// Whether the ceiling of this machine's buffers is under what the doctor wants. No scene can change that for itself.
fn small_buffers_here() -> bool {
    let ceiling = fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap_or_default();
    ceiling.trim().parse::<u64>().is_ok_and(|bytes| bytes < 1 << 20)
}

/// The ceiling is one for the whole machine: who lowers it keeps the others from asking meanwhile.
static CEILING: RwLock<()> = RwLock::new(());

/// What is named that is worse than a note, with what shows it.
fn verdicts(host: &Host, peer: Option<&Host>) -> Result<Vec<(String, String)>> {
    let ask = peer.map_or_else(|| host.ctl("doctor"), |peer| host.ctl("doctor --peer").arg(&peer.name));
    let _as_it_is = CEILING.read().unwrap_or_else(PoisonError::into_inner);
    let said = ask.ok()?.last()?;
    let mut found = Vec::new();
    for verdict in said["verdicts"].as_array().context("no verdicts")? {
        let text = |key: &str| {
            verdict[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned).with_context(|| format!("no {key} in {verdict}"))
        };
        let (code, severity, evidence) = (text("code")?, text("severity")?, text("evidence")?);
        text("fix")?;
        let of_the_machine = code == "small_buffers" && small_buffers_here();
        if severity != "note" && !of_the_machine {
            found.push((code, evidence));
        }
    }
    Ok(found)
}

/// Waits until exactly this is named.
fn names(host: &Host, peer: Option<&Host>, code: &str) -> Result<()> {
    let (began, mut last) = (Instant::now(), Vec::new());
    while began.elapsed() < patience(Duration::from_secs(90)) {
        last = verdicts(host, peer)?;
        if let [(only, evidence)] = last.as_slice()
            && only == code
        {
            println!("{code} after {:.1} s: {evidence}", began.elapsed().as_secs_f64());
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1)); // the daemons notice what happened in their own time
    }
    bail!("it names {last:?}, not exactly {code}")
}

/// A packet filter of a host, after connection tracking.
fn wall(host: &Host, hook: &str, rules: &str) -> Result<()> {
    let table = format!("table inet wall {{ chain c {{ type filter hook {hook} priority 0; {rules} }}; }}");
    sh(&["ip", "netns", "exec", host.cable().namespace(), "nft", &table]).map(drop)
}

/// A program that ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn two_healthy_hosts_have_no_verdict() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;

        ensure!(verdicts(alice, None)?.is_empty(), "{:?}", verdicts(alice, None)?);
        ensure!(verdicts(alice, Some(bob))?.is_empty(), "{:?}", verdicts(alice, Some(bob))?);
        ensure!(verdicts(bob, Some(alice))?.is_empty(), "{:?}", verdicts(bob, Some(alice))?);
        alice.ctl("doctor --peer nobody").run()?.exits(&[4])?;
        Ok(())
    })
}

#[test]
fn a_peer_that_is_switched_off_is_no_fault() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        bob.stop(Signal::TERM)?;
        until("alice has heard the goodbye", 10, || Ok((alice.peer(bob)?["online"] == false).then_some(())))?;

        let found = verdicts(alice, Some(bob))?;

        ensure!(found.is_empty(), "{found:?}");
        Ok(())
    })
}

#[test]
fn where_no_multicast_passes_that_is_named() -> Result<()> {
    on_a_dark_lan(["alice", "bob"], |[alice, bob]| {
        for host in [alice, bob] {
            host.cable().no_multicast()?;
            host.start()?;
        }
        alice.ctl("peer add").arg(bob.cable().address()).ok()?;
        pair(alice, bob)?;

        names(alice, Some(bob), "no_multicast")
    })
}

#[test]
fn a_firewall_that_lets_no_calls_in_is_named() -> Result<()> {
    behind_a_firewall("input", "iif", "firewall_in")
}

#[test]
fn a_firewall_that_lets_no_calls_out_is_named() -> Result<()> {
    behind_a_firewall("output", "oif", "firewall_out")
}

fn behind_a_firewall(hook: &str, interface: &str, code: &str) -> Result<()> {
    on_a_dark_lan(["alice", "bob"], |[alice, bob]| {
        wall(bob, hook, &format!("{interface} lo accept; ct state established,related accept; udp dport 47810 drop;"))?;
        alice.start()?;
        bob.start()?;
        pair(alice, bob)?;

        names(bob, Some(alice), code)
    })
}

/// Without connection tracking no session can stand: that the peer's calls arrive and come to nothing tells the direction.
#[test]
fn a_firewall_that_keeps_no_state_is_named_by_the_calls_that_still_come() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        wall(bob, "input", "udp dport 47810 drop;")?;

        names(alice, Some(bob), "firewall_out")
    })
}

#[test]
fn a_network_that_drops_udp_is_named() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let rules = ["ip", "ip6"].map(|family| format!("ether type {family} udp dport != 5353 udp sport != 5353 drop;")).concat();
        alice
            .cable()
            .in_switch(&["nft", &format!("table bridge wall {{ chain c {{ type filter hook forward priority 0; {rules} }}; }}")])?;

        names(alice, Some(bob), "udp_blocked")
    })
}

#[test]
fn a_network_that_lets_nobody_reach_another_is_named() -> Result<()> {
    on_a_lan(["alice", "bob", "carol"], |[alice, bob, carol]| {
        pair(alice, bob)?;
        pair(alice, carol)?;
        for host in [alice, bob, carol] {
            host.cable().isolate()?;
        }

        names(alice, None, "ap_isolation")
    })
}

#[test]
fn a_peer_behind_a_router_is_named() -> Result<()> {
    on_a_dark_lan(["alice", "bob"], |[alice, bob]| {
        bob.cable().behind_a_router("10.78.0.1", "10.78.0.5")?;
        alice.start()?;
        bob.start()?;
        alice.ctl("peer add").arg(bob.cable().address()).ok()?;
        pair(alice, bob)?;

        names(alice, Some(bob), "other_subnet")
    })
}

#[test]
fn a_program_that_keeps_the_port_of_mdns_is_named() -> Result<()> {
    on_a_dark_lan(["alice"], |[alice]| {
        let namespace = alice.cable().namespace().to_owned();
        // as avahi does with disallow-other-stacks=yes
        let _holder = within(&namespace, || Ok(std::net::UdpSocket::bind("[::]:5353")?))?;
        alice.start()?;

        names(alice, None, "mdns_port_taken")
    })
}

/// The ceiling belongs to the whole machine: where this test may not lower it, what it is decides what has to be named.
#[test]
fn a_small_ceiling_of_buffers_is_named() -> Result<()> {
    const MOST: &str = "/proc/sys/net/core/rmem_max";
    on_a_lan(["alice"], |[alice]| {
        let _lowering = CEILING.write().unwrap_or_else(PoisonError::into_inner);
        let before = fs::read_to_string(MOST)?;
        let lowered = fs::write(MOST, "212992").is_ok();
        let said = alice.ctl("doctor").ok().and_then(|reply| reply.last());
        if lowered {
            fs::write(MOST, before.trim())?;
        }

        let named = said?["verdicts"].as_array().is_some_and(|all| all.iter().any(|it| it["code"] == "small_buffers"));
        ensure!(named == (lowered || small_buffers_here()), "small_buffers: {named}, though the ceiling was lowered: {lowered}");
        Ok(())
    })
}

#[test]
fn another_key_behind_a_paired_name_is_named() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        bob.kill()?;
        fs::remove_dir_all(bob.home().join("state"))?;
        bob.start()?;

        names(alice, Some(bob), "key_changed")
    })
}

#[test]
fn two_machines_with_one_key_are_named_and_keep_nobody_busy() -> Result<()> {
    on_a_dark_lan(["alice", "bob", "carol"], |[alice, bob, carol]| {
        bob.start()?;
        bob.stop(Signal::TERM)?;
        fs::remove_dir_all(carol.home().join("state"))?;
        sh(&["cp", "-a", &bob.home().join("state").to_string_lossy(), &carol.home().join("state").to_string_lossy()])?;
        for host in [alice, bob, carol] {
            host.start()?;
        }

        names(alice, None, "cloned_identity")?;

        let woken = alice.wakeups(Duration::from_secs(5))?;
        ensure!(woken < 400.0, "the two push each other out without a pause: alice is woken {woken:.0} times a second");
        Ok(())
    })
}

#[test]
fn a_clock_that_is_days_ahead_is_named() -> Result<()> {
    let library =
        fs::read_dir("/usr/lib")?.flatten().map(|entry| entry.path().join("faketime/libfaketime.so.1")).find(|path| path.exists());
    let library = library.context("libfaketime is missing, which this test needs: sudo apt-get install faketime")?;
    on_a_dark_lan(["alice", "bob"], |[alice, bob]| {
        for (key, value) in [("LD_PRELOAD", &*library.to_string_lossy()), ("FAKETIME", "+3d"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")] {
            bob.set(key, value);
        }
        alice.start()?;
        bob.start()?;
        pair(alice, bob)?;

        names(alice, Some(bob), "clock_off")
    })
}

#[test]
fn a_full_inbox_is_named() -> Result<()> {
    on_a_dark_lan(["alice"], |[alice]| {
        let inbox = alice.home().join("small");
        fs::create_dir(&inbox)?;
        alice.set("SHAREKARO_INBOX_DIR", &inbox);
        let at = inbox.to_string_lossy().into_owned();
        sh(&["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", &at])?;
        let told = (|| {
            let filled = fs::write(inbox.join("full"), vec![0; 2 << 20]);
            ensure!(filled.is_err(), "a small disk took everything");
            alice.start()?;
            names(alice, None, "no_space")
        })();
        alice.kill()?;
        sh(&["umount", "-l", &at])?;
        told
    })
}

/// A user namespace has limits of its own, so that no other test loses its watches.
#[test]
fn the_limit_of_watches_is_named() -> Result<()> {
    on_a_dark_lan(["alice"], |[alice]| {
        let daemon = alice.daemon_command()?;
        let words: Vec<_> = daemon.get_args().collect();
        let into_namespace = words.iter().position(|word| *word == alice.cable().namespace()).context("the daemon is in no namespace")? + 1;
        let mut command = Command::new(daemon.get_program());
        command.args(&words[..into_namespace]).args(["unshare", "--user", "--map-root-user"]);
        command.args(["sh", "-c", "echo 0 > /proc/sys/user/max_inotify_watches && exec \"$@\"", "sh"]).args(&words[into_namespace..]);
        command.env_clear().envs(daemon.get_envs().filter_map(|(key, value)| Some((key, value?)))).current_dir(alice.home());
        let log = fs::File::create(alice.home().join("sharekarod.log"))?;
        let _daemon = Program(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?);
        until("it answers", 15, || Ok(alice.ctl("status").run()?.code.filter(|code| *code == 0)))?;

        names(alice, None, "inotify_limit")
    })
}

#[test]
fn a_drop_folder_that_everybody_may_fill_is_named() -> Result<()> {
    on_a_dark_lan(["alice"], |[alice]| {
        let dir = alice.home().join("ShareDrop");
        fs::create_dir(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))?;
        alice.start()?;

        names(alice, None, "drop_folder_unsafe")
    })
}

/// The list of codes is the one of the API's description.
#[test]
fn every_verdict_has_its_scene() -> Result<()> {
    let description: Value = serde_json::from_str(include_str!("../../sharekarod/openapi.json"))?;
    let codes = description["components"]["schemas"]["VerdictCode"]["enum"].as_array().context("no list of codes")?;

    let without: Vec<&Value> = codes.iter().filter(|code| !include_str!("doctor.rs").contains(&format!("{code}"))).collect();

    ensure!(without.is_empty() && codes.len() >= 14, "{without:?} of {codes:?}");
    Ok(())
}
