//! One file to several: they help each other, unless they are not to know of each other; who comes late goes on, and who
//! sent it may leave.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{Host, MIB, digest, on_a_lan, pair, until};

const SIZE: u64 = 40 * MIB;

/// What a daemon says on the LAN in the seconds of a test besides content.
const TALK: u64 = 2 * MIB;

/// Alice is paired with each; these are strangers to each other. All cables carry the same.
fn class(all: [&Host; 3]) -> Result<()> {
    let [alice, bob, carol] = all;
    pair(alice, bob)?;
    pair(alice, carol)?;
    all.iter().try_for_each(|host| host.cable().shape("100mbit"))
}

fn has(host: &Host, path: &std::path::Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ensure!(digest(&host.received(&name)?)? == digest(path)?, "{} got something else", host.name);
    Ok(())
}

#[test]
fn receivers_of_one_send_help_each_other() -> Result<()> {
    on_a_lan(["alice", "bob", "carol"], |all| {
        class(all)?;
        let [alice, bob, carol] = all;
        let path = alice.file("all.iso", SIZE)?;
        let before = alice.cable().bytes_out()?;

        alice.ctl("send bob,carol").arg(&path).ok()?;

        let sent = alice.cable().bytes_out()? - before;
        [bob, carol].into_iter().try_for_each(|host| has(host, &path))?;
        ensure!(sent < SIZE * 18 / 10, "the source sent {:.2} copies", sent as f64 / SIZE as f64);
        ensure!(bob.cable().bytes_out()? + carol.cable().bytes_out()? > 2 * TALK, "nobody helped");
        Ok(())
    })
}

/// From its next start on the host says that its way to the LAN is a radio: no test machine has one for each host.
fn is_on_the_radio(host: &Host) -> Result<()> {
    let devices = host.home().join("radio");
    std::fs::create_dir_all(devices.join("eth0/wireless"))?;
    let bound = "mount --bind \"$0\" /sys/class/net && exec \"$@\"";
    host.behind(&["unshare", "--mount", "--propagation", "slave", "sh", "-c", bound, devices.to_str().context("an odd folder")?]);
    host.restart()
}

#[test]
fn no_piece_crosses_the_air_twice_while_it_is_on_a_wire() -> Result<()> {
    on_a_lan(["alice", "bob", "carol"], |all| {
        class(all)?;
        let [alice, bob, carol] = all;
        [bob, carol].into_iter().try_for_each(is_on_the_radio)?;
        [bob, carol].into_iter().try_for_each(|host| alice.sees(host).map(drop))?;
        let path = alice.file("air.iso", SIZE)?;
        let before = [bob, carol].map(|host| host.cable().bytes_out());

        alice.ctl("send bob,carol").arg(&path).ok()?;

        for (host, before) in [bob, carol].into_iter().zip(before) {
            has(host, &path)?;
            let out = host.cable().bytes_out()? - before?;
            ensure!(out < SIZE / 10, "{} sent {} KiB through the air", host.name, out >> 10);
        }
        Ok(())
    })
}

#[test]
fn a_radio_is_named_where_it_is_what_is_slow() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        is_on_the_radio(bob)?;
        alice.cable().shape("30mbit")?;
        alice.sees(bob)?;
        let job = alice.ctl("send bob --detach").arg(alice.file("slow", 200 * MIB)?).ok()?.last()?;
        let id = job["id"].as_str().context("a transfer without an id")?;

        until("the radio is named", 30, || Ok((alice.ctl("transfer explain").arg(id).ok()?.last()?["bottleneck"] == "wifi").then_some(())))
    })
}

#[test]
fn receivers_that_are_kept_apart_never_meet() -> Result<()> {
    on_a_lan(["alice", "bob", "carol"], |all| {
        class(all)?;
        let [alice, bob, carol] = all;
        let path = alice.file("apart.iso", SIZE)?;
        let before = [bob, carol].map(|host| host.cable().bytes_out());

        alice.ctl("send bob,carol --apart").arg(&path).ok()?;

        for (host, before) in [bob, carol].into_iter().zip(before) {
            has(host, &path)?;
            let out = host.cable().bytes_out()? - before?;
            // Its own confirmations are a few in a hundred of what came.
            ensure!(out < SIZE / 10, "{} sent {} KiB", host.name, out >> 10);
        }
        Ok(())
    })
}

#[test]
fn who_comes_late_gets_it_from_those_who_have_it() -> Result<()> {
    on_a_lan(["alice", "bob", "carol"], |all| {
        class(all)?;
        let [alice, bob, carol] = all;
        carol.kill()?;
        let path = alice.file("late.iso", SIZE)?;

        alice.ctl("send bob,carol --detach").arg(&path).ok()?;
        has(bob, &path)?;
        alice.cable().shape("10mbit")?;
        let (source, helper) = (alice.cable().bytes_out()?, bob.cable().bytes_out()?);
        carol.start()?;

        has(carol, &path)?;
        let (source, helper) = (alice.cable().bytes_out()? - source, bob.cable().bytes_out()? - helper);
        ensure!(helper > SIZE / 2 && source < SIZE / 2, "{} MiB of the source, {} of the helper", source / MIB, helper / MIB);
        Ok(())
    })
}

#[test]
fn the_source_leaves_when_others_have_all_of_it() -> Result<()> {
    on_a_lan(["alice", "bob", "carol"], |all| {
        class(all)?;
        let [alice, bob, carol] = all;
        carol.cable().shape("10mbit")?; // half a minute for it: bob has long been done
        let path = alice.file("left.iso", SIZE)?;

        let sent = alice.ctl("send bob,carol --detach").arg(&path).ok()?.last()?;
        has(bob, &path)?;
        let coming = carol.ctl("transfers").ok()?.last()?;
        ensure!(coming["transfers"][0]["state"] != "done", "carol was as fast: {coming}");
        alice.kill()?;

        has(carol, &path)?;
        alice.start()?;
        for transfer in sent["transfers"].as_array().context("no transfers")? {
            alice.transfer_is(transfer["id"].as_str().unwrap_or_default(), &["done"], 60)?;
        }
        Ok(())
    })
}

#[test]
fn a_file_that_vanished_from_the_source_is_left_out_and_nobody_waits_for_it() -> Result<()> {
    on_a_lan(["alice", "bob", "carol"], |all| {
        class(all)?;
        let [alice, _, carol] = all;
        let folder = alice.home().join("course");
        std::fs::create_dir(&folder)?;
        for name in ["book", "film"] {
            std::fs::rename(alice.file(name, 8 * MIB)?, folder.join(name))?;
        }
        alice.ctl("send bob").arg(&folder).ok()?; // from here on its content is known by name
        carol.kill()?;
        let sent = alice.ctl("send bob,carol --detach").arg(&folder).ok()?.last()?;
        let transfers = sent["transfers"].as_array().context("no transfers")?.clone();
        let for_carol = transfers.iter().find(|it| it["peer"] == "carol").and_then(|it| it["id"].as_str()).context("none for carol")?;
        alice.transfer_is(for_carol, &["waiting", "queued"], 30)?;
        alice.restart()?; // the values of what was hashed are in memory only
        std::fs::remove_file(folder.join("film"))?;
        carol.start()?;

        let done = alice.transfer_is(for_carol, &["done"], 60)?;
        ensure!(done["skipped"][0]["reason"] == "vanished", "{done}");
        ensure!(carol.inbox()?.join("course/book").is_file(), "the rest did not come");
        Ok(())
    })
}

#[test]
fn what_the_source_has_no_more_comes_from_those_who_have_it() -> Result<()> {
    on_a_lan(["alice", "bob", "carol"], |all| {
        class(all)?;
        let [alice, bob, carol] = all;
        carol.cable().shape("10mbit")?; // half a minute for it: bob has long been done
        let path = alice.file("gone.iso", SIZE)?;
        let whole = digest(&path)?;

        let sent = alice.ctl("send bob,carol --detach").arg(&path).ok()?.last()?;
        bob.received("gone.iso")?;
        std::fs::remove_file(&path)?;

        ensure!(digest(&carol.received("gone.iso")?)? == whole, "carol got something else");
        for transfer in sent["transfers"].as_array().context("no transfers")? {
            let done = alice.transfer_is(transfer["id"].as_str().unwrap_or_default(), &["done"], 60)?;
            ensure!(done["skipped"].as_array().is_none_or(Vec::is_empty), "{done}");
        }
        Ok(())
    })
}

/// What a receiver of this one transfer says of whom its pieces came from: of each name, pieces and wrong ones.
fn holders(host: &Host) -> Result<BTreeMap<String, (u64, u64)>> {
    let listed = host.ctl("transfers").ok()?.last()?;
    let shown = host.ctl("transfer show").arg(listed["transfers"][0]["id"].as_str().context("no transfer")?).ok()?.last()?;
    let all = shown["holders"].as_array().with_context(|| format!("no holders: {shown}"))?.iter();
    Ok(all.filter_map(|it| Some((it["peer"].as_str()?.to_owned(), (it["pieces"].as_u64()?, it["wrong"].as_u64()?)))).collect())
}

#[test]
fn who_gives_wrong_pieces_is_named_and_dropped_and_they_come_from_others() -> Result<()> {
    on_a_lan(["alice", "bob", "carol"], |all| {
        class(all)?;
        let [alice, bob, carol] = all;
        carol.lies();
        carol.restart()?;
        bob.kill()?;
        alice.sees(carol)?;
        let path = alice.file("truth.iso", SIZE)?;

        let sent = alice.ctl("send bob,carol --detach").arg(&path).ok()?.last()?;
        has(carol, &path)?;
        bob.start()?; // who has all of it is the one who lies

        has(bob, &path)?;
        let to_bob = sent["transfers"][0]["id"].as_str().context("no id")?;
        let told = alice.transfer_is(to_bob, &["done"], 20)?;
        // carol was dropped after what had been asked of her at once
        let at_bob = bob.ctl("transfers").ok()?.last()?;
        let seen = holders(bob)?;
        let (pieces, wrong): (Vec<u64>, Vec<u64>) = seen.values().copied().unzip();
        ensure!(wrong.iter().filter(|it| **it > 0).count() == 1 && wrong.iter().sum::<u64>() <= 4, "{seen:?}");
        ensure!(seen.values().any(|(pieces, wrong)| *pieces == 0 && *wrong > 0), "a liar's piece was kept: {seen:?}");
        ensure!(pieces.iter().sum::<u64>() == SIZE / MIB, "{seen:?} of {at_bob}");
        let liar = told["holders"].as_array().context("no holders")?.iter().find(|it| it["wrong"].as_u64() > Some(0));
        ensure!(liar.is_some_and(|it| it["peer"] == "carol"), "the sender knows of no liar: {told}");
        let warned = bob.ctl("status").ok()?.last()?;
        ensure!(warned["warnings"].as_array().is_some_and(|all| all.iter().any(|it| it["code"] == "wrong_piece")), "{warned}");
        let shown = bob.ctl_for_people("transfer show").arg(at_bob["transfers"][0]["id"].as_str().context("no id")?).ok()?;
        ensure!(shown.out.contains("wrong, so it is not asked any more"), "{}", shown.out);

        bob.restart()?;
        // Who is not paired may have no name yet.
        let again = holders(bob)?;
        let figures = |of: &BTreeMap<String, (u64, u64)>| of.values().copied().collect::<BTreeSet<_>>();
        ensure!(figures(&again) == figures(&seen), "forgotten over a restart: {seen:?}, now {again:?}");
        Ok(())
    })
}

#[test]
fn what_was_there_is_not_sent_again_after_both_restarted() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let path = alice.file("twice.iso", SIZE)?;
        alice.ctl("send bob").arg(&path).ok()?;
        // The note of the hashes is written after the end was told.
        until("nothing runs", 20, || Ok((bob.ctl("status").ok()?.last()?["transfers_active"] == 0).then_some(())))?;
        alice.restart()?;
        bob.restart()?;
        alice.sees(bob)?;
        let before = bob.cable().bytes_in()?;

        let done = alice.ctl("send bob").arg(&path).ok()?.last()?;

        let wire = bob.cable().bytes_in()? - before;
        ensure!(wire < TALK && done["bytes_reused"] == SIZE, "{} KiB on the wire: {done}", wire >> 10);
        Ok(())
    })
}

#[test]
fn an_older_file_gives_its_parts_after_both_restarted() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        alice.cable().shape("100mbit")?;
        let path = alice.file("older.iso", SIZE)?;
        alice.ctl("send bob").arg(&path).ok()?;
        alice.restart()?;
        bob.restart()?;
        alice.sees(bob)?;
        let older = std::fs::read(&path)?;
        std::fs::write(&path, [&b"!"[..], &older].concat())?;
        let before = bob.cable().bytes_in()?;

        alice.ctl("send bob --conflict overwrite").arg(&path).ok()?;

        let wire = bob.cable().bytes_in()? - before;
        ensure!(wire < SIZE / 50 + TALK, "{} KiB on the wire", wire >> 10);
        let there = bob.inbox()?.join("older.iso");
        ensure!(digest(&there)? == digest(&path)?, "other bytes arrived");
        Ok(())
    })
}
