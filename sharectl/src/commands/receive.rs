//! `receive WORDS`: takes what a code was made for, on a device that need not be paired.

use clap::Args;
use sharekaro_proto::{
    client::Client,
    control::{
        routes,
        transfer::{ReceiveCode, Transfer},
    },
};

use super::follow;
use crate::{ending::End, print::Screen};

#[derive(Args, Debug)]
pub(crate) struct Receive {
    /// The code, as `sharectl send --code` shows it
    #[arg(required = true)]
    words: Vec<String>,
    /// Whose code it is; needed where announcements do not pass
    #[arg(long, value_name = "PEER")]
    from: Option<String>,
}

impl Receive {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let wanted = ReceiveCode { code: self.words.join(" "), from: self.from };
        let transfer: Transfer = client.post_with(routes::CODES_RECEIVE, &wanted).await?;
        follow::to_the_end(vec![transfer], None, client, screen).await
    }
}
