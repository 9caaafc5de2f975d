//! One question and its answer: what every stream but the first carries.

use prost::{Message, Oneof};

use super::*;

/// One question; it has a stream of its own.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// What is asked. `None` is a kind of a later version.
    #[prost(oneof = "request::Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19")]
    pub kind: Option<request::Kind>,
}

/// The kinds of `Request`.
pub mod request {
    use super::*;

    /// What is asked.
    #[derive(Clone, PartialEq, Oneof)]
    pub enum Kind {
        /// Are you there?
        #[prost(message, tag = "1")]
        Ping(Ping),
        /// May I send these? Again after each reconnection: then it asks where the transfer stands.
        #[prost(message, tag = "2")]
        Offer(Offer),
        /// The names, sizes and times of what is offered.
        #[prost(message, tag = "3")]
        Manifest(ManifestRequest),
        /// One piece of one file.
        #[prost(message, tag = "4")]
        Piece(PieceRequest),
        /// Many small files, whole.
        #[prost(message, tag = "5")]
        Pack(PackRequest),
        /// The chaining values of a file's pieces.
        #[prost(message, tag = "6")]
        Layer(LayerRequest),
        /// The parts of a sparse file that hold data.
        #[prost(message, tag = "7")]
        Extents(ExtentsRequest),
        /// All is stored; here is the receipt.
        #[prost(message, tag = "8")]
        Complete(Complete),
        /// One side pauses, resumes, cancels, limits.
        #[prost(message, tag = "9")]
        Change(Change),
        /// Pairing by words, first step.
        #[prost(message, tag = "10")]
        PairStart(PairStart),
        /// Pairing by words, second step.
        #[prost(message, tag = "11")]
        PairReveal(PairReveal),
        /// Pairing by words, the person's answer.
        #[prost(message, tag = "12")]
        PairConfirm(PairConfirm),
        /// A code is tried, first step.
        #[prost(message, tag = "13")]
        CodeStart(CodeStart),
        /// A code is tried, second step.
        #[prost(message, tag = "14")]
        CodeConfirm(CodeConfirm),
        /// The differences of a file to one that the receiver has.
        #[prost(message, tag = "15")]
        Delta(DeltaRequest),
        /// A text.
        #[prost(message, tag = "16")]
        Messages(Messages),
        /// So many bytes of nothing, to measure the line.
        #[prost(message, tag = "17")]
        Measure(Measure),
        /// A part of a long receipt.
        #[prost(message, tag = "18")]
        Receipt(ReceiptRequest),
        /// Can you call me?
        #[prost(message, tag = "19")]
        Examine(Examine),
    }
}

/// The answer to a `Request`.
#[derive(Clone, PartialEq, Message)]
pub struct Reply {
    /// How it went.
    #[prost(enumeration = "Status", tag = "1")]
    pub status: i32,
    /// For people, where it went wrong.
    #[prost(string, tag = "2")]
    pub message: String,
    /// Come again after so many milliseconds.
    #[prost(uint32, tag = "3")]
    pub retry_ms: u32,
    /// Raw bytes that follow this frame, at most `PAGE_MAX`.
    #[prost(uint32, tag = "4")]
    pub body_len: u32,
    /// What the sender of a transfer measures, in its answers about it.
    #[prost(message, optional, tag = "5")]
    pub figures: Option<Figures>,
    /// What belongs to the request.
    #[prost(oneof = "reply::Kind", tags = "10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21")]
    pub kind: Option<reply::Kind>,
}

/// The kinds of `Reply`.
pub mod reply {
    use super::*;

    /// What was asked for.
    #[derive(Clone, PartialEq, Oneof)]
    pub enum Kind {
        /// To `Ping`.
        #[prost(message, tag = "10")]
        Pong(Ping),
        /// To `Offer`: where the transfer stands at the receiver.
        #[prost(message, tag = "11")]
        Progress(Progress),
        /// To `Manifest`: the body is a page of frames, each an `Entry`.
        #[prost(message, tag = "12")]
        Manifest(ManifestPage),
        /// To `Piece`: the body is the piece.
        #[prost(message, tag = "13")]
        Piece(PieceHead),
        /// To `Pack`: the body is, for each file, a frame `PackHead` and its bytes.
        #[prost(message, tag = "14")]
        Pack(PackPage),
        /// To `Layer`: the body is 32 bytes a piece.
        #[prost(message, tag = "15")]
        Layer(LayerPage),
        /// To `Extents`.
        #[prost(message, tag = "16")]
        Extents(ExtentsPage),
        /// To `PairStart`: the nonce of the one that was asked.
        #[prost(message, tag = "17")]
        PairNonce(PairNonce),
        /// To `CodeStart` and `CodeConfirm`.
        #[prost(message, tag = "18")]
        Code(CodeReply),
        /// To `Delta`: the body is instructions.
        #[prost(message, tag = "19")]
        Delta(DeltaPage),
        /// To `Measure`.
        #[prost(message, tag = "20")]
        Measured(Measured),
        /// To `Examine`.
        #[prost(message, tag = "21")]
        Examined(Examined),
    }
}

/// How a request went.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Status {
    /// As asked.
    Ok = 0,
    /// This version does not know the request.
    Unsupported = 16,
    /// You may not, or not now.
    NotAuthorised = 17,
    /// There is no such transfer, file, invitation.
    NotFound = 18,
    /// The file is no longer what was offered.
    Changed = 19,
    /// Come again later.
    Busy = 20,
    /// The transfer is paused.
    Paused = 21,
    /// The transfer was cancelled.
    Cancelled = 22,
    /// It is over a limit.
    TooBig = 23,
    /// There is no room.
    NoSpace = 24,
    /// The request contradicts itself or what was said before.
    Invalid = 25,
    /// The code is wrong, used up or expired.
    WrongCode = 26,
    /// The file is gone.
    Vanished = 27,
    /// The file could not be read.
    Unreadable = 28,
    /// Something else; the message says what.
    Failed = 29,
}

/// A question and its echo.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Ping {
    /// Comes back as it went.
    #[prost(uint64, tag = "1")]
    pub nonce: u64,
}
