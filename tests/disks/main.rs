//! Real file systems in images on loop devices, whose power is cut, whose room ends, which are taken away and which give
//! errors. Run by `./test.sh disks`; needs root, as loop devices belong to no namespace. One after the other: a daemon in a
//! mount namespace of its own would hold on to the disks of the others.

#![allow(missing_docs, reason = "the names of tests are sentences")]

mod errors;
mod power;
mod slow;

use std::path::Path;

use anyhow::{Context, Result};
use sharekaro_tests::{Host, Image, sh};

/// Bob lives on a disk of this kind from now on: his state, and what he receives. His daemon stands still meanwhile.
fn moves_onto_a_disk(host: &Host, kind: &str, size: u64) -> Result<Image> {
    host.stop(rustix::process::Signal::TERM)?;
    let disk = Image::new(host.home(), "disk", kind, size)?;
    let (state, there) = (host.home().join("state"), disk.path().join("state"));
    sh(&["cp", "-a", text(&state)?, text(&there)?])?;
    sh(&["sync", "-f", text(&there)?])?;
    host.set("XDG_STATE_HOME", there);
    host.set("SHAREKARO_INBOX_DIR", disk.path().join("inbox"));
    Ok(disk)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("an odd temporary folder")
}
