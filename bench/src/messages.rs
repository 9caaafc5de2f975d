//! Messages: how soon one is there, how soon a thousand that waited, how fast very many are searched.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use sharekaro_proto::{
    ErrorBody,
    client::Client,
    control::{
        event::Fact,
        message::{Message, MessageState, Messages, WriteMessage, WrittenMessages},
        routes,
    },
};
use sharekaro_tests::{Host, until};

use crate::table::{Figure, Goal};

/// How much of everything.
pub(crate) struct Sizes {
    /// Messages, one after the other.
    pub(crate) rounds: usize,
    /// Messages to a peer that is off.
    pub(crate) waiting: usize,
    /// Messages that are searched.
    pub(crate) history: usize,
}

/// One message in so many has the word that is searched.
const RARE: usize = 1_000;

/// So many messages are written before they are waited for: more than 10,000 may not wait for one peer.
const AT_ONCE: usize = 5_000;

/// The other daemon tells of a message within this, or something is wrong.
const THERE_WITHIN: Duration = Duration::from_secs(60);

/// Between daemons that are connected and paired.
pub(crate) fn all(sizes: &Sizes, alice: &Host, bob: &Host) -> Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let one = one(sizes, alice, bob).await.context("one message after the other")?;
        let waiting = waiting(sizes, alice, bob).await.context("messages to a peer that is off")?;
        let searched = searched(sizes, alice).await.context("messages that are searched")?;
        Ok(vec![one, waiting, searched])
    })
}

async fn connect(host: &Host) -> Result<Client> {
    Client::connect(&host.socket()?).await.map_err(told)
}

fn told(error: ErrorBody) -> anyhow::Error {
    anyhow::Error::msg(error.message)
}

async fn write(client: &Client, text: String) -> Result<()> {
    let message = WriteMessage { target: "bob".to_owned(), text, id: None };
    client.post_with::<_, WrittenMessages>(routes::MESSAGES, &message).await.map(drop).map_err(told)
}

/// From the request to write it until the other daemon tells its frontends.
async fn one(sizes: &Sizes, alice: &Host, bob: &Host) -> Result<Figure> {
    let mut figure = Figure::new("one message, written here to told there", "ms", Goal::AtMost(5.0));
    let (writer, reader) = (connect(alice).await?, connect(bob).await?);
    let mut events = reader.events().await.map_err(told)?;
    for no in 0..sizes.rounds {
        let text = format!("round {no}");
        let began = Instant::now();
        write(&writer, text.clone()).await?;
        let there = async {
            while let Some(event) = events.next().await.map_err(told)? {
                if matches!(&event.fact, Fact::MessageReceived(message) if message.text == text) {
                    return Ok(());
                }
            }
            anyhow::bail!("the daemon ended")
        };
        tokio::time::timeout(THERE_WITHIN, there).await.context("it did not come")??;
        figure.add(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(figure)
}

/// From the moment at which the other daemon answers again until all is delivered.
async fn waiting(sizes: &Sizes, alice: &Host, bob: &Host) -> Result<Figure> {
    let mut figure = Figure::new("messages to a peer that was off, after its return", "s", Goal::AtMost(5.0));
    bob.stop(Signal::TERM)?;
    until("bob is seen as gone", 60, || Ok((alice.peer(bob)?["online"] == false).then_some(())))?;
    let client = connect(alice).await?;
    for no in 0..sizes.waiting {
        write(&client, format!("for later {no}")).await?;
    }
    bob.start()?;
    let began = Instant::now();
    delivered(&client).await?;
    figure.add(began.elapsed().as_secs_f64());
    Ok(figure)
}

/// Returns when everything that was written is there.
async fn delivered(client: &Client) -> Result<()> {
    let began = Instant::now();
    loop {
        let last = history(client, &[("limit", "1".to_owned())]).await?;
        if last.first().is_some_and(|message| message.state == MessageState::Delivered) {
            return Ok(()); // they come in order: this is the last of them
        }
        ensure!(began.elapsed() < 2 * THERE_WITHIN, "they do not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A rare word in a long history, through the API.
async fn searched(sizes: &Sizes, alice: &Host) -> Result<Figure> {
    let mut figure = Figure::new("search in a long history", "ms", Goal::AtMost(50.0));
    let client = connect(alice).await?;
    for no in 0..sizes.history {
        let word = if no % RARE == 0 { "needle" } else { "hay" };
        write(&client, format!("message {no}: a {word} in what was said about the weather, 天气 and आज")).await?;
        if (no + 1) % AT_ONCE == 0 {
            delivered(&client).await?;
        }
    }
    for words in ["needle", "needle weather", "天气 needle", "nothing of it", "आज"].iter().cycle().take(25) {
        let began = Instant::now();
        let found = history(&client, &[("search", (*words).to_owned())]).await?;
        figure.add(began.elapsed().as_secs_f64() * 1e3);
        ensure!(found.is_empty() == (*words == "nothing of it"), "{words:?}: {} were found", found.len());
    }
    Ok(figure)
}

async fn history(client: &Client, query: &[(&str, String)]) -> Result<Vec<Message>> {
    let messages: Messages = client.get(&routes::with_query(routes::MESSAGES, query)).await.map_err(told)?;
    Ok(messages.messages)
}
