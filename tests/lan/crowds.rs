//! Much at once: many files, many senders, much content.

use anyhow::{Result, ensure};
use sharekaro_tests::{Host, MIB, digest, on_a_lan, pair};

fn same_there(sender: &std::path::Path, receiver: &Host) -> Result<()> {
    let name = sender.file_name().unwrap_or_default().to_string_lossy();
    ensure!(digest(&receiver.received(&name)?)? == digest(sender)?, "{name} differs");
    Ok(())
}

#[test]
fn a_whole_gibibyte_arrives() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let path = alice.file("gibibyte", 1024 * MIB)?;

        let done = alice.ctl("send bob").arg(&path).ok()?.last()?;

        ensure!(done["state"] == "done" && done["bytes_confirmed"] == 1024 * MIB, "{done}");
        same_there(&path, bob)
    })
}

#[test]
fn two_senders_to_one_receiver_do_not_mix() -> Result<()> {
    on_a_lan(["alice", "bob", "carol"], |[alice, bob, carol]| {
        pair(alice, carol)?;
        pair(bob, carol)?;
        let paths = [alice.file("from-alice", 200 * MIB)?, bob.file("from-bob", 200 * MIB)?];

        let running = [(alice, &paths[0]), (bob, &paths[1])].map(|(host, path)| host.ctl("send carol").arg(path).spawn());
        for sending in running {
            sending?.result()?.exits(&[0])?;
        }

        paths.iter().try_for_each(|path| same_there(path, carol))
    })
}

#[test]
fn ten_sends_at_once_all_arrive() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let paths = (0..10).map(|i| alice.file(format!("at-once-{i}"), (i + 1) * MIB)).collect::<Result<Vec<_>>>()?;

        let running: Vec<_> = paths.iter().map(|path| alice.ctl("send bob").arg(path).spawn()).collect();
        for sending in running {
            sending?.result()?.exits(&[0])?;
        }

        paths.iter().try_for_each(|path| same_there(path, bob))
    })
}

#[test]
fn both_ways_at_once() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let (there, back) = (alice.file("there", 100 * MIB)?, bob.file("back", 100 * MIB)?);

        let running = [alice.ctl("send bob").arg(&there).spawn()?, bob.ctl("send alice").arg(&back).spawn()?];
        for sending in running {
            sending.result()?.exits(&[0])?;
        }

        same_there(&there, bob)?;
        same_there(&back, alice)
    })
}
