//! Entries that got another name, as the file system would not take theirs, or took it for another one's.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Write},
};

use crate::files::FileName;

/// Bytes before each name: the number of the entry and the length of the name.
const HEAD: usize = 5;

/// Names by number of the entry. The later of two counts.
pub(super) struct Aliases {
    file: File,
    names: HashMap<u32, FileName>,
}

impl Aliases {
    /// What was noted so far; a torn end is cut off.
    pub(super) fn load(mut file: File) -> io::Result<Self> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (mut names, mut rest) = (HashMap::new(), bytes.as_slice());
        while let Some((no, name, behind)) = split(rest) {
            names.insert(no, name);
            rest = behind;
        }
        file.set_len((bytes.len() - rest.len()) as u64)?;
        Ok(Self { file, names })
    }

    pub(super) fn get(&self, no: u32) -> Option<&FileName> {
        self.names.get(&no)
    }

    /// Notes a name before it is used: whoever finds the file after a crash must know whose it is.
    pub(super) fn note(&mut self, no: u32, name: &FileName) -> io::Result<()> {
        // A name has at most 255 bytes.
        let length = u8::try_from(name.as_bytes().len()).unwrap_or(u8::MAX);
        let record = [&no.to_le_bytes(), &[length][..], name.as_bytes()].concat();
        io::Seek::seek(&mut self.file, io::SeekFrom::End(0))?;
        self.file.write_all(&record)?;
        self.names.insert(no, name.clone());
        Ok(())
    }
}

fn split(bytes: &[u8]) -> Option<(u32, FileName, &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let (no, length) = head.split_first_chunk::<4>()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length.first()?))?;
    Some((u32::from_le_bytes(*no), FileName::parse(name).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_crash_in_the_middle_of_a_write() {
        let name = |text: &str| FileName::parse(text.as_bytes()).unwrap();
        let temp = tempfile::NamedTempFile::new().unwrap();
        let mut aliases = Aliases::load(temp.reopen().unwrap()).unwrap();
        aliases.note(7, &name("first")).unwrap();
        aliases.note(7, &name("second")).unwrap();
        aliases.note(9, &name("torn")).unwrap();

        temp.as_file().set_len(temp.as_file().metadata().unwrap().len() - 1).unwrap();
        let mut again = Aliases::load(temp.reopen().unwrap()).unwrap();
        again.note(9, &name("whole")).unwrap();

        let last = Aliases::load(temp.reopen().unwrap()).unwrap();
        assert_eq!(last.get(7), Some(&name("second")));
        assert_eq!(last.get(9), Some(&name("whole")));
        assert_eq!(last.get(8), None);
    }
}
