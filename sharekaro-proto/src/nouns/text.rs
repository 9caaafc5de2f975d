//! Text that somebody else wrote, for a screen.
//!
//! Names, messages and reasons come from peers. On a screen their control and bidirectional characters are shown,
//! never obeyed: otherwise a file name could move the cursor, colour the terminal or forge a line of a table.

use std::fmt::{self, Write};

/// Shows a text on one line: every character that a terminal or a text layout would obey is written as `\u{..}`.
pub struct Shown<'a>(pub &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_shown(f, self.0, Lines::Escaped)
    }
}

/// Shows a text that may have lines: as `Shown`, but line feeds and tabs stay.
pub struct ShownLines<'a>(pub &'a str);

impl fmt::Display for ShownLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_shown(f, self.0, Lines::Kept)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Lines {
    Kept,
    Escaped,
}

/// So many combining marks on one character are still writing; more are an attack on the screen.
const COMBINING_MAX: usize = 8;

fn write_shown(f: &mut fmt::Formatter<'_>, text: &str, lines: Lines) -> fmt::Result {
    let mut combining = 0;
    for c in text.chars() {
        combining = if is_combining(c) { combining + 1 } else { 0 };
        match c {
            _ if combining > COMBINING_MAX => {
                if combining == COMBINING_MAX + 1 {
                    f.write_char('…')?;
                }
            }
            '\n' | '\t' if lines == Lines::Kept => f.write_char(c)?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\r' => f.write_str("\\r")?,
            c if is_obeyed(c) => write!(f, "\\u{{{:x}}}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    Ok(())
}

/// Whether a terminal or a text layout acts on the character instead of drawing it: C0, DEL, C1, line and paragraph
/// separators, bidirectional controls (Unicode 15, Bidi_Control), the byte order mark and tag characters.
pub fn is_obeyed(c: char) -> bool {
    matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn is_combining(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// Bytes of a file name as text: what is UTF-8 stays, any other byte becomes `\xNN`.
pub fn lossless(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_peer_wrote_is_obeyed() {
        let hostile = ["\x1b[2J", "a\rb", "\u{202e}gnp.exe", "\u{9b}31m", "bell\x07", "one\u{2028}two", "line\nline", "\u{2066}x"];

        for text in hostile {
            assert!(!Shown(text).to_string().chars().any(is_obeyed), "{text:?}");
        }
        assert_eq!(ShownLines("a\n\tb\x1b").to_string(), "a\n\tb\\u{1b}");
    }

    #[test]
    fn ordinary_writing_stays_as_it_is() {
        for text in ["नमस्ते", "明天在北京开会", "👩‍👩‍👧‍👦 ok", "שלום", "e\u{301}"] {
            assert_eq!(Shown(text).to_string(), text);
        }
    }

    #[test]
    fn a_tower_of_marks_is_cut() {
        let tower = format!("a{}", "\u{301}".repeat(500));

        assert!(Shown(&tower).to_string().chars().count() < 20);
    }

    #[test]
    fn a_name_that_is_no_text_is_shown_with_its_bytes() {
        assert_eq!(lossless(b"\xff\xfe ok \xc3\xbc"), "\\xff\\xfe ok ü");
    }
}
