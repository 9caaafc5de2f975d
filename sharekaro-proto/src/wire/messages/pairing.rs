//! Pairing by words, and by a code.

use prost::Message;

/// Pairing by words: a promise. The one that starts commits to a nonce before it sees the other's, so that neither
/// can try nonces until the words suit a man in the middle.
#[derive(Clone, PartialEq, Message)]
pub struct PairStart {
    /// BLAKE3 of the starter's nonce.
    #[prost(bytes = "vec", tag = "1")]
    pub commitment: Vec<u8>,
}

/// The other's nonce.
#[derive(Clone, PartialEq, Message)]
pub struct PairNonce {
    /// 32 random bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub nonce: Vec<u8>,
}

/// The promise is kept; from here on both show the same words.
#[derive(Clone, PartialEq, Message)]
pub struct PairReveal {
    /// 32 random bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub nonce: Vec<u8>,
}

/// What the person said.
#[derive(Clone, PartialEq, Message)]
pub struct PairConfirm {
    /// The words are the same.
    #[prost(bool, tag = "1")]
    pub same: bool,
}

/// A code is tried.
#[derive(Clone, PartialEq, Message)]
pub struct CodeStart {
    /// The code's number: which invitation, no secret.
    #[prost(uint32, tag = "1")]
    pub number: u32,
    /// SPAKE2 message.
    #[prost(bytes = "vec", tag = "2")]
    pub message: Vec<u8>,
    /// What the code is for: pairing or one transfer.
    #[prost(enumeration = "CodePurpose", tag = "3")]
    pub purpose: i32,
}

/// What a code is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum CodePurpose {
    /// Never said.
    Unspecified = 0,
    /// Pairing.
    Pair = 1,
    /// One transfer.
    Receive = 2,
}

/// Proof that the code was the same.
#[derive(Clone, PartialEq, Message)]
pub struct CodeConfirm {
    /// The code's number.
    #[prost(uint32, tag = "1")]
    pub number: u32,
    /// Keyed BLAKE3 over role, both ids and the session's exported key.
    #[prost(bytes = "vec", tag = "2")]
    pub proof: Vec<u8>,
}

/// The inviter's half.
#[derive(Clone, PartialEq, Message)]
pub struct CodeReply {
    /// SPAKE2 message (to `CodeStart`).
    #[prost(bytes = "vec", tag = "1")]
    pub message: Vec<u8>,
    /// The inviter's proof (to `CodeConfirm`, once the other's is good).
    #[prost(bytes = "vec", tag = "2")]
    pub proof: Vec<u8>,
    /// `TransferKey` of what the code was made for; it is offered next.
    #[prost(bytes = "vec", tag = "3")]
    pub transfer: Vec<u8>,
}
