//! Texts and verdicts over the bus.

use std::collections::HashMap;

use futures_util::StreamExt;
use zbus::{Connection, MatchRule, MessageStream, OwnedVariant, Proxy, Variant, message::Type};

use super::stage::{Host, PATIENCE, PrivateBus, introduce, until};
use crate::frontends::dbus::paths::{NAME, ROOT, peer_path};

type Fields = HashMap<String, OwnedVariant>;

async fn proxy(client: &Connection, interface: &str) -> Proxy<'static> {
    Proxy::new(client, NAME, ROOT, format!("{NAME}.{interface}")).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_is_written_told_listed_and_read_over_the_bus() {
    let bus = PrivateBus::start();
    let (alice, bob) = (Host::new("alice").with_network(), Host::new("bob").with_network());
    introduce(&alice, &bob).await;
    alice.engine.pair_with(bob.engine.id()).await.unwrap();
    let bob = bob.on(&bus).await;
    let client = bus.client().await;
    let rule = MatchRule::builder().msg_type(Type::Signal).sender(NAME).member("Received").build().unwrap();
    let mut received = MessageStream::for_match_rule(rule, &client, None).await.unwrap();

    let text = "hello\nनमस्ते";
    let write = sharekaro_proto::control::message::WriteMessage { target: "bob".into(), text: text.into(), id: None };
    alice.engine.write_message(write).await.unwrap();
    let told = tokio::time::timeout(PATIENCE, received.next()).await.unwrap().unwrap().unwrap();
    let fields: Fields = told.body().deserialize().unwrap();
    assert_eq!(
        (&*fields["text"], &*fields["direction"], &*fields["state"]),
        (&Variant::from(text), &Variant::from("in"), &Variant::from("received"))
    );
    assert_eq!(*fields["peer"], Variant::from(zbus::ObjectPath::from(peer_path(&alice.engine.id()))));
    assert_eq!(bus.property(ROOT, "Messages1", "Unread").await, 1);

    let messages = proxy(&client, "Messages1").await;
    let listed: Vec<Fields> = messages.call("List", &("alice", 0_u64, 10_u32)).await.unwrap();
    let found: Vec<Fields> = messages.call("Search", &("HELLO", 10_u32)).await.unwrap();
    assert!(listed.len() == 1 && found.len() == 1 && listed[0]["id"] == fields["id"]);
    messages.call::<_, _, ()>("MarkRead", &("alice", u64::try_from(fields["no"].try_clone().unwrap()).unwrap())).await.unwrap();
    until("nothing is unread", async || bus.property(ROOT, "Messages1", "Unread").await == 0).await;

    let options = HashMap::from([("id", Variant::from("8f14e45f-ceea-467f-a8e2-6d1d9a3c7b10"))]);
    let manager = proxy(&client, "Manager1").await;
    let first: Vec<String> = manager.call("SendMessage", &("back", vec!["alice"], &options)).await.unwrap();
    let again: Vec<String> = manager.call("SendMessage", &("back", vec!["alice"], &options)).await.unwrap();
    assert_eq!((first.as_slice(), &first), (["8f14e45f-ceea-467f-a8e2-6d1d9a3c7b10".to_owned()].as_slice(), &again));
    let arrived =
        async || alice.engine.messages(Default::default()).await.unwrap().messages.iter().filter(|it| it.text == "back").count() == 1;
    until("it arrives once", arrived).await;
    let _bob = bob;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_answers_over_the_bus() {
    let bus = PrivateBus::start();
    let host = Host::new("alice");
    std::fs::create_dir(&host.engine.config().drop_dir).unwrap();
    std::fs::set_permissions(&host.engine.config().drop_dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let _host = host.on(&bus).await;

    let verdicts: Vec<(String, String, String, String)> = proxy(&bus.client().await, "Manager1").await.call("Diagnose", &"").await.unwrap();

    let of_it = verdicts.iter().find(|(code, ..)| code == "drop_folder_unsafe").unwrap();
    assert!(of_it.1 == "error" && of_it.2.contains("drop") && of_it.3.contains("chmod"), "{of_it:?}");
}
