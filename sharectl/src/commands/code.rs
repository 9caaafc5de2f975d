//! `send --code PATH...`: shows a code and its picture, waits until somebody uses it, then follows the transfer to its
//! end. Whoever ends it before withdraws the code.

use jiff::Timestamp;
use qrcode::{QrCode, render::unicode::Dense1x2};
use sharekaro_proto::{
    ErrorBody, ErrorCode,
    client::Client,
    control::{
        pairing::{Invitation, InvitationState},
        routes,
        transfer::{SendCode, Transfer},
    },
    nouns::text::Shown,
};

use super::{
    follow,
    invite::{Code, LOOK_EVERY},
    signals::Signals,
};
use crate::{
    ending::End,
    print::{Screen, quantity::when},
};

pub(super) async fn run(parcel: SendCode, client: &Client, screen: &Screen) -> Result<(), End> {
    let mut signals = Signals::new()?;
    let invitation: Invitation = client.post_with(routes::CODES, &parcel).await?;
    screen.say(&Code { code: &invitation.code, expires_at: invitation.expires_at }, || shown(&invitation))?;
    let path = routes::fill(routes::INVITATION, &invitation.id.to_string());
    let transfer = tokio::select! {
        used = until_used(&path, client) => used?,
        _ = signals.next() => {
            let withdrawn: Result<serde_json::Value, _> = client.delete(&path).await;
            drop(withdrawn); // what was used or is too old need not be withdrawn
            return Err(ErrorBody::new(ErrorCode::Cancelled, "the code was withdrawn").into());
        }
    };
    follow::until(signals, vec![transfer], None, client, screen).await
}

/// The transfer that the code became.
async fn until_used(path: &str, client: &Client) -> Result<Transfer, ErrorBody> {
    const AGAIN: &str = "show another one: `sharectl send --code PATH...`";
    loop {
        let invitation: Invitation = client.get(path).await?;
        match (invitation.state, invitation.transfer) {
            (InvitationState::Used, Some(id)) => return client.get(&routes::fill(routes::TRANSFER, &id.to_string())).await,
            (InvitationState::Open | InvitationState::Used, _) => tokio::time::sleep(LOOK_EVERY).await,
            (InvitationState::Expired, _) => return Err(ErrorBody::new(ErrorCode::TimedOut, "nobody used the code in time").hint(AGAIN)),
            (InvitationState::Burnt, _) => {
                return Err(ErrorBody::new(ErrorCode::NotTrusted, "the code was withdrawn, or tried wrongly too often").hint(AGAIN));
            }
        }
    }
}

fn shown(invitation: &Invitation) -> String {
    let (code, until) = (Shown(&invitation.code), when(invitation.expires_at, Timestamp::now()));
    let picture = picture(&invitation.code).map(|it| format!("{it}\n\n")).unwrap_or_default();
    format!(
        "On the other device, type:\n\n    sharectl receive {code}\n\n{picture}The code works once and expires {until}. Ctrl-C withdraws it."
    )
}

/// The code for a camera, two modules a character; `None` where it is too long for one.
fn picture(code: &str) -> Option<String> {
    let modules = QrCode::new(code).ok()?;
    // terminals are dark as a rule: what is dark in print is the background there
    Some(modules.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_and_the_picture_are_shown() {
        let invitation = Invitation {
            id: 1,
            code: "42-oak-tin-piano".into(),
            expires_at: Timestamp::UNIX_EPOCH,
            state: InvitationState::Open,
            peer: None,
            transfer: None,
        };

        let text = shown(&invitation);

        assert!(text.contains("sharectl receive 42-oak-tin-piano\n"), "{text}");
        assert!(text.lines().filter(|line| line.contains('█') || line.contains('▄')).count() > 10, "{text}");
        assert!(picture(&"x".repeat(10_000)).is_none());
    }
}
