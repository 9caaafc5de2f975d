//! Where a user's own things are (XDG Base Directory, xdg-user-dirs).

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::Error;

/// The folders of this user.
pub(super) struct Home {
    pub(super) home: PathBuf,
    pub(super) config: PathBuf,
    pub(super) state: PathBuf,
    pub(super) downloads: PathBuf,
}

impl Home {
    /// As HOME and the XDG variables have it.
    pub(super) fn find() -> Result<Self, Error> {
        let set = |key: &str| std::env::var_os(key).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = set("HOME").or_else(std::env::home_dir).filter(|path| path.is_absolute()).ok_or(Error::NoHome)?;
        let config = set("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
        let downloads = set("XDG_DOWNLOAD_DIR").or_else(|| downloads(&config, &home)).unwrap_or_else(|| home.join("Downloads"));
        Ok(Self { state: set("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state")), config, downloads, home })
    }
}

/// The download folder in the language of the user: `XDG_DOWNLOAD_DIR="$HOME/..."` of `user-dirs.dirs`.
fn downloads(config: &Path, home: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(config.join("user-dirs.dirs")).ok()?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("XDG_DOWNLOAD_DIR="))?;
    let value = line.trim_matches('"');
    match value.strip_prefix("$HOME/") {
        Some(rest) if !rest.is_empty() => Some(home.join(rest)),
        Some(_) => None,
        None => Some(PathBuf::from(value)).filter(|path| path.is_absolute()),
    }
}
