//! What the service manager, where there is one, hears of us and asks of us: ready, a status line, the watchdog,
//! reload, stopping. Without `NOTIFY_SOCKET` only SIGHUP is left of it.

use std::time::Duration;

use sd_notify::{NotifyState, notify};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{engine::Engine, lock};

/// It hears how it goes so often; half of what the unit allows, and slow enough to let the machine sleep.
const BEAT: Duration = Duration::from_secs(10);

/// A status line longer than a screen is wide helps nobody, and a datagram of the manager's has its limit.
const WHY_MAX: usize = 500;

/// Everything works, or is a warning in `status`.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// From here on it ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// It could not start, and why: `systemctl status` shows it.
pub fn failed(why: &str) {
    let line: String = why.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(WHY_MAX).collect();
    tell(&[NotifyState::Status(&line)]);
}

/// Whether a daemon that could not start is one too many, which a service manager is told as a good end: this user has
/// a daemon, from another unit or a terminal, and to try again would change nothing.
pub fn is_one_too_many(error: &anyhow::Error) -> bool {
    let held = error.chain().any(|cause| matches!(cause.downcast_ref(), Some(lock::Error::Held { .. })));
    let managed = std::env::var_os("NOTIFY_SOCKET").is_some();
    if held && managed {
        // "Ready" first: a unit that ends before it was ready has failed, whatever its exit code. And apart: of several
        // states in one message only the last one counts.
        tell(&[NotifyState::Ready, NotifyState::Status("not needed: another sharekarod of this user runs")]);
        tell(&[NotifyState::Stopping]);
    }
    held && managed
}

/// Tells how it goes, a status line when it changes and that the loop still turns, until `shutdown`.
pub async fn tell_how_it_goes(engine: Engine, shutdown: CancellationToken) {
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
        let mut states = vec![NotifyState::Watchdog];
        if line != said {
            states.push(NotifyState::Status(&line));
        }
        tell(&states);
        said = line;
    }
}

/// The wish to read the configuration again.
pub struct Hangups(Option<Signal>);

impl Hangups {
    /// From here on SIGHUP is such a wish; before, it ends the process.
    pub fn listen() -> Self {
        let hangups = signal(SignalKind::hangup());
        Self(hangups.inspect_err(|e| tracing::error!("cannot listen for SIGHUP, only a restart reads the configuration again: {e}")).ok())
    }

    /// Reads the configuration again at every wish, until `shutdown`.
    pub async fn obey(self, engine: Engine, shutdown: CancellationToken) {
        let Some(mut hangups) = self.0 else { return };
        loop {
            tokio::select! {
                _ = hangups.recv() => {}
                () = shutdown.cancelled() => return,
            }
            let reloaded = engine.clone();
            tell_reloading();
            let _ = tokio::task::spawn_blocking(move || reloaded.reload()).await; // a panic there was logged; this daemon goes on
            ready();
            tracing::info!("the configuration was read again");
        }
    }
}

/// With the time of it, by which newer managers tell this reload from an older one.
fn tell_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

fn tell(states: &[NotifyState<'_>]) {
    let _ = notify(states); // no manager, or it is gone: nobody to tell
}
