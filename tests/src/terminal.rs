//! A real terminal, as tmux has one: a program in it, keys that are pressed, and what a person would see.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{Host, programs::program, until};

/// A window with `sharectl` in it. Dropping it closes the window.
pub struct Terminal<'h> {
    host: &'h Host,
    socket: PathBuf,
}

impl<'h> Terminal<'h> {
    /// A window of this size in which `sharectl WORDS` begins. Its exit code stands there as `LEFT 0` when it has ended.
    ///
    /// # Errors
    /// There is no tmux, or nothing is drawn.
    pub fn open(host: &'h Host, words: &str, (columns, rows): (u16, u16)) -> Result<Self> {
        let window = Self { host, socket: host.home().join(format!("tmux-{}", words.replace(' ', "-"))) };
        let command = format!("{} {words}; echo LEFT $?; exec sleep 1000", program("sharectl")?.display());
        let size = [columns.to_string(), rows.to_string()];
        window.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &size[0], "-y", &size[1], "sh", "-c", &command])?;
        window.tmux(&["set-option", "-g", "status", "off"])?;
        until("something is drawn", 15, || Ok((!window.screen()?.trim().is_empty()).then_some(())))?;
        Ok(window)
    }

    /// Types a text, and Enter.
    ///
    /// # Errors
    /// tmux is gone.
    pub fn says(&self, text: &str) -> Result<()> {
        self.tmux(&["send-keys", "-l", "--", text])?;
        self.press("Enter")
    }

    /// Presses a key, as tmux names it.
    ///
    /// # Errors
    /// tmux is gone.
    pub fn press(&self, key: &str) -> Result<()> {
        self.tmux(&["send-keys", key]).map(drop)
    }

    /// The window has another size from now on.
    ///
    /// # Errors
    /// tmux is gone.
    pub fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]).map(drop)
    }

    /// What stands in the window.
    ///
    /// # Errors
    /// tmux is gone.
    pub fn screen(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until all of these stand in one line, and returns it.
    ///
    /// # Errors
    /// They do not, within twenty seconds; the text is the window.
    pub fn shows(&self, parts: &[&str]) -> Result<String> {
        let all_in = |line: &&str| parts.iter().all(|part| line.contains(part));
        let found = until(&format!("{parts:?} is shown"), 20, || Ok(self.screen()?.lines().find(all_in).map(str::to_owned)));
        match found {
            Ok(line) => Ok(line),
            Err(e) => bail!("{e:#}; the window shows\n{}", self.screen()?),
        }
    }

    fn tmux(&self, words: &[&str]) -> Result<String> {
        let mut command = self.host.command(Path::new("tmux"));
        let done = command.args(["-u", "-S"]).arg(&self.socket).args(words).stdin(Stdio::null()).output().context("cannot run tmux")?;
        ensure!(done.status.success(), "tmux {}: {}", words.join(" "), String::from_utf8_lossy(&done.stderr).trim());
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]); // it may have ended with its window
    }
}
