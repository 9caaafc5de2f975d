//! Calling a device at the addresses where it may be: the next is tried before the last has failed, the first that
//! greets wins, the others are dropped before they have told who we are.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use quinn::{ConnectError, ConnectionError, TransportErrorCode};
use sharekaro_proto::DeviceId;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    identity::CERTIFICATE_NAME,
    net::{
        Admission, Code, Ended, Session, SessionError,
        endpoint::{Endpoint, peer_of},
        greeting, limits,
        session::Opened,
        tls::Met,
        transport,
    },
};

/// TLS alert 120, `no_application_protocol`.
const ALERT_NO_PROTOCOL: u8 = 120;

/// Why nobody could be called. The later a variant stands, the more it tells: of several addresses, that one is told.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody answers at any of the addresses.
    #[error("nobody answers")]
    NoAnswer,
    /// Our own endpoint is closed, or cannot call.
    #[error("our own endpoint cannot call now")]
    Unable,
    /// We ourselves answer: an address of our own, or another machine with a copy of our key.
    #[error("we ourselves answer there, or a copy of our key does")]
    Itself,
    /// Somebody else answers, and has proven to be this device.
    #[error("another device answers there: {0}")]
    OtherKey(DeviceId),
    /// It is there and speaks something else, or another version.
    #[error("what answers there does not speak our version of the protocol")]
    OtherVersion,
    /// It is one that we blocked.
    #[error("this device is blocked here")]
    Blocked,
    /// It is there and does not want us, or has no place.
    #[error("the device refused the session")]
    Refused,
}

impl Endpoint {
    /// Opens a session with `expected`, or with whoever is there, at the first of `addresses` that greets us.
    ///
    /// # Errors
    /// Of all that failed, what tells most.
    pub async fn dial(&self, expected: Option<DeviceId>, addresses: &[SocketAddr]) -> Result<Session, DialError> {
        let mut rest = callable(addresses);
        let mut trying = FuturesUnordered::new();
        let mut error = DialError::NoAnswer;
        let mut next_at = Instant::now();
        loop {
            let may_start = !rest.is_empty() && trying.len() < limits::ADDRESSES_AT_ONCE;
            tokio::select! {
                biased;
                Some(tried) = trying.next() => match tried {
                    Ok(session) => return Ok(session),
                    Err(failed) => {
                        error = error.max(failed);
                        next_at = Instant::now();
                    }
                },
                () = sleep_until(next_at), if may_start => {
                    trying.extend(rest.pop_front().map(|address| self.call(expected, address)));
                    next_at = Instant::now() + limits::NEXT_ADDRESS;
                }
                else => return Err(error),
            }
        }
    }

    async fn call(&self, expected: Option<DeviceId>, address: SocketAddr) -> Result<Session, DialError> {
        let calling = self.call_patiently(expected, address);
        timeout(limits::DIAL_DEADLINE, calling).await.unwrap_or(Err(DialError::NoAnswer))
    }

    async fn call_patiently(&self, expected: Option<DeviceId>, address: SocketAddr) -> Result<Session, DialError> {
        let met = Met::default();
        let config = transport::client(self.identity(), expected, met.clone(), self.transport()).map_err(|_| DialError::Unable)?;
        let connecting = match self.quinn().connect_with(config, address, CERTIFICATE_NAME) {
            Ok(connecting) => connecting,
            Err(ConnectError::EndpointStopping | ConnectError::CidsExhausted) => return Err(DialError::Unable),
            Err(_) => return Err(DialError::NoAnswer),
        };
        let line = connecting.await.map_err(|error| self.explain(error, expected, &met))?;
        let peer = peer_of(&line).ok_or(DialError::OtherVersion)?;
        if self.admit(&peer) == Admission::Blocked {
            line.close(Code::Refused.number(), b"");
            return Err(DialError::Blocked);
        }
        let greeted = greeting::call(&line, self.hello()).await.map_err(|error| unwelcome(&error))?;
        let opened = Opened { line, peer, dialed_by_us: true, window: self.window(), place: None, greeted };
        Ok(self.open(opened))
    }

    /// Whom we met tells more than how the handshake failed.
    fn explain(&self, error: ConnectionError, expected: Option<DeviceId>, met: &Met) -> DialError {
        let no_protocol = TransportErrorCode::crypto(ALERT_NO_PROTOCOL);
        match (met.get(), error) {
            (Some(met), _) if *met == self.identity().id() => DialError::Itself,
            (Some(met), _) if expected.is_some_and(|expected| expected != *met) => DialError::OtherKey(*met),
            (_, ConnectionError::ConnectionClosed(close)) if close.error_code == no_protocol => DialError::OtherVersion,
            // What failed on our side of the handshake failed because of what the other showed.
            (_, ConnectionError::TransportError(_) | ConnectionError::VersionMismatch) => DialError::OtherVersion,
            (_, ConnectionError::ConnectionClosed(_) | ConnectionError::ApplicationClosed(_)) => DialError::Refused,
            (_, ConnectionError::LocallyClosed) => DialError::Unable,
            _ => DialError::NoAnswer,
        }
    }
}

fn unwelcome(error: &SessionError) -> DialError {
    match error {
        SessionError::Ended(Ended::ByPeer(Code::Version)) => DialError::OtherVersion,
        SessionError::Ended(Ended::ByPeer(_) | Ended::Broken(_)) => DialError::Refused,
        SessionError::Ended(Ended::ByUs) => DialError::Unable,
        SessionError::Ended(Ended::Vanished) | SessionError::Stalled(_) => DialError::NoAnswer,
        _ => DialError::OtherVersion,
    }
}

/// Each address once, without those that cannot be one device's.
fn callable(addresses: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let mut seen = VecDeque::new();
    for address in addresses {
        let ip = address.ip();
        let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
        let nobody = address.port() == 0 || ip.is_unspecified() || ip.is_multicast() || broadcast;
        if !nobody && !seen.contains(address) && seen.len() < limits::ADDRESSES {
            seen.push_back(*address);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_can_be_one_device_are_called_and_each_once() {
        let given = [
            "10.0.0.1:5",
            "0.0.0.0:5",
            "10.0.0.1:5",
            "224.0.0.251:5353",
            "10.0.0.2:0",
            "255.255.255.255:9",
            "[ff02::fb]:5",
            "[fe80::1%2]:5",
        ];
        let given: Vec<SocketAddr> = given.iter().map(|text| text.parse().unwrap()).collect();

        let called: Vec<String> = callable(&given).iter().map(ToString::to_string).collect();

        assert_eq!(called, ["10.0.0.1:5", "[fe80::1%2]:5"]);
    }

    #[test]
    fn of_several_failures_the_one_that_tells_most_is_told() {
        let other = DialError::OtherKey(DeviceId::from_bytes([1; 32]));

        assert!(DialError::Refused > other && other > DialError::Itself && DialError::Itself > DialError::NoAnswer);
    }
}
