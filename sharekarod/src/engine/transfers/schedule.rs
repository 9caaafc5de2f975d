//! Limits that depend on the hour: `[[limit]]` of the configuration.

use std::time::Duration;

use jiff::Zoned;
use sharekaro_proto::nouns::hours::TimeOfDay;
use tokio::sync::Notify;

use crate::{config::Config, engine::Engine};

/// Wakes who keeps to the schedule: the configuration changed.
#[derive(Default)]
pub struct Schedule(Notify);

impl Engine {
    /// Sets the limits of this minute, and again with each minute while the configuration names hours. Without any, it
    /// sleeps until the configuration changes.
    pub(crate) async fn keep_schedule(self) {
        loop {
            let (config, now) = (self.config(), Zoned::now());
            self.apply_limits(&config, &now);
            let changed = self.inner.jobs.schedule.0.notified();
            if config.limits.is_empty() {
                changed.await;
            } else {
                // The clock may be set and the machine may sleep, so each minute is looked at, not the end of the hours.
                let rest = Duration::from_secs(60u64.saturating_sub(now.second().unsigned_abs().into()).max(1));
                let _ = tokio::time::timeout(rest, changed).await;
            }
        }
    }

    /// The configuration changed.
    pub(crate) fn schedule_changed(&self) {
        self.inner.jobs.schedule.0.notify_one();
    }

    fn apply_limits(&self, config: &Config, now: &Zoned) {
        let time = TimeOfDay::new(now.hour().unsigned_abs(), now.minute().unsigned_abs()).unwrap_or_default();
        let (upload, download) = config.limits_at(time);
        self.inner.jobs.upload.set(upload);
        self.inner.jobs.download.set(download);
    }
}
