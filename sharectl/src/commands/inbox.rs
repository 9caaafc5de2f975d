//! `inbox`: what waits for an answer and what came.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use sharekaro_proto::{
    ErrorBody, ErrorCode, TransferId,
    client::Client,
    control::{
        inbox::{Accept, Decline, Inbox as InboxBody, Received, Undone, WaitingOffer},
        routes,
        transfer::{RawPath, Transfer},
    },
    nouns::text::Shown,
};

use super::open;
use crate::{
    cli::{ID_HELP, transfer_id},
    ending::End,
    print::{
        Screen,
        quantity::{count, size, when},
        table, transfer,
    },
};

#[derive(Args, Debug)]
pub(crate) struct Inbox {
    #[command(subcommand)]
    verb: Option<InboxVerb>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum InboxVerb {
    /// What waits and what came (also without a verb)
    List,
    /// Take an offer, or let out what lies in quarantine
    Accept {
        #[arg(value_parser = transfer_id, help = ID_HELP)]
        id: TransferId,
        /// Put it there; the folder is made where it is missing
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
    /// Do not take an offer, or remove what lies in quarantine
    Decline {
        #[arg(value_parser = transfer_id, help = ID_HELP)]
        id: TransferId,
        /// What the sender is told
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Open what came: a file with its program, of several the folder that they lie in
    Open {
        #[arg(value_parser = transfer_id, help = ID_HELP)]
        id: TransferId,
    },
    /// Take back what came, as one step; what was edited since stays, and older files get their names back
    Undo {
        #[arg(value_parser = transfer_id, help = ID_HELP)]
        id: TransferId,
    },
}

impl Inbox {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let transfer: Transfer = match self.verb.unwrap_or(InboxVerb::List) {
            InboxVerb::List => {
                let inbox: InboxBody = client.get(routes::INBOX).await?;
                return screen.say(&inbox, || shown(&inbox, Timestamp::now(), &TimeZone::system()));
            }
            InboxVerb::Open { id } => return open::run(id, client, screen).await,
            InboxVerb::Undo { id } => {
                let undone: Undone = client.post(&routes::fill(routes::INBOX_UNDO, &id.to_string())).await?;
                return tell_undone(&undone, screen);
            }
            InboxVerb::Accept { id, to } => {
                let dir = to.map(absolute).transpose()?;
                client.post_with(&routes::fill(routes::INBOX_ACCEPT, &id.to_string()), &Accept { dir }).await?
            }
            InboxVerb::Decline { id, reason } => {
                client.post_with(&routes::fill(routes::INBOX_DECLINE, &id.to_string()), &Decline { reason }).await?
            }
        };
        screen.say(&transfer, || transfer::line(&transfer))
    }
}

fn absolute(dir: PathBuf) -> Result<RawPath, ErrorBody> {
    let path = std::path::absolute(&dir);
    path.map(RawPath).map_err(|error| ErrorBody::new(ErrorCode::LocalFile, format!("cannot use the folder {}: {error}", dir.display())))
}

fn tell_undone(undone: &Undone, screen: &Screen) -> Result<(), End> {
    screen.say(undone, || {
        let removed = count(undone.removed, "file");
        let restored = if undone.restored > 0 { format!(", {} back under their names", undone.restored) } else { String::new() };
        format!("{}: {removed} taken back{restored}", undone.id)
    })?;
    if undone.spared.is_empty() {
        return Ok(());
    }
    for path in &undone.spared {
        screen.note(&format!("{} stays: it was changed since", Shown(path)));
    }
    Err(End::Told(ErrorCode::Partial.exit_code()))
}

fn shown(inbox: &InboxBody, now: Timestamp, zone: &TimeZone) -> String {
    if inbox.waiting.is_empty() && inbox.received.is_empty() {
        return "Nothing came yet, and nothing waits for an answer.".to_owned();
    }
    let mut parts = Vec::new();
    if !inbox.waiting.is_empty() {
        let row = |offer: &WaitingOffer| {
            let what = format!("{}, {}", count(offer.files, "file"), size(offer.bytes));
            let from = format!("{} (k:{})", offer.peer, offer.key);
            let expires = when(offer.expires_at, now);
            [offer.id.to_string(), from, offer.words.clone(), offer.name.clone(), what, expires, offer.rule.clone(), offer.note.clone()]
        };
        let waiting = table::table(["ID", "FROM", "KEY WORDS", "WHAT", "SIZE", "EXPIRES", "RULE", "NOTE"], inbox.waiting.iter().map(row));
        parts.push(format!("Waiting for an answer (sharectl inbox accept ID, or decline ID):\n{waiting}"));
    }
    let (held, let_in): (Vec<&Received>, Vec<&Received>) = inbox.received.iter().partition(|came| came.quarantined);
    if !held.is_empty() {
        let held = received(&held, zone);
        parts.push(format!("In quarantine (sharectl inbox accept ID lets it out, decline ID removes it):\n{held}"));
    }
    for day in let_in.chunk_by(|one, other| day_of(one, zone) == day_of(other, zone)) {
        let title = day.first().map(|came| day_name(came, now, zone)).unwrap_or_default();
        parts.push(format!("{title}:\n{}", received(day, zone)));
    }
    parts.join("\n\n")
}

fn received(came: &[&Received], zone: &TimeZone) -> String {
    let row = |came: &&Received| {
        let at = came.at.to_zoned(zone.clone()).strftime("%H:%M").to_string();
        let what = format!("{}, {}", count(came.files, "file"), size(came.bytes));
        [came.id.to_string(), at, came.peer.clone(), what, came.rule.clone(), came.paths.join(", ")]
    };
    table::table(["ID", "AT", "FROM", "SIZE", "RULE", "WHERE"], came.iter().map(row))
}

fn day_of(came: &Received, zone: &TimeZone) -> Date {
    came.at.to_zoned(zone.clone()).date()
}

fn day_name(came: &Received, now: Timestamp, zone: &TimeZone) -> String {
    let (day, today) = (day_of(came, zone), now.to_zoned(zone.clone()).date());
    match today.yesterday() {
        _ if day == today => "Received today".to_owned(),
        Ok(yesterday) if day == yesterday => "Received yesterday".to_owned(),
        _ => format!("Received on {day}"),
    }
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::nouns::text::is_obeyed;

    use super::*;

    fn came(id: u64, seconds: i64) -> Received {
        Received {
            id: TransferId(id),
            peer: "bob".into(),
            at: Timestamp::from_second(seconds).unwrap(),
            paths: vec![format!("/inbox/{id}")],
            dir: RawPath("/inbox".into()),
            files: 1,
            bytes: 10,
            rule: "default".into(),
            quarantined: id == 9,
        }
    }

    #[test]
    fn what_came_stands_under_its_day() {
        let day = 86_400;
        let received = vec![came(4, 9 * day + 5), came(9, 9 * day), came(3, 8 * day), came(2, 8 * day - 1), came(1, 5 * day)];
        let inbox = InboxBody { waiting: Vec::new(), received };

        let text = shown(&inbox, Timestamp::from_second(9 * day + 60).unwrap(), &TimeZone::UTC);

        let titles: Vec<&str> = text.lines().filter(|line| line.ends_with(':')).collect();
        assert_eq!(titles[1..], ["Received today:", "Received yesterday:", "Received on 1970-01-08:", "Received on 1970-01-06:"]);
        assert!(titles[0].starts_with("In quarantine"), "{text}");
    }

    #[test]
    fn an_offer_cannot_forge_another_line() {
        let hostile = "x\u{1b}[1A\r\nt9  mum  holiday.jpg".to_owned();
        let offer = WaitingOffer {
            id: TransferId(8),
            peer: hostile.clone(),
            key: "abcdefgh".into(),
            words: "oak tin".into(),
            name: hostile.clone(),
            files: 1,
            bytes: 10,
            expires_at: Timestamp::UNIX_EPOCH,
            rule: "default".into(),
            note: hostile,
        };

        let inbox = InboxBody { waiting: vec![offer], received: Vec::new() };
        let text = shown(&inbox, Timestamp::UNIX_EPOCH, &TimeZone::UTC);

        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.lines().all(|line| !line.chars().any(is_obeyed)), "{text:?}");
    }
}
