//! Bytes as words that people can compare and type: the English list of BIP 39, eleven bits a word.
//!
//! The list has 2,048 words that differ in their first four letters, so a misheard word is rarely another one.

use bip39::Language;

/// Bits that one word stands for.
const BITS: usize = 11;

/// The first `count` times eleven bits of `bytes` as words with a space between them; fewer where the bits run out.
pub fn from_bits(bytes: &[u8], count: usize) -> String {
    let list = Language::English.word_list();
    let whole = count.min(bytes.len() * 8 / BITS);
    let words: Vec<&str> = (0..whole).filter_map(|i| list.get(number(bytes, i * BITS)).copied()).collect();
    words.join(" ")
}

/// The eleven bits from `start` on as a number; bits that are not there are zero.
fn number(bytes: &[u8], start: usize) -> usize {
    (start..start + BITS).fold(0, |number, bit| {
        let byte = bytes.get(bit / 8).copied().unwrap_or(0);
        number << 1 | usize::from(byte >> (7 - bit % 8) & 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_bip_39() {
        // The first test vectors of BIP 39: 128 bits of entropy, without the checksum's word.
        assert_eq!(from_bits(&[0; 16], 11), ["abandon"; 11].join(" "));
        assert_eq!(from_bits(&[0x7f; 16], 3), "legal winner thank");
        assert_eq!(from_bits(&[0x80; 16], 4), "letter advice cage absurd");
    }

    #[test]
    fn bits_that_run_out_make_fewer_words_and_never_a_panic() {
        assert_eq!(from_bits(&[], 6), "");
        assert_eq!(from_bits(&[0xff], 6), "");
        assert_eq!(from_bits(&[0xff; 3], 6), "zoo zoo");
    }
}
