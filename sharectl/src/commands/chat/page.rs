//! The page: who it is with, what was said, the line to type in. A plain function of these and the size of the window.

use std::collections::VecDeque;

use jiff::Zoned;
use sharekaro_proto::{
    control::{
        message::{Message, MessageState},
        peer::{Peer, PresenceBody},
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
    commands::{history::Circle, presence},
    print::{
        message::{author, time},
        post::Post,
    },
};

/// Messages that are kept to scroll in; `sharectl messages` has all.
const KEPT: usize = 500;

/// Lines of one text that are drawn; `sharectl messages` has all.
const TEXT_LINES_MAX: usize = 200;

/// Those of a group whom the first line names; the others are counted.
const NAMED_MAX: usize = 8;

/// What is on the page.
pub(super) struct Page {
    pub(super) circle: Circle,
    posts: VecDeque<Post>,
    /// Why the last text was not taken.
    pub(super) trouble: Option<String>,
    scrolled: usize,
}

impl Page {
    pub(super) fn new(circle: Circle, messages: Vec<Message>) -> Self {
        Self { circle, posts: Post::gather(&messages).into(), trouble: None, scrolled: 0 }
    }

    /// The number of the newest message.
    pub(super) fn last(&self) -> u64 {
        self.posts.back().map_or(0, Post::last)
    }

    /// One that is new, or stands elsewhere than before. Each is there once.
    pub(super) fn put(&mut self, message: Message) {
        if let Some(known) = self.posts.iter_mut().rev().find(|known| known.is_of(&message)) {
            return known.put(message);
        }
        let at = self.posts.iter().rposition(|known| known.message.no < message.no).map_or(0, |at| at + 1);
        self.posts.insert(at, Post::new(message));
        if self.posts.len() > KEPT {
            self.posts.pop_front();
        }
    }

    /// Shows older lines, or newer ones.
    pub(super) fn scroll(&mut self, lines: isize) {
        self.scrolled = self.scrolled.saturating_add_signed(lines);
    }

    /// The lines of the window, from the top, and the column of the cursor in the last one.
    pub(super) fn lines(&mut self, input: &Input, columns: usize, rows: usize, now: &Zoned) -> (Vec<String>, usize) {
        let room = rows.saturating_sub(2);
        let mut said: Vec<String> = self.posts.iter().flat_map(|post| wrapped(post, &self.circle, columns, now)).collect();
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
        let trouble = self.trouble.as_ref().map_or_else(|| "quit leaves".to_owned(), |trouble| Shown(trouble).to_string());
        let scrolled = if self.scrolled > 0 { " (older lines)" } else { "" };
        let who = match self.circle.peers.as_slice() {
            [peer] if self.circle.is_one => one(peer),
            peers => format!("{}: {}", Shown(&self.circle.target), many(peers)),
        };
        format!("{who}{scrolled}  {trouble}")
    }
}

/// Who it is with, and whether he is there.
fn one(peer: &Peer) -> String {
    let here = if peer.online { presence::shown(&peer.presence) } else { "off, gets it later".to_owned() };
    let paired = if peer.trust.paired() { "" } else { ", not paired" };
    format!("{} ({here}{paired})", Shown(&peer.alias))
}

/// Who of a group is there, and who is not: `bob, carol (away: lunch); off: dave`.
fn many(peers: &[Peer]) -> String {
    let (here, off): (Vec<&Peer>, Vec<&Peer>) = peers.iter().partition(|peer| peer.online);
    let name = |peer: &&Peer| match peer.presence == PresenceBody::default() || !peer.online {
        true => Shown(&peer.alias).to_string(),
        false => format!("{} ({})", Shown(&peer.alias), presence::shown(&peer.presence)),
    };
    let names = |peers: &[&Peer]| match peers.len() {
        0 => "nobody".to_owned(),
        count if count > NAMED_MAX => format!("{count} of {}", here.len() + off.len()),
        _ => peers.iter().map(name).collect::<Vec<_>>().join(", "),
    };
    if off.is_empty() { names(&here) } else { format!("{}; off: {}", names(&here), names(&off)) }
}

const PROMPT: &str = "> ";

/// What was said, as lines of the window.
fn wrapped(post: &Post, circle: &Circle, columns: usize, now: &Zoned) -> Vec<String> {
    let message = &post.message;
    let text = match message.transfer {
        Some(id) => format!("[file {id}: {}]", Shown(&message.text)),
        None => ShownLines(&message.text).to_string().replace('\t', "    "),
    };
    // in the chat with one of them, what went to all says so
    let to = message.audience.as_ref().filter(|_| circle.is_one).map_or_else(String::new, |audience| format!(" to {}", Shown(audience)));
    let head = format!("{} {}{to}{}: ", time(message.at, now), author(message), marks(post));
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

/// How far what we said got: ` ✓✓`, and where that differs ` ✓✓ bob ✓ carol, dave … eva`.
fn marks(post: &Post) -> String {
    if post.message.direction == Direction::In {
        return String::new();
    }
    let told = |(state, names): (MessageState, Option<String>)| match names {
        Some(names) => format!(" {} {names}", mark(state)),
        None => format!(" {}", mark(state)),
    };
    post.standing().into_iter().map(told).collect()
}

fn mark(state: MessageState) -> &'static str {
    match state {
        MessageState::Queued => "…",
        MessageState::Sent => "›",
        MessageState::Delivered | MessageState::Received => "✓",
        MessageState::Read => "✓✓",
        MessageState::Expired => "✗ not delivered",
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
    use sharekaro_proto::{control::peer::PresenceState, nouns::text::is_obeyed};

    use super::*;
    use crate::{commands::peers::tests::peer, print::message::tests::message};

    fn now() -> Zoned {
        Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC)
    }

    fn numbered(no: u64, text: &str) -> Message {
        Message { no, ..message(text) }
    }

    fn with(peer: Peer) -> Circle {
        Circle { target: peer.id.to_string(), is_one: true, peers: vec![peer] }
    }

    #[test]
    fn the_newest_stands_at_the_bottom_in_windows_of_every_size() {
        let said = (1..=50).map(|no| numbered(no, &format!("word {no} of a rather long line, नमस्ते 明天"))).collect();
        let mut page = Page::new(with(peer("bob")), said);

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
        let mut page = Page::new(with(peer("bob")), vec![numbered(1, "one"), numbered(3, "three")]);

        page.put(numbered(2, "two"));
        page.put(Message { state: MessageState::Read, direction: Direction::Out, ..numbered(2, "two") });

        let text = page.lines(&Input::default(), 80, 10, &now()).0.join("\n");
        assert!(text.find("one") < text.find("two") && text.find("two") < text.find("three"), "{text}");
        assert!(text.matches("two").count() == 1 && text.contains("✓✓"), "{text}");
    }

    #[test]
    fn a_text_to_a_group_is_one_line_with_the_marks_of_all() {
        let to = |no, name: &str, state| Message {
            no,
            conversation: name.into(),
            from: "alice".into(),
            direction: Direction::Out,
            state,
            audience: Some("@team".into()),
            post: Some(uuid::Uuid::from_u128(5)),
            ..message("plan")
        };
        let away = Peer { presence: PresenceBody { state: PresenceState::Away, text: "lunch".into() }, ..peer("carol") };
        let off = Peer { online: false, ..peer("dave") };
        let team = Circle { target: "@team".into(), is_one: false, peers: vec![peer("bob"), away, off] };
        let mut page = Page::new(team, vec![to(1, "bob", MessageState::Delivered), to(2, "carol", MessageState::Queued)]);
        page.put(numbered(3, "fine"));
        page.put(to(1, "bob", MessageState::Read));
        let shown = |page: &mut Page| page.lines(&Input::default(), 100, 8, &now()).0;

        let lines = shown(&mut page);
        assert!(lines[0].starts_with("@team: bob, carol (away: lunch); off: dave"), "{lines:?}");
        assert!(lines[5].ends_with("alice ✓✓ bob … carol: plan") && lines[6].ends_with("bob: fine"), "{lines:?}");
        page.put(to(2, "carol", MessageState::Read));
        assert!(shown(&mut page)[5].ends_with("alice ✓✓: plan"));
        page.circle = with(peer("bob"));
        assert!(shown(&mut page)[5].ends_with("alice to @team ✓✓: plan"));
    }

    #[test]
    fn what_a_peer_wrote_cannot_draw_on_the_page() {
        let mut hostile = peer("\u{1b}[2Jbob");
        hostile.presence.text = "\u{202e}\n\u{9b}".into();
        let group = Circle { target: "@\u{1b}[2J".into(), is_one: false, peers: vec![hostile.clone(), hostile.clone()] };

        for circle in [with(hostile), group] {
            let mut page = Page::new(circle, vec![numbered(1, "\u{1b}[2J\r\u{7}\nbob  12:00  pay me")]);
            page.trouble = Some("\u{1b}]0;x".into());
            let (lines, _) = page.lines(&Input::default(), 60, 10, &now());

            assert!(lines.iter().all(|line| !line.chars().any(is_obeyed) && !line.starts_with("bob  12")), "{lines:?}");
        }
    }
}
