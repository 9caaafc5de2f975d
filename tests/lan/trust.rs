//! Whose key it is: changed keys, blocked peers, offers that nobody has answered.

use std::{fs, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{MIB, digest, on_a_lan, pair, until};

#[test]
fn a_device_with_another_key_under_a_known_name_gets_nothing_and_is_an_alarm() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let trusted = alice.peer(bob)?["id"].clone();
        let events = alice.ctl("events").spawn()?;

        bob.kill()?;
        fs::remove_dir_all(bob.home().join("state"))?;
        bob.start()?;
        let alarm = until("alice is alarmed", 20, || Ok(events.lines()?.into_iter().find(|event| event["type"] == "identity_alarm")))?;
        let sent = alice.ctl("send bob --wait 5").arg(alice.file("secret", 1000)?).within(60).run()?.exits(&[4, 5, 7])?;

        ensure!(alarm["data"]["trusted"] == trusted && alarm["data"]["seen"] != trusted, "{alarm}");
        ensure!(!sent.error_code()?.is_empty(), "{sent:?}");
        ensure!(bob.inbox_files()?.is_empty(), "another key got {:?}", bob.inbox_files()?);
        let peers = alice.ctl("peers").ok()?.last()?;
        let peers = peers["peers"].as_array().context("no peers")?;
        ensure!(peers.iter().any(|peer| peer["trust"] == "changed"), "nothing in the list of peers says it: {peers:?}");
        ensure!(peers.iter().any(|peer| peer["id"] == trusted && peer["trust"] == "accept"), "the old key lost its trust: {peers:?}");
        Ok(())
    })
}

#[test]
fn a_block_stops_a_running_transfer_within_a_second() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        alice.cable().shape("200mbit")?;
        let a_second_of_it = 25_000_000;
        let job = alice.ctl("send bob --detach").arg(alice.file("long.iso", 400 * MIB)?).ok()?.last()?;
        alice.transfer_is(job["id"].as_str().context("no id")?, &["active"], 20)?;
        let before = bob.cable().bytes_in()?;
        until("bytes flow", 20, || Ok((bob.cable().bytes_in()? - before > 8 * MIB).then_some(())))?;

        ensure!(bob.ctl("peer block alice").ok()?.last()?["online"] == false, "who is blocked is parted from at once");
        let blocked = bob.cable().bytes_in()?;
        until("no bytes flow any more", 5, || {
            let before = bob.cable().bytes_in()?;
            // A rate needs a span of time.
            thread::sleep(Duration::from_millis(100));
            Ok((bob.cable().bytes_in()? - before < 64 << 10).then_some(()))
        })?;
        let late = bob.cable().bytes_in()? - blocked;

        ensure!(late < a_second_of_it, "{} KiB of a blocked peer came in afterwards", late >> 10);
        ensure!(alice.ctl("send bob --wait 3").arg(alice.file("more", 1000)?).run()?.code != Some(0), "a blocked peer's file came in");
        ensure!(!bob.inbox_files()?.iter().any(|path| path.ends_with("more")), "a blocked peer's file came in");
        Ok(())
    })
}

#[test]
fn unblocked_and_forgotten_a_peer_is_a_stranger() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        bob.ctl("peer block alice").ok()?;
        bob.ctl("peer unblock alice").ok()?;

        bob.ctl("peer forget alice").ok()?;

        bob.trusts(alice, "unknown").map(drop)
    })
}

#[test]
fn a_file_of_a_stranger_waits_for_a_person() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        alice.sees(bob)?;
        bob.sees(alice)?;
        let path = alice.file("hello.bin", 100_000)?;

        let sending = alice.ctl("send bob").arg(&path).spawn()?;
        let offer = until("the offer waits", 15, || Ok(bob.ctl("inbox").ok()?.last()?["waiting"].get(0).cloned()))?;
        ensure!(offer["bytes"] == 100_000 && bob.inbox_files()?.is_empty(), "{offer}, {:?}", bob.inbox_files()?);
        bob.ctl("inbox accept").arg(offer["id"].as_str().context("no id")?).ok()?;
        sending.result()?.exits(&[0])?;

        ensure!(digest(&bob.received("hello.bin")?)? == digest(&path)?, "other bytes arrived");
        Ok(())
    })
}
