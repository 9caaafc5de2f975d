//! A scene: some hosts, what happens among them, and, where it goes wrong, what their daemons had to say.

use std::{array, path::Path};

use anyhow::{Context, Error, Result};

use crate::{Host, Lan, Machine, lan::Cable, machine, wait::until};

/// Hosts on a LAN of their own, each with a running daemon.
///
/// # Errors
/// What the story says, with the ends of the daemons' logs.
pub fn on_a_lan<const N: usize>(names: [&str; N], story: impl FnOnce([&Host; N]) -> Result<()>) -> Result<()> {
    on_a_dark_lan(names, |hosts| {
        for host in hosts {
            host.start()?;
        }
        story(hosts)
    })
}

/// Hosts on a LAN of their own with packets of this size, each with a running daemon.
///
/// # Errors
/// What the story says, with the ends of the daemons' logs.
pub fn on_a_lan_of<const N: usize>(mtu: u32, names: [&str; N], story: impl FnOnce([&Host; N]) -> Result<()>) -> Result<()> {
    let lan = Lan::new(mtu)?;
    let cables = names.iter().map(|name| lan.plug(name).map(Some)).collect::<Result<Vec<_>>>()?;
    play(&names, cables, |hosts: [&Host; N]| {
        for host in hosts {
            host.start()?;
        }
        story(hosts)
    })
}

/// Hosts on a LAN of their own; the story starts their daemons.
///
/// # Errors
/// What the story says, with the ends of the daemons' logs.
pub fn on_a_dark_lan<const N: usize>(names: [&str; N], story: impl FnOnce([&Host; N]) -> Result<()>) -> Result<()> {
    let lan = Lan::new(1500)?;
    let cables = names.iter().map(|name| lan.plug(name).map(Some)).collect::<Result<Vec<_>>>()?;
    play(&names, cables, story)
}

/// Hosts that share this machine's loopback; mDNS is off, so that they meet only by address. Daemons run.
///
/// # Errors
/// What the story says, with the ends of the daemons' logs.
pub fn on_loopback<const N: usize>(names: [&str; N], story: impl FnOnce([&Host; N]) -> Result<()>) -> Result<()> {
    apart_on_loopback(names, |hosts| {
        for (i, host) in hosts.iter().enumerate() {
            for other in hosts.iter().skip(i + 1) {
                host.ctl("peer add").arg(format!("127.0.0.1:{}", other.port()?)).ok()?;
                host.sees(other)?;
                other.sees(host)?;
            }
        }
        story(hosts)
    })
}

/// Hosts on this machine's loopback with running daemons, who have not met.
///
/// # Errors
/// What the story says, with the ends of the daemons' logs.
pub fn apart_on_loopback<const N: usize>(names: [&str; N], story: impl FnOnce([&Host; N]) -> Result<()>) -> Result<()> {
    let cables = names.iter().map(|_| None).collect();
    play(&names, cables, |hosts: [&Host; N]| {
        for host in hosts {
            host.start()?;
            // Started again, it has to be where the others remember it.
            host.set("SHAREKARO_PORT", host.port()?.to_string());
        }
        story(hosts)
    })
}

/// A machine that boots, with what lies in `carried` below its `/mnt`, and a host with a daemon, on a LAN of their own.
///
/// # Errors
/// What the story says, with the ends of the daemon's log and of the machine's journal.
pub fn beside_a_machine(name: &str, carried: &Path, story: impl FnOnce(&Machine, &Host) -> Result<()>) -> Result<()> {
    let lan = Lan::new(1500)?;
    let host = Host::new(name, Some(lan.plug(name)?))?;
    let machine = Machine::boot(&lan, &machine::image("vm")?, carried)?;
    host.start()?;
    story(&machine, &host).map_err(|e| {
        let journal =
            machine.run("journalctl --no-pager --lines 60 --output short-monotonic").map_or_else(|e| format!("{e:#}"), |it| it.text);
        with_logs(e.context(format!("--- the end of the machine's journal\n{journal}\n---")), &[host])
    })
}

/// A machine of simulated radios that boots, with what lies in `carried` below its `/mnt`.
///
/// # Errors
/// What the story says, with the end of the machine's console.
pub fn among_radios(carried: &Path, story: impl FnOnce(&Machine) -> Result<()>) -> Result<()> {
    let machine = Machine::boot_radios(&machine::image("wifi")?, carried)?;
    story(&machine).map_err(|e| e.context(machine.console_end()))
}

fn play<const N: usize>(names: &[&str; N], cables: Vec<Option<Cable>>, story: impl FnOnce([&Host; N]) -> Result<()>) -> Result<()> {
    let hosts = names.iter().zip(cables).map(|(name, cable)| Host::new(name, cable)).collect::<Result<Vec<_>>>()?;
    story(array::from_fn(|i| &hosts[i])).map_err(|e| with_logs(e, &hosts))
}

fn with_logs(error: Error, hosts: &[Host]) -> Error {
    let logs: String = hosts.iter().map(|host| format!("\n--- the end of {}'s log\n{}", host.name, host.log_end(3000))).collect();
    Error::msg(format!("{error:#}{logs}"))
}

/// Pairs two hosts without a person: an invitation here, its code typed there.
///
/// # Errors
/// They do not see each other, or do not trust each other afterwards.
pub fn pair(inviting: &Host, joining: &Host) -> Result<()> {
    inviting.sees(joining)?;
    joining.sees(inviting)?;
    let invitation = inviting.ctl("pair --invite").within(60).spawn()?;
    let code =
        until("the code is printed", 10, || Ok(invitation.lines()?.iter().find_map(|line| line["code"].as_str().map(str::to_owned))))?;
    joining.ctl("pair --join").arg(&code).arg(&inviting.name).within(30).ok().context("cannot join")?;
    invitation.result()?.exits(&[0])?;
    inviting.trusts(joining, "accept")?;
    joining.trusts(inviting, "accept").map(drop)
}
