//! The line that a person types in: its text, the place of the cursor, and what each key does to them.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use sharekaro_proto::{control::message::TEXT_MAX, nouns::text::Shown};

/// What a person typed and did not send yet.
#[derive(Default)]
pub(super) struct Input {
    text: String,
    /// In bytes; always between two characters as people count them.
    cursor: usize,
}

/// What a key asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Wish {
    /// Nothing beyond the line itself.
    Edited,
    /// Say this.
    Say(String),
    /// Show older lines, or newer ones.
    Scroll(isize),
    /// Leave.
    Leave,
}

/// Lines that one key scrolls.
const SCROLL: isize = 5;

impl Input {
    /// What a key does.
    pub(super) fn press(&mut self, key: KeyEvent) -> Wish {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Wish::Leave,
            KeyCode::Char('d') if control && self.text.is_empty() => return Wish::Leave,
            KeyCode::Char('u') if control => drop(self.text.drain(..std::mem::take(&mut self.cursor))),
            KeyCode::Char('k') if control => self.text.truncate(self.cursor),
            KeyCode::Char('w') if control => self.cut_word(),
            KeyCode::Char('a') if control => self.cursor = 0,
            KeyCode::Char('e') if control => self.cursor = self.text.len(),
            KeyCode::Char('j') if control => return self.enter(),
            KeyCode::Char('h') if control => self.cut_before(),
            KeyCode::Char(c) if !control => self.insert(c.encode_utf8(&mut [0; 4])),
            KeyCode::Enter => return self.enter(),
            KeyCode::Backspace => self.cut_before(),
            KeyCode::Delete | KeyCode::Char('d') => drop(self.text.drain(self.cursor..self.after())),
            KeyCode::Left => self.cursor = self.before(),
            KeyCode::Right => self.cursor = self.after(),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
            KeyCode::Up => return Wish::Scroll(1),
            KeyCode::Down => return Wish::Scroll(-1),
            KeyCode::PageUp => return Wish::Scroll(SCROLL),
            KeyCode::PageDown => return Wish::Scroll(-SCROLL),
            _ => {}
        }
        Wish::Edited
    }

    /// Text at the cursor, as much as a message holds; also a paste of many lines, which is not sent by itself.
    pub(super) fn insert(&mut self, text: &str) {
        let room = TEXT_MAX.saturating_sub(self.text.len());
        let text = &text[..text.floor_char_boundary(room)];
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
    }

    fn enter(&mut self) -> Wish {
        self.cursor = 0;
        let text = std::mem::take(&mut self.text);
        match text.trim() {
            "" => Wish::Edited,
            "quit" => Wish::Leave,
            _ => Wish::Say(text),
        }
    }

    fn before(&self) -> usize {
        self.text[..self.cursor].grapheme_indices(true).next_back().map_or(0, |(at, _)| at)
    }

    fn after(&self) -> usize {
        self.cursor + self.text[self.cursor..].graphemes(true).next().map_or(0, str::len)
    }

    fn cut_before(&mut self) {
        let before = self.before();
        self.text.drain(before..self.cursor);
        self.cursor = before;
    }

    fn cut_word(&mut self) {
        let head = self.text[..self.cursor].trim_end();
        let from = head.rfind(char::is_whitespace).map_or(0, |at| at + head[at..].chars().next().map_or(1, char::len_utf8));
        self.text.drain(from..self.cursor);
        self.cursor = from;
    }

    /// The line as it is shown in so many columns, and the column of the cursor: the part around it, where it is long.
    pub(super) fn shown(&self, columns: usize) -> (String, usize) {
        let head = shown(&self.text[..self.cursor]);
        let mut from = 0;
        while head[from..].width() >= columns.max(1) {
            from += head[from..].graphemes(true).next().map_or(1, str::len);
        }
        let column = head[from..].width();
        let mut line = head[from..].to_owned();
        for grapheme in shown(&self.text[self.cursor..]).graphemes(true) {
            if line.width() + grapheme.width() > columns {
                break;
            }
            line.push_str(grapheme);
        }
        (line, column)
    }
}

fn shown(text: &str) -> String {
    Shown(&text.replace("\r\n", "\n").replace(['\n', '\r'], "⏎")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    fn control(c: char) -> KeyEvent {
        KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)
    }

    #[test]
    fn a_line_is_edited_as_people_count_characters() {
        let mut input = Input::default();
        input.insert("aहि👩‍👩‍👧‍👦b");

        for _ in 0..2 {
            input.press(key(KeyCode::Left));
        }
        input.press(key(KeyCode::Backspace));
        input.press(key(KeyCode::Char('x')));

        assert_eq!(input.press(key(KeyCode::Enter)), Wish::Say("ax👩‍👩‍👧‍👦b".into()));
        assert_eq!(input.press(key(KeyCode::Enter)), Wish::Edited);
    }

    #[test]
    fn keys_of_a_shell_do_what_they_do_there() {
        let mut input = Input::default();
        input.insert("wrong");
        input.press(control('u'));
        input.insert("two words");
        input.press(control('w'));
        input.press(control('a'));
        input.insert("and ");

        assert_eq!(input.press(key(KeyCode::Enter)), Wish::Say("and two ".into()));
        assert_eq!(input.press(control('d')), Wish::Leave);
        input.insert(" quit ");
        assert_eq!(input.press(key(KeyCode::Enter)), Wish::Leave);
    }

    #[test]
    fn a_paste_of_many_lines_is_one_message_also_with_quit_in_it() {
        let mut input = Input::default();
        input.insert("first\n\nquit\nlast");

        assert_eq!(input.shown(80).0, "first⏎⏎quit⏎last");
        assert_eq!(input.press(key(KeyCode::Enter)), Wish::Say("first\n\nquit\nlast".into()));
    }

    #[test]
    fn a_long_line_shows_the_part_around_the_cursor() {
        let mut input = Input::default();
        input.insert(&"文".repeat(100));

        let (line, column) = input.shown(20);

        assert!(line.width() <= 20 && column < 20, "{line} {column}");
        input.press(key(KeyCode::Home));
        assert_eq!(input.shown(20).1, 0);
        input.insert(&"x".repeat(2 * TEXT_MAX));
        assert!(matches!(input.press(key(KeyCode::Enter)), Wish::Say(text) if text.len() <= TEXT_MAX));
    }
}
