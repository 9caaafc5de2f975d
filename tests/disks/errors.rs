//! Disks that fill where nobody looked, fail, run out of inodes or quota, are taken away, or become read-only.
//!
//! The kernels that these run on have no vfat as often as not; what such a file system refuses is tested in the daemon.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sharekaro_tests::{Host, Image, MIB, digest, mixed_folder, on_loopback, pair, sh, tree_digests, until};

use crate::text;

/// Alice sends to Bob, whose inbox is on this disk; the story happens on the way.
fn onto<D>(make: impl FnOnce(&Host) -> Result<(D, std::path::PathBuf)>, story: impl FnOnce(&Host, &Host, D) -> Result<()>) -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        bob.stop(rustix::process::Signal::TERM)?;
        let (disk, mount_dir) = make(bob)?;
        bob.set("SHAREKARO_INBOX_DIR", mount_dir.join("inbox"));
        bob.start()?;
        pair(alice, bob)?;
        story(alice, bob, disk)?;
        ensure!(alice.alive() && bob.alive(), "a disk ended a daemon");
        bob.stop(rustix::process::Signal::TERM)
    })
}

fn sends(alice: &Host, path: &Path) -> Result<String> {
    let job = alice.ctl("send bob --detach").arg(path).ok()?.last()?;
    Ok(job["id"].as_str().context("a transfer without an id")?.to_owned())
}

/// Waits until the sender says that it waits, and for this reason.
fn waits(alice: &Host, id: &str, code: &str) -> Result<Value> {
    until(&format!("transfer {id} waits for {code}"), 60, || {
        let shown = alice.ctl("transfer show").arg(id).ok()?.last()?;
        ensure!(shown["state"] != "done", "it was acknowledged: {shown}");
        Ok((shown["state"] == "waiting" && shown["error"]["code"] == code).then_some(shown))
    })
}

/// A tmpfs, gone when dropped.
struct Memory(std::path::PathBuf);

impl Memory {
    fn mount(dir: &Path, options: &str) -> Result<Self> {
        fs::create_dir(dir)?;
        sh(&["mount", "-t", "tmpfs", "-o", options, "tmpfs", text(dir)?])?;
        Ok(Self(dir.to_owned()))
    }

    fn grow(&self, options: &str) -> Result<()> {
        sh(&["mount", "-o", &format!("remount,{options}"), text(&self.0)?]).map(drop)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = sh(&["umount", "-l", &self.0.to_string_lossy()]);
    }
}

#[test]
fn a_disk_that_lies_about_its_room_is_never_believed_and_ends_whole_once_it_has_it() -> Result<()> {
    let make = |bob: &Host| {
        // The file system believes in 256 MiB; what is below it has 48. Writes succeed, syncing them does not, and the
        // kernel says so once.
        let below = Memory::mount(&bob.home().join("below"), "size=48m")?;
        let disk = Image::new(&bob.home().join("below"), "disk", "ext4", 256 * MIB)?;
        let dir = disk.path().to_owned();
        Ok(((disk, below), dir))
    };
    onto(make, |alice, bob, (disk, below)| {
        let path = alice.file("large", 96 * MIB)?;
        let id = sends(alice, &path)?;

        let before = waits(alice, &id, "no_space")?;
        below.grow("size=400m")?;
        bob.kill()?;
        disk.mount_again()?;
        bob.next_boot()?;
        bob.start()?;

        alice.transfer_is(&id, &["done"], 90)?;
        ensure!(digest(&bob.received("large")?)? == digest(&path)?, "other bytes were acknowledged; it had said {before}");
        bob.stop(rustix::process::Signal::TERM)?;
        bob.set("SHAREKARO_INBOX_DIR", bob.home().join("elsewhere"));
        drop((disk, below));
        bob.start().map(drop)
    })
}

#[test]
fn a_disk_with_room_for_one_file_ends_it_however_often_it_is_interrupted() -> Result<()> {
    for kind in ["ext4", "xfs"] {
        let make = |bob: &Host| {
            let disk = Image::new(bob.home(), "disk", kind, 400 * MIB)?;
            let dir = disk.path().to_owned();
            Ok((disk, dir))
        };
        onto(make, |alice, bob, disk| {
            let path = alice.file("large", 250 * MIB)?;
            let job = alice.ctl("send bob --detach --limit 40M").arg(&path).ok()?.last()?;
            let id = job["id"].as_str().context("a transfer without an id")?.to_owned();
            for part in [30, 70] {
                until(&format!("{part} MiB are there"), 60, || {
                    let shown = alice.ctl("transfer show").arg(&id).ok()?.last()?;
                    Ok(shown["bytes_confirmed"].as_u64().filter(|bytes| *bytes > part * MIB))
                })?;
                bob.kill()?;
                bob.start()?;
            }
            // What is free is less than what is still to come, as the file has had its room from the beginning; what is
            // beside it is for others.
            let small = alice.file("small", 20 * MIB)?;
            alice.ctl("send bob").arg(&small).ok()?;

            alice.transfer_is(&id, &["done"], 120)?;
            ensure!(digest(&bob.received("large")?)? == digest(&path)?, "other bytes arrived on {kind}");
            ensure!(digest(&bob.received("small")?)? == digest(&small)?, "other bytes arrived on {kind}");
            bob.stop(rustix::process::Signal::TERM)?;
            bob.set("SHAREKARO_INBOX_DIR", bob.home().join("elsewhere"));
            drop(disk);
            bob.start().map(drop)
        })?;
    }
    Ok(())
}

#[test]
fn a_disk_without_inodes_is_waited_for_and_said() -> Result<()> {
    let make = |bob: &Host| {
        let disk = Memory::mount(&bob.home().join("disk"), "size=64m,nr_inodes=80")?;
        let dir = disk.0.clone();
        Ok((disk, dir))
    };
    onto(make, |alice, bob, disk| {
        let sent = mixed_folder(alice, "many", MIB, 200)?;
        let id = sends(alice, &sent)?;

        waits(alice, &id, "no_space")?;
        disk.grow("nr_inodes=1000")?;

        alice.transfer_is(&id, &["done"], 60)?;
        ensure!(tree_digests(&bob.inbox()?.join("many"))? == tree_digests(&sent)?, "it arrived otherwise");
        bob.stop(rustix::process::Signal::TERM)?;
        bob.set("SHAREKARO_INBOX_DIR", bob.home().join("elsewhere"));
        drop(disk);
        bob.start().map(drop)
    })
}

#[test]
fn a_quota_that_is_reached_is_waited_for_and_said() -> Result<()> {
    let make = |bob: &Host| {
        let disk = Image::new(bob.home(), "disk", "btrfs", 400 * MIB)?;
        let inbox = disk.path().join("inbox");
        sh(&["btrfs", "quota", "enable", text(disk.path())?])?;
        sh(&["btrfs", "subvolume", "create", text(&inbox)?])?;
        sh(&["btrfs", "qgroup", "limit", "24M", text(&inbox)?])?;
        let dir = disk.path().to_owned();
        Ok((disk, dir))
    };
    onto(make, |alice, bob, disk| {
        let path = alice.file("large", 40 * MIB)?;
        let id = sends(alice, &path)?;

        waits(alice, &id, "no_space")?;
        sh(&["btrfs", "qgroup", "limit", "none", text(&bob.inbox()?)?])?;

        alice.transfer_is(&id, &["done"], 60)?;
        ensure!(digest(&bob.received("large")?)? == digest(&path)?, "other bytes arrived");
        bob.stop(rustix::process::Signal::TERM)?;
        bob.set("SHAREKARO_INBOX_DIR", bob.home().join("elsewhere"));
        drop(disk);
        bob.start().map(drop)
    })
}

#[test]
fn a_disk_that_turned_read_only_is_waited_for_and_said() -> Result<()> {
    let make = |bob: &Host| {
        let disk = Memory::mount(&bob.home().join("disk"), "size=128m")?;
        let dir = disk.0.clone();
        Ok((disk, dir))
    };
    onto(make, |alice, bob, disk| {
        alice.ctl("send bob").arg(alice.file("first", 1000)?).ok()?;
        disk.grow("ro")?;
        let path = alice.file("second", 8 * MIB)?;
        let id = sends(alice, &path)?;

        waits(alice, &id, "no_space")?;
        disk.grow("rw")?;

        alice.transfer_is(&id, &["done"], 60)?;
        ensure!(digest(&bob.received("second")?)? == digest(&path)?, "other bytes arrived");
        bob.stop(rustix::process::Signal::TERM)?;
        bob.set("SHAREKARO_INBOX_DIR", bob.home().join("elsewhere"));
        drop(disk);
        bob.start().map(drop)
    })
}

#[test]
fn a_source_that_cannot_be_read_is_named_and_the_rest_arrives() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let disk = Image::new(alice.home(), "disk", "ext4", 128 * MIB)?;
        let folder = disk.path().join("folder");
        fs::create_dir(&folder)?;
        sharekaro_tests::write_random(&folder.join("a-good"), 1000, "good")?;
        sharekaro_tests::write_random(&folder.join("z-large"), 64 * MIB, "large")?;
        // Its end lies where there is no disk any more.
        disk.mount_again()?;
        let half = fs::metadata(disk.image_path())?.len() / 3;
        fs::File::options().write(true).open(disk.image_path())?.set_len(half)?;
        let unreadable = digest(&folder.join("z-large"));
        ensure!(unreadable.is_err(), "the kernel still reads a file whose disk is gone");

        let sent = alice.ctl("send bob --wait 40").arg(&folder).within(90).run()?.exits(&[8, 11, 12])?;

        ensure!(alice.alive() && bob.alive(), "a read error ended a daemon");
        ensure!(sent.out.contains("z-large") || sent.err.contains("z-large"), "it does not say which file: {sent:?}");
        if sent.code == Some(12) {
            ensure!(digest(&bob.received("a-good")?)? == digest(&folder.join("a-good"))?, "the good file did not arrive");
        }
        Ok(())
    })
}

/// Sparse and dense, nested and odd: as it was sent, on a file system of this kind.
fn lands_on(kind: &str) -> Result<()> {
    let make = |bob: &Host| {
        let disk = Image::new(bob.home(), "disk", kind, 512 * MIB)?;
        let dir = disk.path().to_owned();
        Ok((disk, dir))
    };
    onto(make, |alice, bob, disk| {
        let sent = mixed_folder(alice, "mixed", 30 * MIB, 300)?;
        fs::File::create(sent.join("sparse"))?.set_len(4096 * MIB)?;
        fs::write(sent.join("\u{202e}odd \u{1f642}\n"), "odd")?;

        alice.ctl("send bob").arg(&sent).ok()?;
        alice.ctl("send bob").arg(&sent).ok()?;

        for name in ["mixed", "mixed (2)"] {
            let there = bob.inbox()?.join(name);
            ensure!(fs::metadata(there.join("sparse"))?.len() == 4096 * MIB, "the sparse file has another length");
            for top in [&sent, &there] {
                fs::remove_file(top.join("sparse")).ok();
            }
            ensure!(tree_digests(&there)? == tree_digests(&sent)?, "{name} arrived otherwise on {kind}");
        }
        bob.stop(rustix::process::Signal::TERM)?;
        bob.set("SHAREKARO_INBOX_DIR", bob.home().join("elsewhere"));
        drop(disk);
        bob.start().map(drop)
    })
}

#[test]
fn a_tree_lands_on_ext4_xfs_and_btrfs_as_it_was() -> Result<()> {
    ["ext4", "xfs", "btrfs"].into_iter().try_for_each(lands_on)
}

/// A folder that is bound to another, until it is dropped.
struct Bound(std::path::PathBuf);

impl Bound {
    fn new(from: &Path, to: &Path) -> Result<Self> {
        sh(&["mount", "--bind", text(from)?, text(to)?])?;
        Ok(Self(to.to_owned()))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = sh(&["umount", "-l", &self.0.to_string_lossy()]);
    }
}

#[test]
fn a_mount_in_the_destination_is_left_alone_and_everything_arrives_beside_it() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let (elsewhere, photos) = (bob.home().join("elsewhere"), bob.inbox()?.join("photos"));
        for dir in [&elsewhere, &photos] {
            fs::create_dir_all(dir)?;
        }
        fs::write(elsewhere.join("old.jpg"), "old")?;
        let _bound = Bound::new(&elsewhere, &photos)?;
        let sent = alice.home().join("outgoing/photos");
        fs::create_dir_all(sent.join("sub"))?;
        for name in ["old.jpg", "sub/new.jpg"] {
            sharekaro_tests::write_random(&sent.join(name), 300_000, name)?;
        }

        for (conflict, arrived) in [("rename", "photos (2)"), ("newer", "photos (3)"), ("overwrite", "photos (4)")] {
            let done = alice.ctl(&format!("send bob --conflict {conflict}")).arg(&sent).within(60).ok()?.last()?;
            let there = bob.inbox()?.join(arrived);
            ensure!(there.is_dir(), "{conflict}: no {arrived}, but {:?}: {done}", bob.inbox_files()?);
            ensure!(tree_digests(&there)? == tree_digests(&sent)?, "{conflict}: {arrived} arrived otherwise");
            ensure!(fs::read(elsewhere.join("old.jpg"))? == b"old", "{conflict}: what is mounted was touched");
            ensure!(fs::read_dir(&elsewhere)?.count() == 1, "{conflict}: something was put into what is mounted");
        }
        Ok(())
    })
}
