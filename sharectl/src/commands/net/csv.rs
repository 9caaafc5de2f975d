//! `net csv PATH`: the daemon keeps Network.csv from now on.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use sharekaro_proto::{
    client::Client,
    control::{net::WriteCsv, routes},
    nouns::text::Shown,
};

use super::absolute;
use crate::{ending::End, print::Screen};

#[derive(Args, Debug)]
pub(crate) struct Csv {
    /// Where to; anomalies go into a file beside it that ends in .anomalies.csv
    #[arg(required_unless_present = "stop", conflicts_with = "stop")]
    path: Option<PathBuf>,
    /// Append row after row and put the file aside when it is large, instead of replacing it every 5 s
    #[arg(long, requires = "path")]
    append: bool,
    /// Write it no more
    #[arg(long)]
    stop: bool,
}

/// What is done from now on, for programs.
#[derive(Serialize)]
struct Kept {
    path: Option<String>,
    append: bool,
}

impl Csv {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let Some(path) = self.path else {
            client.delete::<serde_json::Value>(routes::NET_CSV).await?;
            return screen.say(&Kept { path: None, append: false }, || "Network.csv is written no more.".to_owned());
        };
        let wanted = WriteCsv { path: absolute(&path)?, append: self.append };
        client.post_with::<_, serde_json::Value>(routes::NET_CSV, &wanted).await?;
        let path = wanted.path.0.to_string_lossy().into_owned();
        let how = if self.append { "grows by a row a second" } else { "has the last five minutes, a row a second" };
        let text = format!("{} {how}; sharectl net csv --stop ends it.", Shown(&path));
        screen.say(&Kept { path: Some(path), append: self.append }, || text)
    }
}
