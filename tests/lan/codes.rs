//! One-shot codes: something goes to a machine that was never paired, once.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{Host, MIB, Running, digest, on_a_dark_lan, on_a_lan, until};

const SIZE: u64 = 24 * MIB;

/// Sends by a code, and says which.
fn by_code(host: &Host, words: &str, path: &std::path::Path) -> Result<(Running, String)> {
    let sending = host.ctl(words).arg(path).spawn()?;
    let code = until("the code is shown", 20, || Ok(sending.lines()?.iter().find_map(|line| line["code"].as_str().map(str::to_owned))))?;
    Ok((sending, code))
}

#[test]
fn a_code_works_once_and_makes_nobody_trusted() -> Result<()> {
    on_a_lan(["alice", "bob", "carol"], |[alice, bob, carol]| {
        let path = alice.file("big.iso", SIZE)?;
        let (sending, code) = by_code(alice, "send --code", &path)?;
        let wrong = carol.ctl("receive 7-wrong-words").run()?;
        ensure!(wrong.code != Some(0), "any words are right");

        bob.ctl("receive").arg(&code).ok()?;

        sending.result()?.exits(&[0])?;
        ensure!(digest(&bob.received("big.iso")?)? == digest(&path)?, "other bytes arrived");
        ensure!(carol.ctl("receive").arg(&code).run()?.code != Some(0), "it worked twice");
        ensure!(carol.inbox_files()?.is_empty(), "carol got something");
        alice.trusts(bob, "unknown")?;
        bob.trusts(alice, "unknown").map(drop)
    })
}

/// Without announcements nobody would find the other again by itself.
#[test]
fn what_a_code_began_goes_on_when_the_cable_is_back() -> Result<()> {
    on_a_dark_lan(["alice", "bob"], |[alice, bob]| {
        for host in [alice, bob] {
            host.set("SHAREKARO_MDNS", "false");
            host.start()?;
        }
        let path = alice.file("big.iso", SIZE)?;
        let (sending, code) = by_code(alice, "send --limit 2M --code", &path)?;
        let before = bob.cable().bytes_in()?;
        let address = format!("{}:{}", alice.cable().address(), alice.port()?);
        let receiving = bob.ctl("receive --from").arg(address).arg(&code).spawn()?;
        until("some of it came", 60, || Ok((bob.cable().bytes_in()? - before > SIZE / 8).then_some(())))?;

        bob.cable().pull()?;
        // The time is the fault itself: longer than either side waits for the other.
        thread::sleep(Duration::from_secs(30));
        bob.cable().put_back()?;

        receiving.result()?.exits(&[0])?;
        sending.result()?.exits(&[0])?;
        ensure!(digest(&bob.received("big.iso")?)? == digest(&path)?, "other bytes arrived");
        until("they are strangers again", 30, || {
            let peers = bob.ctl("peers").ok()?.last()?;
            Ok(peers["peers"].as_array().context("no list")?.iter().all(|peer| peer["trust"] == "unknown").then_some(()))
        })
    })
}

/// Nor after both were started anew.
#[test]
fn what_a_code_began_goes_on_when_both_are_back() -> Result<()> {
    on_a_dark_lan(["alice", "bob"], |[alice, bob]| {
        for host in [alice, bob] {
            host.set("SHAREKARO_MDNS", "false");
            host.start()?;
        }
        let path = alice.file("big.iso", SIZE)?;
        let (_sending, code) = by_code(alice, "send --limit 2M --code", &path)?;
        let before = bob.cable().bytes_in()?;
        let address = format!("{}:{}", alice.cable().address(), alice.port()?);
        let _receiving = bob.ctl("receive --from").arg(address).arg(&code).spawn()?;
        until("some of it came", 60, || Ok((bob.cable().bytes_in()? - before > SIZE / 8).then_some(())))?;

        for host in [alice, bob] {
            host.kill()?;
        }
        bob.start()?;
        alice.start()?;

        ensure!(digest(&bob.received("big.iso")?)? == digest(&path)?, "other bytes arrived");
        Ok(())
    })
}
