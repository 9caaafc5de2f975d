//! A transfer that something breaks in the middle ends as done, by itself, and does not send verified bytes again.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use sharekaro_tests::{Host, MIB, digest, on_a_lan, pair, until};

/// Big enough that a break falls into the middle, at a rate that leaves the time for it.
const SIZE: u64 = 300 * MIB;
const RATE: &str = "400mbit";

/// Headers of Ethernet, IP, UDP and QUIC on 1,500-byte packets take 5 %; and what was on its way when it broke (the
/// pieces in flight and the socket buffers) comes again.
const WIRE_MAX: u64 = SIZE + SIZE / 16 + 32 * MIB;

fn broken_in_the_middle(what: impl FnOnce(&Host, &Host) -> Result<()>) -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        alice.cable().shape(RATE)?;
        let path = alice.file("precious.iso", SIZE)?;
        let before = bob.cable().bytes_in()?;

        let job = alice.ctl("send bob --detach").arg(&path).ok()?.last()?;
        let id = job["id"].as_str().context("a transfer without an id")?;
        until("a third has arrived", 60, || Ok((bob.cable().bytes_in()? - before > SIZE / 3).then_some(())))?;
        what(alice, bob)?;
        let done = alice.transfer_is(id, &["done"], 180)?;

        let wire = bob.cable().bytes_in()? - before;
        ensure!(done["bytes_confirmed"] == SIZE, "{done}");
        ensure!(digest(&bob.received("precious.iso")?)? == digest(&path)?, "other bytes arrived");
        ensure!(bob.inbox_files()?.len() == 1, "left behind in the inbox: {:?}", bob.inbox_files()?);
        ensure!(wire < WIRE_MAX, "{} MiB crossed the wire for {} MiB", wire / MIB, SIZE / MIB);
        Ok(())
    })
}

#[test]
fn the_receiver_is_killed() -> Result<()> {
    broken_in_the_middle(|_, bob| bob.restart())
}

#[test]
fn the_sender_is_killed() -> Result<()> {
    broken_in_the_middle(|alice, _| alice.restart())
}

#[test]
fn both_are_killed() -> Result<()> {
    broken_in_the_middle(|alice, bob| {
        alice.kill()?;
        bob.kill()?;
        bob.start()?;
        alice.start().map(drop)
    })
}

#[test]
fn the_sender_is_asked_to_stop_and_its_goodbye_is_heard() -> Result<()> {
    broken_in_the_middle(|alice, bob| {
        alice.stop(Signal::TERM)?;

        // Without the word it would be the idle timeout that tells him, fifteen seconds later.
        until("bob has alice as gone", 3, || Ok((bob.peer(alice)?["online"] == false).then_some(())))?;
        alice.start().map(drop)
    })
}

#[test]
fn the_receiver_is_asked_to_stop_and_started_later() -> Result<()> {
    broken_in_the_middle(|_, bob| {
        bob.stop(Signal::TERM)?;
        bob.start().map(drop)
    })
}

#[test]
fn the_cable_is_out_for_twenty_seconds() -> Result<()> {
    broken_in_the_middle(|_, bob| {
        bob.cable().pull()?;
        // The time is the fault itself: longer than a short flap, shorter than anybody's patience.
        thread::sleep(Duration::from_secs(20));
        bob.cable().put_back()
    })
}

#[test]
fn the_receiver_gets_another_address() -> Result<()> {
    broken_in_the_middle(|_, bob| bob.cable().move_to("10.77.0.99"))
}

#[test]
fn the_sender_gets_another_address() -> Result<()> {
    broken_in_the_middle(|alice, _| alice.cable().move_to("10.77.0.98"))
}

#[test]
fn a_line_that_loses_five_percent_only_takes_longer() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        alice.cable().lose(5)?;
        bob.cable().lose(5)?;
        let path = alice.file("lossy", 32 * MIB)?;

        alice.ctl("send bob").arg(&path).ok()?;

        ensure!(digest(&bob.received("lossy")?)? == digest(&path)?, "other bytes arrived");
        Ok(())
    })
}

#[test]
fn paused_by_either_side_nothing_moves_and_resumed_it_ends() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        alice.cable().shape(RATE)?;
        let path = alice.file("paused.iso", SIZE)?;
        let job = alice.ctl("send bob --detach").arg(&path).ok()?.last()?;
        let id = job["id"].as_str().context("a transfer without an id")?;
        alice.transfer_is(id, &["active"], 20)?;

        alice.ctl("transfer pause").arg(id).ok()?;
        alice.transfer_is(id, &["paused"], 10)?;
        until("nothing moves", 10, || {
            let before = bob.cable().bytes_in()?;
            // A rate needs a span of time.
            thread::sleep(Duration::from_millis(500));
            Ok((bob.cable().bytes_in()? - before < MIB).then_some(()))
        })?;
        alice.ctl("transfer resume").arg(id).ok()?;

        alice.transfer_is(id, &["done"], 120)?;
        ensure!(digest(&bob.received("paused.iso")?)? == digest(&path)?, "other bytes arrived");
        Ok(())
    })
}

#[test]
fn what_the_receiver_sets_while_the_sender_is_away_holds_when_it_is_back() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let path = alice.file("limited.iso", 64 * MIB)?;
        let job = alice.ctl("send bob --limit 1M --detach").arg(&path).ok()?.last()?;
        let id = job["id"].as_str().context("a transfer without an id")?;
        alice.transfer_is(id, &["active"], 30)?;
        let there = bob.ctl("transfers").ok()?.last()?["transfers"][0]["id"].as_str().context("bob has none")?.to_owned();
        bob.ctl("transfer limit").arg(&there).arg("300K").ok()?;
        alice.ctl("transfer limit").arg(id).arg("none").ok()?;

        alice.cable().pull()?;
        until("bob misses alice", 60, || Ok((bob.peer(alice)?["online"] == false).then_some(())))?;
        bob.ctl("transfer limit").arg(&there).arg("none").ok()?;
        bob.ctl("transfer prio").arg(&there).arg("high").ok()?;
        alice.cable().put_back()?;

        // With the limit that was taken off it would take three minutes.
        let done = alice.transfer_is(id, &["done"], 90)?;
        ensure!(done["priority"] == "high" && digest(&bob.received("limited.iso")?)? == digest(&path)?, "{done}");
        Ok(())
    })
}

#[test]
fn an_inbox_that_is_moved_meanwhile_gets_what_comes_next() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let (old, new) = (bob.inbox()?, bob.home().join("elsewhere"));
        let path = alice.file("begun.iso", 8 * MIB)?;
        let job = alice.ctl("send bob --limit 1M --detach").arg(&path).ok()?.last()?;
        let id = job["id"].as_str().context("a transfer without an id")?;
        until("some of it came", 30, || Ok((alice.ctl("transfer show").arg(id).ok()?.last()?["bytes_confirmed"] != 0).then_some(())))?;
        bob.set("SHAREKARO_INBOX_DIR", new.as_os_str());
        bob.restart()?;
        alice.ctl("transfer limit").arg(id).arg("none").ok()?;

        alice.transfer_is(id, &["done"], 60)?;
        ensure!(digest(&old.join("begun.iso"))? == digest(&path)?, "it is not where it was to go");
        alice.ctl("send bob").arg(alice.file("next", 5)?).ok()?;
        ensure!(new.join("next").is_file(), "what came next is not in the new inbox");
        Ok(())
    })
}

#[test]
fn of_a_folder_with_one_file_that_changes_meanwhile_the_rest_comes() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        bob.kill()?;
        let folder = alice.home().join("letters");
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("draft"), "as it was offered")?;
        let sending = alice.ctl("send bob --wait 90").arg(&folder).spawn()?;
        until("it was looked through", 30, || {
            let sent = alice.ctl("transfers").ok()?.last()?;
            Ok((sent["transfers"][0]["files_total"] == 1).then_some(()))
        })?;
        std::fs::write(folder.join("draft"), "as it is now, and longer")?;
        bob.start()?;

        let done = sending.result()?.exits(&[12])?.last()?;
        ensure!(done["skipped"][0]["reason"] == "changed", "{done}");
        ensure!(bob.inbox()?.join("letters").is_dir(), "the folder did not come");
        Ok(())
    })
}

/// What was said while the receiver was away is about the files, not about their state at that time.
#[test]
fn what_changed_while_the_receiver_was_away_is_sent_as_it_is() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        bob.stop(Signal::TERM)?;
        let file = alice.file("report", MIB)?;
        let tree = alice.home().join("tree");
        std::fs::create_dir(&tree)?;
        for name in ["edited", "removed"] {
            std::fs::write(tree.join(name), name)?;
        }
        let send = |path: &std::path::Path| -> Result<String> {
            let job = alice.ctl("send bob --detach").arg(path).ok()?.last()?;
            Ok(job["id"].as_str().context("a transfer without an id")?.to_owned())
        };
        let ids = [send(&file)?, send(&tree)?];
        for id in &ids {
            until("it was walked", 30, || Ok((alice.ctl("transfer show").arg(id).ok()?.last()?["files_total"] != 0).then_some(())))?;
        }

        std::fs::write(&file, "shorter now")?;
        std::fs::write(tree.join("edited"), "and longer now")?;
        std::fs::write(tree.join("added"), "new")?;
        std::fs::remove_file(tree.join("removed"))?;
        alice.restart()?;
        bob.start()?;

        for id in &ids {
            let done = alice.transfer_is(id, &["done", "failed"], 60)?;
            ensure!(done["state"] == "done" && done["skipped"] == serde_json::json!([]), "{done}");
        }
        ensure!(std::fs::read(bob.received("report")?)? == b"shorter now", "an older state arrived");
        let names: std::collections::BTreeSet<_> = bob.inbox_files()?.iter().filter_map(|it| Some(it.file_name()?.to_owned())).collect();
        ensure!(names == ["added", "edited", "report"].map(Into::into).into(), "{names:?}");
        Ok(())
    })
}
