//! One file to several: they help each other, unless they are not to know of each other; who comes late goes on, and who
//! sent it may leave.

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{Host, MIB, digest, on_a_lan, pair, until};

const SIZE: u64 = 40 * MIB;

/// What a daemon says on the LAN in the seconds of a test besides content.
const TALK: u64 = 2 * MIB;

/// Alice is paired with each; these are strangers to each other. All cables carry the same.
fn class(all: [&Host; 3]) -> Result<()> {
    let [alice, bob, carol] = all;
    pair(alice, bob)?;
    pair(alice, carol)?;
    all.iter().try_for_each(|host| host.cable().shape("100mbit"))
}

fn has(host: &Host, path: &std::path::Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ensure!(digest(&host.received(&name)?)? == digest(path)?, "{} got something else", host.name);
    Ok(())
}

#[test]
fn receivers_of_one_send_help_each_other() -> Result<()> {
    on_a_lan(["alice", "bob", "carol"], |all| {
        class(all)?;
        let [alice, bob, carol] = all;
        let path = alice.file("all.iso", SIZE)?;
        let before = alice.cable().bytes_out()?;

        alice.ctl("send bob,carol").arg(&path).ok()?;

        let sent = alice.cable().bytes_out()? - before;
        [bob, carol].into_iter().try_for_each(|host| has(host, &path))?;
        ensure!(sent < SIZE * 18 / 10, "the source sent {:.2} copies", sent as f64 / SIZE as f64);
        ensure!(bob.cable().bytes_out()? + carol.cable().bytes_out()? > 2 * TALK, "nobody helped");
        Ok(())
    })
}

#[test]
fn receivers_that_are_kept_apart_never_meet() -> Result<()> {
    on_a_lan(["alice", "bob", "carol"], |all| {
        class(all)?;
        let [alice, bob, carol] = all;
        let path = alice.file("apart.iso", SIZE)?;
        let before = [bob, carol].map(|host| host.cable().bytes_out());

        alice.ctl("send bob,carol --apart").arg(&path).ok()?;

        for (host, before) in [bob, carol].into_iter().zip(before) {
            has(host, &path)?;
            let out = host.cable().bytes_out()? - before?;
            // Its own confirmations are a few in a hundred of what came.
            ensure!(out < SIZE / 10, "{} sent {} KiB", host.name, out >> 10);
        }
        Ok(())
    })
}

#[test]
fn who_comes_late_gets_it_from_those_who_have_it() -> Result<()> {
    on_a_lan(["alice", "bob", "carol"], |all| {
        class(all)?;
        let [alice, bob, carol] = all;
        carol.kill()?;
        let path = alice.file("late.iso", SIZE)?;

        alice.ctl("send bob,carol --detach").arg(&path).ok()?;
        has(bob, &path)?;
        alice.cable().shape("10mbit")?;
        let (source, helper) = (alice.cable().bytes_out()?, bob.cable().bytes_out()?);
        carol.start()?;

        has(carol, &path)?;
        let (source, helper) = (alice.cable().bytes_out()? - source, bob.cable().bytes_out()? - helper);
        ensure!(helper > SIZE / 2 && source < SIZE / 2, "{} MiB of the source, {} of the helper", source / MIB, helper / MIB);
        Ok(())
    })
}

#[test]
fn the_source_leaves_when_others_have_all_of_it() -> Result<()> {
    on_a_lan(["alice", "bob", "carol"], |all| {
        class(all)?;
        let [alice, bob, carol] = all;
        carol.cable().shape("10mbit")?; // half a minute for it: bob has long been done
        let path = alice.file("left.iso", SIZE)?;

        let sent = alice.ctl("send bob,carol --detach").arg(&path).ok()?.last()?;
        has(bob, &path)?;
        let coming = carol.ctl("transfers").ok()?.last()?;
        ensure!(coming["transfers"][0]["state"] != "done", "carol was as fast: {coming}");
        alice.kill()?;

        has(carol, &path)?;
        alice.start()?;
        for transfer in sent["transfers"].as_array().context("no transfers")? {
            alice.transfer_is(transfer["id"].as_str().unwrap_or_default(), &["done"], 60)?;
        }
        Ok(())
    })
}

#[test]
fn what_was_there_is_not_sent_again_after_both_restarted() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let path = alice.file("twice.iso", SIZE)?;
        alice.ctl("send bob").arg(&path).ok()?;
        // The note of the hashes is written after the end was told.
        until("nothing runs", 20, || Ok((bob.ctl("status").ok()?.last()?["transfers_active"] == 0).then_some(())))?;
        alice.restart()?;
        bob.restart()?;
        alice.sees(bob)?;
        let before = bob.cable().bytes_in()?;

        let done = alice.ctl("send bob").arg(&path).ok()?.last()?;

        let wire = bob.cable().bytes_in()? - before;
        ensure!(wire < TALK && done["bytes_reused"] == SIZE, "{} KiB on the wire: {done}", wire >> 10);
        Ok(())
    })
}
