//! Disks that fill.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{Host, MIB, digest, on_a_dark_lan, pair, sh, until};

/// A small file system, gone when dropped.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn new(path: PathBuf, size: &str) -> Result<Self> {
        fs::create_dir(&path)?;
        let target = path.to_str().context("an odd temporary folder")?.to_owned();
        sh(&["mount", "-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", &target])?;
        Ok(Self { path })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = sh(&["umount", "-l", &self.path.to_string_lossy()]);
    }
}

/// Bob receives into a disk of this size, and is paired with Alice.
fn on_a_small_disk(size: &str, story: impl FnOnce(&Host, &Host, &Path) -> Result<()>) -> Result<()> {
    on_a_dark_lan(["alice", "bob"], |[alice, bob]| {
        let disk = SmallDisk::new(bob.home().join("small"), size)?;
        bob.set("SHAREKARO_INBOX_DIR", disk.path());
        alice.start()?;
        bob.start()?;
        pair(alice, bob)?;
        story(alice, bob, disk.path())?;
        let stopped = bob.stop(rustix::process::Signal::TERM);
        drop(disk);
        stopped
    })
}

#[test]
fn what_does_not_fit_is_said_and_what_fits_still_comes() -> Result<()> {
    on_a_small_disk("32m", |alice, bob, _| {
        let (big, small) = (alice.file("toobig", 64 * MIB)?, alice.file("small", 4 * MIB)?);

        let refused = alice.ctl("send bob").arg(&big).run()?.exits(&[9])?;
        alice.ctl("send bob").arg(&small).ok()?;

        ensure!(refused.error_code()? == "no_space", "{refused:?}");
        ensure!(digest(&bob.received("small")?)? == digest(&small)?, "other bytes arrived");
        Ok(())
    })
}

#[test]
fn what_came_so_far_has_its_room_when_the_rest_comes() -> Result<()> {
    on_a_small_disk("64m", |alice, bob, _| {
        let (large, other) = (alice.file("large", 40 * MIB)?, alice.file("other", 12 * MIB)?);

        let sending = alice.ctl("send bob --limit 8M").arg(&large).spawn()?;
        let at_half = || Ok((bob_has(bob)? >= 24 * MIB).then_some(()));
        until("more is here than is free beside it", 60, at_half)?;
        alice.ctl("send bob").arg(&other).ok()?; // 12 MiB beside the 16 that are still to come, where 40 were free
        bob.kill()?;
        bob.start()?;
        sending.result()?.exits(&[0])?;

        ensure!(digest(&bob.received("large")?)? == digest(&large)?, "other bytes arrived");
        ensure!(digest(&bob.received("other")?)? == digest(&other)?, "other bytes arrived");
        Ok(())
    })
}

/// Bytes of the first transfer that Bob has.
fn bob_has(bob: &Host) -> Result<u64> {
    Ok(bob.ctl("transfer show t1").run()?.last().ok().and_then(|shown| shown["bytes_confirmed"].as_u64()).unwrap_or(0))
}

#[test]
fn a_disk_that_others_fill_meanwhile_loses_nothing_that_was_there() -> Result<()> {
    on_a_small_disk("96m", |alice, bob, disk| {
        let first = alice.file("first", 16 * MIB)?;
        alice.ctl("send bob").arg(&first).ok()?;

        // Somebody else's file takes what was free when the daemon last looked.
        fs::write(disk.join("others"), vec![7; usize::try_from(72 * MIB)?])?;
        alice.ctl("send bob").arg(&alice.file("second", 32 * MIB)?).run()?.exits(&[9])?;

        ensure!(bob.alive() && alice.alive(), "a full disk ended a daemon");
        ensure!(digest(&bob.received("first")?)? == digest(&first)?, "a full disk harmed what had been received");
        ensure!(fs::metadata(disk.join("others"))?.len() == 72 * MIB, "a file of somebody else was touched");
        Ok(())
    })
}
