//! What a test makes this device say that is not so, to see what honest ones do with it.
//!
//! Without the feature `crash-points` this compiles to nothing, and no variable of the environment can make anything lie.

/// Spoils a piece that another receiver asked for, where `SHAREKARO_LIES` is `pieces`. Its value stays the true one, so
/// that only whoever hashes the bytes notices.
#[cfg(feature = "crash-points")]
pub(crate) fn spoil(piece: &mut [u8]) {
    static LIES: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| std::env::var("SHAREKARO_LIES").is_ok_and(|it| it == "pieces"));

    if let Some(byte) = piece.first_mut().filter(|_| *LIES) {
        *byte ^= 1;
    }
}

/// Nothing.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub(crate) fn spoil(_piece: &mut [u8]) {}
