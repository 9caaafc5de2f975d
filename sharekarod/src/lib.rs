//! The ShareKaro daemon as a library: `run` builds everything once, in order, and joins it.
//!
//! The only place that knows all parts.

pub mod config;
pub(crate) mod crash;
pub mod engine;
pub mod files;
pub mod frontends;
pub mod identity;
pub mod interfaces;
mod kernel;
pub(crate) mod lie;
pub mod lock;
pub mod memory;
pub mod monitor;
pub mod net;
pub mod service;
pub mod store;
#[cfg(test)]
pub(crate) mod testing;
pub mod watchers;
pub mod words;

use std::{
    io,
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use anyhow::Context;
use sharekaro_proto::control::net::Counters;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Config,
    engine::Engine,
    frontends::socket::ControlSocket,
    identity::Identity,
    lock::Lock,
    monitor::{Monitor, Notice},
    net::{Carried, Endpoint, Totals},
    store::Store,
};

/// What ends with the daemon has this long for its last words. With the engine's own end, which goes on beside it, and
/// that of the runtime, a stop stays within the 5 s of the units.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(2);

/// Runs the daemon until `shutdown`. What does not work and is not needed is a warning in `status`.
///
/// # Errors
/// This user has a daemon already; the state folder, the key or the database cannot be used.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let hangups = service::Hangups::listen();
    make_private_dir(&config.state_dir)?;
    let _state = Lock::take(&config.state_dir.join("lock"))?; // first: whoever has the state is the daemon of this user
    let socket = ControlSocket::bind(&config.socket)?;
    let identity = Arc::new(Identity::load_or_create(&config.state_dir)?);
    let opened = Store::open(&config.state_dir)?;
    let engine = Engine::new(config, Arc::clone(&identity), opened.store, shutdown.clone())?;
    if let Some(aside) = opened.damaged {
        engine.warn(
            "database_damaged",
            format!("the database was damaged and a new one was begun; the old one is {}", aside.display()),
            "pair your peers again, or restore a backup of the state folder",
        );
    }
    let tasks = TaskTracker::new();
    let carried = Arc::new(Carried::default());
    start_network(&engine, identity, carried.clone());
    tasks.spawn(watchers::discover(engine.clone(), shutdown.clone()));
    tasks.spawn(watchers::watch_links(engine.clone(), shutdown.clone()));
    tasks.spawn(watchers::watch_drop_folders(engine.clone(), shutdown.clone()));
    let monitor = start_monitor(&engine, carried, &tasks, &shutdown);
    tasks.spawn(socket.serve(frontends::api::router(engine.clone(), monitor, shutdown.clone()), shutdown.clone()));
    tasks.spawn(frontends::dbus::run(engine.clone(), shutdown.clone()));
    tasks.spawn(hangups.obey(engine.clone(), shutdown.clone()));
    tasks.spawn(service::tell_how_it_goes(engine.clone(), shutdown.clone()));
    tasks.spawn(memory::keep_small(shutdown.clone()));
    tracing::info!(name = %engine.config().name, id = %engine.id(), socket = %engine.config().socket.display(), "ready");
    service::ready();

    shutdown.cancelled().await;
    service::stopping();
    tasks.close();
    let _ = tokio::join!(tokio::time::timeout(LAST_WORDS, tasks.wait()), engine.stop());
    tracing::info!("ended");
    Ok(())
}

/// Binds the UDP port and lets the engine use it. Without a network the daemon serves its frontends all the same.
fn start_network(engine: &Engine, identity: Arc<Identity>, carried: Arc<Carried>) {
    let config = engine.config();
    let (hello, admission) = (engine.clone(), engine.clone());
    let mut settings = net::Settings::new(config.port, move || hello.hello(), move |id| admission.admit(id));
    settings.carried = carried;
    settings.congestion = match config.congestion {
        config::Congestion::Cubic => net::Congestion::Cubic,
        config::Congestion::Bbr => net::Congestion::Bbr,
    };
    match Endpoint::bind(identity, settings) {
        Ok(endpoint) => {
            if endpoint.port_taken() {
                let message = format!("UDP port {} is taken; {} is used instead", config.port, endpoint.local_port());
                engine.warn("port_taken", message, "end what uses it, or set another `port`, and open that one in the firewall");
            }
            if endpoint.buffers().are_small() {
                let message = format!("the kernel grants only {} bytes of receive buffer", endpoint.buffers().receive);
                engine.warn("small_buffers", message, "sudo sysctl -w net.core.rmem_max=8388608 net.core.wmem_max=8388608");
            }
            engine.start(endpoint);
        }
        Err(e) => engine.warn("no_network", format!("cannot use UDP port {}: {e}", config.port), "set another `port`"),
    }
}

/// Starts to watch the network, where that is wanted and its file can be used; everything else works without.
fn start_monitor(engine: &Engine, carried: Arc<Carried>, tasks: &TaskTracker, shutdown: &CancellationToken) -> Option<Monitor> {
    let config = engine.config();
    if !config.net {
        return None;
    }
    let settings = monitor::Config { warm_up: config.net_warmup };
    let carried = move |over: &[IpAddr]| {
        let Totals { sent, received } = carried.over(over);
        let (bytes_sent, packets_sent) = (sent.bytes, sent.packets);
        Counters { bytes_sent, bytes_received: received.bytes, packets_sent, packets_received: received.packets, ..Counters::default() }
    };
    match monitor::start(settings, Box::new(carried), &config.state_dir.join("monitor.db"), shutdown.clone()) {
        Ok((monitor, notices, work)) => {
            tasks.spawn(work);
            tasks.spawn(publish(notices, engine.clone()));
            Some(monitor)
        }
        Err(e) => {
            let hint = "remove monitor.db in the state folder: it holds measurements only";
            engine.warn("net_history", format!("the network is not watched: {:#}", anyhow::Error::new(e)), hint);
            None
        }
    }
}

/// What the monitor notices becomes events and warnings. Ends with the monitor.
async fn publish(mut notices: mpsc::Receiver<Notice>, engine: Engine) {
    while let Some(notice) = notices.recv().await {
        match notice {
            Notice::Anomaly(anomaly) => engine.tell_anomaly(*anomaly),
            Notice::Trouble { code, message, hint } => engine.warn(code, message, hint),
            Notice::Resolved { code } => engine.unwarn(code),
        }
    }
}

/// A folder for us alone.
fn make_private_dir(dir: &Path) -> anyhow::Result<()> {
    leave_to_its_owner(dir).with_context(|| unusable(dir))?;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(|| unusable(dir))?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).with_context(|| unusable(dir))
}

/// What root makes in somebody's home, as with `sudo -E`, its owner's daemon could never open again; and a key in a folder
/// of another user is that user's.
fn leave_to_its_owner(dir: &Path) -> io::Result<()> {
    let us = rustix::process::geteuid().as_raw();
    let Some((there, found)) = dir.ancestors().find_map(|path| Some((path, path.metadata().ok()?))) else { return Ok(()) };
    let owner = found.uid();
    let known_to_be_somebody = owner != 0 && owner != sharekaro_proto::control::socket::NOBODY;
    let forbidden = if there == dir { owner != us } else { us == 0 && known_to_be_somebody };
    if forbidden {
        let what = format!("{} belongs to user {owner}, and this is user {us}", there.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    Ok(())
}

fn unusable(state_dir: &Path) -> String {
    let path = state_dir.display();
    format!("cannot use {path} for our key and database: free it for us, or name another folder by state_dir (SHAREKARO_STATE_DIR)")
}
