//! Messages from outside: to one, several and groups, to peers that are off, and what people see of each other.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sharekaro_tests::{Host, on_loopback, pair, until};

fn said(host: &Host, words: &str) -> Result<Vec<Value>> {
    let document = host.ctl(&format!("messages {words}")).ok()?.last()?;
    Ok(document["messages"].as_array().context("no messages")?.clone())
}

fn heard(host: &Host) -> Result<Vec<String>> {
    let all = said(host, "-n 100000")?;
    Ok(all.iter().filter(|it| it["direction"] == "in").filter_map(|it| it["text"].as_str()).map(str::to_owned).collect())
}

fn hears(host: &Host, texts: &[&str]) -> Result<()> {
    until(&format!("{texts:?} are heard"), 40, || Ok((heard(host)? == texts).then_some(())))
}

fn state_of(host: &Host, text: &str) -> Result<Value> {
    let all = said(host, "-n 100000")?;
    Ok(all.iter().find(|it| it["text"] == text).context("it is not in the history")?["state"].clone())
}

#[test]
fn what_is_written_to_a_peer_that_is_off_comes_once_after_both_restarted() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        for host in [alice, bob] {
            host.set("SHAREKARO_PORT", host.port()?.to_string());
        }
        pair(alice, bob)?;
        bob.kill()?;
        until("bob is seen as gone", 40, || Ok((alice.peer(bob)?["online"] == false).then_some(())))?;

        let id = "8f14e45f-ceea-467f-a8e2-6d1d9a3c7b10";
        for _ in 0..2 {
            let queued = alice.ctl(&format!("message bob one --id {id}")).run()?.exits(&[5])?.last()?;
            ensure!(queued["state"] == "queued" && queued["id"] == id, "{queued}");
        }
        alice.ctl("message bob two").run()?.exits(&[5])?;
        alice.kill()?;
        alice.start()?;
        bob.start()?;

        hears(bob, &["one", "two"])?;
        until("alice knows", 10, || Ok((state_of(alice, "two")? == "delivered").then_some(())))?;
        bob.ctl_for_people("messages alice").ok()?;
        until("alice knows that it was read", 10, || Ok((state_of(alice, "two")? == "read").then_some(())))
    })
}

#[test]
fn a_group_is_each_of_its_peers_once() -> Result<()> {
    on_loopback(["alice", "bob", "carol"], |[alice, bob, carol]| {
        pair(alice, bob)?;
        pair(alice, carol)?;

        alice.ctl("group add team bob carol").ok()?;
        let written = alice.ctl("message bob,@team,all hello").ok()?.last()?;

        ensure!(written["messages"].as_array().is_some_and(|all| all.len() == 2), "{written}");
        hears(bob, &["hello"])?;
        hears(carol, &["hello"])?;
        alice.ctl("group remove team").ok()?;
        alice.ctl("message @team x").run()?.exits(&[4])?;
        Ok(())
    })
}

#[test]
fn a_text_that_is_too_long_is_a_file() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;

        let refused = alice.ctl("message bob").arg("x".repeat(65_537)).run()?.exits(&[2])?.last()?;
        alice.ctl("message bob").arg("").run()?.exits(&[2])?;
        alice.ctl("message bob").arg("x".repeat(65_536)).ok()?;

        ensure!(refused["error"]["hint"].as_str().is_some_and(|hint| hint.contains("send")), "{refused}");
        hears(bob, &[&"x".repeat(65_536)])
    })
}

#[test]
fn a_file_stands_in_the_conversation_between_what_was_said() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;

        alice.ctl("message bob before").ok()?;
        let sent = alice.ctl("send bob").arg(alice.file("report.pdf", 1000)?).ok()?.last()?;
        alice.ctl("message bob after").ok()?;

        hears(bob, &["before", "report.pdf", "after"])?;
        let texts: Vec<Value> = said(alice, "bob")?.iter().map(|it| it["text"].clone()).collect();
        ensure!(texts == ["before", "report.pdf", "after"], "{texts:?}");
        ensure!(said(alice, "bob")?.iter().any(|it| it["transfer"] == sent["id"]), "the file is another one");
        Ok(())
    })
}

#[test]
fn presence_is_seen_also_after_a_restart() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        for host in [alice, bob] {
            host.set("SHAREKARO_PORT", host.port()?.to_string());
        }
        pair(alice, bob)?;
        let seen = || until("bob sees it", 40, || Ok((bob.peer(alice)?["presence"]["text"] == "lunch").then_some(())));

        alice.ctl("presence away lunch").ok()?;
        seen()?;
        alice.kill()?;
        alice.start()?;

        seen()?;
        ensure!(alice.ctl("presence").ok()?.last()?["state"] == "away", "it was not kept");
        Ok(())
    })
}
