//! Texts, and that they were read.

use prost::Message;

/// Texts, oldest first, without a gap after those that were acknowledged.
#[derive(Clone, PartialEq, Message)]
pub struct Messages {
    /// Texts.
    #[prost(message, repeated, tag = "1")]
    pub texts: Vec<Text>,
    /// The receiver of these may take as delivered and read: ids of 16 bytes.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub read: Vec<Vec<u8>>,
}

/// One text.
#[derive(Clone, PartialEq, Message)]
pub struct Text {
    /// UUID, 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// Which outbox: random per state directory, so that a restored backup cannot use a number again.
    #[prost(fixed64, tag = "2")]
    pub epoch: u64,
    /// Number in that outbox for this peer, from 1, without gaps.
    #[prost(uint64, tag = "3")]
    pub seq: u64,
    /// When it was written: milliseconds since 1970, on the writer's clock.
    #[prost(uint64, tag = "4")]
    pub at_ms: u64,
    /// UTF-8, at most 65,536 bytes.
    #[prost(string, tag = "5")]
    pub text: String,
}
