//! A method that made something returns its object's path; the object has to stand there before the reply goes out.
//!
//! Objects are put up by one task, which hears of them by events. A method does not wait for the event: it hands over
//! what it got from the engine, and its reply goes out when that stands.

use sharekaro_proto::control::{peer::Peer, transfer::Transfer};
use tokio::sync::{mpsc, oneshot};

/// Methods that wait at once before the next one waits for its turn.
const WAITING_MAX: usize = 64;

/// What has to stand on the bus.
pub(super) enum Wish {
    /// These transfers.
    Transfers(Vec<Transfer>),
    /// This peer.
    Peer(Box<Peer>),
}

/// A wish, and who waits for it.
pub(super) type Waiting = (Wish, oneshot::Sender<()>);

/// What methods hold.
#[derive(Clone)]
pub(super) struct Wishes(mpsc::Sender<Waiting>);

impl Wishes {
    /// The end that methods hold and the end that puts up objects.
    pub(super) fn channel() -> (Self, mpsc::Receiver<Waiting>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), receiver)
    }

    /// Returns when what is wished for stands, or when the connection is over and nobody waits for a reply any more.
    pub(super) async fn stand(&self, wish: Wish) {
        let (done, stands) = oneshot::channel();
        if self.0.send((wish, done)).await.is_ok() {
            let _ = stands.await; // an error: the connection is over
        }
    }
}
