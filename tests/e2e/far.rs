//! Far away: a third of a second there and back, and some datagrams of every hundred never come. What was connected
//! stays connected, and what was sent arrives.
//!
//! `SHAREKARO_TESTS_ROUNDS=50 ./test.sh e2e far` tries fifty paths.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{FarPath, Impairment, MIB, apart_on_loopback, digest, pair, rounds};

/// Paths in every run.
const FEW: usize = 6;

/// Paths at the same time: each costs two daemons that mostly wait.
const AT_ONCE: usize = 6;

const ONE_WAY: Duration = Duration::from_millis(150);
const SIZE: u64 = 2 * MIB;

/// The time that it took. The first paths lose 1, 2, ... 6 of a hundred datagrams, and so on again.
fn over(path: usize) -> Result<Duration> {
    let lost_of_1000 = 10 * (path as u64 % 6 + 1);
    let mut took = Duration::ZERO;
    apart_on_loopback(["alice", "bob"], |[alice, bob]| {
        let far = FarPath::between(alice.port()?, bob.port()?, Impairment { delay: ONE_WAY, lost_of_1000, rate: None }, path as u64 + 1)?;
        alice.ctl("peer add").arg(far.near().to_string()).within(60).ok()?;
        pair(alice, bob)?;
        let file = alice.file("far", SIZE)?;

        let began = Instant::now();
        alice.ctl("send bob").arg(&file).within(240).ok()?;
        took = began.elapsed();

        ensure!(digest(&bob.received("far")?)? == digest(&file)?, "other bytes arrived");
        for host in [alice, bob] {
            let connected = host.says(" connected ")?;
            ensure!(connected == 1, "{} connected {connected} times", host.name);
        }
        Ok(())
    })
    .with_context(|| format!("over a path that loses {} of a hundred", lost_of_1000 / 10))?;
    Ok(took)
}

#[test]
fn no_path_is_so_long_and_lossy_that_a_connection_dies() -> Result<()> {
    let mut slowest = Duration::ZERO;
    let paths: Vec<usize> = (0..rounds(FEW)).collect();
    for some in paths.chunks(AT_ONCE) {
        let took: Vec<_> = thread::scope(|scope| {
            let running: Vec<_> = some.iter().map(|path| scope.spawn(|| over(*path))).collect();
            running.into_iter().map(|it| it.join().unwrap_or_else(|_| anyhow::bail!("a path panicked"))).collect()
        });
        for took in took {
            slowest = slowest.max(took?);
        }
    }
    eprintln!("{} paths, {} KiB over the slowest in {:.0} s", paths.len(), SIZE >> 10, slowest.as_secs_f64());
    Ok(())
}
