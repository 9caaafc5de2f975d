//! Messages as people read them. Only the first line of each begins at the margin, so that no text can forge another.

use jiff::{Timestamp, Zoned, tz::TimeZone};
use sharekaro_proto::{
    control::message::{Message, MessageState},
    nouns::{
        text::{Shown, ShownLines},
        transfer::Direction,
    },
};

use super::post::Post;

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

/// Where it stands, as far as a person wants to know: `  (delivered)`, `  (read: bob; waits: carol)`.
fn mark(post: &Post) -> String {
    if post.message.direction == Direction::In {
        return String::new();
    }
    let told = |(state, names): (MessageState, Option<String>)| match names {
        Some(names) => format!("{}: {names}", word(state)),
        None => word(state).to_owned(),
    };
    format!("  ({})", post.standing().into_iter().map(told).collect::<Vec<_>>().join("; "))
}

fn word(state: MessageState) -> &'static str {
    match state {
        MessageState::Queued => "waits",
        MessageState::Sent => "sent",
        MessageState::Read => "read",
        MessageState::Expired => "NOT DELIVERED within a week",
        MessageState::Delivered | MessageState::Received => "delivered",
    }
}

/// To whom: ` to bob`, of a text to many ` to @team`, and of one message of it ` to bob (@team)`.
fn to(post: &Post) -> String {
    let message = &post.message;
    match (message.direction, &message.audience) {
        (Direction::In, _) => String::new(),
        (_, None) => format!(" to {}", Shown(&message.conversation)),
        (_, Some(audience)) if post.last() > message.no => format!(" to {}", Shown(audience)),
        (_, Some(audience)) => format!(" to {} ({})", Shown(&message.conversation), Shown(audience)),
    }
}

/// `14:05 bob: text`, `14:06 alice to bob: text  (delivered)`.
pub(crate) fn line(message: &Message) -> String {
    line_at(&Post::new(message.clone()), &Zoned::now())
}

fn line_at(post: &Post, now: &Zoned) -> String {
    let message = &post.message;
    format!("{} {}{}: {}{}", time(message.at, now), author(message), to(post), text(message), mark(post))
}

/// A list of them; a text to many is one line.
pub(crate) fn list(messages: &[Message]) -> String {
    let now = Timestamp::now().to_zoned(TimeZone::system());
    Post::gather(messages).iter().map(|post| line_at(post, &now)).collect::<Vec<_>>().join("\n")
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
            audience: None,
            post: None,
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
    fn a_text_to_a_group_is_one_line_and_tells_of_everybody() {
        let copy = |no, name: &str, state| Message {
            no,
            conversation: name.into(),
            from: "alice".into(),
            direction: Direction::Out,
            state,
            audience: Some("@team\u{202e}".into()),
            post: Some(uuid::Uuid::from_u128(3)),
            ..message("hello")
        };
        let both = [copy(1, "bob", MessageState::Read), copy(2, "carol\n", MessageState::Queued)];

        let text = list(&both);

        assert!(text.contains("alice to @team") && text.contains("hello  (read: bob; waits: carol"), "{text}");
        assert!(text.lines().count() == 1 && !text.chars().any(is_obeyed), "{text:?}");
        assert!(list(&both[..1]).contains("alice to bob (@team"), "{}", list(&both[..1]));
    }

    #[test]
    fn a_stranger_is_told_from_a_friend() {
        let stranger = Message { paired: false, ..message("hi") };

        assert!(line(&stranger).contains("not paired") && line(&stranger).contains(&stranger.peer_id.short()));
        assert!(!line(&message("hi")).contains("not paired"));
    }
}
