//! `inbox open`: shows what came with the program that the desktop has for it. It runs here, in the session of the person
//! who asks, not in the daemon.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::Serialize;
use sharekaro_proto::{
    ErrorBody, ErrorCode, TransferId,
    client::Client,
    control::{
        inbox::{Inbox, Received},
        routes,
        transfer::{RawPath, Transfer},
    },
    nouns::{
        text::Shown,
        transfer::{Direction, TransferState},
    },
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
    let path = open(id, client).await?.to_string_lossy().into_owned();
    screen.say(&Opened { id, path: path.clone() }, || format!("opened {}", Shown(&path)))
}

/// Shows what came with this transfer; returns what was opened. Nothing that lies in quarantine is.
pub(super) async fn open(id: TransferId, client: &Client) -> Result<PathBuf, ErrorBody> {
    let inbox: Inbox = client.get(routes::INBOX).await?;
    let path = match inbox.received.into_iter().find(|it| it.id == id) {
        Some(came) if came.quarantined => return Err(held(id)),
        Some(came) => what_to_open(came),
        None => what_came_once(&client.get(&routes::fill(routes::TRANSFER, &id.to_string())).await?)?,
    };
    start_opener(&path).await?;
    Ok(path)
}

/// One file as it is; of several, or where the name is no text, the folder that they lie in.
fn what_to_open(came: Received) -> PathBuf {
    let RawPath(dir) = came.dir;
    match came.paths.as_slice() {
        [one] if is_there(one) => PathBuf::from(one),
        _ => dir,
    }
}

/// The same of what is older than all that the inbox lists: only what still lies where it was put says in which folder.
fn what_came_once(transfer: &Transfer) -> Result<PathBuf, ErrorBody> {
    let id = transfer.id;
    if (transfer.direction, transfer.state) != (Direction::In, TransferState::Done) {
        let error = ErrorBody::new(ErrorCode::WrongState, format!("nothing of {id} is here: it is {}", transfer.state));
        return Err(error.hint("`sharectl inbox` lists what came"));
    }
    if transfer.quarantined {
        return Err(held(id));
    }
    let there = transfer.paths.iter().find(|path| is_there(path)).map(Path::new);
    let open = if transfer.paths.len() == 1 { there } else { there.and_then(Path::parent) };
    open.map(Path::to_owned).ok_or_else(|| {
        ErrorBody::new(ErrorCode::LocalFile, format!("nothing of {id} lies where it was put"))
            .hint(format!("it was moved or removed since; `sharectl transfer show {id}` names the place"))
    })
}

fn is_there(path: &str) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

fn held(id: TransferId) -> ErrorBody {
    ErrorBody::new(ErrorCode::WrongState, format!("{id} lies in quarantine")).hint(format!("`sharectl inbox accept {id}` lets it out"))
}

async fn start_opener(path: &Path) -> Result<(), ErrorBody> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::print::transfer::tests::transfer;

    #[test]
    fn what_is_older_than_the_inbox_is_found_where_it_was_put() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            std::fs::write(dir.path().join(name), "x").unwrap();
            dir.path().join(name).to_str().unwrap().to_owned()
        };
        let came = |paths| Transfer { direction: Direction::In, paths, ..transfer(1, TransferState::Done) };
        let code = |transfer| what_came_once(&transfer).unwrap_err().code;

        assert_eq!(what_came_once(&came(vec![file("a")])).unwrap(), dir.path().join("a"));
        assert_eq!(what_came_once(&came(vec!["/no/such/file".into(), file("b")])).unwrap(), dir.path());
        assert_eq!(code(came(vec!["/no/such/file".into()])), ErrorCode::LocalFile);
        assert_eq!(code(Transfer { quarantined: true, ..came(vec![file("a")]) }), ErrorCode::WrongState);
        assert_eq!(code(Transfer { direction: Direction::Out, ..came(vec![file("a")]) }), ErrorCode::WrongState);
        assert_eq!(code(Transfer { state: TransferState::Cancelled, ..came(vec![]) }), ErrorCode::WrongState);
    }
}
