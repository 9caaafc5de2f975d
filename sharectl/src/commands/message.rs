//! `message TARGET [TEXT]`: records a text for one or several; the daemon delivers it.

use std::io::{IsTerminal, Read};

use clap::Args;
use sharekaro_proto::{
    ErrorBody, ErrorCode,
    client::Client,
    control::{
        message::{Message as MessageBody, MessageState, Messages, TEXT_MAX, WriteMessage, WrittenMessages},
        routes,
    },
    nouns::text::Shown,
};
use uuid::Uuid;

use crate::{
    ending::End,
    print::{Screen, message},
};

#[derive(Args, Debug)]
pub(crate) struct Message {
    /// alias, name, key prefix, @group or all; several joined by a comma
    target: String,
    /// What to say; `-`, or nothing where standard input is no terminal, reads it from there
    text: Option<String>,
    /// A UUID: the same again is the same message, so a retry writes nothing twice
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
}

impl Message {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let text = match self.text {
            Some(text) if text != "-" => text,
            None if std::io::stdin().is_terminal() => {
                return Err(ErrorBody::new(ErrorCode::Usage, "there is no text").hint("sharectl message PEER TEXT").into());
            }
            _ => from_stdin()?,
        };
        let several = means_several(&self.target);
        let written: WrittenMessages = client.post_with(routes::MESSAGES, &WriteMessage { target: self.target, text, id: self.id }).await?;
        told(written, several, screen)
    }
}

/// Whether the target may mean several peers, however many it means now.
fn means_several(target: &str) -> bool {
    target.contains(',') || target.starts_with('@') || target.trim() == "all"
}

/// All of standard input, less one line feed at its end. Of what is too long, just so much that the daemon sees it.
fn from_stdin() -> Result<String, ErrorBody> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(TEXT_MAX as u64 + 2).read_to_end(&mut bytes);
    read.map_err(|error| ErrorBody::new(ErrorCode::LocalFile, format!("cannot read standard input: {error}")))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    let too_long = bytes.len() > TEXT_MAX;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) if too_long => Ok(String::from_utf8_lossy(error.as_bytes()).into_owned()), // cut inside a character: refused anyway
        Err(_) => {
            Err(ErrorBody::new(ErrorCode::Usage, "standard input is no UTF-8 text").hint("send it as a file: sharectl send PEER FILE"))
        }
    }
}

fn told(written: WrittenMessages, several: bool, screen: &Screen) -> Result<(), End> {
    let waits = |it: &MessageBody| matches!(it.state, MessageState::Queued | MessageState::Sent) && written.off.contains(&it.conversation);
    let waiting: Vec<String> = written.messages.iter().filter(|it| waits(it)).map(|it| Shown(&it.conversation).to_string()).collect();
    match written.messages.as_slice() {
        [one] if !several => screen.say(one, || message::line(one))?,
        all => screen.say(&Messages { messages: all.to_vec() }, || message::list(all))?,
    }
    if waiting.is_empty() {
        return Ok(());
    }
    screen.note(&format!("off now: {}; it goes out as soon as they are back", waiting.join(", ")));
    Err(End::Told(ErrorCode::Offline.exit_code()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_that_may_mean_several_are_known_by_their_form() {
        for (target, several) in [("bob", false), ("all", true), ("@team", true), ("a,b", true), ("k:abcd", false)] {
            assert_eq!(means_several(target), several, "{target}");
        }
    }
}
