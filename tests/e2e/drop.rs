//! The drop folder: what is put there is sent once, whole, and filed away.

use std::{
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sharekaro_tests::{Host, MIB, digest, on_loopback, pair, until, write_random};

/// The folder of a target, once it is there.
fn folder(host: &Host, target: &str) -> Result<PathBuf> {
    let path = Path::new(&host.config("drop_dir")?).join(target);
    until(&format!("{} is there", path.display()), 15, || Ok(path.is_dir().then(|| path.clone())))
}

/// Every file below a folder, by its path from there on.
fn files_below(top: &Path) -> Vec<String> {
    let (mut folders, mut found) = (vec![top.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if let Ok(path) = entry.path().strip_prefix(top) {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

fn items(host: &Host) -> Result<Vec<Value>> {
    Ok(host.ctl("drop status").ok()?.last()?["items"].as_array().context("no items")?.clone())
}

/// Waits until the item of this name stands so.
fn item_is(host: &Host, name: &str, state: &str) -> Result<Value> {
    until(&format!("{name} is {state}"), 30, || {
        let found = items(host)?.into_iter().find(|it| it["path"].as_str().is_some_and(|path| path.ends_with(name)));
        Ok(found.filter(|it| it["state"] == state))
    })
}

fn in_sent(host: &Host, wanted: &[&str]) -> Result<()> {
    let sent = Path::new(&host.config("drop_dir")?).join("Sent");
    until(&format!("{wanted:?} is in Sent"), 30, || Ok((files_below(&sent) == wanted).then_some(())))
}

#[test]
fn what_is_dropped_goes_once_and_lies_in_sent_afterwards() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let bobs = folder(alice, "bob")?;
        fs::write(bobs.join("note.txt"), "one")?;
        fs::create_dir_all(alice.home().join("tree/a/empty"))?;
        fs::write(alice.home().join("tree/a/deep"), "two")?;
        fs::rename(alice.home().join("tree"), bobs.join("tree"))?;

        bob.received("note.txt")?;
        let deep = bob.received("deep")?;
        in_sent(alice, &["bob/note.txt", "bob/tree/a/deep"])?;

        ensure!(fs::read(&deep)? == b"two" && deep.with_file_name("empty").is_dir(), "the folder is not what was dropped");
        ensure!(files_below(&bobs).is_empty(), "something is left: {:?}", files_below(&bobs));
        let states: Vec<Value> = items(alice)?.iter().map(|it| it["state"].clone()).collect();
        ensure!(states == ["sent", "sent"], "{states:?}");
        Ok(())
    })
}

#[test]
fn nothing_goes_while_a_program_still_writes_it() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let path = folder(alice, "bob")?.join("film");
        let mut film = fs::File::create(&path)?;
        film.write_all(b"half")?;
        item_is(alice, "film", "settling")?;
        // found anew after a start: no event tells that it is open
        alice.restart()?;
        alice.sees(bob)?;
        let open = until("it is known to be open", 20, || {
            Ok(items(alice)?.into_iter().find(|it| it["reason"].as_str().is_some_and(|why| why.contains("open for writing"))))
        })?;
        ensure!(open["state"] == "settling" && bob.inbox_files()?.is_empty(), "{open}");

        film.write_all(b" and the other half")?;
        drop(film);

        ensure!(fs::read(bob.received("film")?)? == b"half and the other half", "it came torn");
        in_sent(alice, &["bob/film"])
    })
}

#[test]
fn work_in_progress_waits_by_its_name() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let bobs = folder(alice, "bob")?;
        for (name, content) in [("x.iso", ""), ("x.iso.part", "half"), (".hidden", "x"), ("text~", "x"), ("y.crdownload", "half")] {
            fs::write(bobs.join(name), content)?;
        }
        fs::write(bobs.join("whole"), "x")?;
        bob.received("whole")?;
        item_is(alice, "x.iso", "settling")?;

        fs::rename(bobs.join("x.iso.part"), bobs.join("x.iso"))?;

        ensure!(fs::read(bob.received("x.iso")?)? == b"half", "the empty file came");
        in_sent(alice, &["bob/whole", "bob/x.iso"])?;
        ensure!(bob.inbox_files()?.len() == 2, "too much came: {:?}", bob.inbox_files()?);
        Ok(())
    })
}

#[test]
fn what_fails_lies_in_failed_with_a_reason_and_goes_when_it_is_tried_again() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        bob.ctl("trust alice decline").ok()?;
        let bobs = folder(alice, "bob")?;
        fs::write(bobs.join("unwanted"), "x")?;
        let failed = item_is(alice, "unwanted", "failed")?;
        let path = PathBuf::from(failed["path"].as_str().context("no path")?);
        ensure!(path.ends_with("Failed/bob/unwanted") && path.is_file(), "{failed}");
        let reason = fs::read_to_string(path.with_file_name("unwanted.reason.txt"))?;
        ensure!(failed["reason"].as_str().is_some_and(|why| reason.contains(why)) && reason.contains("sharectl drop retry"), "{reason}");
        // a person takes it back himself, or asks for another try
        alice.ctl("drop retry").arg(bobs.join("nothing")).run()?.exits(&[4])?;

        bob.ctl("trust alice accept").ok()?;
        alice.ctl("drop retry").arg(path).ok()?;

        bob.received("unwanted")?;
        in_sent(alice, &["bob/unwanted"])?;
        ensure!(!Path::new(&alice.config("drop_dir")?).join("Failed").exists(), "Failed is left");
        Ok(())
    })
}

#[test]
fn what_could_not_be_filed_away_has_no_reason_any_more_once_it_is() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let bobs = folder(alice, "bob")?;
        let sent = bobs.with_file_name("Sent");
        symlink(alice.home(), &sent)?;
        fs::write(bobs.join("note"), "x")?;
        bob.received("note")?;
        let refused = until("why it stays is said", 15, || {
            let found =
                items(alice)?.into_iter().find(|it| it["reason"].as_str().is_some_and(|why| why.contains("cannot be moved to Sent")));
            Ok(found)
        })?;
        ensure!(bobs.join("note").is_file() && refused["state"] == "waiting", "{refused}");

        fs::remove_file(&sent)?;
        alice.ctl("drop retry").ok()?;

        in_sent(alice, &["bob/note"])?;
        let item = item_is(alice, "note", "sent")?;
        ensure!(item["reason"].is_null(), "{item}");
        Ok(())
    })
}

#[test]
fn links_are_never_followed_and_what_others_may_write_to_is_refused() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let bobs = folder(alice, "bob")?;
        let private = alice.home().join("private");
        fs::create_dir(&private)?;
        fs::write(private.join("key"), "secret")?;
        symlink(private.join("key"), bobs.join("link"))?;
        symlink(&private, bobs.parent().context("no parent")?.join("@friends"))?;
        item_is(alice, "link", "failed")?;

        fs::set_permissions(&bobs, fs::Permissions::from_mode(0o777))?;
        fs::write(bobs.join("f"), "x")?;
        let status = until("a warning", 15, || {
            let status = alice.ctl("status").ok()?.last()?;
            let warned = status["warnings"].as_array().is_some_and(|all| {
                all.iter().any(|it| it["code"] == "drop_folder_unsafe" && it["message"].to_string().contains("others may write"))
            });
            Ok(warned.then_some(status))
        })?;
        ensure!(bob.inbox_files()?.is_empty(), "sent all the same: {status}");
        fs::set_permissions(&bobs, fs::Permissions::from_mode(0o755))?;

        bob.received("f")?;
        ensure!(bob.inbox_files()?.len() == 1 && private.join("key").is_file(), "a link was followed: {:?}", bob.inbox_files()?);
        Ok(())
    })
}

#[test]
fn what_waits_says_why_also_in_the_folder_and_a_default_target_lets_the_top_go() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let top = folder(alice, "bob")?.parent().context("no parent")?.to_owned();
        fs::write(top.join("whose"), "x")?;
        fs::create_dir(top.join("#class"))?;
        fs::write(top.join("#class/homework"), "x")?;
        let nobody = item_is(alice, "whose", "waiting")?;
        let room = item_is(alice, "homework", "waiting")?;
        ensure!(nobody["reason"].to_string().contains("drop_target") && room["reason"].to_string().contains("rooms"), "{nobody} {room}");
        let listed = fs::read_to_string(top.join("Waiting.txt"))?;
        ensure!(listed.contains("whose") && listed.contains("#class/homework"), "{listed}");

        alice.set("SHAREKARO_DROP_TARGET", "bob");
        alice.restart()?;

        bob.received("whose")?;
        in_sent(alice, &["bob/whose"])?;
        until("only the room is listed", 10, || {
            let listed = fs::read_to_string(top.join("Waiting.txt")).unwrap_or_default();
            Ok((!listed.contains("whose") && listed.contains("homework")).then_some(()))
        })
    })
}

#[test]
fn what_goes_to_several_is_in_sent_when_the_last_has_it() -> Result<()> {
    on_loopback(["alice", "bob", "carol"], |[alice, bob, carol]| {
        pair(alice, bob)?;
        pair(alice, carol)?;
        alice.ctl("group add team bob carol").ok()?;
        let team = folder(alice, "@team")?;
        carol.kill()?;
        until("carol is off", 45, || Ok((alice.peer(carol)?["online"] == false).then_some(())))?;

        fs::write(team.join("plan"), "x")?;
        bob.received("plan")?;
        let waiting = until("it says who lacks it", 20, || {
            Ok(items(alice)?.into_iter().find(|it| it["state"] == "waiting" && it["reason"].to_string().contains("carol lacks it")))
        })?;
        ensure!(team.join("plan").is_file() && !waiting["reason"].to_string().contains("bob lacks"), "{waiting}");
        alice.restart()?;
        carol.start()?;

        carol.received("plan")?;
        in_sent(alice, &["@team/plan"])?;
        ensure!(bob.inbox_files()?.len() == 1, "bob got it again");
        Ok(())
    })
}

#[test]
fn killed_again_and_again_everything_goes_once() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let bobs = folder(alice, "bob")?;
        let mut wanted = Vec::new();
        for i in 0..60 {
            let name = format!("f{i}");
            write_random(&bobs.join(&name), if i % 20 == 0 { 8 * MIB } else { 3_000 }, &name)?;
            wanted.push((name.clone(), digest(&bobs.join(name))?));
        }
        let began = Instant::now();
        for kill in 0..6 {
            // spread over all that happens: settling, recording, sending, filing
            while began.elapsed() < Duration::from_millis(900 * (kill + 1)) {
                std::thread::sleep(Duration::from_millis(20));
            }
            if kill % 3 == 2 { bob.restart()? } else { alice.restart()? }
        }

        let sent = Path::new(&alice.config("drop_dir")?).join("Sent/bob");
        until("everything is in Sent", 120, || Ok((files_below(&sent).len() == wanted.len()).then_some(())))?;
        let there = bob.inbox_files()?;
        ensure!(there.len() == wanted.len(), "{} files came of {}: {there:?}", there.len(), wanted.len());
        for (name, content) in wanted {
            ensure!(digest(&bob.received(&name)?)? == content && digest(&sent.join(&name))? == content, "{name} is not what was dropped");
        }
        Ok(())
    })
}

#[test]
fn what_is_to_be_deleted_is_gone_as_soon_as_everybody_has_it() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        alice.set("SHAREKARO_DROP_AFTER", "delete");
        alice.restart()?;
        alice.sees(bob)?;
        pair(alice, bob)?;
        let bobs = folder(alice, "bob")?;
        // one after the other: nothing else happens that could wake who should have gone on by itself
        for no in 0..6 {
            let path = bobs.join(format!("secret{no}"));
            fs::write(&path, "x")?;
            bob.received(&format!("secret{no}"))?;
            until(&format!("secret{no} is gone"), 5, || Ok((!path.exists()).then_some(())))?;
        }
        ensure!(!Path::new(&alice.config("drop_dir")?).join("Sent").exists(), "it lies in Sent");
        Ok(())
    })
}

#[test]
fn what_is_kept_is_sent_once_and_again_when_it_changes() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        alice.set("SHAREKARO_DROP_AFTER", "keep");
        alice.restart()?;
        alice.sees(bob)?;
        pair(alice, bob)?;
        let path = folder(alice, "bob")?.join("log");
        fs::write(&path, "one")?;
        bob.received("log")?;
        item_is(alice, "log", "sent")?;
        alice.restart()?;
        alice.sees(bob)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        fs::write(path.with_file_name("other"), "x")?;
        bob.received("other")?;
        ensure!(bob.inbox_files()?.len() == 2, "what was kept went again: {:?}", bob.inbox_files()?);

        fs::write(&path, "one and two")?;

        until("the next version is there", 30, || {
            Ok(bob.inbox_files()?.iter().any(|path| fs::read(path).is_ok_and(|it| it == b"one and two")).then_some(()))
        })?;
        ensure!(path.is_file() && bob.inbox_files()?.len() == 3, "{:?}", bob.inbox_files()?);
        Ok(())
    })
}

#[test]
fn each_drop_folder_has_ways_of_its_own_where_it_wants_some() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let (scans, shared) = (alice.home().join("Scans"), alice.home().join("Shared"));
        fs::create_dir_all(alice.home().join("config/sharekaro"))?;
        let own = "[[drop]]\ndir = \"~/Scans\"\ntarget = \"bob\"\nafter = \"delete\"\n\n[[drop]]\ndir = \"~/Shared\"\nafter = \"keep\"\n";
        fs::write(alice.home().join("config/sharekaro/config.toml"), own)?;
        alice.restart()?;
        alice.sees(bob)?;
        let bobs = folder(alice, "bob")?;
        until("all have their folders", 20, || Ok((scans.join("bob").is_dir() && shared.join("bob").is_dir()).then_some(())))?;

        fs::write(scans.join("scan"), "at the top of the first")?;
        fs::write(shared.join("bob/log"), "kept")?;
        fs::write(shared.join("whose"), "nobody is named here")?;
        fs::write(bobs.join("moved"), "as ever")?;

        for name in ["scan", "log", "moved"] {
            bob.received(name)?;
        }
        in_sent(alice, &["bob/moved"])?;
        until("the scan is gone", 10, || Ok((!scans.join("scan").exists()).then_some(())))?;
        item_is(alice, "Shared/bob/log", "sent")?;
        item_is(alice, "Shared/whose", "waiting")?;
        ensure!(shared.join("bob/log").is_file() && !shared.join("Sent").exists() && !scans.join("Sent").exists(), "it was moved");
        Ok(())
    })
}

#[test]
fn a_peer_that_calls_itself_like_a_folder_of_ours_gets_nothing_from_it() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        let top = PathBuf::from(alice.config("drop_dir")?);
        fs::create_dir_all(top.join("bob"))?;
        fs::write(top.join("bob/private"), "x")?;
        pair(alice, bob)?;
        let keys = until("a folder of its key is there", 15, || {
            Ok(fs::read_dir(&top)?
                .flatten()
                .map(|it| it.path())
                .find(|it| it.file_name().is_some_and(|it| it.to_string_lossy().starts_with("key-"))))
        })?;
        fs::create_dir(top.join("taxes"))?;
        fs::write(top.join("taxes/secret"), "x")?;
        bob.set("SHAREKARO_NAME", "taxes");
        bob.restart()?;
        until("it calls itself taxes", 15, || {
            Ok(alice.ctl("peers").ok()?.last()?["peers"]
                .as_array()
                .is_some_and(|all| all.iter().any(|it| it["alias"] == "taxes"))
                .then_some(()))
        })?;

        fs::write(keys.join("for bob"), "x")?;
        bob.received("for bob")?;
        in_sent(alice, &[&format!("{}/for bob", keys.file_name().context("no name")?.to_string_lossy())])?;

        item_is(alice, "taxes", "waiting")?;
        item_is(alice, "bob", "waiting")?;
        ensure!(bob.inbox_files()?.len() == 1, "too much came: {:?}", bob.inbox_files()?);
        // our person says that it is meant
        alice.ctl("peer rename taxes desk").ok()?;
        fs::write(folder(alice, "desk")?.join("again"), "x")?;
        bob.received("again").map(drop)
    })
}

#[test]
fn a_stranger_that_calls_itself_like_the_target_gets_nothing() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        alice.set("SHAREKARO_DROP_TARGET", "bob");
        alice.restart()?;
        alice.sees(bob)?;
        bob.sees(alice)?;
        let top = PathBuf::from(alice.config("drop_dir")?);
        fs::write(top.join("secret"), "x")?;

        let waits = item_is(alice, "secret", "waiting")?;
        ensure!(waits["reason"].to_string().contains("not paired"), "{waits}");
        ensure!(top.join("secret").is_file(), "it is gone");

        pair(alice, bob)?;
        bob.received("secret")?;
        in_sent(alice, &["bob/secret"])
    })
}

#[test]
fn what_is_renamed_while_it_waits_goes_under_its_new_name() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let bobs = folder(alice, "bob")?;
        bob.ctl("trust alice ask").ok()?;
        bob.kill()?;
        until("bob is off", 45, || Ok((alice.peer(bob)?["online"] == false).then_some(())))?;
        // both wait, so that they go together
        for name in ["a.txt", "c.txt"] {
            fs::write(bobs.join(name), name)?;
            item_is(alice, name, "waiting")?;
        }
        bob.start()?;
        let offer =
            until("an offer waits", 30, || Ok(bob.ctl("inbox").ok()?.last()?["waiting"].as_array().and_then(|it| it.first().cloned())))?;
        ensure!(offer["files"] == 2, "{offer}");

        fs::rename(bobs.join("a.txt"), bobs.join("b.txt"))?;
        until("it is known by its new name", 30, || {
            Ok(items(alice)?.into_iter().find(|it| it["path"].as_str().is_some_and(|path| path.ends_with("b.txt"))))
        })?;
        bob.ctl("trust alice accept").ok()?;
        bob.ctl("inbox accept").arg(offer["id"].as_str().context("no id")?).ok()?;

        ensure!(fs::read(bob.received("b.txt")?)? == b"a.txt", "something else came");
        in_sent(alice, &["bob/b.txt", "bob/c.txt"])?;
        ensure!(bob.inbox_files()?.len() == 2, "{:?}", bob.inbox_files()?);
        Ok(())
    })
}

#[test]
fn who_is_no_longer_in_the_group_gets_nothing_when_it_is_tried_again() -> Result<()> {
    on_loopback(["alice", "bob", "carol"], |[alice, bob, carol]| {
        pair(alice, bob)?;
        pair(alice, carol)?;
        carol.ctl("trust alice decline").ok()?;
        alice.ctl("group add team bob carol").ok()?;
        fs::write(folder(alice, "@team")?.join("plan"), "x")?;
        bob.received("plan")?;
        item_is(alice, "plan", "failed")?;

        alice.ctl("group remove team carol").ok()?;
        carol.ctl("trust alice accept").ok()?;
        alice.ctl("drop retry").ok()?;

        in_sent(alice, &["@team/plan"])?;
        ensure!(carol.inbox_files()?.is_empty() && bob.inbox_files()?.len() == 1, "it went to who is not meant, or twice");
        Ok(())
    })
}

#[test]
fn a_folder_is_not_deleted_with_what_could_not_travel() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        alice.set("SHAREKARO_DROP_AFTER", "delete");
        alice.restart()?;
        alice.sees(bob)?;
        pair(alice, bob)?;
        let bobs = folder(alice, "bob")?;
        for (tree, link) in [("whole", None), ("linked", Some("link"))] {
            let path = alice.home().join(tree);
            fs::create_dir(&path)?;
            fs::write(path.join(tree), "x")?;
            link.map(|name| symlink("/nowhere", path.join(name))).transpose()?;
            fs::rename(path, bobs.join(tree))?;
            bob.received(tree)?;
        }

        in_sent(alice, &["bob/linked/link", "bob/linked/linked"])?;
        until("what travelled whole is deleted", 10, || Ok(files_below(&bobs).is_empty().then_some(())))
    })
}
