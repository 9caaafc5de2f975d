//! A fuzzer that needs nothing but stable Rust: it mutates a committed corpus with a fixed seed, so that a run is
//! repeatable, and says the very bytes that broke something.
//!
//! It has no feedback from coverage; the corpus has to hold an example of every kind of input. What once broke
//! something is added to it and is tried first for ever.

pub mod targets;

use std::{
    fs, io,
    panic::{self, AssertUnwindSafe},
    path::Path,
    time::{Duration, Instant},
};

/// How long a target is under fire, unless `SHAREKARO_FUZZ_SECONDS` says otherwise.
const SECONDS: u64 = 4;

/// Inputs that are tried even on the slowest machine.
const ROUNDS_MIN: u64 = 20_000;

/// The longest input: longer than any decoder takes in one piece.
const LENGTH_MAX: usize = 4096;

/// Values that sit on an edge of some decoder: lengths, signs, varints.
const EDGES: [&[u8]; 10] = [
    &[0],
    &[0x7f],
    &[0x80],
    &[0xff],
    &[0xff; 10],
    &[0x80, 0x80, 0x80, 0x80, 0x10],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
    b"18446744073709551616",
    b"-1e999",
];

/// What a target says of an input: an error is a broken promise, as a panic is.
pub type Verdict = Result<(), String>;

/// Puts a target under fire.
///
/// # Panics
/// The target panicked or broke a promise; the message holds the input.
pub fn fire(name: &str, target: impl Fn(&[u8]) -> Verdict) {
    let corpus = corpus(name).unwrap_or_else(|e| panic!("cannot read the corpus of {name}: {e}"));
    assert!(!corpus.is_empty(), "the corpus of {name} is empty");
    let seconds = std::env::var("SHAREKARO_FUZZ_SECONDS").ok().and_then(|it| it.parse().ok()).unwrap_or(SECONDS);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);

    for input in &corpus {
        try_one(name, &target, input);
    }
    let mut rounds = 0;
    while rounds < ROUNDS_MIN || Instant::now() < end {
        try_one(name, &target, &mutated(&corpus, &mut random));
        rounds += 1;
    }
    println!("{name}: {rounds} inputs from {} examples", corpus.len());
}

fn try_one(name: &str, target: &impl Fn(&[u8]) -> Verdict, input: &[u8]) {
    let broken = match panic::catch_unwind(AssertUnwindSafe(|| target(input))) {
        Ok(Ok(())) => return,
        Ok(Err(promise)) => promise,
        Err(_) => "it panicked (see above)".to_owned(),
    };
    panic!("{name}: {broken}\nthe input, to be added to fuzz/corpus/{name}: b\"{}\"", input.escape_ascii());
}

fn corpus(name: &str) -> io::Result<Vec<Vec<u8>>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut paths = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    // The order of a folder differs from machine to machine; a run must not.
    paths.sort();
    paths.iter().map(fs::read).collect()
}

/// One example, or two halves of two, changed in one to eight places.
fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = random.one_of(corpus).clone();
    if random.below(4) == 0 {
        let other = random.one_of(corpus);
        bytes.truncate(random.below(bytes.len() + 1));
        bytes.extend_from_slice(&other[random.below(other.len() + 1)..]);
    }
    for _ in 0..=random.below(8) {
        mutate(&mut bytes, random);
    }
    bytes.truncate(LENGTH_MAX);
    bytes
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let end = (at + 1 + random.below(16)).min(bytes.len());
    match random.below(12) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        2 | 3 if at < bytes.len() => bytes[at] = random.byte(),
        4 => bytes.insert(at, random.byte()),
        5 | 6 => drop(bytes.drain(at..end)),
        7 | 8 => drop(bytes.splice(at..end, random.one_of(&EDGES).iter().copied())),
        9 | 10 => {
            let again = bytes[at..end].repeat(1 + random.below(40));
            drop(bytes.splice(at..at, again));
        }
        _ => bytes.truncate(at),
    }
}

/// xorshift64*: small, fast, the same on every machine (Vigna 2016).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from 0 up to, not including, `end`; 0 where `end` is 0.
    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from((self.next() >> 16) % end).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs_and_they_differ_from_each_other() {
        let corpus = vec![b"hello".to_vec(), vec![0; 40]];
        let run = || {
            let mut random = Random(7);
            (0..1000).map(|_| mutated(&corpus, &mut random)).collect::<Vec<_>>()
        };

        let inputs = run();

        assert_eq!(inputs, run());
        assert!(inputs.iter().collect::<std::collections::HashSet<_>>().len() > 800);
        assert!(inputs.iter().all(|input| input.len() <= LENGTH_MAX));
    }

    #[test]
    fn a_broken_promise_names_the_input() {
        let said = panic::catch_unwind(|| fire("file_name", |_| Err("never right".to_owned()))).unwrap_err();

        assert!(said.downcast_ref::<String>().is_some_and(|text| text.contains("never right") && text.contains("b\"")));
    }
}
