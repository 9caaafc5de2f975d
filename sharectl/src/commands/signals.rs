//! The signals that ask to end: whoever must clean up waits for them beside its work.
//!
//! Whoever asks for them here is no longer ended by them, for as long as the program runs: they have to be waited for
//! from then on.

use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::ending::End;

/// Signals that ask a program to end, from the moment on at which this is made.
pub(super) struct Signals {
    kinds: Vec<(SignalKind, Signal)>,
}

impl Signals {
    /// All of them.
    pub(super) fn new() -> Result<Self, End> {
        Self::of([SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()])
    }

    /// Ctrl-C alone; the others end the program as ever.
    pub(super) fn interrupts() -> Result<Self, End> {
        Self::of([SignalKind::interrupt()])
    }

    fn of<const N: usize>(kinds: [SignalKind; N]) -> Result<Self, End> {
        let watched = kinds.into_iter().map(|kind| Ok((kind, signal(kind)?))).collect::<std::io::Result<_>>();
        watched.map(|kinds| Self { kinds }).map_err(|error| End::unexpected("watch for signals", &error))
    }

    /// The next one, as the exit code of a program that it ended. Safe to cancel.
    pub(super) async fn next(&mut self) -> u8 {
        std::future::poll_fn(|context| {
            let came = self.kinds.iter_mut().find_map(|(kind, signal)| match signal.poll_recv(context) {
                Poll::Ready(Some(())) => Some(exit_code(*kind)),
                _ => None, // none can come any more where the runtime ends
            });
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// 128 and the number of the signal, as shells count.
fn exit_code(kind: SignalKind) -> u8 {
    u8::try_from(128 + kind.as_raw_value()).unwrap_or(u8::MAX)
}
