//! Where the programs under test are: beside the tests that were built with them.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

/// The built program of this name: from `SHAREKARO_BIN` where that is set, otherwise from the profile folder
/// (`target/release`, `target/debug`) in which this very test was built.
///
/// # Errors
/// It is not there; the text says how to build it.
pub fn program(name: &str) -> Result<PathBuf> {
    let dir = match env::var_os("SHAREKARO_BIN") {
        Some(dir) => PathBuf::from(dir),
        None => profile_dir()?,
    };
    let path = dir.join(name);
    ensure!(path.is_file(), "{} is not built: run ./test.sh, or `cargo build -p {name}` in the same profile", path.display());
    Ok(path)
}

/// The built daemon that ends where `SHAREKARO_CRASH_AT` says: from `SHAREKARO_CRASH_BIN`, otherwise as `program`.
///
/// # Errors
/// It is not there; the text says how to build it.
pub(crate) fn crashing_daemon() -> Result<PathBuf> {
    let path = match env::var_os("SHAREKARO_CRASH_BIN") {
        Some(dir) => PathBuf::from(dir),
        None => profile_dir()?,
    }
    .join("sharekarod");
    ensure!(path.is_file(), "{} is not built: {CRASHING}", path.display());
    Ok(path)
}

/// How to build the daemon that can be ended at a named point.
pub(crate) const CRASHING: &str = "run ./test.sh, or `cargo build -p sharekarod --features crash-points`";

/// `target/PROFILE` of the running test, which stands in it or in its `deps`.
fn profile_dir() -> Result<PathBuf> {
    let exe = env::current_exe().context("where is this test?")?;
    let dir = exe.parent().context("this test stands nowhere")?;
    let dir = if dir.ends_with("deps") { dir.parent().context("deps stands nowhere")? } else { dir };
    Ok(dir.to_owned())
}

/// A command of the system, found also where only root looks (`ip` and `nft` are in /usr/sbin).
pub(crate) fn system(argv: &[&str]) -> Command {
    let mut command = Command::new(argv.first().copied().unwrap_or("true"));
    command.args(argv.iter().skip(1)).env("PATH", search_path());
    command
}

/// `PATH` with the folders of system programs at its end.
pub(crate) fn search_path() -> String {
    format!("{}:/usr/sbin:/sbin:/usr/bin:/bin", env::var("PATH").unwrap_or_default())
}
