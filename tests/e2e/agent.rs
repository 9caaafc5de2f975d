//! The agent before a real notification service (dunst) and a real clipboard, on an X server without a screen.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sharekaro_tests::{Host, MIB, Running, on_loopback, pair, until};
use tempfile::TempDir;

/// A program that ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command, package: &str) -> Result<Program> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Ok(Program(child.with_context(|| format!("{command:?} cannot be run: sudo apt-get install {package}"))?))
}

/// An X server without a screen, on a number that nobody else has.
fn screen() -> Result<(Program, String)> {
    let mut command = Command::new("Xvfb");
    command.args(["-displayfd", "1", "-screen", "0", "800x600x24", "-nolisten", "tcp"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut program = Program(child.context("Xvfb cannot be run: sudo apt-get install xvfb")?);
    let mut number = String::new();
    BufReader::new(program.0.stdout.take().context("no stdout")?).read_line(&mut number)?; // when it is ready
    ensure!(!number.trim().is_empty(), "Xvfb found no number for its display");
    Ok((program, format!(":{}", number.trim())))
}

/// A desktop session: a bus, a screen in memory, and dunst, whose menu of buttons picks what a file says.
struct Desktop {
    dir: TempDir,
    display: String,
    _programs: Vec<Program>,
}

impl Desktop {
    fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("sharekaro-desktop.").tempdir()?;
        let bus = format!("unix:path={}/bus", dir.path().display());
        let (screen, display) = screen()?;
        let daemon = start(Command::new("dbus-daemon").args(["--session", "--nofork", "--nopidfile", "--address"]).arg(&bus), "dbus")?;
        until("the bus is there", 20, || Ok(dir.path().join("bus").exists().then_some(())))?;
        let picker = dir.path().join("pick");
        // what dunst offers stands on standard input, a line a button: "#Accept (…) [0,accept]"
        fs::write(&picker, format!("#!/bin/sh\nexec grep -m 1 -F -f {}/wanted\n", dir.path().display()))?;
        fs::set_permissions(&picker, fs::Permissions::from_mode(0o755))?;
        let config = format!(
            "[global]\nmonitor = 0\nfollow = none\ndmenu = {}\nenable_recursive_icon_lookup = false\nprogress_bar = true\n",
            picker.display()
        );
        fs::write(dir.path().join("dunstrc"), config)?;
        let mut desktop = Self { dir, display, _programs: vec![screen, daemon] };
        let config = desktop.dir.path().join("dunstrc");
        desktop._programs.push(start(desktop.command("dunst").arg("-config").arg(config), "dunst")?);
        until("dunst answers", 20, || Ok(desktop.dunstctl(&["count"]).ok()))?;
        Ok(desktop)
    }

    /// The notification service ends, and another one takes its place.
    fn restart_dunst(&mut self) -> Result<()> {
        drop(self._programs.pop());
        until("dunst is gone", 20, || Ok(self.dunstctl(&["count"]).is_err().then_some(())))?;
        let config = self.dir.path().join("dunstrc");
        self._programs.push(start(self.command("dunst").arg("-config").arg(config), "dunst")?);
        until("dunst answers", 20, || Ok(self.dunstctl(&["count"]).ok()))?;
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("DISPLAY", &self.display)
            .env("HOME", self.dir.path())
            .env("DBUS_SESSION_BUS_ADDRESS", self.bus())
            .env_remove("WAYLAND_DISPLAY");
        command
    }

    fn bus(&self) -> String {
        format!("unix:path={}/bus", self.dir.path().display())
    }

    fn adopt(&self, host: &Host) {
        host.set("DISPLAY", &self.display);
        host.set("DBUS_SESSION_BUS_ADDRESS", self.bus());
    }

    fn dunstctl(&self, args: &[&str]) -> Result<String> {
        let done = self.command("dunstctl").args(args).output().context("dunstctl is missing: sudo apt-get install dunst")?;
        ensure!(done.status.success(), "dunstctl {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// Presses a button of what is on the screen.
    fn press(&self, button: &str) -> Result<()> {
        fs::write(self.dir.path().join("wanted"), format!("{button}\n"))?;
        self.dunstctl(&["context"]).map(drop)
    }

    /// What is on the screen, as a picture: in the folder of SHAREKARO_TESTS_PICTURES, where that is set.
    fn picture(&self, name: &str) -> Result<()> {
        let Some(dir) = std::env::var_os("SHAREKARO_TESTS_PICTURES") else { return Ok(()) };
        std::thread::sleep(std::time::Duration::from_millis(500)); // dunst draws in its own time
        let path = PathBuf::from(dir).join(name);
        let done = self.command("import").args(["-window", "root"]).arg(path).status().context("sudo apt-get install imagemagick")?;
        ensure!(done.success(), "no picture of the screen");
        Ok(())
    }
}

/// An agent that shows what happens from here on.
fn watching(host: &Host) -> Result<Running> {
    let agent = host.ctl("agent --once").within(300).spawn()?;
    told(&agent, "it watches", |line| line["watching"] == true)?;
    Ok(agent)
}

/// The agent's next line of this kind.
fn told(agent: &Running, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
    until(what, 30, || Ok(agent.lines()?.into_iter().find(&is)))
}

fn title_has(line: &Value, text: &str) -> bool {
    line["title"].as_str().is_some_and(|title| title.contains(text))
}

#[test]
fn an_offer_is_accepted_and_another_declined_on_the_desktop() -> Result<()> {
    let desktop = Desktop::start()?;
    on_loopback(["alice", "bob"], |[alice, bob]| {
        desktop.adopt(bob);
        let agent = watching(bob)?;

        let sending = alice.ctl("send bob --note").arg("<b>see</b> &amp; <i>tell</i>").arg(alice.file("<b>plan.pdf", 100_000)?).spawn()?;
        told(&agent, "the offer is shown", |line| title_has(line, "offers <b>plan.pdf"))?;
        until("dunst shows it", 10, || Ok((desktop.dunstctl(&["count", "displayed"])?.trim() == "1").then_some(())))?;
        desktop.picture("offer.png")?;
        desktop.press("Accept")?;
        sending.result()?.exits(&[0])?;
        bob.received("<b>plan.pdf")?;
        told(&agent, "what came is shown", |line| title_has(line, "<b>plan.pdf from alice"))?;
        desktop.picture("came.png")?;
        desktop.dunstctl(&["close-all"])?;

        let sending = alice.ctl("send bob").arg(alice.file("other.pdf", 1000)?).spawn()?;
        told(&agent, "the second offer is shown", |line| title_has(line, "offers other.pdf"))?;
        desktop.press("Decline")?;
        sending.result()?.exits(&[6])?;
        let pressed = told(&agent, "the press is told", |line| line["pressed"] == "decline")?;
        ensure!(pressed["error"].is_null(), "{pressed}");
        Ok(())
    })
}

#[test]
fn an_offer_is_still_accepted_on_the_desktop_after_the_daemon_or_the_service_was_away() -> Result<()> {
    let mut desktop = Desktop::start()?;
    on_loopback(["alice", "bob"], |[alice, bob]| {
        desktop.adopt(bob);
        let agent = bob.ctl("agent").within(300).spawn()?;
        let times = |what: &str, wanted: usize, is: fn(&Value) -> bool| {
            until(what, 90, || Ok((agent.lines()?.iter().filter(|line| is(line)).count() == wanted).then_some(())))
        };
        times("it watches", 1, |line| line["watching"] == true)?;
        let sending = alice.ctl("send bob").within(300).arg(alice.file("first.pdf", 1000)?).spawn()?;
        times("the offer is shown", 1, |line| title_has(line, "offers first.pdf"))?;

        bob.restart()?;
        times("it watches again", 2, |line| line["watching"] == true)?;
        desktop.press("Accept")?;
        sending.result()?.exits(&[0])?;
        bob.received("first.pdf")?;

        let sending = alice.ctl("send bob").within(300).arg(alice.file("second.pdf", 1000)?).spawn()?;
        times("the second offer is shown", 1, |line| title_has(line, "offers second.pdf"))?;
        desktop.restart_dunst()?;
        times("the second offer is shown again", 2, |line| title_has(line, "offers second.pdf"))?;
        desktop.press("Accept")?;
        sending.result()?.exits(&[0])?;
        bob.received("second.pdf").map(drop)
    })
}

#[test]
fn an_offer_that_is_answered_elsewhere_leaves_the_screen() -> Result<()> {
    let desktop = Desktop::start()?;
    on_loopback(["alice", "bob"], |[alice, bob]| {
        desktop.adopt(bob);
        let agent = watching(bob)?;
        let sending = alice.ctl("send bob").arg(alice.file("f", 1000)?).spawn()?;
        let shown = told(&agent, "the offer is shown", |line| title_has(line, "offers f"))?;
        let waiting = bob.ctl("inbox").ok()?.last()?;

        bob.ctl("inbox decline").arg(waiting["waiting"][0]["id"].as_str().context("nothing waits")?).ok()?;

        sending.result()?.exits(&[6])?;
        told(&agent, "it is taken away", |line| line["removed"] == shown["shown"])?;
        until("dunst shows nothing", 10, || Ok((desktop.dunstctl(&["count", "displayed"])?.trim() == "0").then_some(())))
    })
}

#[test]
fn a_long_transfer_has_a_bar_and_a_text_is_shown() -> Result<()> {
    let desktop = Desktop::start()?;
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        desktop.adopt(bob);
        let agent = watching(bob)?;

        alice.ctl("message bob").arg("lunch? <i>now</i>").ok()?;
        told(&agent, "the text is shown", |line| line["body"] == "lunch? <i>now</i>")?;
        let sending = alice.ctl("send bob --limit 4M").arg(alice.file("long.iso", 40 * MIB)?).spawn()?;
        let bar = told(&agent, "a bar is shown", |line| line["progress"].as_u64().is_some_and(|percent| percent > 0))?;
        desktop.picture("bar.png")?;
        ensure!(title_has(&bar, "long.iso from alice"), "{bar}");
        sending.result()?.exits(&[0])?;
        told(&agent, "the end is shown", |line| title_has(line, "long.iso from alice") && line["progress"].is_null()).map(drop)
    })
}

#[test]
fn without_a_notification_service_the_agent_says_so() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        alice.set("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus");

        let refused = alice.ctl("agent --once").run()?.exits(&[14])?;

        ensure!(refused.error_code()? == "unavailable" && refused.err.contains("hint"), "{refused:?}");
        Ok(())
    })
}

#[test]
fn the_clipboard_goes_to_a_peer_where_both_allow_it_and_nowhere_else() -> Result<()> {
    let desktop = Desktop::start()?;
    on_loopback(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        let refused = alice.ctl("clip push bob").run()?.exits(&[14])?;
        ensure!(refused.err.contains("clipboard = true"), "{refused:?}");
        for host in [alice, bob] {
            desktop.adopt(host);
            host.set("SHAREKARO_CLIPBOARD", "true");
            host.restart()?;
        }
        alice.sees(bob)?;
        bob.sees(alice)?;
        let copy = |text: &str| -> Result<()> {
            let mut xclip =
                desktop.command("xclip").args(["-selection", "clipboard"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
            std::io::Write::write_all(&mut xclip.stdin.take().context("no stdin")?, text.as_bytes())?;
            ensure!(xclip.wait()?.success(), "xclip: sudo apt-get install xclip");
            Ok(())
        };

        copy("a word, नमस्ते\n")?;
        alice.ctl("clip push bob").ok()?;
        until("it is there", 10, || Ok(bob.ctl("messages").ok()?.last()?["messages"].get(0).cloned()))?;
        copy("something else")?;
        let pulled = bob.ctl("clip pull").ok()?.last()?;

        ensure!(pulled["from"] == "alice", "{pulled}");
        // xclip takes the clipboard over in the background
        until("the clipboard holds the text", 10, || {
            let held = desktop.command("xclip").args(["-selection", "clipboard", "-out"]).output()?;
            Ok((held.stdout == "a word, नमस्ते\n".as_bytes()).then_some(()))
        })
    })
}
