//! `chat TARGET`: talking with somebody. In a terminal a page with what was said, who is there and a line to type in;
//! without one, each line of standard input is a message.

mod input;
mod page;
mod paint;
mod pipe;
mod talk;

use std::io::IsTerminal;

use clap::Args;
use sharekaro_proto::client::Client;

use crate::{ending::End, print::Screen};

#[derive(Args, Debug)]
pub(crate) struct Chat {
    /// alias, name, key prefix, @group or all: of many, each answers to you alone; without a terminal also several joined
    /// by a comma
    target: String,
}

impl Chat {
    pub(crate) async fn run(self, client: &Client, screen: &Screen) -> Result<(), End> {
        let by_person = std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !screen.is_json();
        if by_person { talk::run(&self.target, client).await } else { pipe::run(&self.target, client, screen).await }
    }
}
