//! Why a transfer is slow, asked while it is.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sharekaro_tests::{Host, MIB, on_a_lan, pair, until};

/// Waits until the sender names this bottleneck for what it sends.
fn named(alice: &Host, bob: &Host, flags: &str, bottlenecks: &[&str]) -> Result<Value> {
    let job = alice.ctl(&format!("send bob --detach {flags}")).arg(alice.file("slow", 600 * MIB)?).ok()?.last()?;
    let id = job["id"].as_str().context("a transfer without an id")?;
    let mut said = Value::Null;
    let found = until(&format!("{bottlenecks:?} is named"), 30, || {
        said = alice.ctl("transfer explain").arg(id).ok()?.last()?;
        ensure!(said["explanation"].as_str().is_some_and(|text| !text.is_empty()), "no sentence: {said}");
        Ok(said["bottleneck"].as_str().is_some_and(|it| bottlenecks.contains(&it)).then_some(()))
    });
    found.with_context(|| format!("it said {said}"))?;
    ensure!(bob.alive(), "the receiver ended");
    alice.ctl("transfer cancel").arg(id).ok()?;
    Ok(said)
}

#[test]
fn a_narrow_cable_is_named() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        alice.cable().shape("50mbit")?;

        named(alice, bob, "", &["link"]).map(drop)
    })
}

#[test]
fn a_limit_is_named_also_one_of_the_hour() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        named(alice, bob, "--limit 2M", &["limit"])?;

        let config_dir = alice.home().join("config/sharekaro");
        std::fs::create_dir_all(&config_dir)?;
        std::fs::write(config_dir.join("config.toml"), "[[limit]]\nhours = \"00:00-24:00\"\nupload = \"2M\"\n")?;
        alice.restart()?;
        alice.sees(bob)?;

        ensure!(alice.ctl("config").ok()?.last()?["limits"][0]["upload"] == 2 * MIB, "the limit is not shown");
        named(alice, bob, "", &["limit"]).map(drop)
    })
}

#[test]
fn a_cable_that_loses_packets_is_named() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        bob.cable().lose(8)?;

        named(alice, bob, "", &["loss"]).map(drop)
    })
}
