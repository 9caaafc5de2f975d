//! The ShareKaro daemon as a library: `run` builds everything once, in order, and joins it.
//!
//! The only place that knows all parts.

pub mod config;
pub mod engine;
pub mod files;
pub mod frontends;
pub mod identity;
pub mod interfaces;
pub mod monitor;
pub mod net;
pub mod store;
pub mod watchers;
pub mod words;

use std::{
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use anyhow::Context;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{config::Config, engine::Engine, frontends::socket::ControlSocket, identity::Identity, net::Endpoint, store::Store};

/// Runs the daemon until `shutdown`. What does not work and is not needed is a warning in `status`.
///
/// # Errors
/// Another daemon serves this socket; the state folder, the key or the database cannot be used.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let socket = ControlSocket::bind(&config.socket)?; // first: whoever has it is the daemon of this user
    make_private_dir(&config.state_dir)?;
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
    start_network(&engine, identity);
    tasks.spawn(watchers::discover(engine.clone(), shutdown.clone()));
    tasks.spawn(watchers::watch_links(engine.clone(), shutdown.clone()));
    tasks.spawn(socket.serve(frontends::api::router(engine.clone(), shutdown.clone()), shutdown.clone()));
    if engine.config().dbus {
        tasks.spawn(frontends::dbus::run(engine.clone(), shutdown.clone()));
    }
    tasks.spawn(supervise(engine.clone(), shutdown.clone()));
    tracing::info!(name = %engine.config().name, id = %engine.id(), socket = %engine.config().socket.display(), "ready");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);

    shutdown.cancelled().await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tasks.close();
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), tasks.wait()).await;
    engine.stop().await;
    tracing::info!("ended");
    Ok(())
}

/// Binds the UDP port and lets the engine use it. Without a network the daemon serves its frontends all the same.
fn start_network(engine: &Engine, identity: Arc<Identity>) {
    let config = engine.config();
    let (hello, admission) = (engine.clone(), engine.clone());
    let mut settings = net::Settings::new(config.port, move || hello.hello(), move |id| admission.admission(id));
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

/// systemd hears how it goes so often; half of what the unit allows, and slow enough to let the machine sleep.
const BEAT: std::time::Duration = std::time::Duration::from_secs(10);

/// Tells systemd how it goes: a status line when it changes, and that the loop still turns.
async fn supervise(engine: Engine, shutdown: CancellationToken) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let beat = sd_notify::watchdog_enabled().map_or(BEAT, |interval| (interval / 2).min(BEAT));
    let mut beats = tokio::time::interval(beat);
    let mut said = String::new();
    loop {
        tokio::select! {
            _ = beats.tick() => {}
            () = shutdown.cancelled() => return,
        }
        let status = engine.status(); // takes the lock that all work takes: a deadlock stops the beats
        let line =
            format!("{} peers online, {} transfers, {} warnings", status.peers_online, status.transfers_active, status.warnings.len());
        let mut states = vec![sd_notify::NotifyState::Watchdog];
        if line != said {
            states.push(sd_notify::NotifyState::Status(&line));
        }
        let _ = sd_notify::notify(&states); // systemd is gone: nobody to tell
        said = line;
    }
}

/// A folder for us alone.
fn make_private_dir(dir: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make the state folder {}", dir.display()))?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
        .with_context(|| format!("cannot make the state folder {} private", dir.display()))
}
