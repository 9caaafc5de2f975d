//! `completions SHELL`: completions for a shell, on standard output.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{cli::Cli, ending::End};

#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// Which shell; its manual says where completions belong
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<(), End> {
        let mut script = Vec::new(); // clap_complete panics where it cannot write; a Vec takes everything
        clap_complete::generate(self.shell, &mut Cli::command(), "sharectl", &mut script);
        let mut out = std::io::stdout().lock();
        out.write_all(&script).and_then(|()| out.flush()).map_err(|error| End::no_output(&error))
    }
}
