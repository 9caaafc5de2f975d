//! The ground floor of the network: one QUIC endpoint, TLS pinned to keys, authenticated sessions. No policy.
