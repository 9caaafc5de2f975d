//! The one table of errors: code, exit code of `sharectl`, HTTP status, D-Bus name.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::nouns::transfer::words;

words! {
    /// What went wrong, for programs.
    ErrorCode {
        /// A defect of ours.
        Unexpected = "unexpected",
        /// The request makes no sense.
        Usage = "usage",
        /// No daemon answers.
        NoDaemon = "no_daemon",
        /// There is no such peer, transfer, offer.
        NotFound = "not_found",
        /// Several peers could be meant.
        Ambiguous = "ambiguous",
        /// It is not in a state in which this can be done.
        WrongState = "wrong_state",
        /// The peer cannot be reached now.
        Offline = "offline",
        /// The receiver did not want it.
        Declined = "declined",
        /// The peer is not paired, or may not do this.
        NotTrusted = "not_trusted",
        /// Another key uses the name of a paired device.
        KeyChanged = "key_changed",
        /// A file or folder of this machine cannot be used.
        LocalFile = "local_file",
        /// The receiver cannot store it: there is no room, or its disk refuses.
        NoSpace = "no_space",
        /// What arrived is not what was sent, or a signature is false.
        Integrity = "integrity",
        /// It took too long.
        TimedOut = "timed_out",
        /// Some of it was done, some not.
        Partial = "partial",
        /// Somebody ended it.
        Cancelled = "cancelled",
        /// This build, machine or permission lacks what it takes.
        Unavailable = "unavailable",
        /// A limit of ours was reached; later it may work.
        Busy = "busy",
    }
}

impl ErrorCode {
    /// Exit code of `sharectl`.
    pub const fn exit_code(self) -> u8 {
        self.row().0
    }

    /// HTTP status. Whatever a caller can mend or must expect is a 4xx; a 5xx is a defect of ours.
    pub const fn http_status(self) -> u16 {
        self.row().1
    }

    /// Last part of the D-Bus error name, after `org.sharekaro.Error.`.
    pub const fn dbus_name(self) -> &'static str {
        self.row().2
    }

    const fn row(self) -> (u8, u16, &'static str) {
        match self {
            Self::Unexpected => (1, 500, "Unexpected"),
            Self::Usage => (2, 400, "Invalid"),
            Self::NoDaemon => (3, 400, "NoDaemon"),
            Self::NotFound => (4, 404, "NotFound"),
            Self::Ambiguous => (4, 409, "Ambiguous"),
            Self::WrongState => (4, 409, "WrongState"),
            Self::Offline => (5, 409, "Offline"),
            Self::Declined => (6, 409, "Rejected"),
            Self::NotTrusted => (7, 403, "Untrusted"),
            Self::KeyChanged => (7, 403, "IdentityChanged"),
            Self::LocalFile => (8, 422, "LocalFile"),
            Self::NoSpace => (9, 409, "NoSpace"),
            Self::Integrity => (10, 422, "Integrity"),
            Self::TimedOut => (11, 408, "TimedOut"),
            Self::Partial => (12, 409, "Partial"),
            Self::Cancelled => (13, 409, "Cancelled"),
            Self::Unavailable => (14, 409, "Unsupported"),
            Self::Busy => (11, 429, "Busy"),
        }
    }
}

/// An error as every door tells it: what for programs, what for people, and what to do next.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{message}")]
pub struct ErrorBody {
    /// Which kind.
    pub code: ErrorCode,
    /// What we tried, on what, and why it failed.
    pub message: String,
    /// What to do next; empty where there is nothing to do.
    #[serde(default)]
    pub hint: String,
}

impl ErrorBody {
    /// An error without a hint.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: String::new() }
    }

    /// The same error with what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// `{"error": {...}}`: the body of every HTTP reply that is not a success.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorReply {
    /// What went wrong.
    pub error: ErrorBody,
}
