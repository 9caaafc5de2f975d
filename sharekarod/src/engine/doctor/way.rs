//! The way to a peer, tried from both ends: we knock from a fresh port, and where a session stands the peer does the
//! same and says how it sees us. What others ask of us here is bounded: a few packets, to where they are already.

use std::{net::SocketAddr, time::Duration};

use sharekaro_proto::{
    DeviceId,
    wire::{Examine, Examined, Reply, Request, reply, request},
};
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use super::facts::{Presence, View, Way};
use crate::{
    engine::{Engine, clock, peers::serve::Answer},
    interfaces,
    net::{Ask, DialError, Knock, Session, knock},
};

/// Paired peers that are called back at the same time.
static CALLED_BACK: Semaphore = Semaphore::const_new(4);

/// Addresses of one peer that are tried.
const ADDRESSES: usize = 4;

/// A machine that is there says so within this: the kernel takes eight seconds to lose a neighbour that it once knew.
const MACHINE_WITHIN: Duration = Duration::from_secs(11);

/// One attempt to reach a machine.
const TOUCH_WITHIN: Duration = Duration::from_millis(1500);

/// Longer than the peer's own attempt to call us takes, and its wait for our announcement.
const VIEW_WITHIN: Duration = Duration::from_secs(8);

/// An announcement may come a moment after the session.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(3);

/// A peer calls again within this, however long it has failed.
const CALLS_WITHIN: Duration = Duration::from_secs(120);

/// Copies of a key that were not seen for so long may have been mended.
const COPIES_WITHIN: Duration = Duration::from_secs(600);

impl Engine {
    /// Everything about the way to one peer.
    pub(super) async fn try_way(&self, id: DeviceId, asked_for: bool) -> Way {
        let session = self.open_session(&id);
        let copies = self.look(|state| state.peers.get(&id).and_then(|known| known.copies));
        let mut way = Way {
            id,
            name: self.label(id),
            asked_for,
            address: None,
            on_our_link: false,
            connected: false,
            lost: false,
            announced: false,
            knock: None,
            machine: Presence::Unasked,
            missed_call: false,
            view: None,
            clock_ahead_ms: session.as_ref().map(clock_ahead_ms),
            other_key: None,
            copies: copies.filter(|copies| copies.seen_at.elapsed() < COPIES_WITHIN).map(|copies| copies.addresses),
        };
        if way.copies.is_some() {
            return way; // its sessions come and go: whatever is asked of one of the two says nothing of the other
        }
        let addresses = self.addresses_of(id, session.as_ref());
        let (tried, view) = tokio::join!(first_open(&addresses), self.ask_for_view(id, session.as_ref()));
        way.connected = view.connected;
        way.view = view.view;
        way.clock_ahead_ms = view.clock_ahead_ms.or(way.clock_ahead_ms);
        if let Some((address, knocked)) = tried {
            way.address = Some(address);
            way.knock = Some(knocked);
            way.on_our_link = interfaces::is_on_our_link(&address.ip());
            let missed = |address: &SocketAddr| self.endpoint().is_some_and(|endpoint| endpoint.missed_call(address.ip(), CALLS_WITHIN));
            way.missed_call = addresses.iter().any(missed);
            let known_to_be_there = way.connected || knocked == Knock::Answered || knocked == Knock::Closed;
            way.machine = if known_to_be_there { Presence::There } else { find_machine(as_neighbour(&addresses).unwrap_or(address)).await };
        }
        if !way.connected {
            way.other_key = self.other_key(id, &addresses).await;
        }
        self.look(|state| {
            if let Some(known) = state.peers.get(&id) {
                (way.announced, way.lost) = (known.announced, known.lost || known.session.is_some() && !way.connected);
            }
        });
        way
    }

    /// The address in use, or those where it may be; the likeliest first.
    fn addresses_of(&self, id: DeviceId, session: Option<&Session>) -> Vec<SocketAddr> {
        if let Some(session) = session {
            return vec![session.remote_address()];
        }
        self.look(|state| {
            let rows = state.peers.get(&id).map(|known| known.addresses.as_slice()).unwrap_or_default();
            rows.iter().map(|row| row.address).take(ADDRESSES).collect()
        })
    }

    /// Asks the peer to call us, and for its view of us.
    async fn ask_for_view(&self, id: DeviceId, session: Option<&Session>) -> Answered {
        let Some(session) = session else { return Answered::default() };
        let ask = Ask::new(Request { kind: Some(request::Kind::Examine(Examine {})) }).patience(VIEW_WITHIN);
        let asked = async {
            match timeout(VIEW_WITHIN, session.request(ask)).await {
                Ok(Ok((reply, _))) => Answered::read(&reply),
                Ok(Err(_)) | Err(_) => Answered::default(),
            }
        };
        // who is connected may be announced a moment later
        let (answered, ()) = tokio::join!(asked, self.wait_for_announcement(id));
        answered
    }

    async fn wait_for_announcement(&self, id: DeviceId) {
        let end = Instant::now() + ANNOUNCED_WITHIN;
        while !self.is_announced(id) && Instant::now() < end {
            sleep(Duration::from_millis(200)).await;
        }
    }

    fn is_announced(&self, id: DeviceId) -> bool {
        self.look(|state| state.peers.get(&id).is_some_and(|known| known.announced))
    }

    /// Who answers in the place of a peer, where it is somebody else.
    async fn other_key(&self, id: DeviceId, addresses: &[SocketAddr]) -> Option<DeviceId> {
        let impostor = self.look(|state| state.peers.get(&id).and_then(|known| state.peers.impostor(known)).map(|known| known.id));
        if impostor.is_some() || !self.is_kept(&id) {
            return impostor;
        }
        match self.dial(Some(id), addresses).await {
            Ok(session) => {
                self.welcome(session); // it is back meanwhile
                None
            }
            Err(DialError::OtherKey(other)) => Some(other),
            Err(_) => None,
        }
    }

    /// A peer asks how we see it and, where it is paired, whether we can call it.
    pub(crate) async fn examined(&self, session: &Session) -> Answer {
        let id = session.peer();
        let paired = self.look(|state| state.peers.get(&id).is_some_and(|known| known.trust.paired()));
        let (reached, ()) = tokio::join!(call_back(session, paired), self.wait_for_announcement(id));
        Answer::ok(Some(reply::Kind::Examined(Examined {
            reached,
            looks: self.looks_for_announcements(),
            sees: self.is_announced(id),
            clock_ms: clock::now_ms().unsigned_abs(),
        })))
    }

    fn looks_for_announcements(&self) -> bool {
        self.config().mdns && !self.look(|state| state.warnings.list().iter().any(|warning| warning.code == "no_mdns"))
    }
}

/// Whether a packet from a fresh port of ours comes through; strangers make us send nothing.
async fn call_back(session: &Session, paired: bool) -> Option<bool> {
    let _turn = if paired { CALLED_BACK.try_acquire().ok()? } else { return None };
    Some(knock(session.remote_address()).await == Knock::Answered)
}

/// What a peer said of us.
#[derive(Default)]
struct Answered {
    connected: bool,
    view: Option<View>,
    clock_ahead_ms: Option<i64>,
}

impl Answered {
    /// Whatever it says, it answers.
    fn read(reply: &Reply) -> Self {
        let Some(reply::Kind::Examined(it)) = &reply.kind else { return Self { connected: true, ..Self::default() } };
        Self {
            connected: true,
            view: Some(View { reached_us: it.reached, looks: it.looks, sees_us: it.sees }),
            clock_ahead_ms: Some(ahead(it.clock_ms, clock::now_ms())),
        }
    }
}

/// How far a peer's clock was ahead when it greeted us, in milliseconds.
fn clock_ahead_ms(session: &Session) -> i64 {
    let since = i64::try_from(session.opened_at().elapsed().as_millis()).unwrap_or(0);
    ahead(session.hello().clock_ms, clock::now_ms().saturating_sub(since))
}

fn ahead(theirs_ms: u64, ours_ms: i64) -> i64 {
    i64::try_from(theirs_ms).unwrap_or(i64::MAX).saturating_sub(ours_ms)
}

/// Knocks at all of them at once; the first that answers, or else the first.
async fn first_open(addresses: &[SocketAddr]) -> Option<(SocketAddr, Knock)> {
    let knocks = addresses.iter().map(async |address| (*address, knock(*address).await));
    let knocked = futures_util::future::join_all(knocks).await;
    knocked.iter().find(|(_, knock)| *knock == Knock::Answered).or(knocked.first()).copied()
}

/// The address at which the kernel knows whether a machine is on our link: an IPv4 one, as for IPv6 it does not tell.
fn as_neighbour(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    addresses.iter().copied().find(|address| address.is_ipv4() && interfaces::is_on_our_link(&address.ip()))
}

/// Whether a machine is there, whatever it lets through: a closed TCP port answers where no filter hides it, and on our
/// own link every machine has to say its hardware address.
pub(super) async fn find_machine(address: SocketAddr) -> Presence {
    let end = Instant::now() + MACHINE_WITHIN;
    while Instant::now() < end {
        match timeout(TOUCH_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Presence::There,
            Ok(Err(e)) if e.kind() == std::io::ErrorKind::ConnectionRefused => return Presence::There,
            Ok(Err(_)) => sleep(TOUCH_WITHIN / 3).await, // no neighbour, no way, or refused by somebody: look again
            Err(_) => {}
        }
        if hardware_address_known(address) == Some(false) {
            return Presence::Absent;
        }
    }
    Presence::Silent
}

/// `None` where the kernel does not tell: behind a router, and with IPv6.
pub(super) fn hardware_address_known(address: SocketAddr) -> Option<bool> {
    match address {
        SocketAddr::V4(v4) if interfaces::is_on_our_link(&address.ip()) => interfaces::neighbour(*v4.ip()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_of_peers_cannot_overflow_ours() {
        assert_eq!(ahead(1_000, 400), 600);
        assert_eq!(ahead(0, 400), -400);
        assert_eq!(ahead(u64::MAX, -1), i64::MAX);
    }

    #[tokio::test]
    async fn a_machine_whose_ports_are_closed_is_there() {
        let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

        assert_eq!(find_machine(nobody).await, Presence::There);
    }
}
