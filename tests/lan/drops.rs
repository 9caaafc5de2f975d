//! Drop folders of a daemon that dies at each step, without watches, and on a medium that goes away.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{Host, digest_of, on_a_dark_lan, on_a_lan, pair, sh, until};

pub(crate) fn folder(host: &Host, target: &str) -> Result<PathBuf> {
    let path = Path::new(&host.config("drop_dir")?).join(target);
    until(&format!("{} is there", path.display()), 20, || Ok(path.is_dir().then(|| path.clone())))
}

/// Names of what lies in `Sent`, for one target.
pub(crate) fn sent(host: &Host, target: &str) -> Result<Vec<String>> {
    let folder = Path::new(&host.config("drop_dir")?).join("Sent").join(target);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    Ok(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
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

/// Needs a daemon that was built with its crash points; `./test.sh` builds it beside the others.
#[test]
fn killed_at_each_step_everything_goes_once() -> Result<()> {
    for after in ["move", "delete"] {
        on_a_lan(["alice", "bob"], |[alice, bob]| {
            pair(alice, bob)?;
            alice.set("SHAREKARO_DROP_AFTER", after);
            let mut wanted = BTreeMap::new();
            let ends: &[&str] = if after == "move" { &["drop-moved:3"] } else { &["drop-aside:3", "drop-doomed:3"] };
            for point in ["drop-recorded", "drop-judged", "drop-filed"].iter().chain(ends) {
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
