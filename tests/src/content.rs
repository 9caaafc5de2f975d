//! Content for files: incompressible, repeatable, fast to make; and the hash that tells whether it arrived.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result};

/// Bytes that are made or read at once.
const BLOCK: usize = 1 << 20;

/// Writes so many pseudo-random bytes, the same for the same seed. No byte of it is a hole.
///
/// # Errors
/// The file cannot be written.
pub fn write_random(path: &Path, size: u64, seed: &str) -> Result<()> {
    let mut bytes = blake3::Hasher::new().update(seed.as_bytes()).finalize_xof();
    let mut out = BufWriter::with_capacity(BLOCK, File::create(path).with_context(|| format!("cannot create {}", path.display()))?);
    let mut block = vec![0; BLOCK];
    let mut left = size;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        bytes.fill(&mut block[..part]);
        out.write_all(&block[..part]).with_context(|| format!("cannot write {}", path.display()))?;
        left -= part as u64;
    }
    Ok(out.flush()?)
}

/// The BLAKE3 hash of a file.
///
/// # Errors
/// The file cannot be read.
pub fn digest(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut file, &mut hasher).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// The same hash of bytes in memory.
pub fn digest_of(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_bytes_and_another_seed_makes_others() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let paths = ["one", "again", "other"].map(|name| dir.path().join(name));

        for (path, seed) in paths.iter().zip(["a", "a", "b"]) {
            write_random(path, 3 * 1024 * 1024 + 7, seed)?;
        }

        assert_eq!(digest(&paths[0])?, digest(&paths[1])?);
        assert_ne!(digest(&paths[0])?, digest(&paths[2])?);
        assert_eq!(paths[0].metadata()?.len(), 3 * 1024 * 1024 + 7);
        Ok(())
    }
}
