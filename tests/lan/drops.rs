//! Drop folders under a storm, without watches, and on a medium that goes away.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use sharekaro_tests::{Host, digest_of, on_a_dark_lan, on_a_lan, pair, sh, until};

fn folder(host: &Host, target: &str) -> Result<PathBuf> {
    let path = Path::new(&host.config("drop_dir")?).join(target);
    until(&format!("{} is there", path.display()), 20, || Ok(path.is_dir().then(|| path.clone())))
}

/// Names of what lies in `Sent`, for one target.
fn sent(host: &Host, target: &str) -> Result<Vec<String>> {
    let folder = Path::new(&host.config("drop_dir")?).join("Sent").join(target);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    Ok(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

/// Files come into being in the ways that programs have; returns their content's hashes by name.
fn storm(folder: &Path, outside: &Path, count: usize) -> Result<BTreeMap<String, String>> {
    fs::create_dir_all(outside)?;
    let mut meant = BTreeMap::new();
    for i in 0..count {
        let (name, content) = (format!("s{i}.dat"), format!("{i} ").repeat(i * 37 % 900));
        let path = folder.join(&name);
        match i % 6 {
            0 => fs::write(&path, &content)?,
            1 => {
                let hidden = folder.join(format!(".{name}.tmp"));
                fs::write(&hidden, &content)?;
                fs::rename(hidden, &path)?;
            }
            2 => {
                let part = folder.join(format!("{name}.part"));
                fs::write(&part, &content)?;
                fs::rename(part, &path)?;
            }
            3 => {
                fs::write(outside.join(&name), &content)?;
                fs::rename(outside.join(&name), &path)?;
            }
            4 => {
                // an editor: a first version with a backup beside it, then another over it
                fs::write(&path, "first")?;
                let backup = folder.join(format!("{name}~"));
                fs::hard_link(&path, &backup)?;
                let swap = folder.join(format!(".{name}.swp"));
                fs::write(&swap, &content)?;
                fs::rename(swap, &path)?;
                fs::remove_file(backup)?;
            }
            _ => {
                fs::write(outside.join(&name), &content)?;
                fs::hard_link(outside.join(&name), &path)?;
                fs::remove_file(outside.join(&name))?;
            }
        }
        meant.insert(name, digest_of(content.as_bytes()));
    }
    Ok(meant)
}

fn arrived_once(host: &Host, wanted: &BTreeMap<String, String>) -> Result<()> {
    let files = host.inbox_files()?;
    ensure!(files.len() == wanted.len(), "{} files came of {}", files.len(), wanted.len());
    for path in files {
        let name = path.file_name().context("no name")?.to_string_lossy().into_owned();
        ensure!(wanted.get(&name) == Some(&digest_of(&fs::read(&path)?)), "{name} is torn, or nobody dropped it");
    }
    Ok(())
}

#[test]
fn a_storm_that_overflows_the_kernels_queue_goes_once_and_whole() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let bobs = folder(alice, "bob")?;
        let slow = bobs.join("slow.log");
        let writer = thread::spawn(move || -> Result<String> {
            let mut file = fs::File::create(slow)?;
            for part in ["one ", "two ", "three"] {
                file.write_all(part.as_bytes())?;
                thread::sleep(Duration::from_millis(2_500)); // a writer that takes its time is what this is about
            }
            Ok(digest_of(b"one two three"))
        });
        // it stands still meanwhile: 5 events for each file are more than the 16,384 that the kernel keeps
        alice.signal(Signal::STOP)?;
        let wanted = storm(&bobs, &alice.home().join("outside"), 4_000);
        alice.signal(Signal::CONT)?;
        let mut wanted = wanted?;
        wanted.insert("slow.log".into(), writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??);

        until("everything is in Sent", 240, || Ok((sent(alice, "bob")?.len() == wanted.len()).then_some(())))?;
        arrived_once(bob, &wanted)
    })
}

/// Needs a daemon that was built with its crash points; `./test.sh` builds it beside the others.
#[test]
fn killed_at_each_step_everything_goes_once() -> Result<()> {
    for after in ["move", "delete"] {
        on_a_lan(["alice", "bob"], |[alice, bob]| {
            pair(alice, bob)?;
            alice.set("SHAREKARO_DROP_AFTER", after);
            let mut wanted = BTreeMap::new();
            for point in ["drop-recorded", "drop-judged", "drop-moved:3", "drop-filed"] {
                if after == "delete" && point.starts_with("drop-moved") {
                    continue; // nothing is moved then
                }
                alice.crash_at(Some(point));
                alice.restart()?;
                alice.sees(bob)?;
                let bobs = folder(alice, "bob")?;
                for i in 0..6 {
                    let name = format!("{}-{i}", point.replace(':', "-"));
                    fs::write(bobs.join(&name), &name)?;
                    wanted.insert(name.clone(), digest_of(name.as_bytes()));
                }
                alice.has_crashed(40).with_context(|| format!("at {point}"))?;
                alice.crash_at(None);
                alice.start()?;
                until("nothing is left to do", 60, || {
                    let items = alice.ctl("drop status").ok()?.last()?["items"].as_array().cloned().unwrap_or_default();
                    let done = items.len() == wanted.len() && items.iter().all(|it| it["state"] == "sent");
                    Ok((done && fs::read_dir(&bobs)?.next().is_none()).then_some(()))
                })
                .with_context(|| format!("after {point}"))?;
                arrived_once(bob, &wanted).with_context(|| format!("after {point}"))?;
            }
            ensure!(sent(alice, "bob")?.len() == if after == "move" { wanted.len() } else { 0 }, "not all is filed");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn what_cannot_be_sent_lies_in_failed_wherever_the_daemon_was_killed() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        for point in ["drop-judged", "drop-filed"] {
            alice.crash_at(Some(point));
            let bobs = folder(alice, "bob")?;
            std::os::unix::fs::symlink("/etc/hostname", bobs.join(point))?;
            match alice.restart() {
                // before it answered, where it was fast
                Err(error) if error.to_string().contains("SIGKILL") => {}
                Err(error) => return Err(error.context(format!("at {point}"))),
                Ok(_) => alice.has_crashed(40).with_context(|| format!("at {point}"))?,
            }
            alice.crash_at(None);
            alice.start()?;

            let failed = bobs.with_file_name("Failed").join("bob");
            until("it lies in Failed, a reason beside it", 30, || {
                let there = failed.join(point).is_symlink() && failed.join(format!("{point}.reason.txt")).is_file();
                Ok((there && fs::read_dir(&bobs)?.next().is_none()).then_some(()))
            })
            .with_context(|| format!("after {point}"))?;
        }
        ensure!(bob.inbox_files()?.is_empty(), "a link was followed");
        Ok(())
    })
}

#[test]
fn with_fewer_watches_than_folders_everything_is_found_and_the_sysctl_is_named() -> Result<()> {
    on_a_dark_lan(["alice", "bob"], |[alice, bob]| {
        bob.start()?;
        let few = "echo 8 > /proc/sys/user/max_inotify_watches && exec \"$@\"";
        alice.behind(&["unshare", "--user", "--map-root-user", "sh", "-c", few, "sh"]);
        alice.start()?;
        pair(alice, bob)?;
        let bobs = folder(alice, "bob")?;
        let mut wanted = BTreeMap::new();
        for i in 0..40 {
            fs::create_dir_all(bobs.join(format!("d{i}/e")))?;
            fs::write(bobs.join(format!("d{i}/e/w{i}")), format!("{i}"))?;
            wanted.insert(format!("w{i}"), digest_of(format!("{i}").as_bytes()));
        }

        until("everything is in Sent", 120, || Ok((sent(alice, "bob")?.len() == 40).then_some(())))?;

        arrived_once(bob, &wanted)?;
        let warnings = alice.ctl("status").ok()?.last()?["warnings"].to_string();
        ensure!(warnings.contains("inotify_limit") && warnings.contains("max_user_watches"), "{warnings}");
        Ok(())
    })
}

#[test]
fn a_medium_that_comes_and_goes_is_noticed() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        folder(alice, "bob")?;
        let top = alice.config("drop_dir")?;
        // mounts of a namespace are its own: everything is done where alice's daemon lives
        let pid = alice.pid()?.to_string();
        let there = |script: &str| sh(&["nsenter", "--target", &pid, "--mount", "sh", "-c", script, "sh", &top]);

        there("mount -t tmpfs -o mode=700 tmpfs \"$1\"")?;
        until("the medium gets its folders", 15, || Ok(there("test -d \"$1/bob\"").ok()))?;
        there("echo above > \"$1/bob/above\"")?;
        bob.received("above")?;
        until("it is in Sent on the medium", 15, || Ok(there("test -f \"$1/Sent/bob/above\"").ok()))?;

        until("the medium can be taken out", 15, || Ok(there("umount \"$1\"").ok()))?;
        ensure!(!Path::new(&top).join("Sent").exists(), "it was sent from below the medium");
        fs::write(Path::new(&top).join("bob/below"), "below")?;

        bob.received("below")?;
        ensure!(bob.inbox_files()?.len() == 2, "{:?}", bob.inbox_files()?);
        Ok(())
    })
}
