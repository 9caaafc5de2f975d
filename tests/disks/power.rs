//! The power is cut while things arrive. What was acknowledged is there afterwards, and the rest arrives after all.
//!
//! The file system's shutdown call throws away what was not synced and leaves the log to be replayed, as a cut does.
//! `SHAREKARO_TESTS_ROUNDS=50 ./test.sh disks power` cuts fifty times on each. btrfs has no such call.

use std::{collections::BTreeMap, path::PathBuf, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sharekaro_tests::{Host, MIB, digest, on_loopback, pair, rounds, tree_digests, until};

use crate::moves_onto_a_disk;

/// Cuts in every run.
const FEW: usize = 4;

/// Content by path below what was sent; a single file stands under its own name.
type Content = BTreeMap<PathBuf, Option<String>>;

/// Things that were sent, each with its content, by the name that it has there.
type Sent = BTreeMap<String, Content>;

fn content(path: &std::path::Path) -> Result<Content> {
    if path.is_dir() { tree_digests(path) } else { Ok([(PathBuf::new(), Some(digest(path)?))].into()) }
}

/// Sends a small file, a folder of small ones and a large file, and does not wait for their ends.
fn send_all(alice: &Host, round: usize) -> Result<Sent> {
    let folder = alice.home().join(format!("outgoing/folder-{round}"));
    std::fs::create_dir(&folder)?;
    let mut paths = vec![alice.file(format!("note-{round}"), 3000)?, alice.file(format!("large-{round}"), 5 * MIB + 13)?];
    for i in 0..120 {
        sharekaro_tests::write_random(&folder.join(format!("{i}")), i * 97, &format!("{round} {i}"))?;
    }
    paths.push(folder);
    let mut sent = Sent::new();
    for path in paths {
        alice.ctl("send bob --detach").arg(&path).ok()?;
        sent.insert(path.file_name().unwrap_or_default().to_string_lossy().into_owned(), content(&path)?);
    }
    Ok(sent)
}

/// The titles of what is acknowledged as stored, and the texts that are acknowledged as delivered.
fn acknowledged(alice: &Host) -> Result<(Vec<String>, Vec<String>)> {
    let names = |all: &Value, key: &str, states: &[&str]| -> Result<Vec<String>> {
        let all = all.as_array().context("no list")?.iter();
        let in_state = all.filter(|it| it["state"].as_str().is_some_and(|state| states.contains(&state)));
        Ok(in_state.filter_map(|it| it[key].as_str().map(str::to_owned)).collect())
    };
    let transfers = names(&alice.ctl("transfers").ok()?.last()?["transfers"], "title", &["done"])?;
    let messages = alice.ctl("messages bob -n 500").ok()?.last()?;
    Ok((transfers, names(&messages["messages"], "text", &["delivered", "read"])?))
}

fn texts(bob: &Host) -> Result<Vec<String>> {
    let all = bob.ctl("messages alice -n 500").ok()?.last()?;
    let all = all["messages"].as_array().context("no messages")?.iter();
    Ok(all.filter_map(|it| it["text"].as_str().map(str::to_owned)).collect())
}

fn is_there(bob: &Host, name: &str, sent: &Content) -> Result<()> {
    let path = bob.inbox()?.join(name);
    ensure!(path.exists(), "{name} was acknowledged and is not there");
    ensure!(content(&path)? == *sent, "{name} was acknowledged and is something else now");
    Ok(())
}

fn the_receivers_power_is_cut(kind: &str) -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        let disk = moves_onto_a_disk(bob, kind, 2048 * MIB)?;
        bob.start()?;
        pair(alice, bob)?;
        let (mut all, mut acknowledged_early) = (Sent::new(), 0);
        for round in 0..rounds(FEW) {
            let sent = send_all(alice, round)?;
            alice.ctl("message bob").arg(format!("text {round}")).run()?;
            // The moment is the fault itself.
            thread::sleep(Duration::from_millis((round as u64 * 137) % 900));

            // Also a disk that dies under a daemon that lives on for a moment must not make it say anything untrue.
            if round % 2 == 0 {
                bob.kill()?;
                disk.cut_power()?;
            } else {
                disk.cut_power()?;
                bob.kill()?;
            }
            let (stored, delivered) = acknowledged(alice)?;
            disk.mount_again()?;
            bob.next_boot()?;
            bob.start()?;

            for (name, content) in sent.iter().filter(|(name, _)| stored.contains(name)) {
                is_there(bob, name, content).with_context(|| format!("round {round}"))?;
                acknowledged_early += 1;
            }
            let here = texts(bob)?;
            let lost: Vec<_> = delivered.iter().filter(|text| text.starts_with("text ") && !here.contains(text)).collect();
            ensure!(lost.is_empty(), "round {round}: acknowledged and lost: {lost:?}");
            until("everything is acknowledged", 90, || {
                let stored = acknowledged(alice)?.0;
                Ok(sent.keys().all(|name| stored.contains(name)).then_some(()))
            })?;
            all.extend(sent);
        }
        for (name, content) in &all {
            is_there(bob, name, content)?;
        }
        ensure!(std::fs::read_dir(bob.inbox()?)?.count() == all.len(), "something came twice: {:?}", bob.inbox_files()?);
        eprintln!("{} cuts on {kind}; {acknowledged_early} of {} were acknowledged before one", rounds(FEW), all.len());
        bob.stop(rustix::process::Signal::TERM)
    })
}

#[test]
fn the_power_of_a_receiver_on_ext4_is_cut() -> Result<()> {
    the_receivers_power_is_cut("ext4")
}

#[test]
fn the_power_of_a_receiver_on_xfs_is_cut() -> Result<()> {
    the_receivers_power_is_cut("xfs")
}

#[test]
fn a_send_that_was_accepted_survives_the_power_cut_of_its_sender() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let disk = moves_onto_a_disk(alice, "ext4", 512 * MIB)?;
        alice.start()?;
        alice.sees(bob)?;
        for round in 0..rounds(FEW) {
            let path = alice.file(format!("sent-{round}"), 2 * MIB)?;
            alice.ctl("send bob --detach").arg(&path).ok()?;
            // The moment is the fault itself: from before the offer to after the end.
            thread::sleep(Duration::from_millis((round as u64 * 61) % 400));

            // A disk that dies under a daemon that lives on for a moment must not make it take anything for done either.
            if round % 2 == 0 {
                alice.kill()?;
                disk.cut_power()?;
            } else {
                disk.cut_power()?;
                thread::sleep(Duration::from_millis((round as u64 * 97) % 500));
                alice.kill()?;
            }
            disk.mount_again()?;
            alice.next_boot()?;
            alice.start()?;

            let there = bob.received(&format!("sent-{round}"))?;
            ensure!(digest(&there)? == digest(&path)?, "other bytes arrived in round {round}");
            until("its sender knows that it arrived", 60, || Ok(acknowledged(alice)?.0.contains(&format!("sent-{round}")).then_some(())))
                .with_context(|| format!("round {round}"))?;
        }
        ensure!(bob.inbox_files()?.len() == rounds(FEW), "something came twice: {:?}", bob.inbox_files()?);
        alice.stop(rustix::process::Signal::TERM)
    })
}
