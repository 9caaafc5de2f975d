//! What finds or asks the other machine by itself, as far as that goes without the internet: relays off, servers beside.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{Host, until, wait_child};

use super::{PATIENCE, Server, Stage};

/// From the command to the file: what it imports first is part of it. Handing over the ticket costs nothing here.
pub(super) fn sendme(stage: &Stage<'_>) -> Result<f64> {
    let address = format!("{}:5599", stage.alice.cable().address());
    let mut send = stage.command(stage.alice, "sendme");
    send.args(["send", "--relay", "disabled", "--ticket-type", "addresses", "--no-progress", "--magic-ipv4-addr", &address])
        .arg(stage.path)
        .current_dir(stage.alice.home())
        .stdout(Stdio::piped());
    let began = Instant::now();
    let mut sender = Server(send.spawn()?);
    let ticket = word_of(&mut sender, |word| word.starts_with("blob"))?;
    let mut receive = stage.command(stage.bob, "sendme");
    receive.args(["receive", "--relay", "disabled", "--no-progress", &ticket]).current_dir(stage.bob.home());
    Stage::timed(&mut receive)?;
    let took = began.elapsed().as_secs_f64();
    stage.arrived().map(|()| took)
}

/// From the command to the file. Its mailbox server runs at alice's; the file itself goes directly.
pub(super) fn wormhole(stage: &Stage<'_>) -> Result<f64> {
    let alice = stage.alice.cable().address();
    let mut mailbox = stage.command(stage.alice, "twist");
    mailbox.args(["wormhole-mailbox", "--port=tcp:4000", "--channel-db=:memory:"]).current_dir(stage.alice.home());
    let _mailbox = Server(mailbox.spawn()?);
    thread::sleep(Duration::from_secs(2)); // it imports for a second, and a client that comes before waits longer
    // Nothing listens where the relay would be.
    let servers = [format!("--relay-url=ws://{alice}:4000/v1"), format!("--transit-helper=tcp:{alice}:4001")];
    let mut send = stage.command(stage.alice, "wormhole");
    send.args(&servers).args(["send", "--code", "7-perf-anchor", "--hide-progress"]).arg(stage.path);
    let mut receive = stage.command(stage.bob, "wormhole");
    receive.args(&servers).args(["receive", "--accept-file", "--hide-progress", "7-perf-anchor"]).current_dir(stage.bob.home());
    let began = Instant::now();
    let mut sender = Server(send.spawn()?);
    Stage::timed(&mut receive)?;
    let took = began.elapsed().as_secs_f64();
    ensure!(wait_child(&mut sender.0, PATIENCE)?.is_some(), "wormhole does not end");
    stage.arrived().map(|()| took)
}

/// From the word that something is new to the file. Both daemons run and know each other.
pub(super) fn syncthing(stage: &Stage<'_>) -> Result<f64> {
    let homes = [stage.alice, stage.bob].map(|host| host.home().join("syncthing"));
    let folders = [stage.alice, stage.bob].map(|host| host.home().join("synced"));
    for (dir, host) in homes.iter().chain(&folders).zip([stage.alice, stage.bob].into_iter().cycle()) {
        if dir.exists() {
            fs::remove_dir_all(dir).with_context(|| format!("{} of {}", dir.display(), host.home().display()))?;
        }
    }
    let ids = [known(stage, stage.alice, &homes[0])?, known(stage, stage.bob, &homes[1])?];
    let mut running = Vec::new();
    for (at, host) in [stage.alice, stage.bob].into_iter().enumerate() {
        fs::create_dir_all(&folders[at])?;
        fs::write(homes[at].join("config.xml"), config(&ids, at, &folders[at], &stage.bob.cable().address()))?;
        let mut daemon = stage.command(host, "syncthing");
        daemon.args(["serve", "--no-browser", "--no-restart", "--home"]).arg(&homes[at]).env("STNOUPGRADE", "1");
        running.push(Server(daemon.spawn()?));
    }
    fs::write(folders[0].join("hello"), "they are connected once this is there")?;
    let scan = || {
        let mut ask = stage.command(stage.alice, "curl");
        ask.args(["-s", "-X", "POST", "-H", &format!("X-API-Key: {API_KEY}"), "http://127.0.0.1:8384/rest/db/scan?folder=bench"]);
        ask
    };
    until("syncthing is connected", 60, || {
        let _ = scan().status()?; // until it listens
        Ok(folders[1].join("hello").exists().then_some(()))
    })?;
    fs::hard_link(stage.path, folders[0].join("compared"))?;
    let began = Instant::now();
    ensure!(scan().status()?.success(), "syncthing does not scan");
    let there = folders[1].join("compared");
    until("syncthing is done", PATIENCE.as_secs(), || Ok(there.exists().then_some(())))?;
    let took = began.elapsed().as_secs_f64();
    fs::rename(there, stage.there())?;
    stage.arrived().map(|()| took)
}

const API_KEY: &str = "bench";

/// Makes a key and says its id.
fn known(stage: &Stage<'_>, host: &Host, home: &Path) -> Result<String> {
    let made = stage.command(host, "syncthing").args(["generate", "--home"]).arg(home).status()?;
    ensure!(made.success(), "syncthing makes no key");
    let said = stage.command(host, "syncthing").args(["--device-id", "--home"]).arg(home).stdout(Stdio::piped()).output()?;
    Ok(String::from_utf8(said.stdout)?.trim().to_owned())
}

/// Only what differs from what it takes by itself; nothing that asks the internet.
fn config(ids: &[String; 2], at: usize, folder: &Path, bob: &str) -> String {
    let device = |id: &String, address: &str| format!("<device id=\"{id}\"><address>{address}</address></device>");
    let members = ids.each_ref().map(|id| format!("<device id=\"{id}\"/>")).concat();
    let known = device(&ids[0], "dynamic") + &device(&ids[1], &format!("tcp://{bob}:22000"));
    let gui = if at == 0 { "127.0.0.1:8384" } else { "127.0.0.1:8385" };
    format!(
        "<configuration version=\"35\"><folder id=\"bench\" path=\"{}\" rescanIntervalS=\"0\" fsWatcherEnabled=\"false\">{members}</folder>\
         {known}<gui enabled=\"true\"><address>{gui}</address><apikey>{API_KEY}</apikey></gui><options>\
         <listenAddress>tcp://0.0.0.0:22000</listenAddress><globalAnnounceEnabled>false</globalAnnounceEnabled>\
         <localAnnounceEnabled>false</localAnnounceEnabled><relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled>\
         <reconnectionIntervalS>1</reconnectionIntervalS><startBrowser>false</startBrowser><urAccepted>-1</urAccepted>\
         <crashReportingEnabled>false</crashReportingEnabled><autoUpgradeIntervalH>0</autoUpgradeIntervalH></options></configuration>",
        folder.display()
    )
}

/// The first word that a program says and that is meant.
fn word_of(server: &mut Server, meant: impl Fn(&str) -> bool) -> Result<String> {
    let out = server.0.stdout.take().context("it says nothing")?;
    for line in BufReader::new(out).lines() {
        if let Some(word) = line?.split_whitespace().find(|word| meant(word)) {
            return Ok(word.to_owned());
        }
    }
    anyhow::bail!("it ended without a word")
}
