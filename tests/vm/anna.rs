//! Anna, who is logged in on the machine: what she types runs with her rights, in her session.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sharekaro_tests::{Machine, Said, until};

use crate::PATIENCE;

/// What she does happens in her home.
pub(crate) struct Anna<'a> {
    machine: &'a Machine,
}

impl<'a> Anna<'a> {
    pub(crate) fn on(machine: &'a Machine) -> Self {
        Self { machine }
    }

    /// Runs a piece of shell as her, however it ends.
    pub(crate) fn run(&self, script: &str) -> Result<Said> {
        let quoted = script.replace('\'', "'\\''");
        self.machine.run(&format!(
            "cd /home/anna && setpriv --reuid anna --regid anna --init-groups env -i HOME=/home/anna USER=anna LANG=C.UTF-8 PATH=/usr/bin:/bin \
             XDG_RUNTIME_DIR=/run/user/1000 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus bash -c '{quoted}'"
        ))
    }

    /// What a piece of shell says that ends with 0.
    pub(crate) fn ok(&self, script: &str) -> Result<String> {
        let said = self.run(script)?;
        ensure!(said.code == 0, "{script:?} of anna ended with {}: {}", said.code, said.text);
        Ok(said.text)
    }

    /// What `sharectl WORDS --json` says last.
    pub(crate) fn json(&self, words: &str) -> Result<Value> {
        let said = self.ok(&format!("sharectl {words} --json"))?;
        let line = said.lines().last().unwrap_or_default();
        serde_json::from_str(line).with_context(|| said.clone())
    }

    /// Waits until her session has a manager and a bus, as after a login at the console.
    pub(crate) fn is_logged_in(&self) -> Result<()> {
        until("anna's session is there", PATIENCE, || {
            Ok((self.run("systemctl --user is-system-running --wait >/dev/null; busctl --user status >/dev/null")?.code == 0).then_some(()))
        })
    }

    /// The process of her session's daemon; 0 where there is none.
    pub(crate) fn pid(&self) -> Result<String> {
        self.ok("systemctl --user show sharekarod --property=MainPID --value")
    }

    /// SHA-256 of a file of hers, as `sha256sum` prints it.
    pub(crate) fn sha256(&self, path: &str) -> Result<String> {
        let said = self.ok(&format!("sha256sum '{path}'"))?;
        said.split(' ').next().map(str::to_owned).context("sha256sum said nothing")
    }
}
