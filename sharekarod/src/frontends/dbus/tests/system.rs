//! The bus of the system: other users are there too. Who they are the tests say, and what polkit says is a list here;
//! the whole of it with another user and a real polkit is in `tests/e2e`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::StreamExt;
use sharekaro_proto::{DeviceId, nouns::transfer::TransferState};
use zbus::{Connection, MatchRule, Message, MessageStream, OwnedVariant, interface, message::Type};

use super::stage::{Host, PrivateBus, owned, until};
use crate::{
    engine::transfers::table::tests::record,
    frontends::dbus::{
        Kind,
        gate::Gate,
        objects::Objects,
        paths::{NAME, ROOT},
        spool::Spool,
        wishes::Wishes,
    },
};

/// A polkit that allows these actions, and remembers who was asked about.
struct Polkit {
    allowed: &'static [&'static str],
    asked: Arc<Mutex<Vec<(String, String, u32)>>>,
}

#[interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Polkit {
    fn check_authorization(
        &self,
        subject: (String, HashMap<String, OwnedVariant>),
        action: String,
        _details: HashMap<String, String>,
        flags: u32,
        _cancel: String,
    ) -> ((bool, bool, HashMap<String, String>),) {
        let name = String::try_from(subject.1["name"].try_clone().unwrap()).unwrap();
        assert_eq!(subject.0, "system-bus-name");
        let allowed = self.allowed.contains(&action.as_str());
        self.asked.lock().unwrap().push((name, action, flags));
        ((allowed, !allowed, HashMap::new()),)
    }
}

/// A daemon of somebody else on the system bus, and where it can be called.
async fn of_somebody_else(bus: &PrivateBus, host: &Host) -> (Objects, String) {
    let gate = Arc::new(Gate::of_user(bus.client().await, Kind::System, u32::MAX));
    let (wishes, _waiting) = Wishes::channel();
    let address = bus.address();
    let builder = (zbus::connection::Builder::address(address.as_str()), Kind::System);
    let objects = Objects::connect(builder, host.engine.clone(), &gate, wishes, Spool::new(host.dir.path())).await.unwrap();
    let at = objects.connection().unique_name().unwrap().to_string();
    (objects, at)
}

async fn call(client: &Connection, at: &str, method: &str) -> Result<Message, String> {
    let (interface, method) = method.rsplit_once('.').unwrap();
    let answer = match method {
        "Get" => client.call_method(Some(at), ROOT, Some(interface), method, &(format!("{NAME}.Manager1"), "DeviceName")).await,
        "Invite" => client.call_method(Some(at), ROOT, Some(interface), method, &HashMap::<String, OwnedVariant>::new()).await,
        _ => client.call_method(Some(at), ROOT, Some(interface), method, &()).await,
    };
    answer.map_err(|e| e.to_string())
}

const LISTING: &str = "org.freedesktop.DBus.ObjectManager.GetManagedObjects";
const GETTING: &str = "org.freedesktop.DBus.Properties.Get";
const INVITING: &str = "org.sharekaro.ShareKaro1.Manager1.Invite";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_user_may_what_polkit_allows_and_no_more() {
    let bus = PrivateBus::start();
    let (host, client) = (Host::new("alice"), bus.client().await);
    let (_objects, at) = of_somebody_else(&bus, &host).await;

    for method in [LISTING, GETTING, INVITING] {
        let refused = call(&client, &at, method).await.unwrap_err();
        assert!(refused.contains("AccessDenied") && refused.contains("polkit, which could allow others, is not here"), "{refused}");
    }

    let asked = Arc::new(Mutex::new(Vec::new()));
    let polkit = Polkit { allowed: &["org.sharekaro.read"], asked: Arc::clone(&asked) };
    let _polkit = zbus::connection::Builder::address(bus.address().as_str())
        .serve_at("/org/freedesktop/PolicyKit1/Authority", polkit)
        .name("org.freedesktop.PolicyKit1")
        .build()
        .await
        .unwrap();

    for method in [LISTING, GETTING] {
        call(&client, &at, method).await.unwrap();
    }
    let refused = call(&client, &at, INVITING).await.unwrap_err();
    assert!(refused.contains("InteractiveAuthorizationRequired"), "{refused}");
    let own = client.unique_name().unwrap().to_string();
    let wanted = [("org.sharekaro.read", 0), ("org.sharekaro.read", 0), ("org.sharekaro.manage", 0)];
    assert_eq!(*asked.lock().unwrap(), wanted.map(|(action, flags)| (own.clone(), action.to_owned(), flags)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_told_to_those_alone_who_were_let_in() {
    let bus = PrivateBus::start();
    let mut host = Host::new("alice");
    host.serve_on(None, Some(&bus));
    owned(&bus).await;
    let (caller, stranger) = (bus.client().await, bus.client().await);
    let rule = || MatchRule::builder().msg_type(Type::Signal).path_namespace(ROOT).build().unwrap();
    let room = std::num::NonZeroUsize::new(1_000);
    let mut told = MessageStream::for_match_rule(rule(), &caller, room).await.unwrap();
    let mut overheard = MessageStream::for_match_rule(rule(), &stranger, room).await.unwrap();

    call(&caller, NAME, LISTING).await.unwrap();
    host.engine.update(|state| state.peers.sighted(DeviceId::from_bytes([1; 32]), "bob", &[]));
    host.engine.record_all(vec![record(0, TransferState::Done)]).await.unwrap();

    let mut members = Vec::new();
    until("the caller hears of both", async || {
        if let Ok(Some(Ok(message))) = tokio::time::timeout(Duration::from_secs(20), told.next()).await {
            members.push(message.header().member().unwrap().to_string());
        }
        members.iter().filter(|it| *it == "InterfacesAdded").count() == 2
    })
    .await;
    let nothing = tokio::time::timeout(Duration::from_millis(300), overheard.next()).await;
    assert!(nothing.is_err(), "a client that nobody let in heard {nothing:?}");
    assert!(host.engine.status().warnings.is_empty(), "{:?}", host.engine.status().warnings);
}
