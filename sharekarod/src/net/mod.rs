//! The ground floor of the network: one QUIC endpoint, TLS pinned to keys, authenticated sessions. No policy.
//!
//! quinn and rustls are named here and nowhere else. A `Session` is with a proven `DeviceId`; who that is and what it
//! may do is for the engine to say, through the closure that `Settings` brings and `Session::trust`.

mod admission;
mod batch;
mod carried;
mod code;
mod congestion;
mod dial;
mod endpoint;
mod greeting;
mod knock;
mod limits;
mod missed;
mod outbox;
mod request;
mod session;
mod socket;
mod stream;
mod tls;
mod transport;

#[cfg(test)]
mod tests;

pub use admission::Admission;
pub use carried::{Amount, Carried, Totals};
pub use code::{Code, Ended, SessionError};
pub use dial::DialError;
pub use endpoint::{Endpoint, Error, Settings};
pub use knock::{Knock, knock};
pub use request::{Ask, Incoming};
pub use session::{Session, Stats};
pub use socket::Buffers;
pub use stream::Body;
pub use transport::Congestion;
