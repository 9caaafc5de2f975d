//! `sharectl`: the command line of ShareKaro. A client of the control API and nothing else: what a verb means, the
//! daemon decides; here are its grammar, its printing and its exit codes.

mod cli;
mod commands;
mod ending;
mod print;

use std::process::ExitCode;

use clap::Parser;

use crate::{cli::Cli, ending::End, print::Screen};

fn main() -> ExitCode {
    let args = cli::arguments(std::env::args_os());
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return ending::of_usage(&error, cli::wants_json(&args)),
    };
    let screen = Screen::new(cli.globals.json, cli.globals.quiet);
    // one thread is enough for one question, and starts faster than several
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return End::unexpected("start", &error).exit(&screen),
    };
    match runtime.block_on(commands::run(cli, &screen)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(end) => end.exit(&screen),
    }
}
