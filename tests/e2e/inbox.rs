//! Offers that wait for a person.

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{Host, digest, on_loopback, pair, until};

/// The id of the one offer that waits. A session with a killed daemon is noticed after 20 s only, hence the patience.
fn waiting(host: &Host) -> Result<String> {
    let offer = until("an offer waits", 45, || Ok(host.ctl("inbox").ok()?.last()?["waiting"].get(0).cloned()))?;
    Ok(offer["id"].as_str().context("an offer without an id")?.to_owned())
}

#[test]
fn a_declined_offer_ends_the_send_with_six_and_brings_nothing() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        let sending = alice.ctl("send bob").arg(alice.file("unwanted", 1000)?).spawn()?;

        bob.ctl("inbox decline").arg(waiting(bob)?).args(["--reason", "not today"]).ok()?;
        let reply = sending.result()?.exits(&[6])?;

        let last = reply.last()?;
        ensure!(last.to_string().contains("not today"), "the reason did not arrive: {last}");
        ensure!(bob.inbox_files()?.is_empty(), "a declined file came in");
        Ok(())
    })
}

#[test]
fn an_accepted_offer_goes_where_the_person_said() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        let path = alice.file("wanted", 1000)?;
        let sending = alice.ctl("send bob").arg(&path).spawn()?;
        let elsewhere = bob.home().join("elsewhere/deep");

        bob.ctl("inbox accept").arg(waiting(bob)?).arg("--to").arg(&elsewhere).ok()?;
        sending.result()?.exits(&[0])?;

        ensure!(digest(&elsewhere.join("wanted"))? == digest(&path)?, "other bytes arrived");
        Ok(())
    })
}

#[test]
fn a_peer_that_is_to_ask_asks_and_one_that_is_declined_is_declined() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        bob.ctl("trust alice ask").ok()?;
        let sending = alice.ctl("send bob").arg(alice.file("asked", 1000)?).spawn()?;
        bob.ctl("inbox accept").arg(waiting(bob)?).ok()?;
        sending.result()?.exits(&[0])?;

        bob.ctl("trust alice decline").ok()?;
        alice.ctl("send bob").arg(alice.file("declined", 1000)?).run()?.exits(&[6])?;

        ensure!(!bob.inbox_files()?.iter().any(|path| path.ends_with("declined")), "a declined file came in");
        Ok(())
    })
}

#[test]
fn an_offer_still_waits_after_the_receiver_was_killed() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        let path = alice.file("patient", 1000)?;
        let sending = alice.ctl("send bob").arg(&path).spawn()?;
        waiting(bob)?;

        bob.restart()?;
        bob.ctl("inbox accept").arg(waiting(bob)?).ok()?;

        sending.result()?.exits(&[0])?;
        ensure!(digest(&bob.received("patient")?)? == digest(&path)?, "other bytes arrived");
        Ok(())
    })
}
