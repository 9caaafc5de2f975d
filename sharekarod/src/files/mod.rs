//! The ground floor of bytes: names, trees, hashes, and the cage that received bytes are written in.
