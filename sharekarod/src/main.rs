//! `sharekarod`: reads the configuration, runs the daemon, ends when it is told to.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{CommandFactory, Parser};
use sharekarod::{
    config::{self, Config, Told},
    engine,
    frontends::socket,
    memory, service,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What the daemon is told, and what only packagers ask of the program.
#[derive(Parser)]
#[command(name = "sharekarod", version, about = "Finds the machines on the LAN and moves messages, files and folders between them")]
struct Arguments {
    #[command(flatten)]
    told: Told,
    /// Print the manual page and end
    #[arg(long, hide = true)]
    manual: bool,
}

fn main() -> ExitCode {
    let Arguments { told, manual } = Arguments::parse();
    if manual {
        return print_manual();
    }
    start_logging();
    match run(told) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let one_too_many = service::is_one_too_many(&e);
            eprintln!("sharekarod: {e:#}");
            if let Some(hint) = hint(&e) {
                eprintln!("hint: {hint}");
            }
            if one_too_many {
                return ExitCode::SUCCESS;
            }
            service::failed(&format!("{e:#}"));
            exit_code(&e)
        }
    }
}

/// As for flags that make no sense, where the configuration makes none: to start again changes nothing, so the units do
/// not try.
const MISCONFIGURED: u8 = 2;

fn exit_code(error: &anyhow::Error) -> ExitCode {
    let misconfigured = error.is::<config::Error>() || is_rule(error);
    if misconfigured { ExitCode::from(MISCONFIGURED) } else { ExitCode::FAILURE }
}

/// A rule of the policy can be read, and makes no sense all the same.
fn is_rule(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(engine::Error::Rule(_)))
}

/// What to do about it, where the sentence does not say so itself.
fn hint(error: &anyhow::Error) -> Option<&'static str> {
    if let Some(wrong) = error.downcast_ref::<config::Error>() {
        return Some(wrong.hint());
    }
    if is_rule(error) {
        return Some(config::RULE_HINT);
    }
    if let Some(hint) = error.downcast_ref::<socket::Error>().and_then(socket::Error::hint) {
        return Some(hint);
    }
    match error.chain().find_map(|cause| cause.downcast_ref::<io::Error>())?.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free some space on that disk, or name a folder on another one: SHAREKARO_STATE_DIR; nothing was lost")
        }
        io::ErrorKind::PermissionDenied => Some(
            "it has to belong to the user that the daemon runs as (ls -ld tells whose it is): run it as that user, or name a folder of your own",
        ),
        io::ErrorKind::ReadOnlyFilesystem => Some("mount it writable, or name a folder elsewhere: SHAREKARO_STATE_DIR"),
        _ => None,
    }
}

fn run(told: Told) -> anyhow::Result<()> {
    let config = Config::new(told)?;
    raise_open_files();
    memory::set_up_heap();
    let workers = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 4));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(16)
        .thread_keep_alive(Duration::from_secs(3))
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        tokio::spawn(end_on_signal(shutdown.clone()));
        sharekarod::run(config, shutdown).await
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// The first signal asks, the second one insists.
async fn end_on_signal(shutdown: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("cannot listen for signals; only kill -9 ends this daemon");
        return;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if shutdown.is_cancelled() {
            std::process::exit(1);
        }
        shutdown.cancel();
    }
}

/// What the grammar does not say: files, signals, how it ends.
const MANUAL: &str = include_str!("../manual.roff");

/// The manual page, made from the same grammar that parses the arguments; packages ship it.
fn print_manual() -> ExitCode {
    let page = clap_mangen::Man::new(Arguments::command()).section("8").manual("ShareKaro");
    let mut out = io::stdout().lock();
    let written = (|| {
        page.render_title(&mut out)?;
        page.render_name_section(&mut out)?;
        page.render_synopsis_section(&mut out)?;
        page.render_description_section(&mut out)?;
        page.render_options_section(&mut out)?;
        out.write_all(MANUAL.as_bytes())
    })();
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A transfer holds dozens of files open; the soft limit of a session is often 1,024 for everything.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }); // the old limit does, more slowly
}

fn start_logging() {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,mdns_sd=warn,zbus=warn"));
    // the journal and a file add the time themselves or do not want colours; a terminal gets both
    fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
}
