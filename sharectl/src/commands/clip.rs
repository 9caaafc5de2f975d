//! `clip push TARGET`, `clip pull`: the clipboard of this session as a message, and a message as the clipboard.
//!
//! Nothing of it happens by itself: a clipboard holds passwords. It is off until the configuration allows it.

use std::{
    env,
    io::Write,
    process::{Command, Stdio},
};

use clap::Subcommand;
use serde_json::{Value, json};
use sharekaro_proto::{
    ErrorBody, ErrorCode,
    client::Client,
    control::{
        message::{Message, Messages, TEXT_MAX, WriteMessage, WrittenMessages},
        routes,
    },
    nouns::{text::Shown, transfer::Direction},
};

use crate::{
    ending::End,
    print::{Screen, message, quantity::size},
};

/// So many of the newest messages are looked at for one that came in.
const LOOKED_AT: u64 = 200;

#[derive(Subcommand, Debug)]
pub(crate) enum ClipVerb {
    /// Send the text in the clipboard as a message
    Push {
        /// alias, name, key prefix, @group or all; several joined by a comma
        target: String,
    },
    /// Put the newest text that came in into the clipboard
    Pull {
        /// Of this peer only
        #[arg(long, value_name = "PEER")]
        from: Option<String>,
    },
}

impl ClipVerb {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        allowed(client).await?;
        match self {
            Self::Push { target } => push(target, client, screen).await,
            Self::Pull { from } => pull(from, client, screen).await,
        }
    }
}

async fn allowed(client: &Client) -> Result<(), ErrorBody> {
    let config: Value = client.get(routes::CONFIG).await?;
    if config["clipboard"] == true {
        return Ok(());
    }
    let file = config["config_file"].as_str().unwrap_or("config.toml");
    Err(ErrorBody::new(ErrorCode::Unavailable, "the clipboard is not shared: it may hold passwords")
        .hint(format!("to allow it, write clipboard = true into {file}, and restart sharekarod")))
}

async fn push(target: String, client: &Client, screen: &Screen) -> Result<(), End> {
    let text = tool()?.read()?;
    if text.is_empty() {
        return Err(ErrorBody::new(ErrorCode::LocalFile, "there is no text in the clipboard").hint("copy some text first").into());
    }
    if text.len() > TEXT_MAX {
        let what = format!("the clipboard holds {}; a message has at most {}", size(text.len() as u64), size(TEXT_MAX as u64));
        return Err(ErrorBody::new(ErrorCode::Usage, what).hint("save it and send it as a file: sharectl send PEER FILE").into());
    }
    let written: WrittenMessages = client.post_with(routes::MESSAGES, &WriteMessage { target, text, id: None }).await?;
    screen.say(&Messages { messages: written.messages.clone() }, || message::list(&written.messages))?;
    if written.off.is_empty() {
        return Ok(());
    }
    screen.note(&format!("off now: {}; it goes out as soon as they are back", Shown(&written.off.join(", "))));
    Err(End::Told(ErrorCode::Offline.exit_code()))
}

async fn pull(from: Option<String>, client: &Client, screen: &Screen) -> Result<(), End> {
    let mut query = vec![("limit", LOOKED_AT.to_string())];
    query.extend(from.map(|peer| ("peer", peer)));
    let history: Messages = client.get(&routes::with_query(routes::MESSAGES, &query)).await?;
    let is_text = |it: &&Message| it.direction == Direction::In && it.transfer.is_none() && it.paired;
    let Some(newest) = history.messages.iter().rfind(is_text) else {
        return Err(ErrorBody::new(ErrorCode::NotFound, "no text of a paired peer came in").hint("sharectl messages").into());
    };
    tool()?.write(&newest.text)?;
    screen.say(&json!({"from": newest.from, "bytes": newest.text.len(), "id": newest.id}), || {
        format!("{} of {} are in the clipboard", size(newest.text.len() as u64), Shown(&newest.from))
    })
}

/// How the clipboard of a session is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tool {
    Wayland,
    X11,
}

/// Wayland first: under it an X server may run too, and its clipboard is not the person's.
fn tool() -> Result<Tool, ErrorBody> {
    let set = |key: &str| env::var_os(key).is_some_and(|value| !value.is_empty());
    match (set("WAYLAND_DISPLAY"), set("DISPLAY")) {
        (true, _) => Ok(Tool::Wayland),
        (false, true) => Ok(Tool::X11),
        (false, false) => Err(ErrorBody::new(ErrorCode::Unavailable, "there is no clipboard: neither WAYLAND_DISPLAY nor DISPLAY is set")
            .hint("run it inside a desktop session")),
    }
}

impl Tool {
    fn read(self) -> Result<String, ErrorBody> {
        let mut command = match self {
            Self::Wayland => command("wl-paste", &["--no-newline", "--type", "text/plain;charset=utf-8"]),
            Self::X11 => command("xclip", &["-selection", "clipboard", "-target", "UTF8_STRING", "-out"]),
        };
        let done = command.stdin(Stdio::null()).stderr(Stdio::null()).output().map_err(|e| self.missing(&e))?;
        if !done.status.success() {
            return Ok(String::new()); // both end so where nothing, or no text, was copied
        }
        String::from_utf8(done.stdout)
            .map_err(|_| ErrorBody::new(ErrorCode::LocalFile, "the clipboard holds no text").hint("copy some text first"))
    }

    fn write(self, text: &str) -> Result<(), ErrorBody> {
        let mut command = match self {
            Self::Wayland => command("wl-copy", &["--type", "text/plain;charset=utf-8"]),
            Self::X11 => command("xclip", &["-selection", "clipboard", "-in"]),
        };
        // both go on in the background to keep what they hold, and would keep our streams open with it
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|e| self.missing(&e))?;
        let given = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(text.as_bytes()));
        let ended = child.wait().map_err(|e| self.missing(&e))?;
        if given.is_ok() && ended.success() {
            return Ok(());
        }
        Err(ErrorBody::new(ErrorCode::Unavailable, "the clipboard took nothing").hint("does the desktop of this session run?"))
    }

    fn missing(self, error: &std::io::Error) -> ErrorBody {
        let package = if self == Self::Wayland { "wl-clipboard" } else { "xclip" };
        ErrorBody::new(ErrorCode::Unavailable, format!("cannot use the clipboard: {error}")).hint(format!("sudo apt install {package}"))
    }
}

fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}
