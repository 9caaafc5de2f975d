//! `sharectl` as a person or a script runs it, and what it answered.

use std::{
    ffi::OsStr,
    fs::File,
    os::unix::fs::FileExt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::wait::{patience, wait_child};

/// What any command takes at most where nothing else runs, unless a test says more.
const PATIENCE: Duration = Duration::from_secs(120);

/// A command line that was not run yet.
pub struct Ctl {
    pub(crate) command: Command,
    pub(crate) shown: String,
    pub(crate) patience: Duration,
}

impl Ctl {
    pub(crate) fn new(mut command: Command, words: &str) -> Self {
        command.args(words.split_whitespace());
        Self { command, shown: format!("sharectl {words}"), patience: PATIENCE }
    }

    /// One more argument, whatever characters it has.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.shown = format!("{} {}", self.shown, arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// Several more.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// It takes at most so many seconds where nothing else runs, instead of two minutes.
    #[must_use]
    pub fn within(mut self, seconds: u64) -> Self {
        self.patience = Duration::from_secs(seconds);
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// It cannot be started, or takes too long.
    pub fn run(self) -> Result<Reply> {
        self.spawn()?.result()
    }

    /// Runs it to its end and wants exit code 0.
    ///
    /// # Errors
    /// As `run`, and any other exit code.
    pub fn ok(self) -> Result<Reply> {
        self.run()?.exits(&[0])
    }

    /// Starts it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(mut self) -> Result<Running> {
        // Files, not pipes: a program that says more than a pipe holds would wait for us for ever.
        let (out, err) = (tempfile::tempfile()?, tempfile::tempfile()?);
        self.command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?);
        let began = Instant::now();
        let child = self.command.spawn().with_context(|| format!("cannot run {}", self.shown))?;
        Ok(Running { child, shown: self.shown, out, err, began, patience: self.patience })
    }
}

/// A `sharectl` that runs. Dropping it kills it.
pub struct Running {
    child: Child,
    shown: String,
    out: File,
    err: File,
    began: Instant,
    patience: Duration,
}

impl Running {
    /// What it has printed on stdout so far.
    ///
    /// # Errors
    /// The file with it cannot be read.
    pub fn said(&self) -> Result<String> {
        whole(&self.out)
    }

    /// The whole lines that it has printed so far, each as JSON.
    ///
    /// # Errors
    /// A line is no JSON.
    pub fn lines(&self) -> Result<Vec<Value>> {
        let said = self.said()?;
        let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).with_context(|| format!("{}: no JSON: {line}", self.shown))).collect()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It takes too long (and is killed).
    pub fn result(mut self) -> Result<Reply> {
        let patience = patience(self.patience);
        let Some(status) = wait_child(&mut self.child, patience)? else {
            bail!("`{}` has not ended after {} s; it said {} | {}", self.shown, patience.as_secs(), self.said()?, whole(&self.err)?);
        };
        let took = self.began.elapsed();
        let (out, err) = (self.said()?, whole(&self.err)?);
        Ok(Reply { shown: self.shown.clone(), code: status.code(), out, err, took })
    }
}

/// The last words: a long transfer prints hundreds of lines.
fn end_of(text: &str) -> &str {
    let from = text.char_indices().rev().nth(1500).map_or(0, |(at, _)| at);
    text[from..].trim()
}

/// All of a file, without moving the offset that the running program shares.
fn whole(file: &File) -> Result<String> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len())?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a `sharectl` that ended said.
#[derive(Debug)]
pub struct Reply {
    shown: String,
    /// Its exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Its stdout.
    pub out: String,
    /// Its stderr.
    pub err: String,
    /// From its start to its end.
    pub took: Duration,
}

impl Reply {
    /// Itself, where it ended with one of these codes.
    ///
    /// # Errors
    /// It ended otherwise; the text holds all that it said.
    pub fn exits(self, codes: &[i32]) -> Result<Self> {
        ensure!(
            self.code.is_some_and(|code| codes.contains(&code)),
            "`{}` ended with {:?}, not {codes:?}; it said {} | {}",
            self.shown,
            self.code,
            end_of(&self.out),
            end_of(&self.err)
        );
        Ok(self)
    }

    /// Its one document, or its last line.
    ///
    /// # Errors
    /// Its stdout is neither.
    pub fn last(&self) -> Result<Value> {
        let document = serde_json::from_str(&self.out);
        let last = || serde_json::from_str(self.out.trim_end().rsplit('\n').next().unwrap_or_default());
        document.or_else(|_| last()).with_context(|| format!("`{}` printed no JSON: {} | {}", self.shown, self.out, self.err))
    }

    /// The code in its `error` object; empty where there is none.
    ///
    /// # Errors
    /// Its stdout is no JSON.
    pub fn error_code(&self) -> Result<String> {
        Ok(self.last()?["error"]["code"].as_str().unwrap_or_default().to_owned())
    }
}
