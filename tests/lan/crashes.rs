//! The daemon dies at a named point, on either side. Started again, it goes on from there: nothing lost, nothing twice,
//! nothing said that is not so.
//!
//! These need a daemon that was built with its crash points; `./test.sh` builds it beside the others.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use sharekaro_tests::{Host, MIB, mixed_folder, on_a_lan, pair, tree_digests, until};

/// The big file of each folder, in MiB: more than is in flight at once.
const BIG: u64 = 24;

/// What comes twice where one side died: what was in flight, and headers.
const AGAIN: u64 = 16 * MIB;

fn folder(host: &Host, name: &str) -> Result<PathBuf> {
    mixed_folder(host, name, BIG * MIB, 150)
}

/// The transfer of this name, once the host lists it.
fn listed(host: &Host, title: &str) -> Result<String> {
    until(&format!("{} lists {title}", host.name), 20, || {
        let all = host.ctl("transfers").ok()?.last()?;
        let all = all["transfers"].as_array().context("no transfers")?.iter();
        Ok(all.filter(|it| it["title"] == title).find_map(|it| it["id"].as_str().map(str::to_owned)))
    })
}

fn arrived_whole(sender: &Host, receiver: &Host, sent: &Path) -> Result<()> {
    let title = sent.file_name().unwrap_or_default().to_string_lossy();
    for host in [sender, receiver] {
        host.transfer_is(&listed(host, &title)?, &["done"], 60)?;
    }
    let there = receiver.inbox()?.join(&*title);
    ensure!(tree_digests(&there)? == tree_digests(sent)?, "{title} arrived otherwise");
    ensure!(!receiver.inbox()?.join(format!("{title} (2)")).exists(), "{title} arrived twice");
    fs::remove_dir_all(there)?;
    Ok(fs::remove_dir_all(sent)?)
}

/// Dies at each of these points, one after the other, and is started again.
fn dies_at(points: &[&str], who: impl for<'a> Fn(&'a Host, &'a Host) -> &'a Host) -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        for point in points {
            let sent = folder(alice, &point.replace(':', "-"))?;
            let before = bob.cable().bytes_in()?;
            let victim = who(alice, bob);
            victim.crash_at(Some(point));
            victim.restart()?;
            alice.sees(bob)?;

            // Where the sender dies at once, this command learns of no end.
            alice.ctl("send bob --detach").arg(&sent).run()?.exits(&[0, 1, 3])?;
            victim.has_crashed(40).with_context(|| format!("at {point}"))?;
            victim.crash_at(None);
            victim.start()?;

            arrived_whole(alice, bob, &sent).with_context(|| format!("after {point}"))?;
            let wire = bob.cable().bytes_in()? - before;
            ensure!(wire < (BIG + 6) * MIB + AGAIN, "{point}: {} MiB crossed the wire", wire / MIB);
            let left: Vec<_> = fs::read_dir(bob.home().join("state/sharekaro/partial")).into_iter().flatten().collect();
            ensure!(left.is_empty(), "{point}: left behind: {left:?}");
        }
        Ok(())
    })
}

#[test]
fn the_receiver_dies_at_each_step_of_a_transfer() -> Result<()> {
    let steps = [
        "offer-kept",
        "partial-made",
        "piece-written:5",
        "piece-noted:20",
        "small-written",
        "file-synced",
        "commit-noted",
        "commit-moved",
        "commit-placed",
        "commit-ended",
        "receipt-written",
        "end-kept",
    ];
    dies_at(&steps, |_, bob| bob)
}

#[test]
fn an_older_file_that_was_being_replaced_outlives_the_transfer_that_is_cancelled_then() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        bob.crash_at(Some("commit-exchanged"));
        bob.restart()?;
        alice.sees(bob)?;
        let inbox = bob.inbox()?;
        fs::create_dir_all(&inbox)?;
        fs::write(inbox.join("report"), "the older one")?;
        let sent = alice.file("report", 3 * MIB)?;
        alice.ctl("send bob --detach --conflict overwrite").arg(&sent).run()?.exits(&[0, 1, 3])?;
        bob.has_crashed(40)?;
        ensure!(!inbox.join("report (2)").exists(), "the older one did not wait in the cage");
        alice.stop(Signal::TERM)?; // nothing goes on before it is cancelled
        bob.crash_at(None);
        bob.start()?;

        let id = listed(bob, "report")?;
        bob.ctl("transfer cancel").arg(&id).ok()?;

        bob.transfer_is(&id, &["cancelled"], 20)?;
        let partial = bob.home().join("state/sharekaro/partial");
        until("the cage is gone", 20, || Ok(fs::read_dir(&partial).into_iter().flatten().next().is_none().then_some(())))?;
        ensure!(fs::read(inbox.join("report (2)"))? == b"the older one", "the older one is lost");
        Ok(())
    })
}

#[test]
fn the_sender_dies_at_each_step_of_a_transfer() -> Result<()> {
    dies_at(&["send-kept", "content-served", "content-served:12", "completion-heard", "completion-kept"], |alice, _| alice)
}

#[test]
fn what_was_left_out_is_still_said_where_the_sender_died_between_walk_and_record() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let sent = folder(alice, "walked")?;
        sharekaro_tests::sh(&["mkfifo", &sent.join("pipe").to_string_lossy()])?;
        alice.crash_at(Some("walked"));
        alice.restart()?;
        alice.sees(bob)?;

        alice.ctl("send bob --detach").arg(&sent).run()?.exits(&[0, 1, 3])?;
        alice.has_crashed(40)?;
        alice.crash_at(None);
        alice.start()?;

        let done = alice.transfer_is(&listed(alice, "walked")?, &["done"], 60)?;
        let left_out = done["skipped"].as_array().context("nothing is said of what was left out")?;
        ensure!(left_out.len() == 1 && left_out[0]["reason"] == "special", "{done}");
        Ok(())
    })
}

#[test]
fn what_was_offered_is_never_walked_anew() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let sent = folder(alice, "noted")?;
        alice.ctl("send bob --detach --limit 4M").arg(&sent).ok()?;
        let id = listed(alice, "noted")?;
        until("some of it is there", 60, || {
            let shown = alice.ctl("transfer show").arg(&id).ok()?.last()?;
            Ok(shown["bytes_confirmed"].as_u64().filter(|bytes| *bytes > MIB))
        })?;
        alice.kill()?;
        let outgoing = alice.home().join("state/sharekaro/outgoing");
        let set = fs::read_dir(outgoing)?.next().context("no notes of the walk")??.path();
        fs::rename(set.join("manifest"), set.join("aside"))?;

        // In the order of another walk, every number would mean another file.
        fs::write(sent.join("!first"), "new")?;
        alice.start()?;
        let waiting = alice.transfer_is(&id, &["waiting"], 60)?;
        ensure!(waiting["error"]["code"] == "local_file", "{waiting}");
        fs::rename(set.join("aside"), set.join("manifest"))?;
        fs::remove_file(sent.join("!first"))?;

        arrived_whole(alice, bob, &sent)
    })
}

#[test]
fn the_receiver_dies_with_half_of_a_long_list_of_files() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let sent = alice.home().join("outgoing/long");
        fs::create_dir(&sent)?;
        for i in 0..8_000 {
            // 200 bytes a name: the list does not fit into one page.
            fs::write(sent.join(format!("{i:0>200}")), [])?;
        }
        bob.crash_at(Some("manifest-page-kept"));
        bob.restart()?;
        alice.sees(bob)?;

        alice.ctl("send bob --detach").arg(&sent).ok()?;
        bob.has_crashed(40)?;
        bob.crash_at(None);
        bob.start()?;

        arrived_whole(alice, bob, &sent)
    })
}

#[test]
fn an_offer_that_waits_for_a_person_still_waits_after_a_crash() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        bob.ctl("trust alice ask").ok()?;
        let sent = folder(alice, "asked")?;
        bob.crash_at(Some("offer-kept"));
        bob.restart()?;
        alice.sees(bob)?;

        alice.ctl("send bob --detach").arg(&sent).ok()?;
        bob.has_crashed(40)?;
        bob.crash_at(None);
        bob.start()?;
        let waiting = until("the offer is in the inbox", 20, || {
            let inbox = bob.ctl("inbox").ok()?.last()?;
            Ok(inbox["waiting"].as_array().and_then(|all| all.first()).and_then(|it| it["id"].as_str().map(str::to_owned)))
        })?;
        bob.ctl("inbox accept").arg(&waiting).ok()?;

        arrived_whole(alice, bob, &sent)
    })
}

#[test]
fn a_file_that_is_edited_while_its_sender_is_dead_is_never_a_mix() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let path = alice.file("edited", BIG * MIB)?;
        alice.crash_at(Some("content-served:8"));
        alice.restart()?;
        alice.sees(bob)?;

        alice.ctl("send bob --detach").arg(&path).ok()?;
        alice.has_crashed(40)?;
        let other = alice.file("other", BIG * MIB)?;
        fs::copy(&other, &path)?;
        alice.crash_at(None);
        alice.start()?;

        let id = listed(alice, "edited")?;
        let ended = until("it has ended", 60, || {
            let shown = alice.ctl("transfer show").arg(&id).ok()?.last()?;
            Ok(["done", "failed"].contains(&shown["state"].as_str().unwrap_or_default()).then_some(shown))
        })?;
        let there = bob.inbox_files()?;
        match ended["state"].as_str() {
            Some("done") => ensure!(
                there.len() == 1 && sharekaro_tests::digest(&there[0])? == sharekaro_tests::digest(&other)?,
                "what arrived is neither what was there when it ended: {there:?}"
            ),
            _ => ensure!(there.is_empty() && ended["error"]["code"] == "local_file", "{ended} with {there:?}"),
        }
        Ok(())
    })
}
