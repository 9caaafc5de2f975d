//! Text that somebody else wrote, in a command line that a person may copy into a shell.
//!
//! A peer may call itself `$(reboot)`. What mends something is often said as a command, with such a name in it.

use std::fmt::{self, Write};

/// One word of a command line: as it is where every shell reads it literally, in single quotes otherwise. For a screen it
/// still has to go through `Shown`, as it may hold characters that a terminal obeys.
pub struct ShellWord<'a>(pub &'a str);

impl fmt::Display for ShellWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_plain(self.0) {
            return f.write_str(self.0);
        }
        f.write_char('\'')?;
        for (place, part) in self.0.split('\'').enumerate() {
            if place > 0 {
                f.write_str("'\\''")?; // ends the quotes, says one, begins them again
            }
            f.write_str(part)?;
        }
        f.write_char('\'')
    }
}

/// Whether no shell gives any of it a meaning, and none of it looks like a flag.
fn is_plain(text: &str) -> bool {
    let literal = |c: char| c.is_alphanumeric() || "_@%+:,./-".contains(c);
    !text.is_empty() && !text.starts_with('-') && text.chars().all(literal)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_any_text_as_the_one_word_that_it_is() {
        for text in ["bob", "Anna's laptop", "$(reboot)", "a;b|c&d>e", "`id`", "\"x\"", "", "''", "-n", "a\nb", "~", "*", "नमस्ते", "a\\"]
        {
            let line = format!("printf '%s|' {}", ShellWord(text));

            let read = Command::new("sh").args(["-c", &line]).output().unwrap();

            assert_eq!(String::from_utf8_lossy(&read.stdout), format!("{text}|"), "{line}");
        }
    }

    #[test]
    fn ordinary_words_need_no_quotes() {
        for text in ["bob", "k:7f3a91", "/home/anna/ShareDrop", "bob@10.0.0.2:47810", "Müller"] {
            assert_eq!(ShellWord(text).to_string(), text);
        }
    }
}
