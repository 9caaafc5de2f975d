//! The person's systemd, through `systemctl --user` and `journalctl --user`.

use std::{
    ffi::OsStr,
    os::unix::process::CommandExt,
    process::{Command, Output},
};

use serde::Serialize;
use sharekaro_proto::{ErrorBody, ErrorCode, nouns::text::Shown};

use crate::ending::End;

/// What the daemon is called there, wherever its file lies.
pub(super) const UNIT: &str = "sharekarod.service";

/// How the unit is.
#[derive(Serialize, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The file; empty where there is none.
    pub(super) unit: String,
    /// As systemd has it: `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`.
    pub(super) state: String,
    /// `enabled`, `disabled`, ...; empty where there is no unit.
    pub(super) enabled: String,
    /// The daemon's process.
    pub(super) pid: Option<u32>,
    /// The line that the daemon says of itself.
    pub(super) status: String,
    /// When it was last ready.
    pub(super) since: String,
}

impl State {
    pub(super) fn runs(&self) -> bool {
        matches!(&*self.state, "active" | "reloading")
    }

    /// Reads what `systemctl show` prints.
    fn read(shown: &str) -> Self {
        let mut state = Self::default();
        for (key, value) in shown.lines().filter_map(|line| line.split_once('=')) {
            match key {
                "FragmentPath" => state.unit = value.to_owned(),
                "ActiveState" => state.state = value.to_owned(),
                "UnitFileState" => state.enabled = value.to_owned(),
                "MainPID" => state.pid = value.parse().ok().filter(|pid| *pid != 0),
                "StatusText" => state.status = value.to_owned(),
                "ActiveEnterTimestamp" => state.since = value.to_owned(),
                _ => {}
            }
        }
        state
    }
}

/// Whether there is a manager to talk to.
pub(super) fn reachable() -> Result<(), ErrorBody> {
    let asked = run("systemctl", &["--user", "show-environment"])?;
    // in a chroot it succeeds, and does nothing at all
    if asked.status.success() && !asked.stdout.is_empty() { Ok(()) } else { Err(none(words(&asked.stderr))) }
}

/// Has the manager do something, and waits until it did.
pub(super) fn manager(verb: &[&str]) -> Result<(), ErrorBody> {
    let done = run("systemctl", &[&["--user", "--quiet"], verb].concat())?;
    if done.status.success() {
        return Ok(());
    }
    let code = if words(&done.stderr).contains("not found") { ErrorCode::NotFound } else { ErrorCode::Unexpected };
    let hint = if code == ErrorCode::NotFound {
        "`sharectl daemon install` writes a unit for the sharekarod beside this program"
    } else {
        "`sharectl daemon logs` tells what it said last"
    };
    Err(ErrorBody::new(code, format!("systemctl --user {}: {}", verb.join(" "), words(&done.stderr))).hint(hint))
}

/// How the unit is, also where there is none.
pub(super) fn state() -> Result<State, ErrorBody> {
    const KEYS: &str = "--property=FragmentPath,ActiveState,UnitFileState,MainPID,StatusText,ActiveEnterTimestamp";
    let shown = run("systemctl", &["--user", "show", KEYS, UNIT])?;
    Ok(State::read(&String::from_utf8_lossy(&shown.stdout)))
}

/// Becomes `journalctl`, which knows better how to page; what comes back is why not.
pub(super) fn journal(follow: bool, lines: u32, json: bool) -> End {
    let mut command = Command::new("journalctl");
    command.args(["--user", "--unit", UNIT, "--lines", &lines.to_string()]);
    command.args(follow.then_some("--follow")).args(if json { ["--output", "json"] } else { ["--output", "short-iso"] });
    End::Failed(missing("journalctl", &command.exec()))
}

fn run(program: &str, args: &[impl AsRef<OsStr>]) -> Result<Output, ErrorBody> {
    Command::new(program).args(args).output().map_err(|error| missing(program, &error))
}

fn missing(program: &str, error: &std::io::Error) -> ErrorBody {
    none(format!("cannot run {program}: {error}"))
}

fn none(why: String) -> ErrorBody {
    ErrorBody::new(ErrorCode::Unavailable, format!("there is no systemd of yours to talk to: {why}"))
        .hint("log in to a session, or run `sharekarod` yourself: in a terminal, or from whatever starts programs here")
}

/// What a program said, in one line.
fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() { "it does not say why".to_owned() } else { Shown(&line).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_shows_is_read_and_what_it_lacks_is_nothing() {
        let shown =
            "MainPID=4711\nActiveState=active\nStatusText=1 peers online, a=b\nFragmentPath=/x/sharekarod.service\nUnitFileState=enabled\n";

        let state = State::read(shown);

        assert!(state.runs());
        assert_eq!((state.pid, &*state.status, &*state.enabled), (Some(4711), "1 peers online, a=b", "enabled"));
        let none = State::read("MainPID=0\nActiveState=inactive\nFragmentPath=\n");
        assert!(!none.runs() && none.pid.is_none() && none.unit.is_empty());
    }
}
