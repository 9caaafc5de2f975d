//! What arrives is what was sent: content, names, modes and times.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt},
    },
    path::PathBuf,
    time::{Duration, SystemTime},
};

use anyhow::{Result, ensure};
use sharekaro_tests::{MIB, digest, on_loopback, pair, until};

#[test]
fn files_of_every_size_arrive_whole_in_one_transfer() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let sizes = [
            ("empty", 0),
            ("one", 1),
            ("kib", 1024),
            ("mib", MIB),
            ("mib+1", MIB + 1),
            ("two words.txt", 5000),
            ("Ünï-कोड-文.bin", 70_000),
            ("big", 100 * MIB),
        ];
        let paths = sizes.map(|(name, size)| alice.file(name, size)).into_iter().collect::<Result<Vec<_>>>()?;

        let done = alice.ctl("send bob").args(&paths).ok()?.last()?;

        let total: u64 = sizes.iter().map(|(_, size)| size).sum();
        ensure!(done["state"] == "done" && done["bytes_confirmed"] == total && done["files_done"] == sizes.len(), "{done}");
        for (path, (name, _)) in paths.iter().zip(sizes) {
            ensure!(digest(&bob.received(name)?)? == digest(path)?, "{name} differs");
        }
        Ok(())
    })
}

#[test]
fn the_mode_without_setuid_and_the_time_of_change_are_kept() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let path = alice.file("tool", 1024)?;
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        File::options().write(true).open(&path)?.set_modified(long_ago)?;
        fs::set_permissions(&path, Permissions::from_mode(0o4755))?;

        alice.ctl("send bob").arg(&path).ok()?;

        let there = fs::metadata(bob.received("tool")?)?;
        ensure!(there.mode() & 0o7777 == 0o755 && there.mtime() == 1_000_000_000, "mode {:o}, changed {}", there.mode(), there.mtime());
        Ok(())
    })
}

#[test]
fn a_name_that_is_taken_never_costs_the_older_file() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let first = alice.file("report.txt", 1000)?;
        alice.ctl("send bob").arg(&first).ok()?;
        let first = digest(&first)?;

        let second = alice.file("report.txt", 2000)?;
        alice.ctl("send bob").arg(&second).ok()?;

        let there = bob.inbox_files()?.iter().map(|path| digest(path)).collect::<Result<BTreeSet<_>>>()?;
        ensure!(there == BTreeSet::from([first, digest(&second)?]), "{:?}", bob.inbox_files()?);
        Ok(())
    })
}

/// Names that an ordinary Linux file system takes and somebody may have meant harm with.
const HOSTILE: [&[u8]; 16] = [
    b"-rf",
    b"--help",
    b"...",
    b"..x",
    b".hidden",
    b"two\nlines",
    b"tab\tbell\x07escape\x1b[2J",
    b"\xff\xfe not UTF-8 \x80",
    b"back\\slash\\..\\..\\x",
    b"$(reboot);`reboot`",
    b" leading and trailing ",
    b"CON",
    b"exe.\xe2\x80\xaegpj",
    b"%2e%2e%2fx",
    b"a'b\"c",
    &[b'x'; 255],
];

#[test]
fn names_that_mean_harm_do_none_and_their_content_arrives() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let paths = HOSTILE.iter().map(|name| alice.file(OsStr::from_bytes(name), 100)).collect::<Result<Vec<PathBuf>>>()?;
        let folder = PathBuf::from(bob.config("drop_dir")?).join("alice");
        until("the drop folder is made", 20, || Ok(folder.is_dir().then_some(())))?;
        let outside = everything_outside(bob)?;

        let done = alice.ctl("send bob").arg("--").args(&paths).ok()?;

        let sent = paths.iter().map(|path| digest(path)).collect::<Result<BTreeSet<_>>>()?;
        let there = bob.inbox_files()?.iter().map(|path| digest(path)).collect::<Result<BTreeSet<_>>>()?;
        ensure!(sent == there, "{} of {} arrived: {:?}", there.len(), sent.len(), bob.inbox_files()?);
        let now = everything_outside(bob)?;
        ensure!(now == outside, "written outside of the inbox: {:?}", now.symmetric_difference(&outside).collect::<Vec<_>>());
        ensure!(!done.out.contains('\x1b') && !done.err.contains('\x1b'), "a name reached the terminal as it was");
        let shown = alice.ctl_for_people("transfers").ok()?;
        ensure!(!shown.out.contains("\x1b[2J") && !shown.out.contains('\u{202e}'), "a name orders the terminal about");
        Ok(())
    })
}

/// Every path in the home that is neither in the inbox nor in our own folders.
fn everything_outside(host: &sharekaro_tests::Host) -> Result<BTreeSet<PathBuf>> {
    let ours = [host.inbox()?, host.home().join("state"), host.home().join("run"), host.home().join("sharekarod.log")];
    let (mut folders, mut all) = (vec![host.home().to_owned()], BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if ours.contains(&path) {
                continue;
            }
            if path.is_dir() {
                folders.push(path.clone());
            }
            all.insert(path);
        }
    }
    Ok(all)
}

#[test]
fn a_link_in_the_inbox_is_not_followed_out_of_it() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        alice.ctl("send bob").arg(alice.file("first", 10)?).ok()?;
        let (inbox, precious) = (bob.inbox()?, bob.home().join("precious"));
        fs::write(&precious, "mine")?;
        std::os::unix::fs::symlink(&precious, inbox.join("letter"))?;
        std::os::unix::fs::symlink("/nowhere/at/all", inbox.join("dangling"))?;

        alice.ctl("send bob").arg(alice.file("letter", 10)?).arg(alice.file("dangling", 10)?).ok()?;

        ensure!(fs::read_to_string(&precious)? == "mine", "a link led out of the inbox");
        ensure!(fs::symlink_metadata(inbox.join("letter"))?.is_symlink(), "somebody's link was replaced");
        Ok(())
    })
}
