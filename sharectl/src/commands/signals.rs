//! The signals that ask to end: whoever must clean up waits for them beside its work.

use tokio::signal::unix::{SignalKind, signal};

use crate::ending::End;

/// The signals that ask a program to end.
pub(super) struct Signals {
    kinds: Vec<tokio::signal::unix::Signal>,
}

impl Signals {
    pub(super) fn new() -> Result<Self, End> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let kinds =
            kinds.into_iter().map(signal).collect::<Result<_, _>>().map_err(|error| End::unexpected("watch for signals", &error))?;
        Ok(Self { kinds })
    }

    /// The first of them.
    pub(super) async fn any(mut self) {
        std::future::poll_fn(|context| {
            if self.kinds.iter_mut().any(|signal| signal.poll_recv(context).is_ready()) {
                return std::task::Poll::Ready(());
            }
            std::task::Poll::Pending
        })
        .await;
    }
}

/// Ctrl-C, from the moment on at which this is made.
pub(super) struct Interrupts(tokio::signal::unix::Signal);

impl Interrupts {
    pub(super) fn new() -> Result<Self, End> {
        signal(SignalKind::interrupt()).map(Self).map_err(|error| End::unexpected("watch for Ctrl-C", &error))
    }

    /// The next one.
    pub(super) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await; // the runtime ends: nobody presses anything any more
        }
    }
}
