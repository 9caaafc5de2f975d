//! `inbox open`: shows what came with the program that the desktop has for it. It runs here, in the session of the person
//! who asks, not in the daemon.

use std::{io, path::PathBuf, process::Stdio, time::Duration};

use serde::Serialize;
use sharekaro_proto::{
    ErrorBody, ErrorCode, TransferId,
    client::Client,
    control::{
        inbox::{Inbox, Received},
        routes,
        transfer::{RawPath, Transfer},
    },
    nouns::text::Shown,
};
use tokio::{process::Command, time::timeout};

use crate::{ending::End, print::Screen};

/// An opener that runs longer shows the file itself, and goes on without us.
const OPENS_WITHIN: Duration = Duration::from_secs(3);

/// What was opened.
#[derive(Serialize)]
struct Opened {
    id: TransferId,
    path: String,
}

pub(super) async fn run(id: TransferId, client: &Client, screen: &Screen) -> Result<(), End> {
    let inbox: Inbox = client.get(routes::INBOX).await?;
    if inbox.received.iter().any(|it| it.id == id && it.quarantined) {
        let error = ErrorBody::new(ErrorCode::WrongState, format!("{id} lies in quarantine"));
        return Err(error.hint(format!("`sharectl inbox accept {id}` lets it out")).into());
    }
    let path = match inbox.received.into_iter().find(|it| it.id == id) {
        Some(came) => what_to_open(came),
        None => return Err(not_received(id, client).await.into()),
    };
    let shown = path.to_string_lossy().into_owned();
    open(&path).await?;
    screen.say(&Opened { id, path: shown.clone() }, || format!("opened {}", Shown(&shown)))
}

/// One file as it is; of several, or where the name is no text, the folder that they lie in.
fn what_to_open(came: Received) -> PathBuf {
    let RawPath(dir) = came.dir;
    match came.paths.as_slice() {
        [one] if std::fs::symlink_metadata(one).is_ok() => PathBuf::from(one),
        _ => dir,
    }
}

async fn not_received(id: TransferId, client: &Client) -> ErrorBody {
    match client.get::<Transfer>(&routes::fill(routes::TRANSFER, &id.to_string())).await {
        Ok(transfer) => ErrorBody::new(ErrorCode::WrongState, format!("nothing of {id} is here: it is {}", transfer.state))
            .hint("`sharectl inbox` lists what came"),
        Err(e) => e,
    }
}

async fn open(path: &std::path::Path) -> Result<(), ErrorBody> {
    let opener = Command::new("xdg-open").arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut opener = opener.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => ErrorBody::new(ErrorCode::Unavailable, "there is no xdg-open on this machine")
            .hint(format!("install xdg-utils, or open {} yourself", Shown(&path.to_string_lossy()))),
        _ => ErrorBody::new(ErrorCode::LocalFile, format!("cannot start xdg-open: {e}")),
    })?;
    match timeout(OPENS_WITHIN, opener.wait()).await {
        Ok(Ok(status)) if !status.success() => {
            let path = path.to_string_lossy();
            Err(ErrorBody::new(ErrorCode::LocalFile, format!("xdg-open could not open {} ({status})", Shown(&path)))
                .hint("is there a program for this kind of file?"))
        }
        _ => Ok(()),
    }
}
