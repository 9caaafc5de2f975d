//! A daemon that was put where it cannot live, or told what makes no sense: it says so in a sentence, with what to do,
//! and leaves everything as it was.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{Sandbox, on_loopback, patience, program, until, wait_child};

/// A daemon that fails at once, or never.
const PATIENCE: Duration = Duration::from_secs(15);

/// The exit code where a place cannot be used.
const UNUSABLE: i32 = 1;

/// The exit code of a daemon that was told what makes no sense, as for flags that make none.
const MISCONFIGURED: i32 = 2;

/// How the daemon is started in a home of its own.
fn daemon(home: &Sandbox) -> Result<Command> {
    let mut command = Command::new(program("sharekarod")?);
    command.env_clear().envs(home.environment("alice")).current_dir(home.path());
    command.env("SHAREKARO_DBUS", "false").env("SHAREKARO_MDNS", "false").env("SHAREKARO_PORT", "0");
    Ok(command)
}

/// What it says when it refuses to run, with this exit code; it must not run.
fn refusal(mut command: Command, home: &Sandbox, code: i32) -> Result<String> {
    let log = home.path().join("said");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log)?).spawn()?;
    let ended = wait_child(&mut child, patience(PATIENCE))?;
    let said = fs::read_to_string(log)?;
    ensure!(ended.context("it runs")?.code() == Some(code), "{ended:?}: {said}");
    ensure!(!said.contains("panicked"), "{said}");
    Ok(said)
}

/// The sentence names the place and what to do.
fn says(said: &str, parts: &[&str]) -> Result<()> {
    let missing: Vec<&&str> = parts.iter().filter(|part| !said.contains(**part)).collect();
    ensure!(missing.is_empty(), "{missing:?} is not said: {said}");
    Ok(())
}

#[test]
fn a_state_folder_that_cannot_be_used_is_named_and_left_alone() -> Result<()> {
    let home = Sandbox::new("places")?;
    let file = home.path().join("a file");
    fs::write(&file, "precious")?;
    for place in [file.as_path(), Path::new("/proc/nothing/here")] {
        let mut command = daemon(&home)?;
        command.env("SHAREKARO_STATE_DIR", place);
        says(&refusal(command, &home, UNUSABLE)?, &[&place.to_string_lossy(), "SHAREKARO_STATE_DIR"])?;
    }
    ensure!(fs::read_to_string(file)? == "precious", "what was there is gone");
    Ok(())
}

/// A daemon whose home somebody mounted something over, before it came.
fn daemon_after(home: &Sandbox, runtime: &Sandbox, mount: &str) -> Result<Command> {
    let plain = daemon(home)?;
    let script = format!("{mount}; cd / && exec '{}'", program("sharekarod")?.display());
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    command
        .env_clear()
        .envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))))
        .env("XDG_RUNTIME_DIR", runtime.path().join("run"));
    Ok(command)
}

#[test]
fn a_read_only_home_is_said() -> Result<()> {
    let (home, elsewhere) = (Sandbox::new("places")?, Sandbox::new("runtime")?);
    let path = home.path().to_string_lossy().into_owned();
    let read_only = format!("mount --bind '{path}' '{path}' && mount -o remount,bind,ro '{path}'");

    let said = refusal(daemon_after(&home, &elsewhere, &read_only)?, &home, UNUSABLE)?;

    says(&said, &["Read-only file system", &path, "SHAREKARO_STATE_DIR"])
}

#[test]
fn a_disk_that_is_full_at_the_start_is_said() -> Result<()> {
    let (home, elsewhere) = (Sandbox::new("places")?, Sandbox::new("runtime")?);
    let path = home.path().join("state").to_string_lossy().into_owned();
    let full = format!("mount -t tmpfs -o size=64k tmpfs '{path}' && cat /dev/zero >'{path}/all of it' 2>/dev/null");

    let said = refusal(daemon_after(&home, &elsewhere, &full)?, &home, UNUSABLE)?;

    says(&said, &["No space left", &path, "hint: free some space"])
}

#[test]
fn without_a_home_it_says_what_to_set() -> Result<()> {
    let home = Sandbox::new("places")?;
    let mut command = Command::new("unshare");
    // a user whom /etc/passwd does not know
    command.args(["--user", "--map-user=54321"]).arg(program("sharekarod")?).env_clear().env("XDG_RUNTIME_DIR", home.path().join("run"));

    says(&refusal(command, &home, MISCONFIGURED)?, &["no home", "HOME", "state_dir", "hint: "])
}

/// A folder of another user: of one whom we make up where we are root, of root otherwise.
fn theirs(home: &Sandbox) -> Result<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        return Ok("/".into());
    }
    let dir = home.path().join("theirs");
    fs::create_dir(&dir)?;
    std::os::unix::fs::chown(&dir, Some(12345), Some(12345))?;
    Ok(dir)
}

#[test]
fn in_a_folder_of_another_user_it_makes_nothing_and_says_whose_it_is() -> Result<()> {
    let home = Sandbox::new("places")?;
    let dir = theirs(&home)?;
    for (key, below, parts) in [
        ("XDG_RUNTIME_DIR", "", ["hint: ", "SHAREKARO_SOCKET"]),
        ("SHAREKARO_STATE_DIR", "", ["belongs to user", "hint: "]),
        // as with `sudo -E`, before the first start of its owner's daemon; nobody else could
        ("SHAREKARO_STATE_DIR", "state/sharekaro", ["SHAREKARO_STATE_DIR", "hint: "]),
    ] {
        let mut command = daemon(&home)?;
        command.env(key, dir.join(below));
        let said = refusal(command, &home, UNUSABLE)?;
        says(&said, &[&dir.to_string_lossy()])?;
        says(&said, &parts)?;
    }
    ensure!(!dir.join("sharekaro").exists() && !dir.join("state").exists(), "something was left there");
    Ok(())
}

#[test]
fn in_a_runtime_folder_that_is_open_to_all_it_makes_nothing_and_says_where_it_could() -> Result<()> {
    let home = Sandbox::new("places")?;
    let open = home.path().join("open to all");
    fs::create_dir(&open)?;
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777))?;
    let mut command = daemon(&home)?;
    command.env("XDG_RUNTIME_DIR", &open);

    says(&refusal(command, &home, UNUSABLE)?, &["open to all", "hint: ", "SHAREKARO_SOCKET"])?;

    ensure!(fs::read_dir(&open)?.next().is_none(), "something was left there");
    Ok(())
}

#[test]
fn a_configuration_that_makes_no_sense_is_told_with_its_place_and_stays() -> Result<()> {
    let home = Sandbox::new("places")?;
    let path = home.path().join("config/sharekaro/config.toml");
    fs::create_dir_all(path.parent().context("no folder")?)?;
    // an older version's key, a wrong type, a value out of its bounds, a relative path, bytes that are no text
    for (text, why) in [
        (&b"name = \"x\"\nbroadcast_port = 9090\n"[..], "line 2"),
        (b"port = \"abc\"\n", "line 1"),
        (b"port = 70000\n", "port"),
        (b"offer_expiry = \"soon\"\n", "offer_expiry"),
        (b"inbox_dir = \"here\"\n", "absolute"),
        (b"[[policy]]\nname = \"odd\"\naction = \"accept\"\nnames = [\"[\"]\n", "odd"),
        (b"\xff\xfe", "UTF-8"),
    ] {
        fs::write(&path, text)?;
        let said = refusal(daemon(&home)?, &home, MISCONFIGURED)?;
        says(&said, &[why, "hint: "])?;
        ensure!(said.matches(why).count() < 3, "it says everything twice: {said}");
        ensure!(fs::read(&path)? == text, "the file is another");
    }
    fs::remove_file(&path)?;
    fs::create_dir(&path)?;
    says(&refusal(daemon(&home)?, &home, MISCONFIGURED)?, &["config.toml", "hint: "])
}

#[test]
fn a_folder_in_the_place_of_the_socket_is_not_removed() -> Result<()> {
    let home = Sandbox::new("places")?;
    let socket = home.path().join("run/sharekaro/control.sock");
    fs::create_dir_all(socket.join("mine"))?;

    says(&refusal(daemon(&home)?, &home, UNUSABLE)?, &["control.sock"])?;

    ensure!(socket.join("mine").is_dir(), "somebody's folder is gone");
    Ok(())
}

#[test]
fn a_disk_that_is_full_or_read_only_for_the_inbox_is_no_reason_to_end() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        bob.set("SHAREKARO_INBOX_DIR", "/proc/nothing/here");
        bob.restart()?;
        alice.sees(bob)?;
        let path = alice.file("f", 1000)?;

        let sending = alice.ctl("send bob --detach").arg(&path).ok()?.last()?;
        let offer = until("the offer waits", 20, || Ok(bob.ctl("inbox").ok()?.last()?["waiting"].get(0).cloned()))?;
        bob.ctl("inbox accept").arg(offer["id"].as_str().context("no id")?).run()?;
        let told = until("the sender hears why it waits", 30, || {
            let transfer = alice.ctl("transfer show").arg(sending["id"].as_str().context("no id")?).ok()?.last()?;
            Ok(transfer["error"]["message"].as_str().map(str::to_owned))
        })?;
        ensure!(!told.is_empty() && bob.alive(), "{told}");

        bob.ctl("inbox accept").arg(offer["id"].as_str().context("no id")?).arg("--to").arg(bob.home().join("elsewhere")).run()?;
        bob.ctl("status").ok().map(drop)
    })
}
