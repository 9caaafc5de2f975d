//! Finding each other: by mDNS, by address, and noticing who has gone.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use sharekaro_tests::{on_a_dark_lan, on_a_lan, pair, until};

#[test]
fn three_hosts_find_each_other_and_a_goodbye_is_heard() -> Result<()> {
    on_a_dark_lan(["alice", "bob", "carol"], |[alice, bob, carol]| {
        alice.start()?;
        bob.start()?;
        alice.sees(bob)?;
        carol.start()?;
        let began = Instant::now();

        for other in [alice, bob] {
            carol.sees(other)?;
            other.sees(carol)?;
        }
        let found = began.elapsed();

        // The bench measures this; here it only must not fall back to a retry, which comes after a minute.
        ensure!(found < Duration::from_secs(30), "carol was found after {found:?}");
        ensure!(alice.peer(alice)?.is_null(), "alice lists herself as a peer");

        bob.stop(Signal::TERM)?;
        // without it she would learn of it after fifteen seconds of silence
        until("alice has heard bob's goodbye", 3, || Ok((alice.peer(bob)?["online"] == false).then_some(())))
    })
}

#[test]
fn a_killed_host_is_noticed_without_a_goodbye() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;

        bob.kill()?;

        until("alice sees that bob is gone", 40, || Ok((alice.peer(bob)?["online"] == false).then_some(())))
    })
}

#[test]
fn where_no_multicast_passes_an_address_is_enough_and_is_remembered() -> Result<()> {
    on_a_dark_lan(["alice", "bob"], |[alice, bob]| {
        for host in [alice, bob] {
            host.cable().no_multicast()?;
            host.start()?;
        }

        alice.ctl("peer add").arg(bob.cable().address()).ok()?;

        alice.sees(bob)?;
        pair(alice, bob)?;
        alice.restart()?;
        alice.sees(bob)?;
        bob.sees(alice)?;
        Ok(())
    })
}

#[test]
fn an_address_where_nobody_lives_and_no_address_at_all_are_told_apart() -> Result<()> {
    on_a_lan(["alice"], |[alice]| {
        let nobody = alice.ctl("peer add 10.77.0.200").within(60).run()?.exits(&[4, 5, 11])?;
        let nonsense = alice.ctl("peer add").arg("not an address").run()?.exits(&[2, 4])?;

        ensure!(!nobody.error_code()?.is_empty() && !nonsense.error_code()?.is_empty(), "{nobody:?} {nonsense:?}");
        Ok(())
    })
}
