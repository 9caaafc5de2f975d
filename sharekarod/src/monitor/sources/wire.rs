//! What only frames themselves tell, where this user may capture: ARP claims, DHCP answers, attempts at our ports with
//! their source, broadcasts. One socket, looked at once a second.

use std::{
    net::IpAddr,
    sync::mpsc::{Receiver, TryRecvError, sync_channel},
    thread,
};

use crate::monitor::{
    detect::rules::event::Event,
    frames,
    mac::Mac,
    packets::live::{LiveError, Lookout},
};

/// Seconds after which is tried again whether capturing is permitted by now.
const AGAIN: u32 = 600;
/// More frames in a second are no news but a storm, which is counted without them.
const MOST_FRAMES: usize = 20_000;

/// The socket, or why there is none.
pub(super) enum Wire {
    /// Not wanted before so many seconds are over.
    Closed(u32),
    /// A program opens it.
    Opening(Receiver<Result<Lookout, LiveError>>),
    /// It hears this interface, if that speaks Ethernet.
    Open(Lookout, Option<Heard>),
}

/// An interface, and whether there is something to hear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Heard {
    index: u32,
    ethernet: bool,
}

/// What the watched interface is, and who we are on it.
pub(super) struct Place<'a> {
    pub(super) name: &'a str,
    pub(super) index: u32,
    /// Packets that it received in the last second.
    pub(super) received: u64,
}

impl Wire {
    /// What was heard in the last second; an error where the socket cannot be had.
    pub(super) fn second(
        &mut self,
        place: &Place<'_>,
        ours: impl Fn(IpAddr) -> bool,
        is_own_mac: impl Fn(Mac) -> bool,
    ) -> Result<Vec<Event>, LiveError> {
        match self {
            Self::Closed(0) => *self = begin(place.name),
            Self::Closed(seconds) => *seconds -= 1,
            Self::Opening(opened) => match opened.try_recv() {
                Ok(Ok(lookout)) => *self = Self::Open(lookout, None),
                Ok(Err(error)) => {
                    *self = Self::Closed(AGAIN);
                    return Err(error);
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => *self = Self::Closed(AGAIN),
            },
            Self::Open(lookout, heard) => return Ok(hear(lookout, heard, place, ours, is_own_mac)),
        }
        Ok(Vec::new())
    }
}

/// Another program is started: that may take a moment, which the second does not have.
fn begin(interface: &str) -> Wire {
    let (sender, opened) = sync_channel(1);
    let interface = interface.to_owned();
    // It ends by itself: `Lookout::open` waits for no more than some seconds.
    let spawned = thread::Builder::new().name("open-capture".to_owned()).spawn(move || _ = sender.send(Lookout::open(&interface)));
    if spawned.is_ok() { Wire::Opening(opened) } else { Wire::Closed(AGAIN) }
}

fn hear(
    lookout: &mut Lookout,
    heard: &mut Option<Heard>,
    place: &Place<'_>,
    ours: impl Fn(IpAddr) -> bool,
    is_own_mac: impl Fn(Mac) -> bool,
) -> Vec<Event> {
    let index = place.index;
    match *heard {
        Some(heard) if heard.index == index && heard.ethernet => {}
        Some(heard) if heard.index == index => return Vec::new(),
        _ => {
            // Refused, it is tried again a second later: the interface may just be coming.
            *heard = lookout.hear(index).ok().map(|ethernet| Heard { index, ethernet });
            return Vec::new();
        }
    }
    let (mut told, mut frames_heard, mut broadcasts) = (Vec::new(), 0_u64, 0_u64);
    for _ in 0..MOST_FRAMES {
        let Some(frame) = lookout.frame() else { break };
        frames_heard += 1;
        broadcasts += u64::from(frames::is_broadcast(frame));
        let event = frames::event(frame, &ours);
        // Another interface of ours on the same LAN answers for our addresses too.
        told.extend(event.filter(|event| !matches!(event, Event::Claim(_, mac) if is_own_mac(*mac))));
    }
    // Of those that were lost, as many were broadcasts as of the others.
    let passed = lookout.passed().unwrap_or(frames_heard).max(frames_heard);
    let estimate = if frames_heard == 0 { 0 } else { u128::from(passed) * u128::from(broadcasts) / u128::from(frames_heard) };
    told.push(Event::Broadcasts(u64::try_from(estimate).unwrap_or(u64::MAX), place.received));
    told
}
