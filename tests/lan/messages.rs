//! Messages under fire: packets are lost and daemons killed while people write.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{Host, on_a_lan, pair, until, wanted};

/// Of every hundred packets so many are lost, on the way to either host.
const LOST_PERCENT: u32 = 20;

/// How many messages each way, and how often each daemon is killed: enough to see what goes wrong, in a minute.
/// `SHAREKARO_TESTS_MESSAGES=10000` writes that many and kills each side twenty times.
fn size() -> Result<(usize, usize)> {
    Ok(wanted("SHAREKARO_TESTS_MESSAGES")?.map_or((150, 2), |count| (count, 20)))
}

/// Writes numbered messages, each until it was taken, whether or not the daemon lives.
fn write(host: &Host, target: &str, count: usize, written: &AtomicUsize) -> Result<()> {
    for no in 0..count {
        let id = format!("{no:08x}-0000-4000-8000-{no:012x}");
        until(&format!("{} takes message {no}", host.name), 120, || {
            let reply = host.ctl("message").args([target, &format!("{no} from {}", host.name), "--id", &id]).run()?;
            Ok(reply.code.filter(|code| [0, 5].contains(code)))
        })?;
        written.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn heard(host: &Host) -> Result<Vec<String>> {
    let said = host.ctl("messages -n 1000000").ok()?.last()?;
    let said = said["messages"].as_array().context("no messages")?.iter().filter(|it| it["direction"] == "in");
    Ok(said.filter_map(|it| it["text"].as_str().map(str::to_owned)).collect())
}

#[test]
fn every_message_comes_once_and_in_order_through_loss_and_kills() -> Result<()> {
    let (count, kills) = size()?;
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        for host in [alice, bob] {
            host.cable().lose(LOST_PERCENT)?;
        }
        let written = AtomicUsize::new(0);

        thread::scope(|scope| -> Result<()> {
            let writers = [scope.spawn(|| write(alice, "bob", count, &written)), scope.spawn(|| write(bob, "alice", count, &written))];
            for kill in 0..2 * kills {
                let after = 2 * count * (2 * kill + 1) / (4 * kills);
                until("the writers go on", 300, || Ok((written.load(Ordering::Relaxed) >= after).then_some(())))?;
                [alice, bob][kill % 2].restart()?;
            }
            for writer in writers {
                writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
            }
            Ok(())
        })?;

        for (from, to) in [(alice, bob), (bob, alice)] {
            let wanted: Vec<String> = (0..count).map(|no| format!("{no} from {}", from.name)).collect();
            until(&format!("{} has all", to.name), 180, || Ok((heard(to)?.len() >= count).then_some(())))?;
            thread::sleep(Duration::from_secs(1)); // one that comes twice would come now
            let heard = heard(to)?;
            let first = heard.iter().zip(&wanted).position(|(heard, wanted)| heard != wanted);
            ensure!(
                heard == wanted,
                "{} heard {} of {count}, the first other one is {first:?}: {:?}",
                to.name,
                heard.len(),
                first.map(|at| &heard[at])
            );
        }
        Ok(())
    })
}
