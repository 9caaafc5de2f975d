//! The chat in a terminal: keys, messages and changes of the window come in, the page is drawn.

use std::{io, time::Duration};

use crossterm::event::{self, Event, KeyEventKind};
use jiff::Zoned;
use sharekaro_proto::{
    ErrorBody, ErrorCode,
    client::Client,
    control::{
        message::{WriteMessage, WrittenMessages},
        routes,
    },
};
use tokio::sync::mpsc;

use super::{
    input::{Input, Wish},
    page::Page,
    paint::Window,
};
use crate::{
    commands::{
        history::{Circle, Feed, News, Wanted, seen},
        signals::Signals,
    },
    ending::End,
};

/// Messages that stand on the page at first.
const COUNT: u64 = 200;

/// Keys that were pressed and not looked at yet.
const KEYS_AHEAD: usize = 256;

/// The thread that reads keys looks so often whether anybody still wants them.
const KEY_LOOK: Duration = Duration::from_millis(200);

/// Talks with a peer, or a group, until the person leaves.
pub(super) async fn run(target: &str, client: &Client) -> Result<(), End> {
    if target.contains(',') {
        return Err(ErrorBody::new(ErrorCode::Usage, "a chat is with one peer, a group or all")
            .hint("`sharectl group add NAME PEER...`, then `sharectl chat @NAME`")
            .into());
    }
    let circle = Circle::find(target, client).await?;
    let messages = Wanted { peer: Some(circle.target.clone()), search: None }.last(COUNT, client).await?;
    seen(&messages, client).await?;
    let mut page = Page::new(circle.clone(), messages);
    let mut feed = Feed::new(Some(circle), Some(page.last()), client).await?;
    let mut signals = Signals::new()?;
    let mut window = Window::open().map_err(|error| End::unexpected("use the terminal", &error))?;
    let talked = tokio::select! {
        talked = talk(&mut page, &mut feed, &mut window, client) => talked,
        _ = signals.next() => Ok(()),
    };
    drop(window); // what is said about the end stands on the person's own page
    talked
}

async fn talk(page: &mut Page, feed: &mut Feed, window: &mut Window, client: &Client) -> Result<(), End> {
    let (mut keys, mut input) = (keys(), Input::default());
    loop {
        let (columns, rows) = window.size();
        // the last column stays free: a terminal that stands behind it wraps at the next character, whatever that is
        let (lines, column) = page.lines(&input, columns.saturating_sub(1), rows, &Zoned::now());
        window.draw(lines, column).map_err(|error| End::no_output(&error))?;
        tokio::select! {
            key = keys.recv() => match key {
                None => return Ok(()),
                Some(Err(error)) => return Err(End::unexpected("read keys", &error)),
                Some(Ok(event)) => match wish(&mut input, event) {
                    Wish::Leave => return Ok(()),
                    Wish::Scroll(by) => page.scroll(by),
                    Wish::Say(text) => if let Some(untaken) = say(page, text, client).await {
                        input.insert(&untaken);
                    },
                    Wish::Edited => {}
                },
            },
            news = feed.next(client) => match news? {
                None => return Err(ErrorBody::new(ErrorCode::NoDaemon, "the daemon ended").hint("start it again; what was said is kept").into()),
                Some(News::Circle(circle)) => page.circle = circle,
                Some(News::Changed(message)) => page.put(message),
                Some(News::Came(messages)) => {
                    if messages.iter().any(|message| page.circle.lacks(message)) {
                        page.circle = feed.look_again(page.circle.clone(), client).await?;
                    }
                    seen(&messages, client).await?;
                    messages.into_iter().for_each(|message| page.put(message));
                }
            },
        }
    }
}

fn wish(input: &mut Input, event: Event) -> Wish {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => return input.press(key),
        Event::Paste(text) => input.insert(&text.replace("\r\n", "\n").replace('\r', "\n")),
        _ => {} // the size is looked at before every drawing
    }
    Wish::Edited
}

/// Says a text; where it is not taken, the page tells why, and it is given back.
async fn say(page: &mut Page, text: String, client: &Client) -> Option<String> {
    let write = WriteMessage { target: page.circle.target.clone(), text, id: None };
    match client.post_with::<_, WrittenMessages>(routes::MESSAGES, &write).await {
        Ok(written) => {
            page.trouble = None;
            page.scroll(isize::MIN);
            written.messages.into_iter().for_each(|message| page.put(message));
            None
        }
        Err(error) => {
            page.trouble = Some(error.message);
            Some(write.text)
        }
    }
}

/// What comes from the terminal, read by a thread of its own, which ends soon after the receiver is dropped.
fn keys() -> mpsc::Receiver<io::Result<Event>> {
    let (sender, keys) = mpsc::channel(KEYS_AHEAD);
    std::thread::spawn(move || {
        while !sender.is_closed() {
            let event = match event::poll(KEY_LOOK) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            let failed = event.is_err();
            if sender.blocking_send(event).is_err() || failed {
                return;
            }
        }
    });
    keys
}
