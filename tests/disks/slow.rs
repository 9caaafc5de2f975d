//! Disks that are slow, and whether it is said that they are what is slow.

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{Host, Image, MIB, mixed_folder, on_loopback, pair, until};

use crate::moves_onto_a_disk;

/// Slower than any line in these tests.
const SLOW: u64 = 6 * MIB;

/// Waits until each names what it is to name.
fn named(alice: &Host, bob: &Host, at_alice: &str, at_bob: &str) -> Result<()> {
    for (host, wanted) in [(alice, at_alice), (bob, at_bob)] {
        let listed = host.ctl("transfers").ok()?.last()?;
        let id = listed["transfers"][0]["id"].as_str().context("no transfer")?;
        let mut said = String::new();
        until(&format!("{} names {wanted}", host.name), 40, || {
            let now = host.ctl("transfer explain").arg(id).ok()?.last()?;
            said = now.to_string();
            Ok((now["bottleneck"] == wanted).then_some(()))
        })
        .with_context(|| format!("it said {said}"))?;
    }
    Ok(())
}

#[test]
fn a_slow_disk_of_the_sender_is_named_at_both_ends() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let disk = Image::new(alice.home(), "disk", "ext4", 512 * MIB)?;
        let path = disk.path().join("large");
        sharekaro_tests::write_random(&path, 300 * MIB, "large")?;
        disk.mount_again()?; // nothing of it is in memory
        let slow = disk.slow_for(alice.pid()?, SLOW)?;

        alice.ctl("send bob --detach").arg(&path).ok()?;

        named(alice, bob, "our_disk", "their_disk")?;
        drop(slow);
        alice.stop(rustix::process::Signal::TERM)
    })
}

#[test]
fn a_slow_disk_of_the_receiver_is_named_at_both_ends() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let disk = moves_onto_a_disk(bob, "ext4", 1024 * MIB)?;
        bob.start()?;
        alice.sees(bob)?;
        let path = alice.file("large", 300 * MIB)?;
        let slow = disk.slow_for(bob.pid()?, SLOW)?;

        alice.ctl("send bob --detach").arg(&path).ok()?;

        named(alice, bob, "their_disk", "our_disk")?;
        drop(slow);
        bob.stop(rustix::process::Signal::TERM)
    })
}

#[test]
fn what_is_cancelled_while_it_is_stored_is_not_there_afterwards() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let disk = moves_onto_a_disk(bob, "ext4", 1024 * MIB)?;
        bob.start()?;
        alice.sees(bob)?;
        let sent = mixed_folder(alice, "unwanted", 20 * MIB, 200)?;
        let slow = disk.slow_for(bob.pid()?, SLOW)?;
        let job = alice.ctl("send bob --detach").arg(&sent).ok()?.last()?;
        // on a busy machine nobody may look at the right moment, and it is stored already
        let coming = until("it is being stored", 60, || {
            let listed = bob.ctl("transfers").ok()?.last()?["transfers"][0].clone();
            Ok((listed["phase"] == "storing" || listed["state"] == "done").then_some(listed))
        })?;

        let cancelled = bob.ctl("transfer cancel").arg(coming["id"].as_str().context("no id")?).run()?;
        drop(slow);

        let job = job["id"].as_str().context("no id")?;
        if cancelled.code != Some(0) {
            // It was stored a moment before, says so, and is there.
            alice.transfer_is(job, &["done"], 30)?;
            ensure!(bob.inbox_files()?.len() > 200, "{cancelled:?}, and not all of it is there");
            return bob.stop(rustix::process::Signal::TERM);
        }
        alice.transfer_is(job, &["cancelled"], 30)?;
        let partials = || std::fs::read_dir(disk.path().join("state/sharekaro/partial")).into_iter().flatten().count();
        until("nothing of it is left", 30, || Ok((bob.inbox_files()?.is_empty() && partials() == 0).then_some(())))?;
        bob.stop(rustix::process::Signal::TERM)
    })
}
