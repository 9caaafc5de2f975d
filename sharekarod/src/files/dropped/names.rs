//! What a name says of a file: hidden, or not finished yet.

use crate::files::FileName;

/// Endings of files that a browser, a download program, an editor or a copy still works on.
const UNFINISHED: [&str; 8] = [".part", ".partial", ".crdownload", ".download", ".opdownload", ".filepart", ".swp", "~"];

/// Of these, the endings of downloads: the finished file has the name without them.
const DOWNLOADS: [&str; 4] = [".part", ".crdownload", ".download", ".filepart"];

/// Whether people do not see it.
pub fn is_hidden(name: &FileName) -> bool {
    name.as_bytes().starts_with(b".")
}

/// The ending that says that this is no finished file.
pub fn unfinished(name: &FileName) -> Option<&'static str> {
    let ends = |ending: &&&str| name.as_bytes().to_ascii_lowercase().ends_with(ending.as_bytes());
    UNFINISHED.iter().find(ends).copied()
}

/// As `unfinished`, for what lies deep in a folder that is dropped whole: backups and old temporary files there are
/// content, only a running download is not.
pub(super) fn is_downloading(name: &FileName) -> bool {
    let lower = name.as_bytes().to_ascii_lowercase();
    DOWNLOADS.iter().any(|ending| lower.len() > ending.len() && lower.ends_with(ending.as_bytes()))
}

/// The names that a download of this file has while it runs: a browser keeps the final name with an empty file.
pub(super) fn while_downloading(name: &FileName) -> impl Iterator<Item = FileName> + '_ {
    DOWNLOADS.iter().filter_map(|ending| FileName::parse(&[name.as_bytes(), ending.as_bytes()].concat()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> FileName {
        FileName::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn names_of_work_in_progress_are_known() {
        for text in ["x.iso.part", "x.CRDOWNLOAD", "report~", "a.swp", "c.opdownload"] {
            assert!(unfinished(&name(text)).is_some(), "{text}");
        }
        for text in ["x.iso", "a.part.txt", "part", "swp", "Sent by me"] {
            assert!(unfinished(&name(text)).is_none(), "{text}");
        }
        assert!(is_hidden(&name(".a.swp")) && !is_hidden(&name("a.b")));
        assert!(is_downloading(&name("x.part")) && !is_downloading(&name("x~")) && !is_downloading(&name(".part")));
    }
}
