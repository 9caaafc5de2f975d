//! The systemd user unit: sound, hardened, and its programs and folders are the real ones.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{Sandbox, program};

/// Exposure by `systemd-analyze security`: 0 is none, 10 is all. What is left is the network and the user's own files.
const EXPOSURE_MAX: f32 = 2.0;

/// The unit with the built daemon in the place of the installed one.
fn unit(sandbox: &Sandbox) -> Result<std::path::PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/user/sharekarod.service");
    let text = fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
    let daemon = program("sharekarod")?;
    let path = sandbox.path().join("sharekarod.service");
    fs::write(&path, text.replace("/usr/bin/sharekarod", &daemon.to_string_lossy()))?;
    Ok(path)
}

fn analyze(sandbox: &Sandbox, verb: &[&str], unit: &Path) -> Result<(bool, String)> {
    let mut command = Command::new("systemd-analyze");
    command.args(["--user", "--no-pager"]).args(verb).arg(unit).env_clear().envs(sandbox.environment("unit"));
    let done = command.output().context("systemd-analyze is missing: apt-get install systemd")?;
    Ok((done.status.success(), format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))))
}

#[test]
fn the_user_unit_has_no_mistakes() -> Result<()> {
    let sandbox = Sandbox::new("unit")?;

    let (sound, said) = analyze(&sandbox, &["verify", "--man=no"], &unit(&sandbox)?)?;

    ensure!(sound && said.trim().is_empty(), "{said}");
    Ok(())
}

#[test]
fn the_user_unit_leaves_little_to_attack() -> Result<()> {
    let sandbox = Sandbox::new("unit")?;

    let (_, said) = analyze(&sandbox, &["security", "--offline=true"], &unit(&sandbox)?)?;

    let figure = said.rsplit_once(".service: ").and_then(|(_, rest)| rest.split_whitespace().next());
    let exposure: f32 = figure.context("no figure")?.parse().with_context(|| said.clone())?;
    println!("exposure {exposure}");
    ensure!(exposure <= EXPOSURE_MAX, "{said}");
    Ok(())
}
