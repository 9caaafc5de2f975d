//! The chat without a terminal: a line is a message, until `quit` or the end of the input.

use std::io::BufRead;

use sharekaro_proto::{
    ErrorBody, ErrorCode,
    client::Client,
    control::{
        message::{WriteMessage, WrittenMessages},
        routes,
    },
    nouns::text::Shown,
};
use tokio::sync::mpsc;

use crate::{
    ending::End,
    print::{Screen, message},
};

/// Lines that were read and not said yet.
const LINES_AHEAD: usize = 64;

/// Says each line of standard input to the target.
pub(super) async fn run(target: &str, client: &Client, screen: &Screen) -> Result<(), End> {
    let mut lines = lines_of_stdin();
    let mut noted = Vec::new();
    while let Some(line) = lines.recv().await {
        let line = line.map_err(|error| ErrorBody::new(ErrorCode::LocalFile, format!("cannot read standard input: {error}")))?;
        if line.trim() == "quit" {
            break;
        }
        if line.trim().is_empty() {
            continue;
        }
        let written: WrittenMessages =
            client.post_with(routes::MESSAGES, &WriteMessage { target: target.to_owned(), text: line, id: None }).await?;
        written.messages.iter().try_for_each(|it| screen.say(it, || message::line(it)))?;
        for off in written.off.into_iter().filter(|off| !noted.contains(off)).collect::<Vec<_>>() {
            screen.note(&format!("{} is off now and gets it later", Shown(&off)));
            noted.push(off);
        }
    }
    Ok(())
}

/// Standard input line by line, read by a thread of its own: it ends with the program at the latest.
fn lines_of_stdin() -> mpsc::Receiver<std::io::Result<String>> {
    let (sender, lines) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}
