//! `manual DIR`: the man pages, made from the same grammar that parses the arguments; packages ship them.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use sharekaro_proto::{ErrorBody, ErrorCode};

use crate::{cli::Cli, ending::End};

#[derive(Args, Debug)]
pub(crate) struct Manual {
    /// An empty folder
    dir: PathBuf,
}

impl Manual {
    pub(crate) fn run(self) -> Result<(), End> {
        let written = clap_mangen::generate_to(Cli::command(), &self.dir);
        written.map_err(|error| {
            ErrorBody::new(ErrorCode::LocalFile, format!("cannot write manual pages to {}: {error}", self.dir.display()))
                .hint("name a folder that is there")
                .into()
        })
    }
}
