//! `daemon VERB`: the daemon as a unit of this person's systemd, for whom no package brought one.
//!
//! Needs no daemon and asks none: everything here is between systemd and us. What a package installed is started and
//! stopped by the same verbs; only `install` and `uninstall` are about a unit of one's own.

mod systemd;
mod unit;

use std::path::PathBuf;

use clap::Subcommand;
use sharekaro_proto::{ErrorBody, ErrorCode, nouns::text::Shown};

use self::{systemd::State, unit::UnitFile};
use crate::{
    ending::End,
    print::{Screen, table},
};

#[derive(Subcommand, Debug)]
pub(crate) enum DaemonVerb {
    /// Write a user unit for the sharekarod beside this program, start it, and start it at every login
    ///
    /// The unit points to the program where it lies now, and nothing is copied: after a new build `sharectl daemon
    /// restart` is enough. Where a package installed a unit, this one goes before it until `uninstall`. To share also
    /// while you are not logged in: `loginctl enable-linger`.
    Install {
        /// Start it now and not at every login
        #[arg(long)]
        no_enable: bool,
    },
    /// Stop it and remove what `install` wrote; key, database and files stay
    Uninstall,
    /// Start it now
    Start,
    /// Stop it; transfers go on after the next start
    Stop,
    /// Stop it and start it again
    Restart,
    /// Have it read its configuration again
    Reload,
    /// Whether it runs, from which program, and whether it starts at login (exit 3: it does not run)
    Status,
    /// What it says in the journal
    Logs {
        /// Go on with what it says from now on
        #[arg(long, short)]
        follow: bool,
        /// The last so many lines
        #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
        lines: u32,
    },
}

impl DaemonVerb {
    pub(crate) fn run(self, screen: &Screen) -> Result<(), End> {
        systemd::reachable()?;
        match self {
            Self::Install { no_enable } => install(!no_enable, screen),
            Self::Uninstall => uninstall(screen),
            Self::Start => start("start", screen),
            Self::Restart => start("restart", screen),
            Self::Reload => act("reload", screen),
            Self::Stop => act("stop", screen),
            Self::Status => status(screen),
            Self::Logs { follow, lines } => Err(systemd::journal(follow, lines, screen.is_json())),
        }
    }
}

fn install(enable: bool, screen: &Screen) -> Result<(), End> {
    let program = sharekarod()?;
    let file = UnitFile::of_this_person()?;
    file.write(&program)?;
    screen.note(&format!("wrote {}", file.path().display()));
    systemd::manager(&["daemon-reload"])?;
    if enable {
        systemd::manager(&["enable", systemd::UNIT])?;
    }
    start("restart", screen) // one that runs already is the old program
}

fn uninstall(screen: &Screen) -> Result<(), End> {
    let file = UnitFile::of_this_person()?;
    file.ensure_ours()?;
    systemd::manager(&["disable", "--now", systemd::UNIT])?;
    file.remove()?;
    systemd::manager(&["daemon-reload"])?;
    screen.note(&format!("removed {}", file.path().display()));
    tell(&systemd::state()?, screen)
}

/// The manager returns when the daemon is ready, or knows that it will not be.
fn start(verb: &str, screen: &Screen) -> Result<(), End> {
    let done = systemd::manager(&[verb, systemd::UNIT]);
    let state = systemd::state()?;
    match done {
        Ok(()) if state.runs() => tell(&state, screen),
        Err(error) if state.status.is_empty() => Err(error.into()), // it said nothing, so systemd has to
        _ => {
            let why = if state.status.is_empty() { "it ended at once".to_owned() } else { Shown(&state.status).to_string() };
            let error = ErrorBody::new(ErrorCode::WrongState, format!("{} is {}: {why}", systemd::UNIT, state.state));
            Err(error.hint("`sharectl status` asks whichever daemon runs; `sharectl daemon logs` tells what this one said").into())
        }
    }
}

fn act(verb: &str, screen: &Screen) -> Result<(), End> {
    systemd::manager(&[verb, systemd::UNIT])?;
    tell(&systemd::state()?, screen)
}

fn status(screen: &Screen) -> Result<(), End> {
    let state = systemd::state()?;
    tell(&state, screen)?;
    if state.runs() { Ok(()) } else { Err(End::Told(ErrorCode::NoDaemon.exit_code())) }
}

fn tell(state: &State, screen: &Screen) -> Result<(), End> {
    screen.say(state, || {
        let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
        table::pairs([
            ("state", state.state.clone()),
            ("says", or_none(&state.status)),
            ("process", state.pid.map_or_else(|| "none".to_owned(), |pid| pid.to_string())),
            ("since", or_none(&state.since)),
            ("at login", or_none(&state.enabled)),
            ("unit", or_none(&state.unit)),
        ])
    })
}

/// The daemon that was built or installed with this program.
fn sharekarod() -> Result<PathBuf, ErrorBody> {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name("sharekarod"));
    beside.filter(|path| path.is_file()).ok_or_else(|| {
        ErrorBody::new(ErrorCode::Unavailable, "there is no sharekarod beside this sharectl").hint("build both: cargo build --release")
    })
}
