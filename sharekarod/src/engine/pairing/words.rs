//! The mathematics of pairing: the words that two screens show, the proofs behind a code.
//!
//! Words: the starter commits to a nonce before it sees the other's, then reveals it. Both nonces, both keys and the
//! key that TLS exports for this very session make the words, so a man in the middle, who has two sessions, shows
//! different ones, and cannot try nonces until they suit him (commit then reveal, as in ZRTP, RFC 6189 section 4.4.1).
//! Codes: SPAKE2 over the code's secret, then a proof of each role over the same exported key.

use sharekaro_proto::DeviceId;

use crate::words::from_bits;

/// Words of a pairing: 44 bits, one guess per attempt.
const WORDS: usize = 4;

/// What binds the words to one TLS session.
pub const EXPORT_WORDS: &[u8] = b"EXPORTER-sharekaro-pair-words-v1";

/// What binds a code's proofs to one TLS session.
pub const EXPORT_CODE: &[u8] = b"EXPORTER-sharekaro-code-v1";

/// A promise of a nonce.
pub fn commitment(nonce: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key("sharekaro 2026 pairing commitment v1", nonce)
}

/// The words of a pairing, the same on both sides of one session.
pub fn spoken(exported: &[u8; 32], starter: (DeviceId, &[u8; 32]), other: (DeviceId, &[u8; 32])) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("sharekaro 2026 pairing words v1");
    for part in [exported, starter.0.as_bytes(), other.0.as_bytes(), starter.1, other.1] {
        hasher.update(part);
    }
    from_bits(hasher.finalize().as_bytes(), WORDS)
}

/// Who proves that it knows the code.
#[derive(Clone, Copy)]
pub enum Role {
    /// Who made the code.
    Inviter,
    /// Who typed it.
    Joiner,
}

/// Proof of knowing the code, for one session and role.
pub fn proof(key: &[u8; 32], role: Role, exported: &[u8; 32], inviter: DeviceId, joiner: DeviceId) -> [u8; 32] {
    let label: &[u8] = match role {
        Role::Inviter => b"inviter",
        Role::Joiner => b"joiner",
    };
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in [label, exported, inviter.as_bytes(), joiner.as_bytes()] {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Whether two proofs are equal, in constant time (blake3's hashes compare so).
pub fn same(a: &[u8; 32], b: &[u8]) -> bool {
    <[u8; 32]>::try_from(b).is_ok_and(|b| blake3::Hash::from(*a) == blake3::Hash::from(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: DeviceId = DeviceId::from_bytes([1; 32]);
    const BOB: DeviceId = DeviceId::from_bytes([2; 32]);

    #[test]
    fn both_sides_of_one_session_show_the_same_words() {
        let words = spoken(&[7; 32], (ALICE, &[3; 32]), (BOB, &[4; 32]));

        assert_eq!(words, spoken(&[7; 32], (ALICE, &[3; 32]), (BOB, &[4; 32])));
        assert_eq!(words.split(' ').count(), WORDS);
    }

    #[test]
    fn a_man_in_the_middle_shows_other_words() {
        let words = spoken(&[7; 32], (ALICE, &[3; 32]), (BOB, &[4; 32]));

        assert_ne!(words, spoken(&[8; 32], (ALICE, &[3; 32]), (BOB, &[4; 32])), "another session");
        assert_ne!(words, spoken(&[7; 32], (ALICE, &[3; 32]), (DeviceId::from_bytes([9; 32]), &[4; 32])), "another key");
        assert_ne!(words, spoken(&[7; 32], (ALICE, &[3; 32]), (BOB, &[5; 32])), "another nonce");
    }

    #[test]
    fn a_proof_holds_for_one_role_session_and_pair_of_devices() {
        let good = proof(&[1; 32], Role::Joiner, &[2; 32], ALICE, BOB);

        assert!(same(&good, &proof(&[1; 32], Role::Joiner, &[2; 32], ALICE, BOB)));
        assert!(!same(&good, &proof(&[1; 32], Role::Inviter, &[2; 32], ALICE, BOB)));
        assert!(!same(&good, &proof(&[1; 32], Role::Joiner, &[3; 32], ALICE, BOB)));
        assert!(!same(&good, &proof(&[1; 32], Role::Joiner, &[2; 32], BOB, ALICE)));
        assert!(!same(&good, &good[..31]));
    }
}
