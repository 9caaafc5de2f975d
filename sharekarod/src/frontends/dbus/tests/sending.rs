//! Files over the bus: sent, handed over as descriptors, offered, answered; what is told on the way.

use std::{collections::HashMap, fs, time::Instant};

use futures_util::StreamExt;
use sharekaro_proto::{control::peer::SetTrust, nouns::trust::Trust};
use zbus::{Connection, MatchRule, Message, MessageStream, OwnedFd, OwnedObjectPath, OwnedVariant, Proxy, Variant, message::Type};

use super::stage::{Host, PATIENCE, PrivateBus, introduce, until};
use crate::frontends::dbus::{
    paths::{NAME, ROOT, peer_path},
    told::TOLD_EVERY,
};

type Options = HashMap<String, OwnedVariant>;

async fn manager(client: &Connection) -> Proxy<'static> {
    Proxy::new(client, NAME, ROOT, format!("{NAME}.Manager1")).await.unwrap()
}

/// All signals of the daemon from now on.
async fn signals(client: &Connection) -> MessageStream {
    let rule = MatchRule::builder().msg_type(Type::Signal).sender(NAME).build().unwrap();
    MessageStream::for_match_rule(rule, client, std::num::NonZeroUsize::new(10_000)).await.unwrap()
}

/// The signals until one that is called so, that one last.
async fn heard_until(stream: &mut MessageStream, member: &str) -> Vec<(Instant, Message)> {
    let mut heard = Vec::new();
    let listen = async {
        while let Some(Ok(message)) = stream.next().await {
            heard.push((Instant::now(), message.clone()));
            if message.header().member().is_some_and(|it| it.as_str() == member) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, listen).await.unwrap_or_else(|_| panic!("no {member}"));
    heard
}

/// What changed of a transfer, in order.
fn changes(heard: &[(Instant, Message)], path: &OwnedObjectPath) -> Vec<(Instant, HashMap<String, OwnedVariant>)> {
    let of_it = heard.iter().filter(|(_, message)| {
        let header = message.header();
        header.path().is_some_and(|it| it.as_str() == path.as_str()) && header.member().is_some_and(|it| it.as_str() == "PropertiesChanged")
    });
    of_it
        .map(|(at, message)| (*at, message.body().deserialize::<(String, HashMap<String, OwnedVariant>, Vec<String>)>().unwrap().1))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_sent_and_every_step_is_told() {
    let bus = PrivateBus::start();
    let (alice, bob) = (Host::new("alice").with_network(), Host::new("bob").with_network());
    introduce(&alice, &bob).await;
    let alice = alice.on(&bus).await;
    let client = bus.client().await;
    let mut stream = signals(&client).await;
    let (sent_path, uri) = alice.file("two words.bin", 12_000_000);
    let options = Options::from([("limit".to_owned(), OwnedVariant::try_from(Variant::from(6_000_000_u64)).unwrap())]);

    let began = Instant::now();
    let jobs: Vec<OwnedObjectPath> =
        manager(&client).await.call("Send", &(vec![uri.replace(' ', "%20")], vec!["bob"], options)).await.unwrap();
    assert_eq!(jobs.len(), 1);
    assert_eq!(bus.property(&jobs[0], "Transfer1", "Direction").await, "out", "the object stands when the reply comes");
    let heard = heard_until(&mut stream, "TransferFinished").await;
    let took = began.elapsed();

    let (finished, state, info): (OwnedObjectPath, String, Options) = heard.last().unwrap().1.body().deserialize().unwrap();
    assert_eq!((&finished, state.as_str()), (&jobs[0], "done"));
    assert_eq!(*info["bytes"], Variant::from(12_000_000_u64));
    let told = changes(&heard, &jobs[0]);
    let confirmed: Vec<u64> =
        told.iter().filter_map(|(_, it)| it.get("Confirmed").map(|it| u64::try_from(it.try_clone().unwrap()).unwrap())).collect();
    assert!(confirmed.is_sorted() && confirmed.last() == Some(&12_000_000), "{confirmed:?}");
    assert_eq!(told.last().and_then(|(_, it)| it.get("State").map(|it| (**it).clone())), Some(Variant::from("done")));
    // Three a second; the first and the last come by themselves. A busy machine passes on late what was told in time.
    let most = 2 + (took.as_millis() / TOLD_EVERY.as_millis()) as usize;
    assert!((4..=most).contains(&told.len()), "{} changes in {took:?}", told.len());
    assert!(fs::read(bob.engine.config().inbox_dir.join("two words.bin")).unwrap() == fs::read(sent_path).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_a_path_is_sent_and_nothing_of_it_stays() {
    let bus = PrivateBus::start();
    let (alice, bob) = (Host::new("alice").with_network(), Host::new("bob").with_network());
    introduce(&alice, &bob).await;
    let alice = alice.on(&bus).await;
    let client = bus.client().await;
    let mut stream = signals(&client).await;
    let (path, _) = alice.file("gone", 3_000_000);
    let (bytes, open) = (fs::read(&path).unwrap(), fs::File::open(&path).unwrap());
    fs::remove_file(&path).unwrap();

    let fd = OwnedFd::from(std::os::fd::OwnedFd::from(open));
    let jobs: Vec<OwnedObjectPath> =
        manager(&client).await.call("SendFds", &(vec![("handed over", fd)], vec!["bob"], Options::new())).await.unwrap();
    let heard = heard_until(&mut stream, "TransferFinished").await;

    let (finished, state, _): (OwnedObjectPath, String, Options) = heard.last().unwrap().1.body().deserialize().unwrap();
    assert_eq!((&finished, state.as_str()), (&jobs[0], "done"));
    assert!(fs::read(bob.engine.config().inbox_dir.join("handed over")).unwrap() == bytes);
    let outgoing = alice.engine.config().state_dir.join("descriptors");
    until("the spool is empty", async || fs::read_dir(&outgoing).unwrap().next().is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_waits_on_the_bus_and_is_answered_there() {
    let bus = PrivateBus::start();
    let (alice, bob) = (Host::new("alice").with_network(), Host::new("bob").with_network());
    introduce(&alice, &bob).await;
    bob.engine.set_trust("alice", SetTrust { trust: Trust::Ask }).await.unwrap();
    let _bob = bob.on(&bus).await;
    let client = bus.client().await;
    let mut stream = signals(&client).await;
    let (path, _) = alice.file("question", 100_000);

    for (answer, end) in [("Accept", "done"), ("Decline", "declined")] {
        let send = sharekaro_proto::control::transfer::Send {
            target: "bob".into(),
            paths: vec![sharekaro_proto::control::transfer::RawPath(path.clone())],
            ..Default::default()
        };
        alice.engine.send(send).await.unwrap();
        let heard = heard_until(&mut stream, "IncomingOffer").await;
        let (offer, peer, summary, bytes, files): (OwnedObjectPath, OwnedObjectPath, String, u64, u32) =
            heard.last().unwrap().1.body().deserialize().unwrap();
        assert_eq!((peer, summary.as_str(), bytes, files), (peer_path(&alice.engine.id()), "question", 100_000, 1));
        assert_eq!(bus.property(ROOT, "Manager1", "InboxPending").await, 1);

        let transfer = Proxy::new(&client, NAME, offer.clone(), format!("{NAME}.Transfer1")).await.unwrap();
        match answer {
            "Accept" => transfer.call::<_, _, ()>("Accept", &("", Options::new())).await.unwrap(),
            _ => transfer.call::<_, _, ()>("Decline", &"not now").await.unwrap(),
        }
        let heard = heard_until(&mut stream, "TransferFinished").await;
        let (finished, state, _): (OwnedObjectPath, String, Options) = heard.last().unwrap().1.body().deserialize().unwrap();
        assert_eq!((finished, state.as_str()), (offer, end));
        assert_eq!(bus.property(ROOT, "Manager1", "InboxPending").await, 0);
    }
    let heard = async || alice.engine.transfers().transfers.iter().any(|it| it.error.as_ref().is_some_and(|e| e.message == "not now"));
    until("the sender hears the reason", heard).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_pair_with_the_words_on_the_bus() {
    let bus = PrivateBus::start();
    let (alice, bob) = (Host::new("alice").with_network(), Host::new("bob").with_network());
    introduce(&alice, &bob).await;
    bob.engine.forget("alice").await.unwrap();
    until("they are connected again", async || {
        alice.engine.peer("bob").is_ok_and(|it| it.online) && bob.engine.peer("alice").is_ok_and(|it| it.online)
    })
    .await;
    let alice = alice.on(&bus).await;
    let client = bus.client().await;
    let mut stream = signals(&client).await;

    let theirs = bob.engine.start_pairing(sharekaro_proto::control::pairing::StartPairing { peer: "alice".into() }).await.unwrap();
    let heard = heard_until(&mut stream, "PairingRequested").await;
    let words: String = heard.last().unwrap().1.body().deserialize().unwrap();
    assert_eq!(words, theirs.words);
    let (path, same): (OwnedObjectPath, String) = manager(&client).await.call("Pair", &"bob").await.unwrap();
    assert_eq!(same, words);

    bob.engine.confirm_pairing(theirs.id).await.unwrap();
    let peer = Proxy::new(&client, NAME, path.clone(), format!("{NAME}.Peer1")).await.unwrap();
    peer.call::<_, _, ()>("ConfirmPairing", &true).await.unwrap();

    until("both trust each other", async || {
        [(&alice, "bob"), (&bob, "alice")].iter().all(|(host, name)| host.engine.peer(name).is_ok_and(|it| it.trust == Trust::Accept))
    })
    .await;
    until("the bus says so", async || bus.property(&path, "Peer1", "Trust").await == "accept").await;
    assert!(peer.call::<_, _, u64>("Ping", &()).await.unwrap() < 5_000_000);
}
