//! Rules that look at where we are: the network, and who is on it.

use std::fs;

use anyhow::{Result, ensure};
use sharekaro_tests::{Host, on_a_lan, pair, until};

fn with_rules(host: &Host, rules: &str) -> Result<()> {
    fs::create_dir_all(host.home().join("config/sharekaro"))?;
    fs::write(host.home().join("config/sharekaro/config.toml"), rules)?;
    host.restart()
}

#[test]
fn the_network_that_we_are_on_decides() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let rule = |name: &str, network: &str| {
            format!(
                "[[policy]]\nname = \"{name}\"\nnames = [\"{name}.*\"]\nnetworks = [\"10.99.0.0/16\", \"{network}\"]\naction = \"decline\"\n"
            )
        };
        let here = [("subnet", "10.77.0.0/24"), ("gateway", "10.77.0.1"), ("interface", "eth0")];
        let elsewhere = [("other", "192.168.0.0/16"), ("wifi", "wlan0")];
        let rules: String = here.iter().chain(&elsewhere).map(|(name, network)| rule(name, network)).collect();
        with_rules(bob, &rules)?;
        bob.sees(alice)?;
        alice.sees(bob)?;

        for (name, network) in here {
            alice.ctl("send bob").arg(alice.file(format!("{name}.txt"), 10)?).run()?.exits(&[6]).map_err(|e| e.context(network))?;
        }
        for (name, network) in elsewhere {
            alice.ctl("send bob").arg(alice.file(format!("{name}.txt"), 10)?).ok().map_err(|e| e.context(network))?;
        }
        let verdict = bob.ctl("policy test --from alice --networks 192.168.5.0/24 other.txt").ok()?.last()?;
        ensure!(verdict["rule"] == "other" && verdict["action"] == "decline", "{verdict}");
        Ok(())
    })
}

#[test]
fn an_offer_whose_sender_goes_away_is_judged_when_it_is_back() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        with_rules(bob, "[[policy]]\nname = \"odd\"\nnames = [\"*.odd\"]\naction = \"ask\"\n")?;
        bob.sees(alice)?;
        alice.sees(bob)?;
        let tree = alice.home().join("outgoing/tree");
        fs::create_dir_all(&tree)?;
        for no in 0..20_000 {
            fs::write(tree.join(format!("a file with a long name, number {no}")), "x")?;
        }
        fs::write(tree.join("z.odd"), "x")?;
        alice.cable().shape("1mbit")?; // the list of files takes its time

        let sending = alice.ctl("send bob").arg(&tree).within(240).spawn()?;
        until("bob knows of it", 60, || {
            let transfers = bob.ctl("transfers").ok()?.last()?;
            Ok(transfers["transfers"].as_array().is_some_and(|all| !all.is_empty()).then_some(()))
        })?;
        ensure!(bob.ctl("inbox").ok()?.last()?["waiting"] == serde_json::json!([]), "a person is asked before the rules are");
        bob.restart()?;
        alice.cable().shape("1gbit")?;

        let offer = until("it waits for a person", 120, || Ok(bob.ctl("inbox").ok()?.last()?["waiting"].get(0).cloned()))?;
        ensure!(offer["rule"] == "odd" && offer["files"] == 20_001, "{offer}");
        bob.ctl("inbox decline").arg(offer["id"].as_str().unwrap_or_default()).ok()?;
        sending.result()?.exits(&[6]).map(drop)
    })
}
