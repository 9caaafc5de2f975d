//! `send TARGET PATH...`: records the transfers with the daemon, then follows them to their end.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use sharekaro_proto::{
    ErrorBody, ErrorCode,
    client::Client,
    control::{
        routes,
        transfer::{RawPath, Send as SendBody, SendCode, SendPipe, Transfer, Transfers},
    },
    nouns::{
        text::Shown,
        transfer::{Conflict, Priority},
    },
};

use super::{ask, code, follow, stdin};
use crate::{
    cli::{one_of, rate},
    ending::End,
    print::{Screen, transfer},
};

#[derive(Args, Debug)]
pub(crate) struct Send {
    /// alias, name, key prefix, @group, all or HOST:PORT; several joined by a comma. None with --code and --ask
    #[arg(required_unless_present = "ask")]
    target: Option<OsString>,
    /// Files and folders
    #[arg(required_unless_present_any = ["code", "ask"], value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// To whoever types a code that this shows, also without being paired
    #[arg(long, conflicts_with_all = ["detach", "wait", "apart"])]
    code: bool,
    /// To whom, and without a PATH what, is asked in a window: for file managers (zenity or kdialog)
    #[arg(long, conflicts_with_all = ["code", "name"])]
    ask: bool,
    /// Under this name, where PATH is - (standard input)
    #[arg(long)]
    name: Option<String>,
    /// A word to it
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
    /// Leave out what matches, at any depth (again and again)
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// What happens there where a name is taken
    #[arg(long, value_parser = one_of(Conflict::ALL, Conflict::word))]
    conflict: Option<Conflict>,
    /// Bytes a second; K, M, G are powers of 1024
    #[arg(long, value_name = "RATE", value_parser = rate)]
    limit: Option<u64>,
    /// Which transfer goes first
    #[arg(long, value_parser = one_of(Priority::ALL, Priority::word))]
    prio: Option<Priority>,
    /// Return as soon as it is recorded
    #[arg(long)]
    detach: bool,
    /// Wait no longer than this for the peer, or for its person [default: 10 for a peer that is off]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32), conflicts_with = "detach")]
    wait: Option<u32>,
    /// Receivers of the same files do not learn of each other
    #[arg(long)]
    apart: bool,
    /// Obey .gitignore and .ignore
    #[arg(long)]
    ignore_files: bool,
    /// Send extended attributes of the user namespace too
    #[arg(long)]
    xattrs: bool,
}

impl Send {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        if self.ask {
            return self.run_asking(client, screen).await;
        }
        self.run_told(client, screen).await
    }

    /// Asks for what is missing. Nobody reads standard error then: what goes wrong is shown in a window too.
    async fn run_asking(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let asked = async {
            let paths = ask::paths(self.target.iter().map(PathBuf::from).chain(self.paths.iter().cloned()).collect())?;
            Ok::<_, ErrorBody>((ask::peer(client).await?, paths))
        };
        let done = match asked.await {
            Ok((target, paths)) => Self { target: Some(target.into()), paths, ask: false, ..self }.run_told(client, screen).await,
            Err(error) => Err(error.into()),
        };
        let said = match &done {
            Err(End::Failed(error)) => std::slice::from_ref(error),
            Err(End::ToldOf { errors, .. }) => errors.as_slice(),
            _ => &[],
        };
        ask::show(said);
        done
    }

    async fn run_told(self, client: &Client, screen: &Screen) -> Result<(), End> {
        if self.code {
            return code::run(self.parcel()?, client, screen).await;
        }
        let piped = self.paths == [PathBuf::from("-")];
        if self.name.is_some() != piped {
            let error = ErrorBody::new(ErrorCode::Usage, "standard input needs a name, and nothing else takes one");
            return Err(error.hint("sharectl send PEER - --name dump.sql; a file called - is ./-").into());
        }
        let (detach, wait) = (self.detach, self.wait.map(|seconds| Duration::from_secs(seconds.into())));
        let sent: Transfers =
            if piped { stdin::send(&self.pipe(), client).await? } else { client.post_with(routes::TRANSFERS, &self.request()?).await? };
        if detach {
            return recorded(&sent, screen);
        }
        follow::to_the_end(sent.transfers, wait, client, screen).await
    }

    /// What a code is made for: there is no target, so all arguments are paths.
    fn parcel(self) -> Result<SendCode, ErrorBody> {
        let paths = self.target.iter().map(Path::new).chain(self.paths.iter().map(PathBuf::as_path));
        Ok(SendCode {
            paths: paths.map(absolute).collect::<Result<_, _>>()?,
            note: self.note,
            exclude: self.exclude,
            conflict: self.conflict,
            limit: self.limit,
            priority: self.prio,
            ignore_files: self.ignore_files,
            xattrs: self.xattrs,
        })
    }

    /// As the daemon takes it with a stream; what chooses among files means nothing for one.
    fn pipe(self) -> SendPipe {
        SendPipe {
            target: named(self.target),
            name: self.name.unwrap_or_default(),
            note: self.note,
            conflict: self.conflict,
            limit: self.limit,
            priority: self.prio,
            apart: self.apart,
        }
    }

    fn request(self) -> Result<SendBody, ErrorBody> {
        Ok(SendBody {
            target: named(self.target),
            paths: self.paths.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?,
            note: self.note,
            exclude: self.exclude,
            conflict: self.conflict,
            limit: self.limit,
            priority: self.prio,
            ignore_files: self.ignore_files,
            xattrs: self.xattrs,
            apart: self.apart,
        })
    }
}

/// The target as the daemon reads it; what is no text names nobody.
fn named(target: Option<OsString>) -> String {
    target.unwrap_or_default().to_string_lossy().into_owned()
}

/// The path as the daemon, which has another working directory, understands it. It has to be there.
fn absolute(path: &Path) -> Result<RawPath, ErrorBody> {
    let there = std::fs::symlink_metadata(path).and_then(|_| std::path::absolute(path));
    there.map(RawPath).map_err(|error| {
        let what = format!("cannot send {}: {error}", Shown(&path.to_string_lossy()));
        ErrorBody::new(ErrorCode::LocalFile, what).hint("look at the path; a name with blanks needs quotes")
    })
}

fn recorded(sent: &Transfers, screen: &Screen) -> Result<(), End> {
    let lines = |some: &[Transfer]| some.iter().map(transfer::line).collect::<Vec<_>>().join("\n");
    match sent.transfers.as_slice() {
        [one] => screen.say(one, || transfer::line(one)),
        several => screen.say(sent, || lines(several)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_sent_absolute_and_only_where_it_is_there() {
        let here = absolute(Path::new("Cargo.toml")).unwrap();

        assert!(here.0.is_absolute() && here.0.ends_with("Cargo.toml"));
        for missing in ["/no/such/file", "", "no\u{1b}[2J"] {
            let error = absolute(Path::new(missing)).unwrap_err();
            assert_eq!(error.code.exit_code(), 8, "{missing:?}");
            assert!(!error.message.contains('\u{1b}'));
        }
    }
}
