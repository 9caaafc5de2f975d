//! `pair --invite`: shows a code and waits until it is used, burnt or too old. Whoever ends it withdraws the code.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use sharekaro_proto::{
    ErrorBody, ErrorCode,
    client::Client,
    control::{
        pairing::{Invitation, InvitationState},
        routes,
    },
    nouns::text::Shown,
};

use super::{pair::paired, signals::Signals};
use crate::{
    ending::End,
    print::{Screen, quantity::when},
};

/// How often we look whether the code was used: soon enough for two people who look at two screens.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(300);

/// The first line for programs.
#[derive(Serialize)]
pub(super) struct Code<'a> {
    pub(super) code: &'a str,
    pub(super) expires_at: Timestamp,
}

pub(super) async fn run(client: &Client, screen: &Screen) -> Result<(), End> {
    let mut signals = Signals::new()?;
    let invitation: Invitation = client.post(routes::INVITATIONS).await?;
    screen.say(&Code { code: &invitation.code, expires_at: invitation.expires_at }, || shown(&invitation))?;
    let path = routes::fill(routes::INVITATION, &invitation.id.to_string());
    tokio::select! {
        done = until_used(&path, client, screen) => done,
        _ = signals.next() => {
            let withdrawn: Result<serde_json::Value, _> = client.delete(&path).await;
            drop(withdrawn); // what was used or is too old need not be withdrawn
            Err(ErrorBody::new(ErrorCode::Cancelled, "the invitation was withdrawn").into())
        }
    }
}

async fn until_used(path: &str, client: &Client, screen: &Screen) -> Result<(), End> {
    loop {
        let invitation: Invitation = client.get(path).await?;
        match (invitation.state, invitation.peer) {
            (InvitationState::Used, Some(peer)) => return screen.say(&peer, || paired(&peer)),
            (InvitationState::Open | InvitationState::Used, _) => tokio::time::sleep(LOOK_EVERY).await,
            (InvitationState::Expired, _) => {
                let error = ErrorBody::new(ErrorCode::TimedOut, "nobody used the code in time");
                return Err(error.hint("show another one: `sharectl pair --invite`").into());
            }
            (InvitationState::Burnt, _) => {
                let error = ErrorBody::new(ErrorCode::NotTrusted, "the code was withdrawn, or tried wrongly too often");
                return Err(error.hint("show another one: `sharectl pair --invite`").into());
            }
        }
    }
}

fn shown(invitation: &Invitation) -> String {
    let (code, until) = (Shown(&invitation.code), when(invitation.expires_at, Timestamp::now()));
    format!(
        "On the other device, type:\n\n    sharectl pair --join {code}\n\nThe code works once and expires {until}. Ctrl-C withdraws it."
    )
}
