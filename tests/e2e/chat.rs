//! The chat in a real terminal.

use anyhow::{Result, ensure};
use rustix::process::Signal;
use sharekaro_tests::{Terminal, on_loopback, pair, until};

#[test]
fn a_chat_with_a_group_shows_who_is_there_and_how_far_a_text_got_with_each() -> Result<()> {
    on_loopback(["alice", "bob", "carol"], |[alice, bob, carol]| {
        pair(alice, bob)?;
        pair(alice, carol)?;
        alice.ctl("group add team bob carol").ok()?;
        bob.ctl("message alice").arg("from before").ok()?;
        let chat = Terminal::open(alice, "chat @team", (90, 16))?;
        chat.shows(&["@team: bob, carol"])?;
        chat.shows(&["bob: from before"])?;

        chat.says("hello all")?;
        chat.shows(&["alice ✓: hello all"])?;
        ensure!(chat.screen()?.matches("hello all").count() == 1, "a text to two is there twice:\n{}", chat.screen()?);
        bob.ctl_for_people("messages alice").ok()?;
        chat.shows(&["✓✓ bob", "✓ carol", "hello all"])?;
        carol.ctl("message alice").arg("what a person answers").ok()?;
        chat.shows(&["carol: what a person answers"])?;

        carol.stop(Signal::TERM)?;
        chat.shows(&["@team: bob; off: carol"])?;
        chat.says("later")?;
        chat.shows(&["… carol", "later"])?;
        for size in [(20, 6), (120, 30)] {
            chat.resize(size.0, size.1)?;
            chat.says(&format!("at {}", size.0))?;
            chat.shows(&[&format!("at {}", size.0)])?;
        }
        carol.start()?;
        chat.shows(&["alice ✓: later"])?;
        chat.says("quit")?;
        chat.shows(&["LEFT 0"])?;

        let told = |words: &str| Ok::<_, anyhow::Error>(alice.ctl_for_people(words).ok()?.out);
        ensure!(told("messages @team")?.contains("alice to @team: hello all"), "{}", told("messages @team")?);
        ensure!(told("messages bob")?.contains("alice to bob (@team): hello all"), "{}", told("messages bob")?);
        until("carol has all", 10, || Ok(carol.ctl_for_people("messages").ok()?.out.contains("at 120").then_some(())))?;
        let line = carol.ctl("messages alice").ok()?.last()?;
        ensure!(!line.to_string().contains("team"), "who is written to together is nobody's affair: {line}");
        Ok(())
    })
}
