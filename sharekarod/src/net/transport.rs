//! What quinn is told: QUIC version 1, windows, streams, timeouts, packet sizes, congestion control.
//!
//! Every connection starts with a stranger's share; `Session::trust` raises it.

use std::{io, sync::Arc, time::Duration};

use quinn::{
    ClientConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, NoneTokenLog, ServerConfig, TransportConfig, ValidationTokenConfig,
    VarInt, VarIntBoundsExceeded,
    congestion::BbrConfig,
    crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig},
};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;
use sharekaro_proto::DeviceId;

use crate::{
    identity::Identity,
    net::{
        congestion::DiscerningConfig,
        limits,
        tls::{self, Met},
    },
};

/// QUIC version 1 (RFC 9000), the only one we answer.
const QUIC_V1: u32 = 1;

/// How the sending rate follows the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Congestion {
    /// Best on wires; does not slow down for noise.
    #[default]
    Cubic,
    /// Better where packets are lost to noise, as on bad radios; quinn calls its own experimental.
    Bbr,
}

/// Why a configuration could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigError {
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    #[error("cannot set up QUIC: no AES-128-GCM")]
    Suite(#[from] NoInitialCipherSuite),
    #[error("cannot set up QUIC: a limit is out of bounds")]
    Bounds(#[from] VarIntBoundsExceeded),
    #[error("cannot set up QUIC")]
    Quic(#[from] quinn::ConfigError),
    #[error("cannot set up QUIC")]
    Io(#[from] io::Error),
}

/// With keys that a restart keeps: a packet for a connection that our last run had is answered with a stateless reset
/// (RFC 9000, section 10.3), and the peer dials anew at once instead of waiting until the silence has lasted long enough.
///
/// # Errors
/// Where quinn refuses the packet size.
pub(super) fn endpoint(identity: &Identity, payload_max: u16) -> Result<EndpointConfig, ConfigError> {
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, &identity.derived_key("sharekaro 2026 QUIC stateless reset"));
    let id_key = identity.derived_key("sharekaro 2026 QUIC connection ids");
    let id_key = id_key.iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte));
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config
        .supported_versions(vec![QUIC_V1])
        .max_udp_payload_size(payload_max)?
        .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
    Ok(config)
}

/// Who dials keeps the connection alive: one side is enough, and the other can sleep.
///
/// # Errors
/// Where the timeout is longer than QUIC can say.
pub(super) fn transport(
    congestion: Congestion,
    idle: Duration,
    payload_max: u16,
    dials: bool,
) -> Result<Arc<TransportConfig>, ConfigError> {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(payload_max);
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(limits::STRANGER_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(limits::STREAM_WINDOW))
        .receive_window(VarInt::from_u32(limits::STRANGER_WINDOW))
        .send_window(u64::from(limits::STRANGER_WINDOW))
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(dials.then_some(limits::KEEP_ALIVE.min(idle / 4)))
        .max_idle_timeout(Some(IdleTimeout::try_from(idle)?))
        .mtu_discovery_config(Some(discovery));
    match congestion {
        Congestion::Cubic => config.congestion_controller_factory(Arc::new(DiscerningConfig::default())),
        Congestion::Bbr => config.congestion_controller_factory(Arc::new(BbrConfig::default())),
    };
    Ok(Arc::new(config))
}

/// # Errors
/// Where rustls refuses our certificate.
pub(super) fn server(identity: &Identity, transport: Arc<TransportConfig>) -> Result<ServerConfig, ConfigError> {
    let crypto = QuicServerConfig::try_from(tls::server(identity)?)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    // Tokens that spare a later visit the address check would be state about everybody who ever called.
    let mut tokens = ValidationTokenConfig::default();
    tokens.sent(0).log(Arc::new(NoneTokenLog));
    config
        .transport_config(transport)
        .max_incoming(limits::INCOMING)
        .incoming_buffer_size(limits::INCOMING_BYTES)
        .incoming_buffer_size_total(limits::INCOMING_BYTES_TOTAL)
        .validation_token_config(tokens)
        .migration(true);
    Ok(config)
}

/// # Errors
/// Where rustls refuses our certificate.
pub(super) fn client(
    identity: &Identity,
    expected: Option<DeviceId>,
    met: Met,
    transport: Arc<TransportConfig>,
) -> Result<ClientConfig, ConfigError> {
    let crypto = QuicClientConfig::try_from(tls::client(identity, expected, met)?)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport).version(QUIC_V1);
    Ok(config)
}
