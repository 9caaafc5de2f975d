//! The configuration is read again while the daemon runs: what it can follow counts at once, the rest after a start.

use std::sync::{Arc, PoisonError};

use super::Engine;

impl Engine {
    /// Reads the configuration again. A file that makes no sense changes nothing; it is a warning, and so is a key that
    /// needs a new start. Blocks while it reads the file.
    pub fn reload(&self) {
        let refuse = |e: &dyn std::fmt::Display| {
            let hint = "mend it and reload again: `systemctl --user reload sharekarod`";
            self.warn("bad_configuration", format!("{e}; what was in force before goes on"), hint);
        };
        let new = match self.config().reread() {
            Ok(new) => new,
            Err(e) => return refuse(&e),
        };
        let (config, need_a_start) = match self.config().follow(new) {
            Ok(followed) => followed,
            Err(e) => return refuse(&e),
        };
        if let Err(e) = self.update(|state| state.policy.reconfigured(&config.policy).map(|rules| state.policy = rules)) {
            return refuse(&e);
        }
        self.unwarn("bad_configuration");
        *self.inner.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        self.schedule_changed();
        self.drop_targets_changed();
        if need_a_start.is_empty() {
            return self.unwarn("restart_needed");
        }
        let message = format!("the configuration changes {}, which counts after a new start", need_a_start.join(", "));
        self.warn("restart_needed", message, "systemctl --user restart sharekarod; transfers go on afterwards");
    }
}
