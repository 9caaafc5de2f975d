//! Drop folders in a storm: files come into being in every way that programs have, beside slow writers, while events are
//! lost and daemons killed. Each goes once and whole.
//!
//! `SHAREKARO_TESTS_FILES=5000 ./test.sh lan storm` drops so many, and kills more often.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::Signal;
use sharekaro_tests::{Host, MIB, digest, digest_of, on_a_lan, pair, until, wanted, write_random};

use crate::drops::{folder, sent};

/// Files of the storm through kills, and kills: enough to see what goes wrong, in a minute.
const FEW: (usize, usize) = (300, 4);

/// The same where somebody has the time.
const KILLS_OF_MANY: usize = 20;

/// One file in so many is large, so that kills meet transfers under way...
const LARGE_EVERY: usize = 100;

/// ...and one name in so many is a folder that goes as a whole.
const TREE_EVERY: usize = 60;

/// Writers that take their time, each for some ten seconds.
const SLOW: usize = 6;

/// An idle daemon is woken so often in a second at most, also with drop folders to watch.
const WAKEUPS_MAX: f64 = 4.0;

fn size() -> Result<(usize, usize)> {
    Ok(wanted("SHAREKARO_TESTS_FILES")?.map_or(FEW, |count| (count, KILLS_OF_MANY)))
}

/// What is meant to arrive: files by their names with the hashes of their content, and the names that lie in the folder
/// itself.
#[derive(Default)]
struct Meant {
    files: BTreeMap<String, String>,
    tops: BTreeSet<String>,
}

impl Meant {
    fn file(&mut self, name: &str, content: &[u8]) {
        self.files.insert(name.to_owned(), digest_of(content));
        self.tops.insert(name.to_owned());
    }
}

/// Something is put into the folder, as the number says; `outside` is a folder beside it on the same file system.
fn put(number: usize, folder: &Path, outside: &Path, meant: &Mutex<Meant>) -> Result<()> {
    if number % TREE_EVERY == TREE_EVERY / 2 {
        return put_tree(number, folder, meant);
    }
    let (name, content) = (format!("s{number}.dat"), format!("{number} ").repeat(number * 37 % 900));
    let path = folder.join(&name);
    if number % LARGE_EVERY == LARGE_EVERY / 2 {
        write_random(&path, 4 * MIB, &name)?;
        let mut meant = meant.lock().map_err(|_| anyhow!("another writer panicked"))?;
        meant.tops.insert(name.clone());
        meant.files.insert(name, digest(&path)?);
        return Ok(());
    }
    match number % 8 {
        0 => fs::write(&path, &content)?,
        1 => renamed_once_written(&folder.join(format!(".{name}.tmp")), &path, &content)?,
        2 => renamed_once_written(&folder.join(format!("{name}.part")), &path, &content)?,
        3 => renamed_once_written(&outside.join(&name), &path, &content)?,
        4 => {
            // an editor: a first version with a backup beside it, then another over it
            fs::write(&path, "first")?;
            let backup = folder.join(format!("{name}~"));
            fs::hard_link(&path, &backup)?;
            renamed_once_written(&folder.join(format!(".{name}.swp")), &path, &content)?;
            fs::remove_file(backup)?;
        }
        5 => {
            fs::write(outside.join(&name), &content)?;
            fs::hard_link(outside.join(&name), &path)?;
            fs::remove_file(outside.join(&name))?;
        }
        6 => {
            let (new, newer) = (folder.join(format!("new{number}")), folder.join(format!("newer{number}")));
            renamed_once_written(&new, &newer, &content)?;
            fs::rename(newer, &path)?;
        }
        _ => {
            let gone = folder.join(format!("gone{number}"));
            fs::write(&gone, "nobody gets to see it")?;
            fs::remove_file(gone)?;
            let mut file = fs::File::create(&path)?;
            content.as_bytes().chunks(100).try_for_each(|part| file.write_all(part))?;
        }
    }
    meant.lock().map_err(|_| anyhow!("another writer panicked"))?.file(&name, content.as_bytes());
    Ok(())
}

fn renamed_once_written(before: &Path, path: &Path, content: &str) -> Result<()> {
    fs::write(before, content)?;
    Ok(fs::rename(before, path)?)
}

/// A folder that is copied file by file, as `cp -r` does.
fn put_tree(number: usize, folder: &Path, meant: &Mutex<Meant>) -> Result<()> {
    let top = format!("tree{number}");
    let mut files = BTreeMap::new();
    for i in 0..12 {
        let inner = folder.join(&top).join(format!("{}/{}", i % 3, i % 4));
        fs::create_dir_all(&inner)?;
        let (name, content) = (format!("t{number}-{i}.dat"), format!("{number} {i} ").repeat(i * 50));
        fs::write(inner.join(&name), &content)?;
        files.insert(name, digest_of(content.as_bytes()));
    }
    let mut meant = meant.lock().map_err(|_| anyhow!("another writer panicked"))?;
    meant.tops.insert(top);
    meant.files.append(&mut files);
    Ok(())
}

/// A writer that takes its time is what this is about: it holds the file open, and nothing happens to it for longer than
/// others need to be whole.
fn put_slowly(name: &str, folder: &Path, meant: &Mutex<Meant>) -> Result<()> {
    let mut file = fs::File::create(folder.join(name))?;
    for part in ["one ", "two ", "three ", "four"] {
        file.write_all(part.as_bytes())?;
        thread::sleep(Duration::from_millis(2_700));
    }
    meant.lock().map_err(|_| anyhow!("another writer panicked"))?.file(name, b"one two three four");
    Ok(())
}

/// Everything that was meant is in the inbox, once, whole, and nothing else.
fn arrived_once(host: &Host, meant: &Meant) -> Result<()> {
    let files = host.inbox_files()?;
    for path in &files {
        let name = path.file_name().context("no name")?.to_string_lossy().into_owned();
        ensure!(meant.files.get(&name) == Some(&digest(path)?), "{name} is torn, or nobody dropped it");
    }
    ensure!(files.len() == meant.files.len(), "{} files came of {}", files.len(), meant.files.len());
    Ok(())
}

fn in_sent_are_all(host: &Host, meant: &Meant, seconds: u64) -> Result<()> {
    until("everything is in Sent", seconds, || Ok((sent(host, "bob")?.len() == meant.tops.len()).then_some(())))?;
    let names: BTreeSet<String> = sent(host, "bob")?.into_iter().collect();
    ensure!(names == meant.tops, "other names are in Sent: {:?}", names.symmetric_difference(&meant.tops).collect::<Vec<_>>());
    Ok(())
}

fn outside_of(host: &Host) -> Result<PathBuf> {
    let outside = host.home().join("outside");
    fs::create_dir_all(&outside)?;
    Ok(outside)
}

#[test]
fn a_storm_that_overflows_the_kernels_queue_goes_once_and_whole() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let (bobs, outside, meant) = (folder(alice, "bob")?, outside_of(alice)?, Mutex::<Meant>::default());

        thread::scope(|scope| -> Result<()> {
            let slow = scope.spawn(|| put_slowly("slow.log", &bobs, &meant));
            // it stands still meanwhile: 5 events for each file are more than the 16,384 that the kernel keeps
            alice.signal(Signal::STOP)?;
            let stormed = (0..4_000).try_for_each(|number| put(number, &bobs, &outside, &meant));
            alice.signal(Signal::CONT)?;
            slow.join().map_err(|_| anyhow!("the slow writer panicked"))??;
            stormed
        })?;

        let meant = meant.into_inner().map_err(|_| anyhow!("a writer panicked"))?;
        in_sent_are_all(alice, &meant, 240)?;
        arrived_once(bob, &meant)
    })
}

#[test]
fn a_storm_through_kills_goes_once_and_whole() -> Result<()> {
    let (count, kills) = size()?;
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        alice.cable().shape("200mbit")?;
        let (bobs, outside, meant) = (folder(alice, "bob")?, outside_of(alice)?, Mutex::<Meant>::default());

        thread::scope(|scope| -> Result<()> {
            let storm = scope.spawn(|| (0..count).try_for_each(|number| put(number, &bobs, &outside, &meant)));
            let slow: Vec<_> = (0..SLOW)
                .map(|i| {
                    scope.spawn({
                        let (bobs, meant) = (&bobs, &meant);
                        move || put_slowly(&format!("slow{i}.log"), bobs, meant)
                    })
                })
                .collect();
            for kill in 0..kills {
                // spread over all that happens: half of what is to do is putting, half is filing
                let after = 2 * count * kill / kills;
                until("the storm goes on", 300, || {
                    let put = meant.lock().map_err(|_| anyhow!("a writer panicked"))?.tops.len();
                    Ok((put.min(count) + sent(alice, "bob")?.len() >= after).then_some(()))
                })?;
                [alice, alice, bob][kill % 3].restart()?;
            }
            for writer in slow.into_iter().chain([storm]) {
                writer.join().map_err(|_| anyhow!("a writer panicked"))??;
            }
            Ok(())
        })?;

        let meant = meant.into_inner().map_err(|_| anyhow!("a writer panicked"))?;
        in_sent_are_all(alice, &meant, 120 + count as u64 / 10)?;
        arrived_once(bob, &meant)?;
        ensure!(fs::read_dir(&bobs)?.next().is_none(), "something is left in the folder");
        is_quiet_afterwards(alice)
    })
}

/// What the daemon costs that has nothing more to do with all that was dropped.
fn is_quiet_afterwards(host: &Host) -> Result<()> {
    let mut fewest = f64::MAX;
    until("it is idle again", 90, || {
        fewest = host.wakeups(Duration::from_secs(5))?.min(fewest);
        Ok((fewest <= WAKEUPS_MAX).then_some(()))
    })
    .with_context(|| format!("it was woken {fewest} times a second at least"))?;
    eprintln!("idle after it: {fewest:.1} wake-ups/s, {} KiB resident", host.proc_status("VmRSS")?);
    Ok(())
}
