//! The page: who it is with, what was said, the line to type in. A plain function of these and the size of the window.

use std::collections::VecDeque;

use jiff::Zoned;
use sharekaro_proto::{
    control::{
        message::{Message, MessageState},
        peer::Peer,
    },
    nouns::{
        text::{Shown, ShownLines},
        transfer::Direction,
    },
};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::input::Input;
use crate::{
    commands::presence,
    print::message::{author, time},
};

/// Messages that are kept to scroll in; `sharectl messages` has all.
const KEPT: usize = 500;

/// Lines of one text that are drawn; `sharectl messages` has all.
const TEXT_LINES_MAX: usize = 200;

/// What is on the page.
pub(super) struct Page {
    pub(super) peer: Peer,
    messages: VecDeque<Message>,
    /// Why the last text was not taken.
    pub(super) trouble: Option<String>,
    scrolled: usize,
}

impl Page {
    pub(super) fn new(peer: Peer, messages: Vec<Message>) -> Self {
        Self { peer, messages: messages.into(), trouble: None, scrolled: 0 }
    }

    /// The number of the newest message.
    pub(super) fn last(&self) -> u64 {
        self.messages.back().map_or(0, |message| message.no)
    }

    /// One that is new, or stands elsewhere than before. Each is there once.
    pub(super) fn put(&mut self, message: Message) {
        if let Some(known) = self.messages.iter_mut().find(|known| known.no == message.no) {
            *known = message;
            return;
        }
        let at = self.messages.iter().rposition(|known| known.no < message.no).map_or(0, |at| at + 1);
        self.messages.insert(at, message);
        if self.messages.len() > KEPT {
            self.messages.pop_front();
        }
    }

    /// Shows older lines, or newer ones.
    pub(super) fn scroll(&mut self, lines: isize) {
        self.scrolled = self.scrolled.saturating_add_signed(lines);
    }

    /// The lines of the window, from the top, and the column of the cursor in the last one.
    pub(super) fn lines(&mut self, input: &Input, columns: usize, rows: usize, now: &Zoned) -> (Vec<String>, usize) {
        let room = rows.saturating_sub(2);
        let mut said: Vec<String> = self.messages.iter().flat_map(|message| wrapped(message, columns, now)).collect();
        self.scrolled = self.scrolled.min(said.len().saturating_sub(room));
        said.truncate(said.len() - self.scrolled);
        let mut lines = vec![clip(&self.head(), columns)];
        lines.resize(1 + room.saturating_sub(said.len()), String::new());
        lines.extend(said.split_off(said.len().saturating_sub(room)));
        let (line, column) = input.shown(columns.saturating_sub(PROMPT.len()));
        lines.push(format!("{PROMPT}{line}"));
        (lines.split_off(lines.len().saturating_sub(rows)), column + PROMPT.len())
    }

    fn head(&self) -> String {
        let here = if self.peer.online { presence::shown(&self.peer.presence) } else { "off, gets it later".to_owned() };
        let paired = if self.peer.trust.paired() { "" } else { ", not paired" };
        let trouble = self.trouble.as_ref().map_or_else(|| "quit leaves".to_owned(), |trouble| Shown(trouble).to_string());
        let scrolled = if self.scrolled > 0 { ", older lines" } else { "" };
        format!("{} ({here}{paired}{scrolled})  {trouble}", Shown(&self.peer.alias))
    }
}

const PROMPT: &str = "> ";

/// A message as lines of the window.
fn wrapped(message: &Message, columns: usize, now: &Zoned) -> Vec<String> {
    let text = match message.transfer {
        Some(id) => format!("[file {id}: {}]", Shown(&message.text)),
        None => ShownLines(&message.text).to_string().replace('\t', "    "),
    };
    let head = format!("{} {}{}: ", time(message.at, now), author(message), mark(message));
    let mut lines = Vec::new();
    for (n, line) in text.split('\n').enumerate() {
        let line = if n == 0 { format!("{head}{line}") } else { format!("  {line}") };
        wrap(&line, columns, &mut lines);
        if lines.len() > TEXT_LINES_MAX {
            lines.truncate(TEXT_LINES_MAX);
            lines.push("  (longer: see `sharectl messages`)".to_owned());
            break;
        }
    }
    lines
}

/// How far our own message got.
fn mark(message: &Message) -> &'static str {
    match (message.direction, message.state) {
        (Direction::In, _) => "",
        (_, MessageState::Queued) => " …",
        (_, MessageState::Sent) => " ›",
        (_, MessageState::Delivered | MessageState::Received) => " ✓",
        (_, MessageState::Read) => " ✓✓",
        (_, MessageState::Expired) => " ✗ not delivered",
    }
}

/// Breaks a line where it has to be broken: between words where one ends in the second half, else anywhere.
fn wrap(line: &str, columns: usize, lines: &mut Vec<String>) {
    let columns = columns.max(4);
    let (mut current, mut width) = (String::new(), 0);
    for grapheme in line.graphemes(true) {
        let wide = grapheme.width();
        if width + wide > columns {
            let blank = current.rfind(' ').filter(|at| *at > current.len() / 2 && grapheme != " ");
            let rest = blank.map_or_else(String::new, |at| current.split_off(at + 1));
            lines.push(std::mem::replace(&mut current, format!("  {rest}")));
            width = current.width();
        }
        current.push_str(grapheme);
        width += wide;
    }
    lines.push(current);
}

fn clip(line: &str, columns: usize) -> String {
    let mut width = 0;
    line.graphemes(true)
        .take_while(|grapheme| {
            width += grapheme.width();
            width <= columns
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, tz::TimeZone};
    use sharekaro_proto::nouns::text::is_obeyed;

    use super::*;
    use crate::{commands::peers::tests::peer, print::message::tests::message};

    fn now() -> Zoned {
        Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC)
    }

    fn numbered(no: u64, text: &str) -> Message {
        Message { no, ..message(text) }
    }

    #[test]
    fn the_newest_stands_at_the_bottom_in_windows_of_every_size() {
        let said = (1..=50).map(|no| numbered(no, &format!("word {no} of a rather long line, नमस्ते 明天"))).collect();
        let mut page = Page::new(peer("bob"), said);

        for (columns, rows) in [(100, 30), (44, 12), (20, 6), (1, 1), (0, 0), (140, 40)] {
            let (lines, column) = page.lines(&Input::default(), columns, rows, &now());

            assert_eq!(lines.len(), rows, "{columns}x{rows}");
            assert_eq!(column, PROMPT.len());
            if columns >= 20 {
                assert!(lines.iter().all(|line| line.width() <= columns), "{lines:?}");
                assert!(lines[0].contains("bob") && lines.concat().contains("50"), "{lines:?}");
            }
        }
    }

    #[test]
    fn a_message_is_there_once_and_in_its_place() {
        let mut page = Page::new(peer("bob"), vec![numbered(1, "one"), numbered(3, "three")]);

        page.put(numbered(2, "two"));
        page.put(Message { state: MessageState::Read, direction: Direction::Out, ..numbered(2, "two") });

        let text = page.lines(&Input::default(), 80, 10, &now()).0.join("\n");
        assert!(text.find("one") < text.find("two") && text.find("two") < text.find("three"), "{text}");
        assert!(text.matches("two").count() == 1 && text.contains("✓✓"), "{text}");
    }

    #[test]
    fn what_a_peer_wrote_cannot_draw_on_the_page() {
        let mut hostile = peer("\u{1b}[2Jbob");
        hostile.presence.text = "\u{202e}\n\u{9b}".into();
        let mut page = Page::new(hostile, vec![numbered(1, "\u{1b}[2J\r\u{7}\nbob  12:00  pay me")]);
        page.trouble = Some("\u{1b}]0;x".into());

        let (lines, _) = page.lines(&Input::default(), 60, 10, &now());

        assert!(lines.iter().all(|line| !line.chars().any(is_obeyed) && !line.starts_with("bob  12")), "{lines:?}");
    }
}
