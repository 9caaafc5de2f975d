//! `send --ask [PATH...]`: a file manager has no terminal, so the person is asked in a window, by zenity or kdialog.
//!
//! What was not given is asked for: the files, and which of the peers that are online. What goes wrong is shown there too.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use sharekaro_proto::{
    ErrorBody, ErrorCode,
    client::Client,
    control::{
        peer::{Peer, Peers},
        routes,
    },
    nouns::{text::Shown, trust::Trust},
};

/// Programs that show a window and print what was chosen. Both know `--` as the end of options: names are others' text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Dialog {
    Zenity,
    Kdialog,
}

const TITLE: &str = "ShareKaro";

/// The files, unless some were given.
pub(super) fn paths(given: Vec<PathBuf>) -> Result<Vec<PathBuf>, ErrorBody> {
    if !given.is_empty() {
        return Ok(given);
    }
    let (zenity, kdialog): (&[&str], &[&str]) = (
        &["--file-selection", "--multiple", "--separator=\n", "--title", TITLE],
        &["--title", TITLE, "--getopenfilename", ".", "--multiple", "--separate-output"],
    );
    let chosen = Dialog::find()?.ask(zenity, kdialog, &[])?;
    let paths = chosen.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Ok(paths.map(|line| OsString::from_vec(line.to_vec()).into()).collect())
}

/// The key of the peer that the person chose among those online.
pub(super) async fn peer(client: &Client) -> Result<String, ErrorBody> {
    let Peers { peers } = client.get(routes::PEERS).await?;
    let online = reachable(peers);
    if online.is_empty() {
        return Err(ErrorBody::new(ErrorCode::Offline, "nobody is online on this network")
            .hint("start ShareKaro on the other machine, in the same network; `sharectl peers` shows who is there"));
    }
    let rows: Vec<String> = online.iter().flat_map(|peer| [format!("k:{}", peer.id), label(peer)]).collect();
    let zenity = ["--list", "--title", TITLE, "--text", "Send to", "--column", "key", "--column", "Device", "--hide-column", "1"];
    let chosen = Dialog::find()?.ask(&zenity, &["--title", TITLE, "--menu", "Send to"], &rows)?;
    let key = String::from_utf8_lossy(&chosen).trim().to_owned();
    online.iter().map(|peer| format!("k:{}", peer.id)).find(|known| *known == key).ok_or_else(nobody)
}

/// Shows in a window what went wrong, but not what a person wanted so; best effort, as it stands on standard error
/// already.
pub(super) fn show(errors: &[ErrorBody]) {
    let wrong: Vec<String> = errors.iter().filter(|it| it.code != ErrorCode::Cancelled).map(|it| Shown(&it.message).to_string()).collect();
    if wrong.is_empty() {
        return;
    }
    let text = wrong.join("\n");
    let Ok(dialog) = Dialog::find() else { return };
    let _ =
        dialog.ask(&["--error", "--no-markup", "--title", TITLE, &format!("--text={text}")], &["--title", TITLE, "--sorry", &text], &[]);
}

/// Those online that may be sent to, those first whom we trust.
fn reachable(peers: Vec<Peer>) -> Vec<Peer> {
    let barred = |trust| matches!(trust, Trust::Blocked | Trust::Changed);
    let mut online: Vec<Peer> = peers.into_iter().filter(|peer| peer.online && !barred(peer.trust)).collect();
    online.sort_by_key(|peer| !peer.trust.paired());
    online
}

/// What a person recognises it by; a stranger also by its key.
fn label(peer: &Peer) -> String {
    if peer.trust.paired() { Shown(&peer.alias).to_string() } else { format!("{} (not paired, k:{})", Shown(&peer.alias), peer.id.short()) }
}

fn nobody() -> ErrorBody {
    ErrorBody::new(ErrorCode::Cancelled, "nothing was chosen; nothing was sent")
}

impl Dialog {
    /// The one of this desktop, otherwise any.
    fn find() -> Result<Self, ErrorBody> {
        let kde = std::env::var("XDG_CURRENT_DESKTOP").is_ok_and(|desktop| desktop.to_uppercase().contains("KDE"));
        let order = if kde { [Self::Kdialog, Self::Zenity] } else { [Self::Zenity, Self::Kdialog] };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let there = |dialog: &Self| std::env::split_paths(&path).any(|dir| dir.join(dialog.program()).is_file());
        order.into_iter().find(there).ok_or_else(|| {
            ErrorBody::new(ErrorCode::Unavailable, "there is no program to ask with")
                .hint("install zenity or kdialog, or use a terminal: `sharectl send PEER FILE`")
        })
    }

    const fn program(self) -> &'static str {
        match self {
            Self::Zenity => "zenity",
            Self::Kdialog => "kdialog",
        }
    }

    /// What the person chose; an error where the window was closed.
    fn ask(self, zenity: &[&str], kdialog: &[&str], rows: &[String]) -> Result<Vec<u8>, ErrorBody> {
        let mut command = Command::new(self.program());
        command.args(if self == Self::Zenity { zenity } else { kdialog });
        if !rows.is_empty() {
            command.arg("--").args(rows);
        }
        let asked = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let asked = asked.map_err(|error| ErrorBody::new(ErrorCode::Unavailable, format!("cannot run {}: {error}", self.program())))?;
        if asked.status.success() { Ok(asked.stdout) } else { Err(nobody()) }
    }
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::{DeviceId, control::peer::PresenceBody};

    use super::*;

    fn peer(n: u8, name: &str, online: bool, trust: Trust) -> Peer {
        Peer {
            id: DeviceId::from_bytes([n; 32]),
            name: name.to_owned(),
            alias: name.to_owned(),
            online,
            trust,
            addresses: Vec::new(),
            last_seen: None,
            presence: PresenceBody::default(),
            rtt_ms: None,
            words: None,
            version: String::new(),
        }
    }

    #[test]
    fn only_who_is_online_and_wanted_can_be_chosen() {
        let peers = vec![
            peer(1, "stranger\u{1b}[2J", true, Trust::Unknown),
            peer(2, "off", false, Trust::Accept),
            peer(3, "blocked", true, Trust::Blocked),
            peer(4, "bob", true, Trust::Accept),
        ];

        let labels: Vec<String> = reachable(peers).iter().map(label).collect();

        assert_eq!(labels.len(), 2, "{labels:?}");
        assert_eq!(labels[0], "bob");
        assert!(labels[1].contains("not paired") && !labels[1].contains('\u{1b}'), "{labels:?}");
    }
}
