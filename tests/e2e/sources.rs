//! What is odd, changes or goes away while it is sent: said file by file, and never a mix of two states.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sharekaro_tests::{Host, MIB, digest, digest_of, on_loopback, pair, rounds, sh, until};

/// Slow enough that something can happen on the way.
const SLOW: &str = "--limit 12M";

/// Sends slowly, lets something happen once some of it is there, and returns how it ended.
fn sent_slowly(alice: &Host, path: &Path, meanwhile: impl FnOnce() -> Result<()>) -> Result<Value> {
    let job = alice.ctl(&format!("send bob --detach {SLOW}")).arg(path).ok()?.last()?;
    let id = job["id"].as_str().context("a transfer without an id")?;
    until("some of it is there", 30, || {
        let shown = alice.ctl("transfer show").arg(id).ok()?.last()?;
        Ok(shown["bytes_confirmed"].as_u64().is_some_and(|bytes| bytes > 4 * MIB).then_some(()))
    })?;
    meanwhile()?;
    alice.ctl("transfer limit").arg(id).arg("none").ok()?;
    until("it has ended", 90, || {
        let shown = alice.ctl("transfer show").arg(id).ok()?.last()?;
        Ok(["done", "failed"].contains(&shown["state"].as_str().unwrap_or_default()).then_some(shown))
    })
}

/// What arrived is one of these, or nothing arrived and the transfer says that it failed.
fn one_of(bob: &Host, ended: &Value, states: &[String]) -> Result<()> {
    let there = bob.inbox_files()?;
    if ended["state"] == "failed" {
        ensure!(there.is_empty() && ended["error"]["code"] == "local_file", "{ended} and {there:?}");
        return Ok(());
    }
    ensure!(there.len() == 1 && states.contains(&digest(&there[0])?), "a mix arrived: {ended}");
    Ok(())
}

#[test]
fn a_file_that_is_rewritten_all_the_time_is_never_stored_as_a_mix() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let path = alice.file("busy", 24 * MIB)?;
        let (begins, ends) = (AtomicBool::new(false), AtomicBool::new(false));
        // Every state that it ever has is one byte all over.
        let state = |byte: u8| vec![byte; usize::try_from(24 * MIB).unwrap_or_default()];
        let states: Vec<String> = (0..=255).map(|byte| digest_of(&state(byte))).chain([digest(&path)?]).collect();

        let ended = thread::scope(|scope| {
            let writer = scope.spawn(|| -> Result<()> {
                until("some of the file is there", 60, || Ok(begins.load(Ordering::Relaxed).then_some(())))?;
                for byte in 0..=255 {
                    if ends.load(Ordering::Relaxed) {
                        break;
                    }
                    let file = File::options().write(true).open(&path)?;
                    for (at, part) in (0..).step_by(256 << 10).zip(state(byte).chunks(256 << 10)) {
                        file.write_all_at(part, at)?;
                        // The time of a file is told in steps of some milliseconds.
                        thread::sleep(Duration::from_millis(2));
                    }
                    // An editor writes now and then; a disk that is never left alone has no state at all.
                    thread::sleep(Duration::from_millis(400));
                }
                Ok(())
            });
            let ended = sent_slowly(alice, &path, || {
                begins.store(true, Ordering::Relaxed);
                Ok(())
            });
            ends.store(true, Ordering::Relaxed);
            writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
            ended
        })?;

        one_of(bob, &ended, &states)
    })
}

/// Sends a file again and again while somebody writes all of it with one call, several times a second.
fn never_a_mix(size: u64, sends: usize) -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let path = alice.file("hasty", size)?;
        let state = |byte: u8| vec![byte; usize::try_from(size).unwrap_or_default()];
        let states: Vec<String> = (0..=255).map(|byte| digest_of(&state(byte))).collect();
        let (begun, ends) = (AtomicBool::new(false), AtomicBool::new(false));

        thread::scope(|scope| {
            let writer = scope.spawn(|| -> Result<()> {
                let file = File::options().write(true).open(&path)?;
                let mut bytes = state(0);
                for byte in (0..=255).cycle() {
                    bytes.fill(byte);
                    file.write_all_at(&bytes, 0)?;
                    begun.store(true, Ordering::Relaxed);
                    if ends.load(Ordering::Relaxed) {
                        break;
                    }
                    // Long enough for some of the sends to meet one state, short enough for others to meet a write.
                    thread::sleep(Duration::from_millis(120));
                }
                Ok(())
            });
            let sent = until("a whole state is there", 60, || Ok(begun.load(Ordering::Relaxed).then_some(()))).and_then(|()| {
                let ended = (0..sends).map(|_| alice.ctl("send bob").arg(&path).run()?.exits(&[0, 8]));
                ended.collect::<Result<Vec<_>>>()
            });
            ends.store(true, Ordering::Relaxed);
            writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
            sent
        })?;

        let there = bob.inbox_files()?;
        for path in &there {
            ensure!(states.contains(&digest(path)?), "{} is a mix", path.display());
        }
        eprintln!("{} of {sends} sends of {size} bytes met a file that held still", there.len());
        Ok(())
    })
}

#[test]
fn a_file_that_is_written_all_over_is_never_a_mix() -> Result<()> {
    never_a_mix(24 * MIB, rounds(20))
}

#[test]
fn a_small_file_that_is_written_all_over_is_never_a_mix() -> Result<()> {
    never_a_mix(200_000, rounds(20))
}

/// Stores through memory, which no time of the file tells of while its pages are dirty.
const STORES: &str = "
import mmap, sys, time
with open(sys.argv[1], 'r+b') as file:
    memory = mmap.mmap(file.fileno(), 0)
byte = 0
while True:
    memory[:] = bytes([byte % 256]) * len(memory)
    byte += 1
    print(byte, flush=True)
    time.sleep(0.4)
";

#[test]
fn a_file_that_is_written_through_memory_is_never_a_mix() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let path = alice.file("mapped", 16 * MIB)?;
        let states: Vec<String> = (0..=255).map(|byte| digest_of(&vec![byte; 16 << 20])).collect();
        let mut writer = Command::new("python3").args(["-c", STORES]).arg(&path).stdout(Stdio::piped()).spawn()?;
        let begun = std::io::Read::read_exact(writer.stdout.as_mut().context("no output")?, &mut [0; 2]);

        // slower than the stores come: what is read late was stored late
        let sent: Result<Vec<_>> = (0..rounds(3)).map(|_| alice.ctl("send bob --limit 20M").arg(&path).run()?.exits(&[0, 8])).collect();
        writer.kill()?;
        writer.wait()?;
        begun?;
        sent?;

        for path in &bob.inbox_files()? {
            ensure!(states.contains(&digest(path)?), "{} is a mix", path.display());
        }
        Ok(())
    })
}

#[test]
fn a_file_that_grows_shrinks_or_is_replaced_on_the_way_is_one_state_of_it_or_none() -> Result<()> {
    type Change = fn(&Path) -> Result<()>;
    let changes: [(&str, Change); 4] = [
        ("grows", |path| Ok(File::options().append(true).open(path)?.write_all(&[7; 100_000])?)),
        ("shrinks", |path| Ok(File::options().write(true).open(path)?.set_len(9 * MIB)?)),
        ("is replaced", |path| {
            let new_path = path.with_extension("new");
            fs::write(&new_path, vec![9; 20 << 20])?;
            Ok(fs::rename(new_path, path)?)
        }),
        ("is changed in the middle", |path| {
            let mut file = File::options().write(true).open(path)?;
            file.seek(SeekFrom::Start(12 * MIB))?;
            Ok(file.write_all(b"another word")?)
        }),
    ];
    for (what, change) in changes {
        on_loopback(["alice", "bob"], |[alice, bob]| {
            pair(alice, bob)?;
            let path = alice.file("changing", 20 * MIB)?;
            let before = digest(&path)?;

            let ended = sent_slowly(alice, &path, || change(&path))?;

            one_of(bob, &ended, &[before, digest(&path)?]).with_context(|| format!("it {what}"))
        })?;
    }
    Ok(())
}

#[test]
fn a_file_that_is_removed_on_the_way_is_named_and_the_others_arrive() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let folder = alice.home().join("outgoing/folder");
        fs::create_dir(&folder)?;
        for name in ["a", "z"] {
            sharekaro_tests::write_random(&folder.join(name), 16 * MIB, name)?;
        }
        let first = digest(&folder.join("a"))?;

        let ended = sent_slowly(alice, &folder, || Ok(fs::remove_file(folder.join("z"))?))?;

        ensure!(ended["skipped"] == serde_json::json!([{"path": "folder/z", "reason": "vanished"}]), "{ended}");
        ensure!(digest(&bob.received("a")?)? == first && bob.inbox_files()?.len() == 1, "{:?}", bob.inbox_files()?);
        Ok(())
    })
}

#[test]
fn what_is_no_file_is_skipped_and_named_and_never_waited_for() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let folder = alice.home().join("outgoing/odd");
        fs::create_dir_all(folder.join("empty/within"))?;
        sh(&["mkfifo", &folder.join("pipe").to_string_lossy()])?;
        let _socket = std::os::unix::net::UnixListener::bind(folder.join("socket"))?;
        for (target, link) in [("/etc/hostname", "outside"), ("nowhere", "dangling"), ("link-loop", "link-loop"), ("file", "inside")] {
            std::os::unix::fs::symlink(target, folder.join(link))?;
        }
        fs::write(folder.join("file"), "x")?;
        fs::write(folder.join("nothing"), "")?;

        let done = alice.ctl("send bob").arg(&folder).within(60).ok()?.last()?;

        let there = bob.inbox()?.join("odd");
        let mut reasons: Vec<(String, String)> = Vec::new();
        for skipped in done["skipped"].as_array().context("nothing skipped")? {
            reasons.push((skipped["path"].as_str().unwrap_or_default().into(), skipped["reason"].as_str().unwrap_or_default().into()));
        }
        reasons.sort();
        let named = |what: &str, why: &str| (format!("odd/{what}"), why.to_owned());
        let expected = [named("outside", "link"), named("pipe", "special"), named("socket", "special")];
        ensure!(expected.iter().all(|it| reasons.contains(it)), "{reasons:?}");
        ensure!(fs::read_link(there.join("inside"))? == Path::new("file"), "a link within the folder was lost");
        ensure!(!there.join("outside").is_symlink(), "a link out of the folder was made");
        ensure!(there.join("empty/within").is_dir() && fs::metadata(there.join("nothing"))?.len() == 0, "something empty is missing");
        Ok(())
    })
}

#[test]
fn sizes_around_four_gibibytes_and_sixty_four_of_nothing_arrive_to_the_byte() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let four = 1u64 << 32;
        for (name, size) in [("below", four - 1), ("at", four), ("above", four + 1), ("huge", 1 << 36)] {
            let path = alice.home().join("outgoing").join(name);
            let file = File::create(&path)?;
            file.set_len(size)?;
            // Something at each edge, and nothing between.
            file.write_all_at(b"the first", 0)?;
            file.write_all_at(b"the last", size - 8)?;

            alice.ctl("send bob").arg(&path).within(120).ok().with_context(|| format!("{name} 4 GiB"))?;

            let there = File::open(bob.received(name)?)?;
            let (mut first, mut last) = ([0; 9], [0; 8]);
            there.read_exact_at(&mut first, 0)?;
            there.read_exact_at(&mut last, size - 8)?;
            let meta = there.metadata()?;
            ensure!(meta.len() == size && &first == b"the first" && &last == b"the last", "{name}: {} bytes", meta.len());
            ensure!(meta.blocks() * 512 < 64 * MIB, "{name} takes {} MiB on the disk", meta.blocks() / 2048);
        }
        Ok(())
    })
}

#[test]
fn times_of_long_ago_and_far_ahead_are_kept() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let epoch = SystemTime::UNIX_EPOCH;
        let times = [
            ("epoch", epoch),
            ("before", epoch - Duration::new(86_400, 5)),
            ("next-century", epoch + Duration::from_secs(4_300_000_000)),
            ("nanosecond", epoch + Duration::new(1_000_000_000, 999_999_999)),
        ];
        let mut paths = Vec::new();
        for (name, time) in times {
            let path = alice.file(name, 10)?;
            File::options().write(true).open(&path)?.set_modified(time)?;
            paths.push(path);
        }

        alice.ctl("send bob").args(&paths).ok()?;

        for path in &paths {
            let there = fs::metadata(bob.received(&path.file_name().unwrap_or_default().to_string_lossy())?)?;
            ensure!(there.mtime() == fs::metadata(path)?.mtime(), "{}: {}", path.display(), there.mtime());
        }
        Ok(())
    })
}

#[test]
fn a_file_with_several_names_arrives_under_each_as_a_file_of_its_own() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let folder = alice.home().join("outgoing/names");
        fs::create_dir_all(folder.join("deeper"))?;
        sharekaro_tests::write_random(&folder.join("large"), 9 * MIB, "large")?;
        sharekaro_tests::write_random(&folder.join("small"), 5000, "small")?;
        fs::hard_link(folder.join("large"), folder.join("deeper/large-too"))?;
        fs::hard_link(folder.join("small"), folder.join("deeper/small-too"))?;

        let done = alice.ctl("send bob").arg(&folder).ok()?.last()?;

        let there = bob.inbox()?.join("names");
        ensure!(sharekaro_tests::tree_digests(&there)? == sharekaro_tests::tree_digests(&folder)?, "it arrived otherwise: {done}");
        ensure!(done["files_done"] == 4 && done["bytes_confirmed"] == done["bytes_total"], "{done}");
        for name in ["large", "small", "deeper/large-too", "deeper/small-too"] {
            ensure!(fs::metadata(there.join(name))?.nlink() == 1, "who edits {name} would edit another file too");
        }
        Ok(())
    })
}

#[test]
fn a_hundred_thousand_files_in_one_folder_arrive_in_little_memory() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let folder = alice.home().join("outgoing/crowded");
        fs::create_dir(&folder)?;
        for i in 0..100_000 {
            fs::write(folder.join(format!("{i}")), format!("{i}"))?;
        }

        let done = alice.ctl("send bob").arg(&folder).within(300).ok()?;

        let there = bob.inbox()?.join("crowded");
        ensure!(fs::read_dir(&there)?.count() == 100_000, "{}", done.last()?);
        for i in (0..100_000).step_by(997) {
            ensure!(fs::read(there.join(format!("{i}")))? == format!("{i}").as_bytes(), "file {i} differs");
        }
        for host in [alice, bob] {
            let peak = host.proc_status("VmHWM")? / 1024;
            ensure!(peak <= 64, "{} took {peak} MiB", host.name);
        }
        Ok(())
    })
}
