//! Points at which a test kills the process, to see what a crash there leaves behind.
//!
//! Without the feature `crash-points` this compiles to nothing, and no variable of the environment can kill anything.

/// Ends the process at once, as a power cut would for it, where `SHAREKARO_CRASH_AT` names this point.
#[cfg(feature = "crash-points")]
pub(crate) fn point(name: &str) {
    if std::env::var("SHAREKARO_CRASH_AT").is_ok_and(|at| at == name) {
        let killed = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        tracing::error!(?killed, name, "still alive at a crash point");
    }
}

/// Nothing.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub(crate) fn point(_name: &str) {}
