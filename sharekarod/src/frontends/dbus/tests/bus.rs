//! Coming to the bus, staying, coming back; what stands there.

use std::collections::HashMap;

use sharekaro_proto::{DeviceId, nouns::transfer::TransferState};
use zbus::{OwnedObjectPath, OwnedVariant, Proxy, fdo::ObjectManagerProxy};

use super::stage::{Host, PrivateBus, owned, until};
use crate::{
    engine::transfers::{record::Record, table::tests::record},
    frontends::dbus::paths::{NAME, ROOT, peer_path},
};

const NO_BUS: &str = "no_session_bus";
const NAME_TAKEN: &str = "bus_name_taken";

fn sees(host: &Host, byte: u8, name: &str) -> DeviceId {
    let id = DeviceId::from_bytes([byte; 32]);
    host.engine.update(|state| state.peers.sighted(id, name, &["192.0.2.1:47810".parse().unwrap()]));
    id
}

async fn own_pid_behind_the_name(bus: &PrivateBus) -> Option<String> {
    let client = bus.client().await;
    let dbus = zbus::fdo::DBusProxy::new(&client).await.unwrap();
    dbus.get_name_owner(NAME.try_into().unwrap()).await.ok().map(|owner| owner.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_the_name_finds_everything_standing() {
    let bus = PrivateBus::start();
    let host = Host::new("alice");
    let bob = sees(&host, 1, "bob");
    host.engine.record_all(vec![Record { note: "a\0b".into(), ..record(0, TransferState::Done) }]).await.unwrap();
    let host = host.on(&bus).await;

    let found = bus.busctl(&["call", NAME, ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"]).await.unwrap();

    let objects = found["data"][0].as_object().unwrap();
    let peer = &objects[peer_path(&bob).as_str()][&format!("{NAME}.Peer1")];
    assert_eq!(
        (&peer["Alias"]["data"], &peer["Trust"]["data"], &peer["Online"]["data"]),
        (&"bob".into(), &"unknown".into(), &false.into())
    );
    let transfer = &objects[&format!("{ROOT}/transfers/t1")][&format!("{NAME}.Transfer1")];
    assert_eq!(
        (&transfer["State"]["data"], &transfer["Total"]["data"], &transfer["Note"]["data"]),
        (&"done".into(), &1_000.into(), &"a\u{fffd}b".into())
    );
    assert_eq!(transfer["Peer"]["data"], peer_path(&bob).as_str());
    assert_eq!(bus.property(ROOT, "Manager1", "DeviceId").await, host.engine.id().to_string());
    assert_eq!(bus.property(ROOT, "Manager1", "DeviceName").await, "alice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_come_and_go_with_what_they_stand_for() {
    use futures_util::StreamExt;

    let bus = PrivateBus::start();
    let host = Host::new("alice").on(&bus).await;
    let client = bus.client().await;
    let manager = ObjectManagerProxy::builder(&client).destination(NAME).path(ROOT).build().await.unwrap();
    let (mut added, mut removed) = (manager.receive_interfaces_added().await.unwrap(), manager.receive_interfaces_removed().await.unwrap());

    let bob = sees(&host, 1, "bob\0/../\u{202e}");
    let came = added.next().await.unwrap();
    assert_eq!(came.args().unwrap().object_path().as_str(), peer_path(&bob).as_str());
    assert_eq!(bus.property(&peer_path(&bob), "Peer1", "Name").await, "bob\u{fffd}/../\u{202e}");

    host.engine.update(|state| state.peers.vanished(&bob, false));
    let gone = removed.next().await.unwrap();
    assert_eq!(gone.args().unwrap().object_path().as_str(), peer_path(&bob).as_str());
    assert!(bus.gdbus_error(&peer_path(&bob), "Peer1.Ping", &[]).await.starts_with("org.freedesktop.DBus.Error.UnknownObject"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bus_may_come_late_and_die_and_everything_stands_again() {
    let mut bus = PrivateBus::stopped();
    let mut host = Host::new("alice");
    let bob = sees(&host, 1, "bob");
    host.serve(&bus);
    until("a warning that there is no bus", async || host.has_warning(NO_BUS)).await;

    bus.restart();
    owned(&bus).await;
    until("the warning is gone", async || !host.has_warning(NO_BUS)).await;
    assert_eq!(bus.property(&peer_path(&bob), "Peer1", "Name").await, "bob");

    bus.kill();
    until("the warning is back", async || host.has_warning(NO_BUS)).await;
    let carol = sees(&host, 2, "carol");

    bus.restart();
    owned(&bus).await;
    assert_eq!(bus.property(&peer_path(&bob), "Peer1", "Name").await, "bob");
    assert_eq!(bus.property(&peer_path(&carol), "Peer1", "Name").await, "carol");
    until("the warning is gone", async || !host.has_warning(NO_BUS)).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_daemon_leaves_the_name_and_takes_it_when_it_is_free() {
    let bus = PrivateBus::start();
    let mut first = Host::new("first").on(&bus).await;
    let owner = own_pid_behind_the_name(&bus).await;
    let mut second = Host::new("second");

    second.serve(&bus);
    until("the second one says that the name is taken", async || second.has_warning(NAME_TAKEN)).await;
    assert_eq!(own_pid_behind_the_name(&bus).await, owner);
    assert!(!first.has_warning(NAME_TAKEN) && !second.has_warning(NO_BUS));

    first.stop().await;
    until("the second one has the name", async || {
        owned(&bus).await;
        bus.property(ROOT, "Manager1", "DeviceName").await == "second"
    })
    .await;
    until("the warning is gone", async || !second.has_warning(NAME_TAKEN)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_can_take_the_name_from_us() {
    let bus = PrivateBus::start();
    let _host = Host::new("alice").on(&bus).await;
    let thief = bus.client().await;

    use zbus::fdo::RequestNameFlags;
    let taken = thief.request_name_with_flags(NAME, RequestNameFlags::REPLACE_EXISTING | RequestNameFlags::DO_NOT_QUEUE).await;

    assert!(matches!(taken, Err(zbus::Error::NameTaken)), "{taken:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_is_found_renamed_and_blocked_over_the_bus() {
    let bus = PrivateBus::start();
    let host = Host::new("alice");
    let bob = sees(&host, 1, "bob");
    let _host = host.on(&bus).await;
    let client = bus.client().await;
    let manager = Proxy::new(&client, NAME, ROOT, format!("{NAME}.Manager1")).await.unwrap();

    let path: OwnedObjectPath = manager.call("FindPeer", &"bob").await.unwrap();
    assert_eq!(path, peer_path(&bob));
    let peer = Proxy::new(&client, NAME, path.clone(), format!("{NAME}.Peer1")).await.unwrap();
    peer.set_property("Alias", "laptop").await.unwrap();
    assert_eq!(bus.property(&path, "Peer1", "Alias").await, "laptop");
    peer.call::<_, _, ()>("Block", &()).await.unwrap();
    assert_eq!(bus.property(&path, "Peer1", "Trust").await, "blocked");
    peer.call::<_, _, ()>("Unblock", &()).await.unwrap();
    assert_eq!(bus.property(&path, "Peer1", "Trust").await, "unknown");

    let options: HashMap<String, OwnedVariant> = HashMap::new();
    let refused = peer.call::<_, _, ()>("SetTrust", &("accept", options)).await.unwrap_err();
    assert!(refused.to_string().contains("org.sharekaro.Error.Untrusted"), "{refused}");
    let read_only = bus.busctl(&["set-property", NAME, ROOT, &format!("{NAME}.Manager1"), "Version", "s", "9"]).await;
    assert!(read_only.is_err());
}
