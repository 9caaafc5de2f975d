//! Every verb speaks JSON, and its fields are the promised ones.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use sharekaro_tests::{MIB, on_loopback, pair, until};

fn has(what: &str, document: &Value, keys: &str) -> Result<()> {
    let missing: Vec<&str> = keys.split_whitespace().filter(|key| document.get(key).is_none()).collect();
    ensure!(missing.is_empty(), "{what} lacks {missing:?}: {document}");
    Ok(())
}

const TRANSFER: &str =
    "id direction peer state phase bytes_total bytes_confirmed bytes_reused files_total files_done rate eta_seconds error paths";

#[test]
fn every_verb_prints_the_promised_fields() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let ask = |words: &str| alice.ctl(words).ok()?.last();

        has("status", &ask("status")?, "id name version addresses port peers_online transfers_active warnings")?;
        has("identity", &ask("identity")?, "id name words")?;
        has("config", &ask("config")?, "name port inbox_dir drop_dir state_dir socket")?;
        has("peers", &ask("peers")?["peers"][0], "id name alias online trust addresses last_seen")?;
        has("peer show", &ask("peer show bob")?, "id name alias online trust addresses last_seen")?;
        has("peer ping", &ask("peer ping bob")?, "rtt_ms")?;
        has("peer rename", &ask("peer rename bob desk")?, "alias")?;
        ensure!(ask("peer show desk")?["alias"] == "desk", "the alias is not in force");
        has("trust", &ask("trust desk ask")?, "trust")?;
        has("peer block", &ask("peer block desk")?, "trust")?;
        has("peer unblock", &ask("peer unblock desk")?, "trust")?;
        has("inbox", &ask("inbox")?, "waiting received")?;
        has("transfers", &ask("transfers")?, "transfers")?;
        let completions = alice.ctl_for_people("completions bash").ok()?;
        ensure!(completions.out.contains("sharectl"), "completions: {completions:?}");
        Ok(())
    })
}

#[test]
fn a_send_prints_a_transfer_a_line_and_confirms_what_the_receiver_holds() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;

        let reply = alice.ctl("send bob").arg(alice.file("f", 64 * MIB)?).ok()?;

        let lines = reply.out.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        lines.iter().try_for_each(|line| has("a line of send", line, TRANSFER))?;
        let confirmed: Vec<u64> = lines.iter().filter_map(|line| line["bytes_confirmed"].as_u64()).collect();
        ensure!(confirmed.is_sorted() && confirmed.last() == Some(&(64 * MIB)), "{confirmed:?}");
        let there = until("bob's side is done", 10, || {
            let transfers = bob.ctl("transfers").ok()?.last()?;
            Ok(transfers["transfers"].get(0).filter(|transfer| transfer["state"] == "done").cloned())
        })?;
        has("the receiver's transfer", &there, TRANSFER)?;
        ensure!(there["direction"] == "in", "{there}");
        let received = bob.ctl("inbox").ok()?.last()?;
        has("received", &received["received"][0], "id peer at paths")
    })
}

#[test]
fn events_begin_with_a_snapshot_and_count_on_without_a_gap_or_a_repeat() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let events = alice.ctl("events").spawn()?;
        let first = until("a snapshot comes", 10, || Ok(events.lines()?.first().cloned()))?;
        ensure!(first["type"] == "snapshot", "{first}");

        alice.ctl("send bob").arg(alice.file("f", 5 * MIB)?).ok()?;

        until("the end of the transfer is told", 10, || {
            let done = |event: &Value| event["type"] == "transfer_changed" && event["data"]["state"] == "done";
            Ok(events.lines()?.iter().any(done).then_some(()))
        })?;
        let lines = events.lines()?;
        lines.iter().try_for_each(|line| has("an event", line, "seq at type data"))?;
        let numbers = lines.iter().map(|line| line["seq"].as_u64().context("no seq")).collect::<Result<Vec<_>>>()?;
        ensure!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        Ok(())
    })
}

#[test]
fn interrupted_a_send_goes_on_in_the_daemon() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        let sending = alice.ctl("send bob").arg(alice.file("left alone", MIB)?).spawn()?;
        let offer = until("the offer waits", 15, || Ok(bob.ctl("inbox").ok()?.last()?["waiting"].get(0).cloned()))?;

        sending.signal(Signal::INT)?;
        sending.result()?;
        bob.ctl("inbox accept").arg(offer["id"].as_str().context("no id")?).ok()?;

        bob.received("left alone").map(drop)
    })
}

#[test]
fn a_cancelled_transfer_is_cancelled_on_both_sides() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        let job = alice.ctl("send bob --detach").arg(alice.file("never mind", MIB)?).ok()?.last()?;
        until("the offer waits", 15, || Ok(bob.ctl("inbox").ok()?.last()?["waiting"].get(0).cloned()))?;

        alice.ctl("transfer cancel").arg(job["id"].as_str().context("no id")?).ok()?;

        until("nothing waits any more", 15, || {
            Ok(bob.ctl("inbox").ok()?.last()?["waiting"].as_array().is_some_and(Vec::is_empty).then_some(()))
        })
    })
}
