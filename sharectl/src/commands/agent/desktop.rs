//! The notification service of the session: `org.freedesktop.Notifications` 1.2. What it can do is asked first.

use std::collections::HashMap;

use futures_util::StreamExt;
use zbus::{Connection, MatchRule, Message, MessageStream, Variant, message::Type};

use super::notices::{Deed, Notice, Urgency};

const SERVICE: &str = "org.freedesktop.Notifications";
const PATH: &str = "/org/freedesktop/Notifications";

/// Signals that wait to be read.
const WAITING: usize = 64;

/// Milliseconds after which a bar that moves no more goes; the next one moves it.
const BAR_STAYS: i32 = 10_000;

/// The service, and what it can do.
pub(super) struct Desktop {
    connection: Connection,
    signals: MessageStream,
    owners: MessageStream,
    buttons: bool,
    replies: bool,
    markup: bool,
}

/// What a person did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// Pressed a button of this notification.
    Pressed(u32, String),
    /// Typed an answer into it.
    Replied(u32, String),
    /// It is not on the screen any more.
    Closed(u32),
}

impl Desktop {
    /// The service of this session.
    ///
    /// # Errors
    /// There is no session bus, or nobody shows notifications.
    pub(super) async fn connect() -> zbus::Result<Self> {
        let connection = Connection::session().await?;
        let rule = MatchRule::builder().msg_type(Type::Signal).interface(SERVICE).path(PATH).build()?;
        let signals = MessageStream::for_match_rule(rule, &connection, std::num::NonZeroUsize::new(WAITING)).await?;
        let bus = "org.freedesktop.DBus";
        let rule = MatchRule::builder().msg_type(Type::Signal).sender(bus).interface(bus).member("NameOwnerChanged");
        let owners = MessageStream::for_match_rule(rule.arg(0, SERVICE).build()?, &connection, None).await?;
        let reply = connection.call_method(Some(SERVICE), PATH, Some(SERVICE), "GetCapabilities", &()).await?;
        let capabilities: Vec<String> = reply.body().deserialize()?;
        let can = |what: &str| capabilities.iter().any(|it| it == what);
        Ok(Self { buttons: can("actions"), replies: can("inline-reply"), markup: can("body-markup"), connection, signals, owners })
    }

    /// Shows a notice, in the place of `instead` where that is not 0; its number.
    pub(super) async fn show(&self, notice: &Notice, instead: u32) -> zbus::Result<u32> {
        let buttons: Vec<&str> = self.deeds(notice).flat_map(|deed| [deed.word(), deed.label()]).collect();
        let without_buttons = buttons.is_empty() && !notice.deeds.is_empty();
        let body = if without_buttons { format!("{}\n{}", notice.body, notice.command) } else { notice.body.clone() };
        let body = if self.markup { escaped(&body) } else { harmless(&body) };
        let stays = if notice.progress.is_some() { BAR_STAYS } else { -1 }; // -1: as the service is set
        let call = ("ShareKaro", instead, "sharekaro", notice.title.as_str(), body, buttons, hints(notice), stays);
        let reply = self.connection.call_method(Some(SERVICE), PATH, Some(SERVICE), "Notify", &call).await?;
        reply.body().deserialize()
    }

    /// Takes it from the screen; where it is gone already, that is fine.
    pub(super) async fn remove(&self, number: u32) {
        let _ = self.connection.call_method(Some(SERVICE), PATH, Some(SERVICE), "CloseNotification", &number).await;
    }

    /// What the person does next. Safe to cancel.
    ///
    /// # Errors
    /// The session bus went away, or the service did: what it showed went with it.
    pub(super) async fn heard(&mut self) -> zbus::Result<Heard> {
        loop {
            tokio::select! {
                message = self.signals.next() => {
                    if let Some(heard) = read(&message.ok_or_else(no_bus)??) {
                        return Ok(heard);
                    }
                }
                message = self.owners.next() => {
                    let (_name, before, _now): (String, String, String) = message.ok_or_else(no_bus)??.body().deserialize()?;
                    if !before.is_empty() {
                        return Err(zbus::Error::Failure("the notification service went away".to_owned()));
                    }
                }
            }
        }
    }

    /// What can be done with this service.
    fn deeds(&self, notice: &Notice) -> impl Iterator<Item = Deed> {
        notice.deeds.iter().copied().filter(|deed| self.buttons && (self.replies || *deed != Deed::Reply))
    }
}

fn no_bus() -> zbus::Error {
    zbus::Error::Failure("the session bus went away".to_owned())
}

fn read(message: &Message) -> Option<Heard> {
    let body = message.body();
    match message.header().member()?.as_str() {
        "ActionInvoked" => body.deserialize().ok().map(|(number, word)| Heard::Pressed(number, word)),
        "NotificationReplied" => body.deserialize().ok().map(|(number, text)| Heard::Replied(number, text)),
        "NotificationClosed" => body.deserialize().ok().map(|(number, _why): (u32, u32)| Heard::Closed(number)),
        _ => None,
    }
}

fn hints(notice: &Notice) -> HashMap<&'static str, Variant<'static>> {
    let urgency: u8 = match notice.urgency {
        Urgency::Low => 0,
        Urgency::Normal => 1,
        Urgency::Critical => 2,
    };
    let mut hints = HashMap::from([("urgency", Variant::from(urgency)), ("desktop-entry", Variant::from("sharekaro"))]);
    if let Some(percent) = notice.progress {
        hints.insert("value", Variant::from(i32::from(percent)));
        hints.insert("transient", Variant::from(true));
    }
    hints
}

/// The five characters that markup knows, as what they are.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c => out.push(c),
        }
    }
    out
}

/// Some services obey markup and do not say so, and some that have none would show an escape as it stands: characters
/// that look alike mean nothing to either.
fn harmless(text: &str) -> String {
    text.replace('<', "‹").replace('>', "›").replace('&', "＆")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_of_others_is_shown_and_not_obeyed() {
        assert_eq!(escaped("<a href=\"x\">&amp;</a>"), "&lt;a href=&quot;x&quot;&gt;&amp;amp;&lt;/a&gt;");
        assert!(!harmless("<b>&lt;</b>").contains(['<', '>', '&']));
    }
}
