//! A host: a home, a daemon in it, `sharectl` beside it.
//!
//! Dropping a host kills its daemon. Where the test process itself is killed, the kernel kills the daemon too
//! (`setpriv --pdeathsig`), so that nothing is left behind.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io::{Read, Write},
    os::unix::{net::UnixStream, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    ctl::Ctl,
    lan::Cable,
    programs::{CRASHING, crashing_daemon, program},
    sandbox::Sandbox,
    wait::{patience, until, wait_child},
};

/// The daemon answers within this time after its start where nothing else runs, or it never will.
const START: Duration = Duration::from_secs(15);

/// What a daemon may take to end when it is asked to.
const STOP: Duration = Duration::from_secs(20);

/// Names the point at which a daemon that was built for it kills itself.
const CRASH_AT: &str = "SHAREKARO_CRASH_AT";

/// Names what a daemon that was built for it says untruly.
const LIES: &str = "SHAREKARO_LIES";

/// A host of a scene.
pub struct Host {
    /// What it is called, also by its daemon.
    pub name: String,
    sandbox: Sandbox,
    environment: Mutex<BTreeMap<String, OsString>>,
    cable: Option<Cable>,
    /// What the daemon is started behind, as `unshare --user`.
    behind: Mutex<Vec<String>>,
    daemon: Mutex<Option<Child>>,
    boots: Mutex<u32>,
}

impl Host {
    /// A host without a daemon yet; with a cable it lives in that cable's namespace.
    pub(crate) fn new(name: &str, cable: Option<Cable>) -> Result<Self> {
        let sandbox = Sandbox::new(name)?;
        let environment = Mutex::new(sandbox.environment(name));
        let (behind, daemon, boots) = (Mutex::default(), Mutex::new(None), Mutex::new(0));
        let host = Self { name: name.to_owned(), sandbox, environment, cable, behind, daemon, boots };
        // A session bus that happens to be around has nothing to do with this host.
        host.set("SHAREKARO_DBUS", "false");
        if host.cable.is_none() {
            host.set("SHAREKARO_MDNS", "false");
            host.set("SHAREKARO_PORT", "0");
        }
        Ok(host)
    }

    /// Sets a variable for every program that starts on this host from now on.
    pub fn set(&self, key: &str, value: impl Into<OsString>) {
        lock(&self.environment).insert(key.to_owned(), value.into());
    }

    /// Starts the daemon behind this command from now on: it has to end in becoming it.
    pub fn behind(&self, argv: &[&str]) {
        *lock(&self.behind) = argv.iter().map(|arg| (*arg).to_owned()).collect();
    }

    /// Its home.
    pub fn home(&self) -> &Path {
        self.sandbox.path()
    }

    /// A file to send.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn file(&self, name: impl AsRef<Path>, size: u64) -> Result<PathBuf> {
        self.sandbox.file(name, size)
    }

    /// What connects it to the LAN.
    ///
    /// # Panics
    /// The host is on loopback: a mistake of the test.
    pub fn cable(&self) -> &Cable {
        self.cable.as_ref().expect("this test belongs on a LAN")
    }

    // -- the daemon ---------------------------------------------------------------------------------------------

    /// Starts the daemon and waits until it answers; returns how long that took.
    ///
    /// # Errors
    /// It ends, or does not answer in time; the end of its log is in the text.
    pub fn start(&self) -> Result<Duration> {
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let began = Instant::now();
        let child =
            self.daemon_command()?.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().context("cannot start sharekarod")?;
        *lock(&self.daemon) = Some(child);
        let end = began + patience(START);
        while !self.answers() {
            if let Some(status) = lock(&self.daemon).as_mut().and_then(|child| child.try_wait().transpose()).transpose()? {
                bail!("sharekarod of {} ended with {status}: {}", self.name, self.log_end(600));
            }
            ensure!(Instant::now() < end, "sharekarod of {} does not answer: {}", self.name, self.log_end(600));
            thread::sleep(Duration::from_millis(2));
        }
        Ok(began.elapsed())
    }

    /// Whether the daemon answers on its control socket, asked without the cost of another program.
    fn answers(&self) -> bool {
        let Ok(mut stream) = UnixStream::connect(self.home().join("run/sharekaro/control.sock")) else { return false };
        let mut status = [0; 12];
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").is_ok()
            && stream.read_exact(&mut status).is_ok()
            && status == *b"HTTP/1.1 200"
    }

    /// How the daemon is started here, in its namespace where it has one.
    ///
    /// # Errors
    /// It is not built.
    pub fn daemon_command(&self) -> Result<Command> {
        let armed = [CRASH_AT, LIES].iter().any(|key| lock(&self.environment).contains_key(*key));
        let daemon = if armed { crashing_daemon()? } else { program("sharekarod")? };
        let mut command = Command::new("env");
        if let Some(cable) = &self.cable {
            command.args(["ip", "netns", "exec", cable.namespace()]);
        }
        if *lock(&self.boots) > 0 {
            let bound = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"";
            command.args(["unshare", "--mount", "--propagation", "slave", "sh", "-c", bound]).arg(self.boot_id_path());
        }
        command.args(["setpriv", "--pdeathsig", "KILL"]).args(&*lock(&self.behind)).arg(daemon);
        self.place(&mut command);
        Ok(command)
    }

    /// The daemon kills itself at this point (see `crash.rs` of it) once it is started again; `None`: nowhere.
    pub fn crash_at(&self, point: Option<&str>) {
        match point {
            Some(point) => self.set(CRASH_AT, point),
            None => drop(lock(&self.environment).remove(CRASH_AT)),
        }
    }

    /// The daemon spoils every piece that another receiver asks it for, once it is started again.
    pub fn lies(&self) {
        self.set(LIES, "pieces");
    }

    /// Waits until the daemon has killed itself.
    ///
    /// # Errors
    /// It has not, within so many seconds.
    pub fn has_crashed(&self, seconds: u64) -> Result<()> {
        let Some(mut child) = lock(&self.daemon).take() else { bail!("the daemon of {} does not run", self.name) };
        match wait_child(&mut child, patience(Duration::from_secs(seconds)))? {
            Some(status) => ensure!(status.signal() == Some(Signal::KILL.as_raw()), "it ended with {status}: {}", self.log_end(600)),
            None => {
                *lock(&self.daemon) = Some(child);
                bail!("{} never came to its crash point. Was the daemon built with them? {CRASHING}", self.name);
            }
        }
        Ok(())
    }

    /// From its next start on the daemon sees another start of the machine, as after a power cut. Needs root.
    ///
    /// # Errors
    /// The home cannot be written.
    pub fn next_boot(&self) -> Result<()> {
        let mut boots = lock(&self.boots);
        *boots += 1;
        Ok(fs::write(self.boot_id_path(), format!("00000000-0000-4000-8000-{:012}\n", *boots))?)
    }

    fn boot_id_path(&self) -> PathBuf {
        self.home().join("boot_id")
    }

    /// Stops the daemon with this signal and waits for its end.
    ///
    /// # Errors
    /// It has not ended in time (and is killed).
    pub fn stop(&self, signal: Signal) -> Result<()> {
        let Some(mut child) = lock(&self.daemon).take() else { return Ok(()) };
        // It may have ended by itself; that is what was wanted.
        let _ = kill_process(Pid::from_child(&child), signal);
        if wait_child(&mut child, patience(STOP))?.is_none() {
            child.kill()?;
            child.wait()?;
            bail!("sharekarod of {} did not end after {signal:?}: {}", self.name, self.log_end(400));
        }
        Ok(())
    }

    /// Sends the daemon a signal that it lives on with.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let daemon = lock(&self.daemon);
        Ok(kill_process(Pid::from_child(daemon.as_ref().context("the daemon does not run")?), signal)?)
    }

    /// As `kill -9`: it learns nothing of it.
    ///
    /// # Errors
    /// It survived.
    pub fn kill(&self) -> Result<()> {
        self.stop(Signal::KILL)
    }

    /// Kills it and starts it again.
    ///
    /// # Errors
    /// As `kill` and `start`.
    pub fn restart(&self) -> Result<()> {
        self.kill()?;
        self.start().map(drop)
    }

    /// The daemon's process.
    ///
    /// # Errors
    /// It does not run.
    pub fn pid(&self) -> Result<u32> {
        lock(&self.daemon).as_ref().map(Child::id).context("the daemon does not run")
    }

    /// Whether the daemon still runs.
    pub fn alive(&self) -> bool {
        matches!(lock(&self.daemon).as_mut().map(Child::try_wait), Some(Ok(None)))
    }

    /// A number of `/proc/PID/status` of the daemon, such as `VmRSS` and `VmHWM` in KiB.
    ///
    /// # Errors
    /// It does not run, or the kernel names no such line.
    pub fn proc_status(&self, key: &str) -> Result<u64> {
        let pid = self.pid()?;
        number_of(&fs::read_to_string(format!("/proc/{pid}/status"))?, key).with_context(|| format!("no {key}"))
    }

    /// How often a second the daemon was woken, within so long: voluntary context switches of all its threads.
    ///
    /// # Errors
    /// It does not run.
    pub fn wakeups(&self, within: Duration) -> Result<f64> {
        let before = self.switches()?;
        thread::sleep(within); // the measurement is about time
        let after = self.switches()?;
        let more = after.iter().map(|(thread, count)| count - before.get(thread).copied().unwrap_or(0).min(*count)).sum::<u64>();
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        Ok(more as f64 / within.as_secs_f64())
    }

    /// How much of a core the daemon uses, within so long: time on a processor of all its threads.
    ///
    /// # Errors
    /// It does not run.
    pub fn busy(&self, within: Duration) -> Result<f64> {
        let before = self.processor_time()?;
        thread::sleep(within); // the measurement is about time
        Ok(self.processor_time()?.saturating_sub(before).as_secs_f64() / within.as_secs_f64())
    }

    /// So far, of the threads that there are: finer than the clock ticks of `/proc/PID/stat`.
    fn processor_time(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid()?))? {
            let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            nanoseconds += text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Voluntary context switches of each thread; one may end or begin between two looks.
    fn switches(&self) -> Result<BTreeMap<OsString, u64>> {
        let pid = self.pid()?;
        let mut switches = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?;
            let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
            switches.insert(task.file_name(), number_of(&status, "voluntary_ctxt_switches").unwrap_or(0));
        }
        Ok(switches)
    }

    /// How often the daemon's log says this.
    ///
    /// # Errors
    /// There is no log yet.
    pub fn says(&self, what: &str) -> Result<usize> {
        Ok(String::from_utf8_lossy(&fs::read(self.log_path())?).matches(what).count())
    }

    /// The last bytes of the daemon's log.
    pub fn log_end(&self, bytes: usize) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(bytes)..]).trim().to_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.home().join("sharekarod.log")
    }

    // -- sharectl -----------------------------------------------------------------------------------------------

    /// `sharectl WORDS --json`; paths and odd arguments follow with `arg`.
    ///
    /// It needs no namespace: the control socket is a file.
    pub fn ctl(&self, words: &str) -> Ctl {
        Ctl::new(self.ctl_command(), &format!("--json {words}"))
    }

    /// `sharectl WORDS` as a person types it.
    pub fn ctl_for_people(&self, words: &str) -> Ctl {
        Ctl::new(self.ctl_command(), words)
    }

    /// Another program, in this host's home and with its environment; not in its namespace.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        self.place(&mut command);
        command
    }

    fn ctl_command(&self) -> Command {
        // Where it is not built, running this path fails and says which.
        let mut command = Command::new(program("sharectl").unwrap_or_else(|e| PathBuf::from(format!("({e})"))));
        self.place(&mut command);
        command
    }

    fn place(&self, command: &mut Command) {
        command.env_clear().envs(lock(&self.environment).iter()).current_dir(self.home());
    }

    /// One key of `sharectl config`.
    ///
    /// # Errors
    /// There is no such key, or it is no text.
    pub fn config(&self, key: &str) -> Result<String> {
        let config = self.ctl("config").ok()?.last()?;
        config[key].as_str().map(str::to_owned).with_context(|| format!("no {key} in {config}"))
    }

    /// The control socket.
    ///
    /// # Errors
    /// The daemon does not say.
    pub fn socket(&self) -> Result<PathBuf> {
        self.config("socket").map(PathBuf::from)
    }

    /// The UDP port of the daemon.
    ///
    /// # Errors
    /// The daemon does not say.
    pub fn port(&self) -> Result<u16> {
        let status = self.ctl("status").ok()?.last()?;
        let port = status["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        port.with_context(|| format!("no port in {status}"))
    }

    /// Where received files land.
    ///
    /// # Errors
    /// The daemon does not say.
    pub fn inbox(&self) -> Result<PathBuf> {
        self.config("inbox_dir").map(PathBuf::from)
    }

    // -- what can be seen ---------------------------------------------------------------------------------------

    /// The peer of this name, as this host sees it; `null` where it sees none.
    ///
    /// # Errors
    /// The daemon does not say.
    pub fn peer(&self, other: &Self) -> Result<Value> {
        let peers = self.ctl("peers").ok()?.last()?;
        let named = |peer: &&Value| [&peer["name"], &peer["alias"]].iter().any(|it| it.as_str() == Some(&other.name));
        Ok(peers["peers"].as_array().context("no peers")?.iter().find(named).cloned().unwrap_or_default())
    }

    /// Waits until this host has the other one online.
    ///
    /// # Errors
    /// Not in time.
    pub fn sees(&self, other: &Self) -> Result<Value> {
        until(&format!("{} sees {}", self.name, other.name), 20, || Ok(Some(self.peer(other)?).filter(|peer| peer["online"] == true)))
    }

    /// Waits until this host trusts the other one so.
    ///
    /// # Errors
    /// Not in time.
    pub fn trusts(&self, other: &Self, trust: &str) -> Result<Value> {
        until(&format!("{} has {} as {trust}", self.name, other.name), 20, || {
            Ok(Some(self.peer(other)?).filter(|peer| peer["trust"] == trust))
        })
    }

    /// Waits until a file of this name lies in the inbox, and returns where.
    ///
    /// # Errors
    /// Not in time.
    pub fn received(&self, name: &str) -> Result<PathBuf> {
        until(&format!("{name} is in the inbox of {}", self.name), 40, || {
            Ok(self.inbox_files()?.into_iter().find(|path| path.file_name().is_some_and(|it| it == name)))
        })
    }

    /// Every file in the inbox.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn inbox_files(&self) -> Result<Vec<PathBuf>> {
        let inbox = self.inbox()?;
        let mut folders = vec![inbox.clone()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(&folder) else {
                ensure!(folder == inbox, "cannot read {}", folder.display());
                continue;
            };
            for entry in entries {
                let entry = entry?;
                if entry.file_type()?.is_dir() { folders.push(entry.path()) } else { files.push(entry.path()) }
            }
        }
        Ok(files)
    }

    /// Waits until a transfer is in one of these states; any other end is an error.
    ///
    /// # Errors
    /// Not in time, or it ended otherwise.
    pub fn transfer_is(&self, id: &str, states: &[&str], seconds: u64) -> Result<Value> {
        until(&format!("transfer {id} of {} is {states:?}", self.name), seconds, || {
            let transfer = self.ctl("transfer show").arg(id).ok()?.last()?;
            let state = transfer["state"].as_str().unwrap_or_default();
            if states.contains(&state) {
                return Ok(Some(transfer));
            }
            ensure!(!["done", "declined", "cancelled", "expired", "failed"].contains(&state), "it is {state}: {transfer}");
            Ok(None)
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut child) = lock(&self.daemon).take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn number_of(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A poisoned lock only says that another thread of this test failed; what it guards is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
