//! A harness for tests of whole processes: hosts with a home of their own, each with a daemon that `sharectl` drives.
//!
//! `on_loopback` puts them on 127.0.0.1 and needs no privilege; `on_a_lan` puts each into a network namespace on a
//! bridge, with real mDNS, real QUIC and a cable that can be pulled, shaped and made lossy. Everything is torn down
//! when the scene ends, also by a panic; what a killed test run left behind, the next one removes.

mod content;
mod ctl;
mod far;
mod host;
mod image;
mod lan;
mod machine;
mod net;
mod programs;
mod sandbox;
mod scene;
mod terminal;
mod tree;
mod wait;

pub use content::{digest, digest_of, write_random};
pub use ctl::{Ctl, Reply, Running};
pub use far::{FarPath, Impairment};
pub use host::Host;
pub use image::Image;
pub use lan::{Cable, Lan};
pub use machine::{Machine, Said};
pub use net::within;
pub use programs::program;
pub use sandbox::Sandbox;
pub use scene::{among_radios, apart_on_loopback, beside_a_machine, on_a_dark_lan, on_a_lan, on_a_lan_of, on_loopback, pair};
pub use terminal::Terminal;
pub use tree::{mixed_folder, tree_digests};
pub use wait::{patience, until, wait_child};

/// How often a test that repeats itself does so: `few` in every run, `SHAREKARO_TESTS_ROUNDS` where somebody has the time.
pub fn rounds(few: usize) -> usize {
    std::env::var("SHAREKARO_TESTS_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(few)
}

/// How large somebody wants a test to be who has the time, by the variable of this name.
///
/// # Errors
/// It is set, and no number.
pub fn wanted(key: &str) -> anyhow::Result<Option<usize>> {
    match std::env::var(key) {
        Ok(text) if !text.is_empty() => text.parse().map(Some).map_err(|_| anyhow::anyhow!("{key} is a number, not {text:?}")),
        _ => Ok(None),
    }
}

/// Bytes of one MiB.
pub const MIB: u64 = 1 << 20;

/// Runs a system command to its end and returns what it printed.
///
/// # Errors
/// It cannot be started, or it ends with something else than 0; the text is what it said.
pub fn sh(argv: &[&str]) -> anyhow::Result<String> {
    let done = programs::system(argv).output().map_err(|e| anyhow::anyhow!("cannot run {}: {e}", argv.join(" ")))?;
    anyhow::ensure!(done.status.success(), "{}: {}", argv.join(" "), String::from_utf8_lossy(&done.stderr).trim());
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
