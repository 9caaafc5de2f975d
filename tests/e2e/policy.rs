//! Rules that say what becomes of offers, seen from outside: what comes in, where to, what is told and what is taken back.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sharekaro_tests::{Host, MIB, digest, on_loopback, pair, until};

/// Starts a paired host anew with these rules.
fn with_rules(host: &Host, other: &Host, rules: &str) -> Result<()> {
    fs::create_dir_all(host.home().join("config/sharekaro"))?;
    fs::write(host.home().join("config/sharekaro/config.toml"), rules)?;
    host.restart()?;
    host.sees(other)?;
    other.sees(host).map(drop)
}

fn inbox(host: &Host, part: &str) -> Result<Vec<Value>> {
    let inbox = host.ctl("inbox").ok()?.last()?;
    Ok(inbox[part].as_array().with_context(|| format!("no {part}"))?.clone())
}

fn waiting(host: &Host) -> Result<Value> {
    until("an offer waits", 30, || Ok(inbox(host, "waiting")?.first().cloned()))
}

fn quarantined(host: &Host) -> Result<Vec<Value>> {
    Ok(inbox(host, "received")?.into_iter().filter(|it| it["quarantined"] == true).collect())
}

fn id(of: &Value) -> Result<&str> {
    of["id"].as_str().context("no id")
}

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o777)
}

#[test]
fn a_program_deep_in_a_large_folder_is_found_and_declined() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        with_rules(bob, alice, "[[policy]]\nname = \"programs\"\nnames = [\"*.exe\"]\naction = \"decline\"\n")?;
        let tree = alice.home().join("outgoing/tree");
        fs::create_dir_all(tree.join("deep/down"))?;
        for no in 0..2000 {
            fs::write(tree.join(format!("a file with a long name, number {no}")), "x")?;
        }

        alice.ctl("send bob").arg(&tree).ok()?;
        fs::write(tree.join("deep/down/Setup.EXE"), "x")?;
        let declined = alice.ctl("send bob").arg(&tree).run()?.exits(&[6])?.last()?;

        ensure!(declined["state"] == "declined", "{declined}");
        ensure!(!bob.inbox_files()?.iter().any(|path| path.to_string_lossy().contains("EXE")), "it came in");
        let log = bob.ctl("policy log").ok()?.last()?;
        let decisions = log["decisions"].as_array().context("no decisions")?;
        ensure!(decisions.iter().any(|it| it["rule"] == "programs" && it["action"] == "decline" && it["peer"] == "alice"), "{log}");
        Ok(())
    })
}

#[test]
fn a_program_runs_after_it_and_its_failure_harms_nothing() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let (script, ran) = (bob.home().join("after.sh"), bob.home().join("ran"));
        fs::write(
            &script,
            format!("#!/bin/sh\nfor path in \"$@\"; do echo \"$path\" >> '{}'; done\necho no luck >&2\nexit 7\n", ran.display()),
        )?;
        fs::set_permissions(&script, Permissions::from_mode(0o755))?;
        let rules = format!(
            "[[policy]]\nname = \"films\"\ntypes = [\"video/*\"]\naction = \"accept\"\ndir = \"~/Films\"\nrate = \"8M\"\nrun = [\"{}\", \"--new\"]\n",
            script.display()
        );
        with_rules(bob, alice, &rules)?;
        let path = alice.file("a film; rm -rf $HOME.mkv", 3 * MIB)?;

        let sent = alice.ctl("send bob").arg(&path).ok()?.last()?;

        let there = bob.home().join("Films/a film; rm -rf $HOME.mkv");
        ensure!(sent["state"] == "done" && digest(&there)? == digest(&path)?, "{sent}");
        until("it ran", 20, || Ok(fs::read_to_string(&ran).ok().filter(|text| *text == format!("--new\n{}\n", there.display()))))?;
        until("its failure is told", 20, || {
            let status = bob.ctl("status").ok()?.last()?.to_string();
            let log = bob.ctl("policy log").ok()?.last()?.to_string();
            Ok((status.contains("ended with 7") && log.contains("no luck")).then_some(()))
        })?;
        let transfers = bob.ctl("transfers").ok()?.last()?;
        ensure!(transfers["transfers"][0]["state"] == "done" && transfers["transfers"][0]["limit"] == 8 * MIB, "{transfers}");
        Ok(())
    })
}

#[test]
fn a_program_that_is_owed_runs_after_the_daemon_was_killed() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let (script, began, ended) = (bob.home().join("slow.sh"), bob.home().join("began"), bob.home().join("ended"));
        let text = format!(
            "#!/bin/sh\nif [ ! -e '{began}' ]; then touch '{began}'; exec sleep 60; fi\necho \"$1\" > '{ended}.new'; mv '{ended}.new' '{ended}'\n",
            began = began.display(),
            ended = ended.display()
        );
        fs::write(&script, text)?;
        fs::set_permissions(&script, Permissions::from_mode(0o755))?;
        with_rules(bob, alice, &format!("[[policy]]\nname = \"all\"\naction = \"accept\"\nrun = [\"{}\"]\n", script.display()))?;

        alice.ctl("send bob").arg(alice.file("f", 10)?).ok()?;
        until("it begins", 20, || Ok(began.exists().then_some(())))?;
        bob.restart()?;

        let path = bob.inbox()?.join("f");
        until("it ran to its end", 20, || Ok(fs::read_to_string(&ended).ok().filter(|text| *text == format!("{}\n", path.display()))))?;
        Ok(())
    })
}

#[test]
fn quarantine_lies_apart_until_a_person_lets_it_out_or_removes_it() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        with_rules(bob, alice, "[[policy]]\nname = \"scripts\"\nnames = [\"*.sh\"]\naction = \"quarantine\"\n")?;
        let send = |name: &str| -> Result<Value> {
            let path = alice.file(name, 1000)?;
            fs::set_permissions(&path, Permissions::from_mode(0o755))?;
            alice.ctl("send bob").arg(&path).ok()?;
            quarantined(bob)?.first().cloned().context("nothing is in quarantine")
        };

        let held = send("run.sh")?;
        let apart = Path::new(held["paths"][0].as_str().context("no path")?).to_owned();
        ensure!(bob.inbox_files()?.is_empty(), "it is in the inbox");
        ensure!(held["rule"] == "scripts" && mode(&apart)? & 0o111 == 0, "{held}, {:o}", mode(&apart)?);
        bob.ctl("inbox open").arg(id(&held)?).run()?.exits(&[4])?;
        bob.restart()?;
        bob.ctl("inbox accept").arg(id(&held)?).arg("--to").arg(bob.home().join("Scripts")).ok()?;
        let out = bob.home().join("Scripts/run.sh");
        ensure!(digest(&out)? == digest(&alice.home().join("outgoing/run.sh"))? && mode(&out)? & 0o111 == 0, "it did not come out");
        ensure!(!apart.exists() && quarantined(bob)?.is_empty() && inbox(bob, "received")?.len() == 1, "it is still in quarantine");
        bob.ctl("inbox undo").arg(id(&held)?).ok()?;
        ensure!(!out.exists(), "it was not taken back");

        alice.sees(bob)?;
        let held = send("other.sh")?;
        let apart = Path::new(held["paths"][0].as_str().context("no path")?).to_owned();
        bob.ctl("inbox decline").arg(id(&held)?).ok()?;
        ensure!(!apart.exists() && quarantined(bob)?.is_empty() && inbox(bob, "received")?.is_empty(), "it was not removed");
        Ok(())
    })
}

#[test]
fn what_came_is_taken_back_and_older_files_get_their_names_again() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let path = alice.file("doc.txt", 1000)?;
        let older = digest(&path)?;
        alice.ctl("send bob").arg(&path).ok()?;
        fs::write(&path, "a later one")?;
        alice.ctl("send bob --conflict overwrite").arg(&path).ok()?;
        let there = bob.inbox()?.join("doc.txt");
        ensure!(fs::read(&there)? == b"a later one", "it did not take the name");
        let last = inbox(bob, "received")?.first().cloned().context("nothing came")?;

        let undone = bob.ctl("inbox undo").arg(id(&last)?).ok()?.last()?;

        ensure!(undone["removed"] == 1 && undone["restored"] == 1, "{undone}");
        ensure!(digest(&there)? == older && bob.inbox_files()?.len() == 1, "{:?}", bob.inbox_files()?);
        bob.ctl("inbox undo").arg(id(&last)?).run()?.exits(&[4])?;
        let first = inbox(bob, "received")?.first().cloned().context("the first one is gone")?;
        fs::write(&there, "hours of work")?;
        let spared = bob.ctl("inbox undo").arg(id(&first)?).run()?.exits(&[12])?.last()?;
        ensure!(spared["spared"] == serde_json::json!(["doc.txt"]) && fs::read(&there)? == b"hours of work", "{spared}");
        Ok(())
    })
}

#[test]
fn rules_that_were_added_are_kept_behind_those_of_the_file() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        with_rules(bob, alice, "[[policy]]\nname = \"first\"\nnames = [\"*.exe\"]\naction = \"decline\"\n")?;
        bob.ctl("policy add --name last --action decline --max-size 1K --names").args(["*.pdf,*.{doc,odt}"]).ok()?;
        bob.ctl("policy add --name middle --action ask --before last --names").args(["x.pdf"]).ok()?;
        for (line, code) in [
            ("policy add --name last --action ask", 4),
            ("policy add --name default --action ask", 2),
            ("policy add --name x --action ask --names a/b", 2),
            ("policy remove first", 4),
            ("policy remove nothing", 4),
        ] {
            bob.ctl(line).run()?.exits(&[code]).with_context(|| line.to_owned())?;
        }

        bob.restart()?;

        let list = bob.ctl("policy list").ok()?.last()?;
        let names: Vec<&Value> = list["rules"].as_array().context("no rules")?.iter().map(|it| &it["name"]).collect();
        ensure!(names == ["first", "middle", "last"], "{names:?}");
        let judged = |size: &str, name: &str| -> Result<String> {
            let verdict = bob.ctl("policy test --from alice").args(["--size", size, "--", name]).ok()?.last()?;
            Ok(format!("{} {}", verdict["rule"], verdict["action"]))
        };
        ensure!(judged("1024", "a/b/report.PDF")? == "\"last\" \"decline\"", "{}", judged("1024", "report.PDF")?);
        ensure!(judged("1025", "report.pdf")? == "\"default\" \"accept\"", "{}", judged("1025", "report.pdf")?);
        ensure!(judged("1", "X.pdf")? == "\"middle\" \"ask\"", "{}", judged("1", "X.pdf")?);
        bob.ctl("policy remove last").ok()?;
        ensure!(judged("1024", "report.pdf")? == "\"default\" \"accept\"", "a rule that was removed decides");
        Ok(())
    })
}

#[test]
fn a_daily_quota_holds_over_a_restart() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let rules =
            "[[policy]]\nname = \"quota\"\nmax_today = \"3K\"\naction = \"accept\"\n[[policy]]\nname = \"rest\"\naction = \"ask\"\n";
        with_rules(bob, alice, rules)?;
        for name in ["a", "b"] {
            alice.ctl("send bob").arg(alice.file(name, 1024)?).ok()?;
        }
        with_rules(bob, alice, rules)?;

        alice.ctl("send bob").arg(alice.file("c", 1024)?).ok()?;
        let asking = alice.ctl("send bob").arg(alice.file("d", 1)?).spawn()?;

        let offer = waiting(bob)?;
        ensure!(offer["rule"] == "rest" && offer["name"] == "d", "{offer}");
        bob.ctl("inbox decline").arg(id(&offer)?).ok()?;
        asking.result()?.exits(&[6])?;
        Ok(())
    })
}

#[test]
fn a_stranger_gets_in_by_a_rule_that_names_strangers_and_not_by_a_name() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        bob.ctl("policy add --name friend --action accept --from alice").ok()?;
        bob.ctl("policy add --name notes --action accept --trust unknown --types text/plain --max-size 2000").ok()?;

        alice.ctl("send bob").arg(alice.file("note.txt", 2000)?).ok()?;
        let asking = alice.ctl("send bob").arg(alice.file("photo.jpg", 2000)?).spawn()?;

        let offer = waiting(bob)?;
        ensure!(offer["name"] == "photo.jpg" && offer["rule"] == "default", "{offer}");
        bob.ctl("inbox accept").arg(id(&offer)?).ok()?;
        asking.result()?.exits(&[0])?;
        bob.received("note.txt").map(drop)
    })
}

#[test]
fn a_rule_that_makes_no_sense_keeps_the_daemon_from_starting_and_is_named() -> Result<()> {
    on_loopback(["bob"], |[bob]| {
        bob.kill()?;
        fs::create_dir_all(bob.home().join("config/sharekaro"))?;
        for (line, key) in
            [("hours = \"25:00-6:00\"", "hours"), ("sice = 5", "sice"), ("dir = \"Films\"", "dir"), ("names = [\"a[\"]", "names")]
        {
            let rules = format!("[[policy]]\nname = \"odd one\"\naction = \"accept\"\n{line}\n");
            fs::write(bob.home().join("config/sharekaro/config.toml"), rules)?;

            let ended = bob.daemon_command()?.output()?;

            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            ensure!(!ended.status.success() && said.contains("odd one") && said.contains(key), "{line}: {said}");
        }
        Ok(())
    })
}

#[test]
fn who_watches_the_log_sees_decisions_as_they_are_made_and_a_blocked_device_that_calls() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let watching = bob.ctl("policy log --watch").spawn()?;
        let saw = |what: &str| -> Result<Value> {
            until(&format!("{what} is told"), 30, || Ok(watching.lines()?.into_iter().find(|it| it["action"] == what)))
        };
        saw("pair")?;
        alice.ctl("send bob").arg(alice.file("note", 10)?).ok()?;
        ensure!(saw("accept")?["rule"] == "default", "{:?}", watching.lines()?);

        bob.ctl("peer block alice").ok()?;
        saw("block")?;
        alice.restart()?; // which calls at once

        let refused = saw("refuse")?;
        ensure!(refused["peer"] == "alice" && refused["note"].to_string().contains("blocked"), "{refused}");
        alice.restart()?;
        bob.ctl("peer unblock alice").ok()?;
        saw("unblock")?;
        let numbers: Vec<u64> = watching.lines()?.iter().filter_map(|it| it["no"].as_u64()).collect();
        ensure!(numbers.is_sorted_by(|a, b| a < b), "told twice, or out of order: {numbers:?}");
        let refusals = watching.lines()?.iter().filter(|it| it["action"] == "refuse").count();
        ensure!(refusals == 1, "each call is a line of its own: {refusals}");
        Ok(())
    })
}

#[test]
fn who_waits_for_a_file_gets_none_that_is_to_lie_in_quarantine() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        with_rules(bob, alice, "[[policy]]\nname = \"scripts\"\nnames = [\"*.sh\"]\naction = \"quarantine\"\n")?;
        let client = bob.ctl_for_people("receive --from alice --stdout").within(90).spawn()?;
        for name in ["run.sh", "note.txt"] {
            alice.ctl("send bob").arg(alice.file(name, 1000)?).ok()?;
        }

        client.result()?.exits(&[0])?;
        let held = quarantined(bob)?;
        ensure!(held.len() == 1 && held[0]["paths"].to_string().contains("run.sh"), "{held:?}");
        ensure!(bob.inbox_files()?.is_empty(), "what was taken lies in the inbox: {:?}", bob.inbox_files()?);
        Ok(())
    })
}
