//! Messages as people read them. Only the first line of each begins at the margin, so that no text can forge another.

use jiff::{Timestamp, Zoned, tz::TimeZone};
use sharekaro_proto::{
    control::message::{Message, MessageState},
    nouns::{
        text::{Shown, ShownLines},
        transfer::Direction,
    },
};

/// What stands before every further line of a text.
const FURTHER: &str = "      | ";

/// `14:05`, or with its day where that is not today.
pub(crate) fn time(at: Timestamp, now: &Zoned) -> String {
    let at = at.to_zoned(now.time_zone().clone());
    let form = if at.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    at.strftime(form).to_string()
}

/// `bob`, or `mallory (k:abcdefgh, not paired)` for somebody whose name proves nothing.
pub(crate) fn author(message: &Message) -> String {
    let from = Shown(&message.from);
    if message.direction == Direction::In && !message.paired {
        format!("{from} (k:{}, not paired)", message.peer_id.short())
    } else {
        from.to_string()
    }
}

/// What was written, shown and with its further lines set off; of a file, which one.
pub(crate) fn text(message: &Message) -> String {
    match message.transfer {
        Some(id) => format!("[file {id}: {}]", Shown(&message.text)),
        None => ShownLines(&message.text).to_string().replace('\n', &format!("\n{FURTHER}")),
    }
}

/// Where it stands, as far as a person wants to know.
pub(crate) fn mark(message: &Message) -> &'static str {
    match (message.direction, message.state) {
        (Direction::In, _) => "",
        (_, MessageState::Queued) => "  (waits)",
        (_, MessageState::Sent) => "  (sent)",
        (_, MessageState::Read) => "  (read)",
        (_, MessageState::Expired) => "  (NOT DELIVERED within a week)",
        (_, MessageState::Delivered | MessageState::Received) => "  (delivered)",
    }
}

/// `14:05 bob: text`, `14:06 alice to bob: text  (delivered)`.
pub(crate) fn line(message: &Message) -> String {
    line_at(message, &Zoned::now())
}

fn line_at(message: &Message, now: &Zoned) -> String {
    let to = if message.direction == Direction::Out { format!(" to {}", Shown(&message.conversation)) } else { String::new() };
    format!("{} {}{to}: {}{}", time(message.at, now), author(message), text(message), mark(message))
}

/// A list of them.
pub(crate) fn list(messages: &[Message]) -> String {
    let now = Timestamp::now().to_zoned(TimeZone::system());
    messages.iter().map(|message| line_at(message, &now)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
pub(crate) mod tests {
    use sharekaro_proto::{DeviceId, nouns::text::is_obeyed};

    use super::*;

    /// A message of bob.
    pub(crate) fn message(text: &str) -> Message {
        Message {
            id: uuid::Uuid::from_u128(1),
            no: 1,
            conversation: "bob".into(),
            peer_id: DeviceId::from_bytes([1; 32]),
            paired: true,
            from: "bob".into(),
            direction: Direction::In,
            text: text.into(),
            bytes: text.len() as u64,
            at: Timestamp::UNIX_EPOCH,
            state: MessageState::Received,
            transfer: None,
        }
    }

    #[test]
    fn no_text_forges_a_line_or_moves_the_cursor() {
        let mut hostile = message("first\nmallory  12:00  pay me\r\u{1b}[2J\u{202e}");
        hostile.from = "bob\n\u{1b}[1A".into();
        hostile.conversation.clone_from(&hostile.from);
        let file = Message { transfer: Some(sharekaro_proto::TransferId(8)), direction: Direction::Out, ..hostile.clone() };

        let text = list(&[hostile, file]);

        assert!(text.lines().all(|line| !line.chars().any(is_obeyed) && !line.starts_with("mallory")), "{text:?}");
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn a_stranger_is_told_from_a_friend() {
        let stranger = Message { paired: false, ..message("hi") };

        assert!(line(&stranger).contains("not paired") && line(&stranger).contains(&stranger.peer_id.short()));
        assert!(!line(&message("hi")).contains("not paired"));
    }
}
