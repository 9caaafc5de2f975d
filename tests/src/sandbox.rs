//! A home of its own: every folder that XDG names, and the environment that points there.
//!
//! It goes when it is dropped, unless `SHAREKARO_TESTS_KEEP=1`.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{content::write_random, programs::search_path};

/// A home in a temporary folder.
pub struct Sandbox {
    dir: TempDir,
}

impl Sandbox {
    /// An empty home.
    ///
    /// # Errors
    /// The temporary folder cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        // As most people have it: modes are kept within it, and that of whoever runs the tests may be a strict one.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let mut dir = tempfile::Builder::new().prefix(&format!("sharekaro-{name}.")).tempdir().context("cannot make a home")?;
        dir.disable_cleanup(env::var_os("SHAREKARO_TESTS_KEEP").is_some());
        for sub in ["run", "state", "config", "data", "cache", "Downloads", "outgoing"] {
            fs::create_dir(dir.path().join(sub))?;
        }
        fs::set_permissions(dir.path().join("run"), Permissions::from_mode(0o700))?;
        Ok(Self { dir })
    }

    /// The home.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The whole environment for a program that is to live here, and nothing of ours beside it.
    pub fn environment(&self, name: &str) -> BTreeMap<String, OsString> {
        let home = self.path();
        let log = env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
        let mut all: BTreeMap<String, OsString> = [
            ("PATH", search_path()),
            ("LANG", "C.UTF-8".into()),
            ("SHAREKARO_NAME", name.into()),
            ("RUST_LOG", log),
            ("RUST_BACKTRACE", "1".into()),
        ]
        .map(|(key, value)| (key.to_owned(), value.into()))
        .into();
        all.insert("HOME".to_owned(), home.into());
        for (key, sub) in [
            ("XDG_RUNTIME_DIR", "run"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_DOWNLOAD_DIR", "Downloads"),
        ] {
            all.insert(key.to_owned(), home.join(sub).into());
        }
        all
    }

    /// A file to send, with pseudo-random content that only this home and name have.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn file(&self, name: impl AsRef<Path>, size: u64) -> Result<PathBuf> {
        let path = self.path().join("outgoing").join(name);
        write_random(&path, size, &path.to_string_lossy())?;
        Ok(path)
    }
}
