//! A daemon in a home of its own, for as long as the demo lasts.

use std::{
    fs::{self, File},
    os::unix::{fs::DirBuilderExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use sharekaro_proto::{ErrorBody, ErrorCode, client::Client, nouns::text::Shown};

/// Making a key and a database takes milliseconds; a busy machine some seconds.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a daemon may take to end before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// So much of its log is shown when it went wrong.
const LOG_SHOWN: usize = 400;

/// A daemon that runs; dropping it ends the process.
pub(super) struct Daemon {
    pub(super) name: &'static str,
    pub(super) client: Client,
    process: Process,
}

/// The process with its log; ended when dropped, also where it never became a daemon.
struct Process {
    child: Child,
    log_path: PathBuf,
}

impl Daemon {
    pub(super) async fn start(name: &'static str, top: &Path) -> Result<Self, ErrorBody> {
        let home = top.join(name);
        let socket_path = home.join("run/sharekaro/control.sock");
        let mut process = Process::start(name, &home)?;
        let began = Instant::now();
        loop {
            if let Ok(client) = Client::connect(&socket_path).await {
                return Ok(Self { name, client, process });
            }
            if process.has_ended() || began.elapsed() > READY_TIMEOUT {
                return Err(not_ready(name, &process.said()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The end of its log.
    pub(super) fn said(&self) -> String {
        self.process.said()
    }

    /// It ended before its time.
    pub(super) fn ended(&self) -> ErrorBody {
        ErrorBody::new(ErrorCode::Unexpected, format!("the daemon of {} ended: {}", self.name, self.said()))
    }
}

fn not_ready(name: &str, said: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::Unexpected, format!("the daemon of {name} did not start: {said}")).hint("`sharekarod` alone tells more")
}

impl Process {
    fn start(name: &str, home: &Path) -> Result<Self, ErrorBody> {
        let unusable = |error: std::io::Error| {
            ErrorBody::new(ErrorCode::LocalFile, format!("cannot make a home for {name}: {error}"))
                .hint("TMPDIR names another temporary folder")
        };
        for folder in ["run", "state", "config", "data", "cache", "Downloads"] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(home.join(folder)).map_err(unusable)?;
        }
        let log_path = home.join("daemon.log");
        let log = File::create(&log_path).map_err(unusable)?;
        let program = program();
        let child = command(&program, name, home).stderr(log).spawn().map_err(|error| {
            let hint = "sharekarod belongs beside sharectl, or in a folder of PATH";
            ErrorBody::new(ErrorCode::Unavailable, format!("cannot start {}: {error}", program.display())).hint(hint)
        })?;
        Ok(Self { child, log_path })
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn said(&self) -> String {
        let log = fs::read(&self.log_path).unwrap_or_default();
        let text = String::from_utf8_lossy(log.get(log.len().saturating_sub(LOG_SHOWN)..).unwrap_or_default()).into_owned();
        if text.trim().is_empty() { "it said nothing".to_owned() } else { Shown(text.trim()).to_string() }
    }

    /// Asks the process to end and waits until it did; whether it did.
    fn ends_when_asked(&mut self) -> bool {
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return false };
        let asked = Instant::now();
        if self.has_ended() || kill_process(pid, Signal::TERM).is_err() {
            return self.has_ended();
        }
        while asked.elapsed() < END_TIMEOUT {
            if self.has_ended() {
                return true;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ends_when_asked() {
            let _ = self.child.kill(); // it is gone already: fine
            let _ = self.child.wait();
        }
    }
}

/// A daemon with no trace in the user's folders, on no bus and in no announcement.
fn command(program: &Path, name: &str, home: &Path) -> Command {
    let mut command = Command::new(program);
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("SHAREKARO_") {
            command.env_remove(variable);
        }
    }
    command.env("HOME", home).env("SHAREKARO_NAME", name).env("SHAREKARO_PORT", "0");
    command.env("SHAREKARO_MDNS", "false").env("SHAREKARO_DBUS", "false");
    for (variable, folder) in [
        ("XDG_RUNTIME_DIR", "run"),
        ("XDG_STATE_HOME", "state"),
        ("XDG_CONFIG_HOME", "config"),
        ("XDG_DATA_HOME", "data"),
        ("XDG_CACHE_HOME", "cache"),
        ("XDG_DOWNLOAD_DIR", "Downloads"),
    ] {
        command.env(variable, home.join(folder));
    }
    // a group of its own: Ctrl-C in the terminal reaches us, and we end it in order
    command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    command
}

/// `sharekarod` beside this program, else the one in PATH.
fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name("sharekarod"));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| "sharekarod".into())
}
