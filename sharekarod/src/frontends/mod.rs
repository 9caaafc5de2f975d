//! They ask: translation only.
