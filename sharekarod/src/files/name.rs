//! One component of a path, as bytes.
//!
//! A name from a peer becomes a `FileName` or is refused; nothing else is ever given to the kernel. Odd characters are
//! kept, as they are somebody's file: they are escaped where a name is shown, never dropped. Only a file system that
//! refuses a name gets the portable one.

use std::{ffi::OsStr, fmt, os::unix::ffi::OsStrExt};

use sharekaro_proto::nouns::text::Shown;

/// The longest name that Linux file systems take, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// A longer extension is taken as part of the name: `Mr. Smith and his brothers` has none.
const EXTENSION_MAX: usize = 24;

/// The longest name that the poorest file system in use takes (eCryptfs, which encrypts names), in bytes.
const PORTABLE_BYTES_MAX: usize = 140;

/// One component of a path: never empty, `.`, `..`, never with `/` or NUL, at most `NAME_BYTES_MAX` bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Vec<u8>);

/// Why bytes are no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("an empty name")]
    Empty,
    /// `.` or `..`.
    #[error("a name that means a folder above or here")]
    Dots,
    /// It has `/` or NUL in it.
    #[error("a name with a slash or a NUL")]
    Separator,
    /// Longer than `NAME_BYTES_MAX`.
    #[error("a name of {0} bytes where {NAME_BYTES_MAX} are allowed")]
    TooLong(usize),
}

impl FileName {
    /// The name in these bytes.
    ///
    /// # Errors
    /// Where they are more, or less, than one component.
    pub fn parse(bytes: &[u8]) -> Result<Self, NameError> {
        match bytes {
            [] => Err(NameError::Empty),
            b"." | b".." => Err(NameError::Dots),
            _ if bytes.len() > NAME_BYTES_MAX => Err(NameError::TooLong(bytes.len())),
            _ if bytes.iter().any(|byte| matches!(byte, b'/' | 0)) => Err(NameError::Separator),
            _ => Ok(Self(bytes.to_vec())),
        }
    }

    /// A name of our own, for what we keep beside received files.
    pub(super) fn own(name: &'static str) -> Self {
        debug_assert!(Self::parse(name.as_bytes()).is_ok());
        Self(name.as_bytes().to_vec())
    }

    /// A number as a name.
    pub(super) fn number(number: u32) -> Self {
        Self(number.to_string().into_bytes())
    }

    /// Sixteen bytes as a name of 32 digits.
    pub(super) fn hex(bytes: &[u8; 16]) -> Self {
        Self(data_encoding::HEXLOWER.encode(bytes).into_bytes())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As the standard library's paths want it.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }

    /// `report (2).pdf` for `report.pdf`: the same name with a number before its extension, shortened where that would
    /// be too long.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Self {
        let (stem, extension) = self.0.split_at(self.extension_at());
        let mark = format!(" ({number})");
        let room = NAME_BYTES_MAX - mark.len() - extension.len();
        Self([cut(stem, room), mark.as_bytes(), extension].concat())
    }

    /// A name that every file system takes: for those (vfat, exFAT, NTFS) that refuse this one.
    #[must_use]
    pub fn portable(&self) -> Self {
        let text: String = String::from_utf8_lossy(&self.0).chars().map(portable_char).collect();
        let whole = Self(text.into_bytes());
        let (stem, extension) = whole.0.split_at(whole.extension_at());
        // Room for the mark in front of a reserved name.
        let short = [cut(stem, PORTABLE_BYTES_MAX - 1 - extension.len()), extension].concat();
        Self(unreserved(without_end(String::from_utf8_lossy(&short).into_owned())).into_bytes())
    }

    /// Where the extension begins, its dot included; the length where there is none. `.tar.gz` counts as one.
    fn extension_at(&self) -> usize {
        let Some(dot) = last_dot(&self.0) else { return self.0.len() };
        let (stem, extension) = self.0.split_at(dot);
        if extension.len() > EXTENSION_MAX || extension.contains(&b' ') {
            return self.0.len();
        }
        match last_dot(stem) {
            Some(inner) if stem.ends_with(b".tar") => inner,
            _ => dot,
        }
    }
}

/// For screens: control and bidirectional characters escaped, bytes that are no text as `\u{fffd}`.
impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(&String::from_utf8_lossy(&self.0)).fmt(f)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// The last dot that is not the first character: `.bashrc` has no extension.
fn last_dot(name: &[u8]) -> Option<usize> {
    name.iter().rposition(|byte| *byte == b'.').filter(|at| *at > 0)
}

/// At most `room` bytes of a name, never ending within a character of UTF-8.
fn cut(name: &[u8], room: usize) -> &[u8] {
    let is_inside = |at: &usize| name.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let end = if name.len() <= room { name.len() } else { (1..=room).rev().find(|at| !is_inside(at)).unwrap_or(room) };
    name.get(..end).unwrap_or(name)
}

fn portable_char(c: char) -> char {
    match c {
        '?' | '*' | ':' | '<' | '>' | '|' | '"' | '\\' | '\u{fffd}' => '_',
        c if c.is_control() => '_',
        c => c,
    }
}

/// Without the dots and spaces at its end, which DOS drops; one `_` stands for them.
fn without_end(mut text: String) -> String {
    let kept = text.trim_end_matches(['.', ' ']).len();
    if kept < text.len() {
        text.truncate(kept);
        text.push('_');
    }
    text
}

fn unreserved(text: String) -> String {
    if is_reserved(&text) { format!("_{text}") } else { text }
}

/// The device names of DOS, with or without an extension.
fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_uppercase();
    let numbered = |prefix| stem.strip_prefix(prefix).is_some_and(is_port);
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT")
}

fn is_port(text: &str) -> bool {
    let mut chars = text.chars();
    matches!((chars.next(), chars.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> FileName {
        FileName::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_no_single_component_is_refused() {
        let long = vec![b'a'; 256];
        let cases: [(&[u8], NameError); 12] = [
            (b"", NameError::Empty),
            (b".", NameError::Dots),
            (b"..", NameError::Dots),
            (b"/", NameError::Separator),
            (b"../x", NameError::Separator),
            (b"a/../../x", NameError::Separator),
            (b"/etc/passwd", NameError::Separator),
            (b"a/", NameError::Separator),
            (b"a//b", NameError::Separator),
            (b"a\0b", NameError::Separator),
            (b"\0", NameError::Separator),
            (&long, NameError::TooLong(256)),
        ];
        for (bytes, error) in cases {
            assert_eq!(FileName::parse(bytes), Err(error), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn odd_names_are_kept_byte_for_byte() {
        let long = vec![b'a'; 255];
        let cases: [&[u8]; 12] = [
            b"...",
            b". .",
            b".bashrc",
            b"\xff\xfe",
            b"a\nb",
            b"\x1b[2J",
            "invoice\u{202e}fdp.exe".as_bytes(),
            b"C:\\x",
            b"\\\\?\\",
            b"%2e%2e%2f",
            "\u{ff0f}\u{ff0e}\u{ff0e}".as_bytes(),
            &long,
        ];
        for bytes in cases {
            assert_eq!(FileName::parse(bytes).unwrap().as_bytes(), bytes);
        }
    }

    #[test]
    fn a_name_is_shown_without_what_a_terminal_obeys() {
        let shown = name("invoice\u{202e}fdp\u{1b}[2J.exe").to_string();

        assert_eq!(shown, "invoice\\u{202e}fdp\\u{1b}[2J.exe");
    }

    #[test]
    fn a_number_stands_before_the_extension() {
        let cases = [
            ("report.pdf", "report (2).pdf"),
            ("photos", "photos (2)"),
            (".bashrc", ".bashrc (2)"),
            ("backup.tar.gz", "backup (2).tar.gz"),
            (".tar.gz", ".tar (2).gz"),
            ("Mr. Smith and his brothers", "Mr. Smith and his brothers (2)"),
            ("a.", "a (2)."),
        ];
        for (from, to) in cases {
            assert_eq!(name(from).numbered(2), name(to));
        }
    }

    #[test]
    fn a_long_name_is_cut_between_characters_and_keeps_its_extension() {
        let long = name(&format!("{}.jpeg", "ä".repeat(125)));

        let numbered = long.numbered(12);

        assert!(numbered.as_bytes().len() <= NAME_BYTES_MAX);
        assert!(std::str::from_utf8(numbered.as_bytes()).unwrap().ends_with("ä (12).jpeg"));
    }

    #[test]
    fn what_a_poor_file_system_refuses_gets_a_portable_name() {
        let cases: [(&[u8], &str); 10] = [
            (b"a?b*c:d<e>f|g\"h\\i", "a_b_c_d_e_f_g_h_i"),
            (b"end. . .", "end_"),
            (b"...", "_"),
            (b"nul.txt", "_nul.txt"),
            (b"CON", "_CON"),
            ("com¹.log".as_bytes(), "_com¹.log"),
            (b"console", "console"),
            (b"a\xffb", "a_b"),
            (b"line\nfeed", "line_feed"),
            (b"plain.txt", "plain.txt"),
        ];
        for (from, to) in cases {
            assert_eq!(FileName::parse(from).unwrap().portable(), name(to));
        }
    }

    proptest! {
        #[test]
        fn whatever_is_made_of_a_name_is_a_name(bytes in proptest::collection::vec(any::<u8>(), 0..300), number in any::<u32>()) {
            if let Ok(name) = FileName::parse(&bytes) {
                for made in [name.numbered(number), name.portable(), name.portable().numbered(number)] {
                    prop_assert_eq!(FileName::parse(made.as_bytes()), Ok(made.clone()));
                    prop_assert_ne!(&name.numbered(number), &name);
                }
                prop_assert!(name.portable().as_bytes().len() <= PORTABLE_BYTES_MAX);
                prop_assert_eq!(name.portable().portable(), name.portable());
            }
        }

        #[test]
        fn no_component_of_a_path_text_leaves_its_folder(text in "[./\\\\a%\u{0}\u{202e}]{0,12}") {
            if let Ok(name) = FileName::parse(text.as_bytes()) {
                let joined = std::path::Path::new("/inbox").join(name.as_os_str());
                prop_assert_eq!(joined.parent(), Some(std::path::Path::new("/inbox")));
            }
        }
    }
}
