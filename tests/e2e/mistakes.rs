//! Mistakes of people, and what they are told: an exit code, a sentence, what to do next.

use std::{os::unix::net::UnixListener, process::Stdio};

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{Reply, on_loopback, pair, until};

/// Wants the error object that every failure prints with `--json`.
fn told(reply: Reply) -> Result<()> {
    let last = reply.last()?;
    let error = &last["error"];
    for key in ["code", "message", "hint"] {
        ensure!(error[key].is_string(), "no {key} in {last}");
    }
    ensure!(!error["message"].as_str().unwrap_or_default().is_empty(), "an error without a message: {last}");
    Ok(())
}

#[test]
fn each_mistake_has_its_exit_code_and_its_sentence() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let path = alice.file("f", 1000)?;

        told(alice.ctl("send nobody").arg(&path).run()?.exits(&[4])?)?;
        told(alice.ctl("send bob /no/such/file").run()?.exits(&[8])?)?;
        told(alice.ctl("send bob /etc/shadow-").arg(alice.home().join("missing")).run()?.exits(&[8])?)?;
        told(alice.ctl("transfer show nonsense").run()?.exits(&[2, 4])?)?;
        told(alice.ctl("transfer show t999999").run()?.exits(&[4])?)?;
        told(alice.ctl("inbox accept t999999").run()?.exits(&[4])?)?;
        told(alice.ctl("peer rename bob").arg("").run()?.exits(&[2])?)?;
        alice.ctl("no-such-verb").run()?.exits(&[2])?;
        alice.ctl("send").run()?.exits(&[2])?;
        alice.kill()?;
        told(alice.ctl("status").run()?.exits(&[3])?)
    })
}

#[test]
fn what_is_sent_to_a_peer_that_is_off_waits_for_it() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        bob.kill()?;
        until("bob is seen as gone", 40, || Ok((alice.peer(bob)?["online"] == false).then_some(())))?;

        let queued = alice.ctl("send bob --wait 2").arg(alice.file("later", 1000)?).run()?.exits(&[5])?;
        bob.start()?;

        ensure!(queued.out.contains("\"id\"") || queued.err.contains('t'), "the id is not printed: {queued:?}");
        bob.received("later").map(drop)
    })
}

#[test]
fn two_peers_that_could_be_meant_are_both_named() -> Result<()> {
    on_loopback(["alice", "bob", "carol"], |[alice, bob, carol]| {
        // Two devices may well call themselves the same.
        carol.set("SHAREKARO_NAME", "bob");
        carol.restart()?;
        until("alice sees two that call themselves bob", 30, || {
            let peers = alice.ctl("peers").ok()?.last()?;
            let peers = peers["peers"].as_array().context("no peers")?;
            Ok((peers.iter().filter(|peer| peer["name"] == "bob").count() == 2).then_some(()))
        })?;

        let reply = alice.ctl("send bob").arg(alice.file("whose", 10)?).run()?.exits(&[4])?;

        ensure!(reply.error_code()? == "ambiguous", "{reply:?}");
        for peer in [bob, carol] {
            let id = peer.ctl("identity").ok()?.last()?["id"].as_str().context("no id")?.to_owned();
            ensure!(reply.out.contains(&id[..8]), "the candidate {} is not named: {reply:?}", &id[..8]);
        }
        Ok(())
    })
}

#[test]
fn a_second_daemon_refuses_to_start_and_says_who_has_the_socket() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        let second = alice.daemon_command()?.stdin(Stdio::null()).output()?;

        let said = String::from_utf8_lossy(&second.stderr);
        ensure!(!second.status.success(), "a second daemon ran");
        ensure!(said.contains(&*alice.socket()?.to_string_lossy()) || said.contains("already"), "it does not say why: {said}");
        alice.ctl("status").ok().map(drop)
    })
}

#[test]
fn the_socket_of_a_killed_daemon_is_taken_over() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        let socket = alice.socket()?;
        alice.kill()?;
        ensure!(socket.exists(), "kill -9 leaves the socket behind");

        alice.start()?;
        alice.kill()?;
        // Somebody's dead listener of another program, too.
        std::fs::remove_file(&socket)?;
        drop(UnixListener::bind(&socket)?);

        alice.start().map(drop)
    })
}
