//! Pipes: a file that has no place on one side or on both, because a program writes or reads it.

pub mod spool;
pub mod taking;

use std::{fs::DirBuilder, io, os::unix::fs::DirBuilderExt, path::PathBuf};

use crate::engine::Engine;

/// In our state: folders for us alone, one for each pipe.
const SPOOL_DIR: &str = "spool";

/// How the folder of a pipe begins whose file is to be sent.
const OUT: &str = "out-";

/// How the folder of a pipe begins whose file comes in.
const IN: &str = "in-";

impl Engine {
    fn spool_dir(&self) -> PathBuf {
        self.config().state_dir.join(SPOOL_DIR)
    }
}

/// A new folder for one pipe. Blocks for a moment.
fn make_dir(spool_dir: &std::path::Path, kind: &str) -> io::Result<PathBuf> {
    let dir = spool_dir.join(format!("{kind}{}", uuid::Uuid::now_v7().as_simple()));
    DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    Ok(dir)
}
