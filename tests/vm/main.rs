//! The package on a Debian that boots: installed by dpkg, run by systemd, driven by programs that nobody here wrote.
//!
//! One story, as each boot of an emulated machine takes its time: `./test.sh vm` builds what it needs. Anna is logged in
//! on the machine; Bob is a host on the same LAN.

#![allow(missing_docs, reason = "the names of tests are sentences")]

mod anna;
mod units;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{Host, MIB, Machine, Sandbox, beside_a_machine, program, sh, until};

use self::anna::Anna;

const NAME: &str = "org.sharekaro.ShareKaro1";
const ROOT: &str = "/org/sharekaro/ShareKaro1";

/// An emulated processor computes some 20 times slower; whatever needs it, gets this long.
const PATIENCE: u64 = 240;

fn package() -> Result<PathBuf> {
    env::var_os("SHAREKARO_DEB")
        .map(PathBuf::from)
        .filter(|path| path.is_file())
        .context("SHAREKARO_DEB names no package: run `./test.sh vm`")
}

#[test]
fn installed_it_is_simply_there() -> Result<()> {
    let carried = Sandbox::new("carried")?;
    fs::copy(package()?, carried.path().join("sharekaro.deb"))?;
    for name in ["sharekarod", "sharectl"] {
        fs::copy(program(name)?, carried.path().join(name))?;
    }
    beside_a_machine("bob", carried.path(), |machine, bob| {
        let anna = Anna::on(machine);
        step("installed while anna is logged in, it runs at once", || runs_at_once(machine, &anna))?;
        step("bob and anna find each other, pair and send both ways", || pair_and_send(&anna, bob))?;
        step("the bus answers", || the_bus_answers(&anna))?;
        step("a reload is heard", || anna.ok("systemctl --user reload sharekarod && systemctl --user is-active sharekarod").map(drop))?;
        step("a mistake in the configuration is told by the unit, once", || units::a_mistake_is_told_by_the_unit(&anna))?;
        step("a build of one's own is installed, stopped, started and uninstalled", || {
            units::a_build_of_her_own_is_a_unit(machine, &anna)
        })?;
        step("killed in the middle of a transfer, it comes back and the transfer goes on", || killed_it_comes_back(&anna, bob))?;
        step("what hangs is ended by the watchdog and comes back", || hung_it_comes_back(&anna))?;
        step("an upgrade restarts it and keeps who it is", || an_upgrade_keeps_everything(machine, &anna))?;
        step("a reboot in the middle of a transfer, and the transfer goes on", || rebooted_it_goes_on(machine, &anna, bob))?;
        step("a member of the group captures packets through the hardened unit", || a_member_captures(&anna))?;
        step("the agent is started by a desktop", || units::the_agent_is_started_by_a_desktop(&anna))?;
        step("the journal of that boot has no error of ours", || the_journal_is_clean(machine))?;
        step("the unit of the system and that of the session keep out of each other's way", || {
            one_daemon_of_two_units(machine, &anna, bob)
        })?;
        step("removed it stops, purged nothing is left, and what is anna's stays", || it_leaves(machine, &anna))
    })
}

/// Says what is looked at, and what was when it failed.
fn step(what: &str, look: impl FnOnce() -> Result<()>) -> Result<()> {
    let began = std::time::Instant::now();
    look().with_context(|| format!("while {what}"))?;
    println!("{what}: {} s", began.elapsed().as_secs());
    Ok(())
}

fn runs_at_once(machine: &Machine, anna: &Anna) -> Result<()> {
    anna.is_logged_in()?;
    machine.ok("dpkg -i /mnt/sharekaro.deb")?;

    until("anna's daemon is active", PATIENCE, || Ok(anna.run("systemctl --user is-active sharekarod")?.text.eq("active").then_some(())))?;

    ensure!(anna.ok("systemctl --user is-enabled sharekarod")? == "enabled", "it would not come at the next login");
    let shown = anna.ok("systemctl --user show sharekarod --property=StatusText,WatchdogUSec,NRestarts")?;
    ensure!(shown.contains("peers online") && !shown.contains("WatchdogUSec=0") && shown.contains("NRestarts=0"), "{shown}");
    ensure!(anna.json("status")?["port"] == 47810, "another port");
    ensure!(anna.ok("sharectl daemon status --json")?.contains("\"active\""), "sharectl sees another state than systemd");
    let capability = machine.ok("getcap /usr/bin/sharekaro-capture; stat -c '%G %a' /usr/bin/sharekaro-capture")?;
    ensure!(capability.contains("cap_net_raw") && capability.contains("sharekaro 750"), "{capability}");
    ensure!(anna.run("sharectl net capture eth0 --duration 1s --json")?.code == 14, "anybody here may listen to everybody");
    machine.ok("usermod --append --groups sharekaro anna")?; // from the next login on
    ensure!(machine.ok("sysctl -n net.core.rmem_max")?.parse::<u64>()? >= 8 << 20, "the buffers are as small as before");
    machine.ok("dpkg -V sharekaro").map(drop)
}

fn pair_and_send(anna: &Anna, bob: &Host) -> Result<()> {
    until("bob sees the machine", PATIENCE, || Ok(online(&bob.ctl("peers").ok()?.last()?, "machine").then_some(())))?;
    until("the machine sees bob", PATIENCE, || Ok(online(&anna.json("peers")?, "bob").then_some(())))?;
    let invitation = bob.ctl("pair --invite").within(PATIENCE).spawn()?;
    let code =
        until("the code is printed", 20, || Ok(invitation.lines()?.iter().find_map(|line| line["code"].as_str().map(str::to_owned))))?;
    anna.ok(&format!("sharectl pair --join {code} bob --json"))?;
    invitation.result()?.exits(&[0])?;

    let sent = bob.file("to anna.bin", 3 * MIB)?;
    bob.ctl("send machine").arg(&sent).within(PATIENCE).ok()?;
    ensure!(anna.sha256("Downloads/ShareKaro/to anna.bin")? == sha256(&sent)?, "anna has another file than bob sent");

    anna.ok("head -c 2000000 /dev/urandom > 'to bob.bin' && sharectl send bob 'to bob.bin' --json")?;
    let received = bob.received("to bob.bin")?;
    ensure!(anna.sha256("to bob.bin")? == sha256(&received)?, "bob has another file than anna sent");
    Ok(())
}

fn the_bus_answers(anna: &Anna) -> Result<()> {
    let id = anna.json("identity")?["id"].as_str().context("no id")?.to_owned();
    let told = until("the name is on the bus", PATIENCE, || {
        let asked = anna.run(
            "busctl --user get-property org.sharekaro.ShareKaro1 /org/sharekaro/ShareKaro1 org.sharekaro.ShareKaro1.Manager1 DeviceId",
        )?;
        Ok((asked.code == 0).then_some(asked.text))
    })?;
    ensure!(told == format!("s \"{id}\""), "{told} is not {id}");

    // Asked for by its name alone, the bus has systemd start it.
    anna.ok("systemctl --user stop sharekarod")?;
    let version = anna.ok("gdbus call --session --timeout 120 --dest org.sharekaro.ShareKaro1 --object-path /org/sharekaro/ShareKaro1 --method org.freedesktop.DBus.Properties.Get org.sharekaro.ShareKaro1.Manager1 Version")?;
    ensure!(version.contains('.'), "{version}");
    ensure!(anna.ok("systemctl --user is-active sharekarod")? == "active", "the bus started a program of its own");
    Ok(())
}

fn killed_it_comes_back(anna: &Anna, bob: &Host) -> Result<()> {
    let (sent, id) = under_way(bob, "killed.bin")?;

    anna.ok("systemctl --user kill --signal KILL sharekarod")?;

    bob.transfer_is(&id, &["done"], PATIENCE)?;
    ensure!(anna.sha256("Downloads/ShareKaro/killed.bin")? == sha256(&sent)?, "it is another file");
    ensure!(anna.ok("systemctl --user show sharekarod --property=NRestarts")? == "NRestarts=1", "systemd did not start it again");
    Ok(())
}

fn hung_it_comes_back(anna: &Anna) -> Result<()> {
    let dropin = ".config/systemd/user/sharekarod.service.d";
    anna.ok(&format!("mkdir -p {dropin} && printf '[Service]\\nWatchdogSec=8\\n' > {dropin}/soon.conf && systemctl --user daemon-reload && systemctl --user restart sharekarod"))?;
    let before = anna.pid()?;

    anna.ok("systemctl --user kill --signal STOP sharekarod")?;

    until("another daemon runs", PATIENCE, || {
        Ok((anna.pid()? != before && anna.run("systemctl --user is-active sharekarod")?.text == "active").then_some(()))
    })?;
    let why = anna.ok("journalctl --user --no-pager -u sharekarod -g '[Ww]atchdog timeout' | tail -n 1")?;
    ensure!(why.contains("atchdog"), "it was not the watchdog: {why}");
    anna.ok(&format!("rm -r {dropin} && systemctl --user daemon-reload && systemctl --user restart sharekarod")).map(drop)
}

fn an_upgrade_keeps_everything(machine: &Machine, anna: &Anna) -> Result<()> {
    let (before, id) = (anna.pid()?, anna.json("identity")?["id"].clone());

    machine.ok("dpkg -i /mnt/sharekaro.deb")?;

    until("the new daemon is active", PATIENCE, || {
        Ok((anna.pid()? != before && anna.run("systemctl --user is-active sharekarod")?.text == "active").then_some(()))
    })?;
    ensure!(anna.json("identity")?["id"] == id, "it is somebody else now");
    until("bob is online again, and trusted as before", PATIENCE, || {
        let peers = anna.json("peers")?;
        Ok((online(&peers, "bob") && peers["peers"][0]["trust"] == "accept").then_some(()))
    })?;
    Ok(())
}

fn rebooted_it_goes_on(machine: &Machine, anna: &Anna, bob: &Host) -> Result<()> {
    let (sent, id) = under_way(bob, "rebooted.bin")?;

    machine.reboot()?;

    anna.is_logged_in()?;
    bob.transfer_is(&id, &["done"], 2 * PATIENCE)?;
    ensure!(anna.sha256("Downloads/ShareKaro/rebooted.bin")? == sha256(&sent)?, "it is another file");
    Ok(())
}

fn a_member_captures(anna: &Anna) -> Result<()> {
    let captured = anna.json("net capture eth0 --duration 3s")?;
    ensure!(captured["packets"].is_u64(), "{captured}");
    ensure!(anna.ok("systemctl is-active sharekaro-capture.socket")? == "active", "it came another way");
    Ok(())
}

fn the_journal_is_clean(machine: &Machine) -> Result<()> {
    let errors = machine.run("journalctl --boot --no-pager --priority err --output cat | grep -i -e sharekaro -e sharectl")?;
    ensure!(errors.text.is_empty(), "{}", errors.text);
    let panics = machine.run("journalctl --no-pager --output cat | grep -e 'panicked at'")?;
    ensure!(panics.text.is_empty(), "{}", panics.text);
    let failed = machine.ok("systemctl --failed --no-legend --plain")?;
    ensure!(!failed.contains("sharekaro"), "{failed}");
    Ok(())
}

fn one_daemon_of_two_units(machine: &Machine, anna: &Anna, bob: &Host) -> Result<()> {
    let id = anna.json("identity")?["id"].clone();
    let ended_well =
        |shown: &str| shown.contains("ActiveState=inactive") && shown.contains("Result=success") && shown.contains("NRestarts=0");

    // The session's came first: the system's ends well, and is not started again and again.
    machine.ok("systemctl enable --now sharekarod@anna")?;
    until("the second one has ended", PATIENCE, || {
        Ok(ended_well(&machine.ok("systemctl show sharekarod@anna --property=ActiveState,Result,NRestarts")?).then_some(()))
    })?;
    ensure!(anna.ok("systemctl --user is-active sharekarod")? == "active", "the first one is gone");

    // At boot the system's is first, and the session's ends well.
    machine.reboot()?;
    anna.is_logged_in()?;
    until("the system's runs", PATIENCE, || Ok(machine.run("systemctl is-active sharekarod@anna")?.text.eq("active").then_some(())))?;
    until("the session's has ended", PATIENCE, || {
        Ok(ended_well(&anna.ok("systemctl --user show sharekarod --property=ActiveState,Result,NRestarts")?).then_some(()))
    })?;
    ensure!(anna.json("identity")?["id"] == id, "sharectl finds somebody else, or nobody");
    until("bob is there", PATIENCE, || Ok(online(&anna.json("peers")?, "bob").then_some(())))?;
    anna.ok("head -c 300000 /dev/urandom > 'from the system.bin' && sharectl send bob 'from the system.bin' --json")?;
    bob.received("from the system.bin")?;
    the_bus_of_the_system_answers(machine, anna, &id)?;
    the_journal_is_clean(machine)?;

    machine.ok("systemctl disable --now sharekarod@anna")?;
    anna.ok("systemctl --user start sharekarod && sharectl status").map(drop)
}

/// Anna's daemon on the bus of the system: she may call it, root may, and another user what a rule of polkit allows.
fn the_bus_of_the_system_answers(machine: &Machine, anna: &Anna, id: &serde_json::Value) -> Result<()> {
    let ask = format!("busctl --system get-property {NAME} {ROOT} {NAME}.Manager1 DeviceId");
    let invite = format!("busctl --system call {NAME} {ROOT} {NAME}.Manager1 Invite a{{sv}} 0");
    let nobody = |what: &str| machine.run(&format!("setpriv --reuid nobody --regid nogroup --clear-groups {what}"));
    let told = until("the daemon is on the bus of the system", PATIENCE, || Ok(Some(anna.run(&ask)?).filter(|said| said.code == 0)))?;
    ensure!(told.text == format!("s {id}"), "{} is not {id}", told.text);
    ensure!(machine.ok(&ask)? == told.text, "polkit does not let root in");

    for refused in [nobody(&ask)?, nobody(&invite)?] {
        ensure!(refused.code != 0 && !refused.text.contains(told.text.as_str()), "somebody else was let in: {}", refused.text);
    }
    let own =
        "busctl --system call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus RequestName su org.sharekaro.ShareKaro1 0";
    ensure!(nobody(own)?.text.contains("denied"), "anybody may own the name");

    machine.ok(
        "printf 'polkit.addRule(function(action, subject) { if (action.id == \"org.sharekaro.read\" && subject.user == \"nobody\") return polkit.Result.YES; });' >/etc/polkit-1/rules.d/10-test.rules && chmod 644 /etc/polkit-1/rules.d/10-test.rules",
    )?;
    until("polkit has read the rule", PATIENCE, || Ok((nobody(&ask)?.text == told.text).then_some(())))?;
    ensure!(nobody(&invite)?.code != 0, "who may look may act");
    machine.ok("rm /etc/polkit-1/rules.d/10-test.rules")?;

    machine.ok("systemctl mask --now polkit")?;
    ensure!(nobody(&ask)?.code != 0 && anna.ok(&ask)? == told.text, "without polkit it is for anna alone");
    machine.ok("systemctl unmask polkit").map(drop)
}

fn it_leaves(machine: &Machine, anna: &Anna) -> Result<()> {
    machine.ok("systemctl enable sharekarod@anna")?;
    machine.ok("dpkg -r sharekaro")?;
    until("nothing of it runs", PATIENCE, || Ok((machine.run("pgrep -x sharekarod")?.code == 1).then_some(())))?;
    ensure!(machine.run("command -v sharectl sharekarod")?.text.is_empty(), "its programs are still there");

    machine.ok("dpkg -P sharekaro")?;

    let left = machine
        .ok("find / -xdev \\( -iname '*sharekaro*' -o -name '*sharectl*' \\) ! -path '/home/*' ! -path '/mnt/*' ! -path '/proc/*'")?;
    ensure!(left.is_empty(), "left behind: {left}");
    ensure!(machine.run("getent group | grep ^sharekaro")?.code != 0, "its groups are still there");
    anna.ok(
        "test -s .local/state/sharekaro/identity.key -o -n \"$(ls -A .local/state/sharekaro)\" && test -s Downloads/ShareKaro/rebooted.bin",
    )
    .map(drop)
}

/// A transfer from bob that is in the middle; it takes long enough for anything to happen meanwhile.
fn under_way(bob: &Host, name: &str) -> Result<(PathBuf, String)> {
    bob.cable().shape("24mbit")?;
    let sent = bob.file(name, 40 * MIB)?;
    let transfer = bob.ctl("send machine --detach").arg(&sent).ok()?.last()?;
    let id = transfer["id"].as_str().context("no id")?.to_owned();
    until("some of it is there", PATIENCE, || {
        let confirmed = bob.ctl("transfer show").arg(&id).ok()?.last()?["bytes_confirmed"].as_u64();
        Ok(confirmed.filter(|bytes| *bytes > 2 * MIB))
    })?;
    Ok((sent, id))
}

fn sha256(path: &Path) -> Result<String> {
    sh(&["sha256sum", "--zero", &path.display().to_string()])?.split(' ').next().map(str::to_owned).context("sha256sum said nothing")
}

fn online(peers: &serde_json::Value, name: &str) -> bool {
    peers["peers"].as_array().is_some_and(|all| all.iter().any(|peer| peer["name"] == name && peer["online"] == true))
}
