//! Units of Anna's session beside the plain one: told what makes no sense, of a build of her own, started by a desktop.

use anyhow::{Context, Result, bail, ensure};
use sharekaro_tests::{Machine, until};

use crate::{PATIENCE, anna::Anna};

/// What a person who made a mistake sees without looking into the journal; systemd does not try again and again.
pub(crate) fn a_mistake_is_told_by_the_unit(anna: &Anna) -> Result<()> {
    anna.ok("mkdir -p .config/sharekaro && printf 'prot = 1\\n' >.config/sharekaro/config.toml")?;

    let refused = anna.run("sharectl daemon restart --json")?;
    let shown = anna.ok("systemctl --user show sharekarod --property=ActiveState,Result,NRestarts,StatusText")?;

    ensure!(refused.code != 0 && refused.text.contains("prot"), "it does not say what is wrong: {}", refused.text);
    for part in ["ActiveState=failed", "Result=exit-code", "NRestarts=0", "prot"] {
        ensure!(shown.contains(part), "no {part}: {shown}");
    }
    anna.ok("rm .config/sharekaro/config.toml && sharectl daemon start && sharectl status").map(drop)
}

/// `sharectl daemon` for a person who built from source: the programs lie in a folder of hers.
pub(crate) fn a_build_of_her_own_is_a_unit(machine: &Machine, anna: &Anna) -> Result<()> {
    let id = anna.json("identity")?["id"].clone();
    let own = |verb: &str| anna.run(&format!("'my build/sharectl' daemon {verb}"));
    let own_ok = |verb: &str| match own(verb)? {
        said if said.code == 0 => Ok(said.text),
        said => bail!("daemon {verb} ended with {}: {}", said.code, said.text),
    };
    machine.ok("cd /home/anna && mkdir 'my build' && cp /mnt/sharekarod /mnt/sharectl 'my build' && chown -R anna: 'my build'")?;

    own_ok("install")?;
    let runs = anna.ok("readlink /proc/$(systemctl --user show sharekarod --property=MainPID --value)/exe")?;
    ensure!(runs == "/home/anna/my build/sharekarod", "{runs} runs");
    ensure!(anna.json("identity")?["id"] == id, "it is somebody else");
    ensure!(own_ok("status")?.contains("/home/anna/.config/systemd/user/sharekarod.service"), "another unit");

    own_ok("stop")?;
    let stopped = own("status")?;
    ensure!(stopped.code == 3 && stopped.text.contains("inactive"), "{}", stopped.text);
    own_ok("start")?;
    own_ok("reload")?;
    until("the journal has what it said", PATIENCE, || Ok(own("logs -n 20")?.text.contains("ready").then_some(())))?;

    own_ok("uninstall")?;
    ensure!(anna.run("ls .config/systemd/user/sharekarod.service")?.code != 0, "its unit is still there");
    anna.ok("sharectl daemon start")?;
    let runs = anna.ok("readlink /proc/$(systemctl --user show sharekarod --property=MainPID --value)/exe")?;
    ensure!(runs == "/usr/bin/sharekarod", "{runs} runs instead of the one of the package");
    ensure!(anna.ok("systemctl --user is-enabled sharekarod")? == "enabled", "it would not come at the next login");
    Ok(())
}

/// Desktops start what lies in /etc/xdg/autostart, most of them by units that systemd makes of it. Without a service for
/// notifications the agent waits for one, and says so once.
pub(crate) fn the_agent_is_started_by_a_desktop(anna: &Anna) -> Result<()> {
    const AGENT: &str = "'app-org.sharekaro.Agent@autostart.service'";
    let unit = anna.ok(&format!("systemctl --user cat {AGENT}")).context("systemd makes no unit of the autostart file")?;
    ensure!(unit.contains("sharectl") && unit.contains("agent"), "{unit}");

    anna.ok(&format!("systemctl --user start {AGENT}"))?;

    until("it says what it waits for", PATIENCE, || {
        let said = anna.ok(&format!("journalctl --user --no-pager --output cat --unit {AGENT}"))?;
        Ok(said.contains("nobody shows notifications in this session").then_some(()))
    })?;
    ensure!(anna.ok(&format!("systemctl --user is-active {AGENT}"))? == "active", "it does not wait");
    anna.ok(&format!("systemctl --user stop {AGENT}")).map(drop)
}
