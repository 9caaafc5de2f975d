//! The drop folder: how soon one file is there, how long very many take, what they leave behind.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use anyhow::{Result, ensure};
use sharekaro_tests::{Host, until};

use crate::{
    figures::{Sizes, mib},
    table::{Figure, Goal},
};

/// Between daemons that are connected and paired; both go on.
pub(crate) fn all(sizes: &Sizes, alice: &Host, bob: &Host) -> Result<Vec<Figure>> {
    let top = PathBuf::from(alice.config("drop_dir")?);
    let bobs = top.join("bob");
    until("the folder is there", 20, || Ok(bobs.is_dir().then_some(())))?;
    let one = one(sizes, &bobs, bob)?;
    let many = many(sizes, &bobs, &top.join("Sent/bob"), bob)?;
    Ok([one, many].into_iter().chain(afterwards(sizes, alice)?).collect())
}

/// Two seconds of it are the quiet that has to be there before anything counts as whole.
fn one(sizes: &Sizes, bobs: &Path, bob: &Host) -> Result<Figure> {
    let mut figure = Figure::new("one file dropped, closed here to stored there", "s", Goal::AtMost(3.0));
    for no in 0..sizes.rounds.max(3) {
        let name = format!("one-{no}");
        let began = Instant::now();
        fs::write(bobs.join(&name), "x")?;
        bob.received(&name)?;
        figure.add(began.elapsed().as_secs_f64());
    }
    Ok(figure)
}

fn many(sizes: &Sizes, bobs: &Path, sent: &Path, bob: &Host) -> Result<Figure> {
    let mut figure = Figure::new("many files of 4 KiB dropped, all in Sent", "s", Goal::None);
    let there = bob.inbox_files()?.len();
    let began = Instant::now();
    for no in 0..sizes.dropped {
        fs::write(bobs.join(format!("many-{no}")), format!("{no:04096}"))?;
    }
    until("all are in Sent", 600, || Ok((many_in(sent) == sizes.dropped).then_some(())))?;
    figure.add(began.elapsed().as_secs_f64());
    let came = bob.inbox_files()?.len() - there;
    ensure!(came == sizes.dropped, "{came} of {} files came", sizes.dropped);
    Ok(figure)
}

/// What a daemon costs that watches its drop folders and has nothing more to do with what was in them.
fn afterwards(sizes: &Sizes, alice: &Host) -> Result<[Figure; 2]> {
    let mut memory = Figure::new("  idle after that: memory (VmRSS)", "MiB", Goal::AtMost(16.0));
    let mut wakeups = Figure::new("  idle after that: wake-ups", "/s", Goal::AtMost(4.0));
    thread::sleep(2 * sizes.settle); // what is at rest gives memory back after a while
    for _ in 0..3 {
        wakeups.add(alice.wakeups(sizes.idle / 3)?);
        memory.add(mib(alice.proc_status("VmRSS")?));
    }
    Ok([memory, wakeups])
}

/// The files dropped one by one may still be on their way there.
fn many_in(folder: &Path) -> usize {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|it| it.file_name());
    names.filter(|name| name.to_string_lossy().starts_with("many-")).count()
}
