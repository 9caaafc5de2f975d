//! Making a stranger a peer: by words, by a code, and not otherwise.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use sharekaro_tests::{MIB, Running, digest, on_loopback, pair, until};

fn words_of(pairing: &Running) -> Result<String> {
    until("the words are shown", 20, || {
        Ok(pairing.lines()?.iter().find_map(|line| line["words"].as_str().filter(|words| !words.is_empty()).map(str::to_owned)))
    })
}

#[test]
fn both_see_the_same_words_and_are_paired_when_both_say_so() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        let (here, there) = (alice.ctl("pair bob --yes").within(60).spawn()?, bob.ctl("pair alice --yes").within(60).spawn()?);

        let words = [words_of(&here)?, words_of(&there)?];
        here.result()?.exits(&[0])?;
        there.result()?.exits(&[0])?;

        ensure!(words[0] == words[1], "different words: {words:?}");
        alice.trusts(bob, "accept")?;
        bob.trusts(alice, "accept")?;
        alice.ctl("send bob").arg(alice.file("a", 1000)?).ok()?;
        Ok(())
    })
}

#[test]
fn one_yes_is_not_enough() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        let here = alice.ctl("pair bob --yes").within(90).spawn()?;

        words_of(&here)?;
        here.signal(Signal::INT)?;
        here.result()?;

        for (one, other) in [(alice, bob), (bob, alice)] {
            ensure!(one.peer(other)?["trust"] != "accept", "{} trusts after one yes", one.name);
        }
        Ok(())
    })
}

#[test]
fn a_code_pairs_once_and_only_once() -> Result<()> {
    on_loopback(["alice", "bob", "carol"], |[alice, bob, carol]| {
        let invitation = alice.ctl("pair --invite").within(60).spawn()?;
        let code =
            until("the code is printed", 10, || Ok(invitation.lines()?.iter().find_map(|line| line["code"].as_str().map(str::to_owned))))?;

        bob.ctl("pair --join").arg(&code).arg("alice").within(30).ok()?;
        invitation.result()?.exits(&[0])?;
        let again = carol.ctl("pair --join").arg(&code).arg("alice").within(60).run()?;

        alice.trusts(bob, "accept")?;
        ensure!(again.code != Some(0), "a used code paired once more");
        ensure!(alice.peer(carol)?["trust"] != "accept", "a used code made a trusted peer");
        Ok(())
    })
}

#[test]
fn a_wrong_code_pairs_nobody_and_burns_the_right_one() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        let invitation = alice.ctl("pair --invite").within(120).spawn()?;
        let code =
            until("the code is printed", 10, || Ok(invitation.lines()?.iter().find_map(|line| line["code"].as_str().map(str::to_owned))))?;
        let last = code.chars().last().context("an empty code")?;
        let wrong = format!("{}{}", &code[..code.len() - last.len_utf8()], if last == '1' { '2' } else { '1' });

        for _ in 0..6 {
            ensure!(bob.ctl("pair --join").arg(&wrong).arg("alice").within(60).run()?.code != Some(0), "a wrong code paired");
        }
        let late = bob.ctl("pair --join").arg(&code).arg("alice").within(60).run()?;

        ensure!(late.code != Some(0), "the right code still works after six wrong ones");
        ensure!(alice.peer(bob)?["trust"] != "accept" && bob.peer(alice)?["trust"] != "accept", "wrong codes made trusted peers");
        Ok(())
    })
}

#[test]
fn a_pairing_survives_restarts_of_both() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;

        bob.restart()?;
        alice.restart()?;

        alice.sees(bob)?;
        let path = alice.file("after", MIB)?;
        alice.ctl("send bob").arg(&path).ok()?;
        ensure!(digest(&bob.received("after")?)? == digest(&path)?, "other bytes arrived");
        Ok(())
    })
}
