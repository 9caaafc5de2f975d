//! The first words: the side that was called opens the control stream and greets first, then the caller.
//!
//! With TLS 1.3 a caller believes itself connected before the other has judged its certificate. Only the greeting shows
//! that it was accepted.

use quinn::Connection;
use sharekaro_proto::wire::{self, Hello, NAME_MAX, Presence};
use tokio::time::timeout;

use crate::net::{
    SessionError, limits,
    stream::{Reader, Writer},
};

/// Words that a greeting may list, and the bytes of each.
const FEATURES: usize = 64;
const FEATURE_MAX: usize = 32;

/// Characters of what a person says of himself.
const PRESENCE_MAX: usize = 200;

/// Facts overtake bulk data.
const CONTROL_PRIORITY: i32 = 1000;

/// The control stream, and what the other said.
pub(super) struct Greeted {
    pub(super) hello: Hello,
    pub(super) writer: Writer,
    pub(super) reader: Reader,
}

/// The greeting of the side that was called.
pub(super) async fn answer(line: &Connection, hello: Hello) -> Result<Greeted, SessionError> {
    within_deadline(async {
        let (send, receive) = line.open_bi().await?;
        let (mut writer, reader) = halves(line, send, receive);
        writer.write(wire::encode_frame(&hello).into()).await?;
        let (hello, reader) = hear(reader).await?;
        Ok(Greeted { hello, writer, reader })
    })
    .await
}

/// The greeting of the side that called: it waits until it is greeted.
pub(super) async fn call(line: &Connection, hello: Hello) -> Result<Greeted, SessionError> {
    within_deadline(async {
        let (send, receive) = line.accept_bi().await?;
        let (mut writer, reader) = halves(line, send, receive);
        let (theirs, reader) = hear(reader).await?;
        writer.write(wire::encode_frame(&hello).into()).await?;
        Ok(Greeted { hello: theirs, writer, reader })
    })
    .await
}

fn halves(line: &Connection, send: quinn::SendStream, receive: quinn::RecvStream) -> (Writer, Reader) {
    let writer = Writer::new(send, line.clone());
    writer.set_priority(CONTROL_PRIORITY);
    (writer, Reader::new(receive, line.clone()))
}

async fn within_deadline<T>(greeting: impl Future<Output = Result<T, SessionError>>) -> Result<T, SessionError> {
    let deadline = limits::GREETING_DEADLINE;
    timeout(deadline, greeting).await.unwrap_or(Err(SessionError::Stalled(deadline)))
}

async fn hear(mut reader: Reader) -> Result<(Hello, Reader), SessionError> {
    let frame = reader.frame(wire::FRAME_MAX_STRANGER, limits::GREETING_DEADLINE).await?;
    let hello = wire::decode_frame(frame.ok_or(SessionError::CutShort)?)?;
    Ok((tidy(hello), reader))
}

/// What is too long is cut: a greeting proves nothing, so nothing hangs on its last letters.
fn tidy(mut hello: Hello) -> Hello {
    cut(&mut hello.name, NAME_MAX);
    cut(&mut hello.version, FEATURE_MAX);
    hello.features.truncate(FEATURES);
    hello.features.iter_mut().for_each(|feature| cut(feature, FEATURE_MAX));
    if let Some(Presence { text, .. }) = &mut hello.presence {
        *text = text.chars().take(PRESENCE_MAX).collect();
    }
    hello
}

fn cut(text: &mut String, bytes: usize) {
    text.truncate(text.floor_char_boundary(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let hello = Hello {
            name: "é".repeat(40),
            features: vec!["x".repeat(100); 100],
            presence: Some(Presence { away: true, text: "ñ".repeat(300) }),
            ..Hello::default()
        };

        let tidy = tidy(hello);

        assert_eq!(tidy.name, "é".repeat(31));
        assert_eq!((tidy.features.len(), tidy.features[0].len()), (FEATURES, FEATURE_MAX));
        assert_eq!(tidy.presence.unwrap().text.chars().count(), PRESENCE_MAX);
    }
}
