//! The daemon on the machine, and what it names.

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;
use sharekaro_tests::Machine;

/// Seconds between the first evidence and its name.
const SOON: f64 = 5.0;

/// How often is looked whether it is named, half a second apart by the machine's clock.
const LOOKS: usize = 20;

/// What must be named, and what may stand beside it: one deed can have several consequences.
pub(crate) struct Expected<'e> {
    pub(crate) kind: &'e str,
    pub(crate) severity: &'e str,
    pub(crate) beside: &'e [&'e str],
}

/// Drives the machine by the functions of `air.sh`.
pub(crate) struct Watch<'m> {
    pub(crate) machine: &'m Machine,
}

impl Watch<'_> {
    /// What `sharectl WORDS --json` says.
    pub(crate) fn ctl(&self, words: &str) -> Result<Value> {
        let said = self.machine.ok(&format!("anna sharectl {words} --json"))?;
        serde_json::from_str(said.lines().last().unwrap_or_default()).context(said)
    }

    pub(crate) fn anomalies(&self) -> Result<Vec<Value>> {
        Ok(self.ctl("net anomalies")?["anomalies"].as_array().context("no anomalies")?.clone())
    }

    /// Runs a misdeed, which says at its end when it began, and then what ends it: it is named in time, nothing else is.
    pub(crate) fn names(&self, what: &str, misdeed: &str, expected: &Expected<'_>, end: &str) -> Result<()> {
        let said = self.machine.ok(misdeed)?;
        let began: f64 = said.lines().last().unwrap_or_default().parse().with_context(|| format!("when did it begin? {said}"))?;
        let named = self.soon(expected, began)?;
        let ended = self.machine.ok(end);
        let all = self.named_since(began)?;
        let named = named.with_context(|| format!("it is not named {}; instead: {all:#?}", expected.kind))?;
        ended?;

        // One that was named before and lasts is named anew by its last moment.
        let at = [&named["at"], &named["until"]].into_iter().filter_map(seconds).find(|at| *at >= began).context("no time")?;
        println!("{what}: {} ({}) after {:.1} s: {}", expected.kind, expected.severity, at - began, named["explanation"]);
        let wrong = all.iter().find(|it| it["kind"] != expected.kind && !expected.beside.iter().any(|kind| it["kind"] == *kind));
        ensure!(wrong.is_none(), "it is also named {wrong:#?}");
        ensure!(at - began <= SOON, "it is named {} only {:.1} s after it began: {named}", expected.kind, at - began);
        Ok(())
    }

    fn soon(&self, expected: &Expected<'_>, began: f64) -> Result<Option<Value>> {
        for _ in 0..LOOKS {
            let named = self.anomalies()?.into_iter().find(|it| is(it, expected) && seconds(&it["until"]).is_some_and(|at| at >= began));
            if named.is_some() {
                return Ok(named);
            }
            self.machine.ok("sleep 0.5")?;
        }
        Ok(None)
    }

    /// What was named since then, in seconds since 1970.
    pub(crate) fn named_since(&self, began: f64) -> Result<Vec<Value>> {
        Ok(since(&self.anomalies()?, began))
    }
}

fn is(anomaly: &Value, expected: &Expected<'_>) -> bool {
    anomaly["kind"] == expected.kind && anomaly["severity"] == expected.severity
}

fn since(anomalies: &[Value], began: f64) -> Vec<Value> {
    anomalies.iter().filter(|it| seconds(&it["at"]).is_some_and(|at| at >= began)).cloned().collect()
}

fn seconds(time: &Value) -> Option<f64> {
    let time: Timestamp = time.as_str()?.parse().ok()?;
    Some(time.as_duration().as_secs_f64())
}
