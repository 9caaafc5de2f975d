//! `kill -9` at moments that nobody chose. Every transfer ends as done, and as it was sent.
//!
//! `SHAREKARO_TESTS_ROUNDS=200 ./test.sh lan kills` kills two hundred times, `SHAREKARO_TESTS_SEED=7` at other moments.

use std::{
    env, fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{Host, MIB, mixed_folder, on_a_lan, pair, rounds, tree_digests};

/// Kills in every run.
const FEW: usize = 12;

/// A transfer that was interrupted so often is left in peace.
const KILLS_EACH: usize = 6;

/// The big file, in MiB.
const BIG: u64 = 48;

/// What one kill may make come again: what was in flight, and what was not noted yet.
const AGAIN: u64 = 16 * MIB;

/// Moments from the middle of the offer to the middle of storing; the same ones for the same seed.
struct Moments(blake3::OutputReader);

impl Moments {
    fn new() -> Self {
        let seed = env::var("SHAREKARO_TESTS_SEED").unwrap_or_default();
        eprintln!("SHAREKARO_TESTS_SEED={seed:?}");
        Self(blake3::Hasher::new().update(seed.as_bytes()).finalize_xof())
    }

    fn next(&mut self) -> Duration {
        let mut two = [0; 2];
        self.0.fill(&mut two);
        Duration::from_millis(u64::from(u16::from_le_bytes(two) % 1_100))
    }
}

fn killed(who: impl for<'a> Fn(&'a Host, &'a Host) -> Vec<&'a Host>) -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        alice.cable().shape("600mbit")?;
        let (wanted, mut kills, mut transfers, mut moments) = (rounds(FEW), 0, 0, Moments::new());
        let (mut worst, began) = (0, Instant::now());
        while kills < wanted {
            transfers += 1;
            let name = format!("folder-{transfers}");
            let sent = mixed_folder(alice, &name, BIG * MIB, 300)?;
            let before = bob.cable().bytes_in()?;
            let job = alice.ctl("send bob --detach").arg(&sent).ok()?.last()?;
            let id = job["id"].as_str().context("a transfer without an id")?;

            let mut here = 0;
            while here < KILLS_EACH && kills < wanted {
                // The moment is the fault itself.
                thread::sleep(moments.next());
                if alice.ctl("transfer show").arg(id).ok()?.last()?["state"] == "done" {
                    break;
                }
                let victims = who(alice, bob);
                victims.iter().try_for_each(|host| host.kill())?;
                victims.iter().try_for_each(|host| host.start().map(drop))?;
                (here, kills) = (here + 1, kills + 1);
            }

            alice.transfer_is(id, &["done"], 120)?;
            let there = bob.inbox()?.join(&name);
            ensure!(tree_digests(&there)? == tree_digests(&sent)?, "{name} arrived otherwise");
            ensure!(fs::read_dir(bob.inbox()?)?.count() == 1, "{name} left something in the inbox");
            let wire = bob.cable().bytes_in()? - before;
            let again = wire.saturating_sub((BIG + 7) * MIB * 106 / 100) / here.max(1) as u64;
            ensure!(again < AGAIN, "{name}: {} MiB came again for each of {here} kills", again / MIB);
            worst = worst.max(again);
            fs::remove_dir_all(there)?;
            fs::remove_dir_all(sent)?;
        }
        eprintln!("{kills} kills in {transfers} transfers, {} s, at most {} KiB again for each", began.elapsed().as_secs(), worst >> 10);
        Ok(())
    })
}

#[test]
fn the_receiver_is_killed_at_any_moment() -> Result<()> {
    killed(|_, bob| vec![bob])
}

#[test]
fn the_sender_is_killed_at_any_moment() -> Result<()> {
    killed(|alice, _| vec![alice])
}

#[test]
fn both_are_killed_at_any_moment() -> Result<()> {
    killed(|alice, bob| vec![alice, bob])
}
