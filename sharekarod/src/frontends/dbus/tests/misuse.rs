//! Clients that are wrong, hostile, or too many.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use sharekaro_proto::{DeviceId, nouns::transfer::TransferState};
use zbus::{OwnedVariant, Proxy, fdo};

use super::stage::{Host, PATIENCE, PrivateBus};
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_calls_get_named_errors_with_a_hint() {
    let bus = PrivateBus::start();
    let host = Host::new("alice");
    host.engine.record_all(vec![record(0, TransferState::Cancelled)]).await.unwrap();
    host.engine.update(|state| state.peers.sighted(DeviceId::from_bytes([2; 32]), "bob", &[]));
    let (_, there) = host.file("f", 10);
    let _host = host.on(&bus).await;
    let there = format!("['{there}']");

    for (method, args, name) in [
        ("Manager1.Send", vec![there.as_str(), "['nobody']", "{}"], "NotFound"),
        ("Manager1.Send", vec!["['file:///no/such/file']", "['nobody']", "{}"], "NotFound"),
        ("Manager1.Send", vec!["['http://example.org/x']", "['nobody']", "{}"], "Invalid"),
        ("Manager1.Send", vec!["[]", "['bob']", "{}"], "Invalid"),
        ("Manager1.Send", vec![there.as_str(), "[]", "{}"], "Invalid"),
        ("Manager1.Send", vec![there.as_str(), "['bob', '']", "{}"], "Invalid"),
        ("Manager1.Send", vec![there.as_str(), "['nobody']", "{'nonsense': <1>}"], "Invalid"),
        ("Manager1.Send", vec![there.as_str(), "['nobody']", "{'conflict': <'perhaps'>}"], "Invalid"),
        ("Manager1.FindPeer", vec!["nobody"], "NotFound"),
        ("Manager1.SendMessage", vec!["hello", "['nobody']", "{}"], "NotFound"),
        ("Manager1.SendMessage", vec!["", "['bob']", "{}"], "Invalid"),
        ("Manager1.SendMessage", vec!["hello", "[]", "{}"], "Invalid"),
        ("Manager1.SendMessage", vec!["hello", "['bob']", "{'id': <'no uuid'>}"], "Invalid"),
        ("Manager1.Diagnose", vec!["nobody"], "NotFound"),
        ("Messages1.List", vec!["nobody", "0", "1"], "NotFound"),
        ("Messages1.MarkRead", vec!["nobody", "1"], "NotFound"),
        ("Manager1.Invite", vec!["{'x': <1>}"], "Invalid"),
        ("Manager1.Join", vec!["no code", ""], "Invalid"),
    ] {
        let said = bus.gdbus_error(ROOT, method, &args).await;
        assert!(said.starts_with(&format!("org.sharekaro.Error.{name}:")), "{method} {args:?}: {said}");
    }
    for method in ["Transfer1.Resume", "Transfer1.Pause"] {
        let said = bus.gdbus_error(&format!("{ROOT}/transfers/t1"), method, &[]).await;
        assert!(said.starts_with("org.sharekaro.Error.WrongState:"), "{said}");
    }
    for path in ["transfers/nonsense", "transfers/t2", "peers/_"] {
        let said = bus.gdbus_error(&format!("{ROOT}/{path}"), "Transfer1.Pause", &[]).await;
        assert!(said.starts_with("org.freedesktop.DBus.Error.UnknownObject"), "{said}");
    }
    let client = bus.client().await;
    let manager = Proxy::new(&client, NAME, ROOT, format!("{NAME}.Manager1")).await.unwrap();
    let Err(zbus::Error::MethodError(_, Some(text), _)) = manager.call::<_, _, ()>("FindPeer", &"nobody").await else { panic!("no error") };
    assert_eq!(text.lines().count(), 2, "a message and a hint: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_types_and_sizes_are_refused_and_the_next_call_is_answered() {
    let bus = PrivateBus::start();
    let _host = Host::new("alice").on(&bus).await;
    let client = bus.client().await;
    let manager = Proxy::new(&client, NAME, ROOT, format!("{NAME}.Manager1")).await.unwrap();

    let objects = Proxy::new(&client, NAME, ROOT, "org.freedesktop.DBus.ObjectManager").await.unwrap();
    for refused in [
        manager.call::<_, _, ()>("Send", &"hello").await,
        manager.call::<_, _, ()>("Send", &(vec![1_u8], vec![2_u8], vec![3_u8])).await,
        manager.call::<_, _, ()>("SendFds", &(vec![("a", 0_u32)], vec!["bob"], HashMap::<String, OwnedVariant>::new())).await,
        manager.call::<_, _, ()>("NoSuchMethod", &()).await,
        objects.call::<_, _, ()>("GetManagedObjects", &"hello").await,
    ] {
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("InvalidArgs") || said.contains("UnknownMethod"), "{said}");
    }
    let huge = "x".repeat(17 << 20);
    let said = manager.call::<_, _, ()>("FindPeer", &huge).await.unwrap_err().to_string();
    assert!(said.contains("LimitsExceeded"), "{said}");
    let many = vec!["file:///dev/null"; 150_000];
    let said =
        manager.call::<_, _, ()>("Send", &(many, vec!["bob"], HashMap::<String, OwnedVariant>::new())).await.unwrap_err().to_string();
    assert!(said.contains("org.sharekaro.Error."), "{said}");
    assert_eq!(bus.property(ROOT, "Manager1", "DeviceName").await, "alice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_floods_does_not_make_others_wait() {
    let bus = PrivateBus::start();
    let host = Host::new("alice");
    host.engine.record_all((0..150).map(|_| record(0, TransferState::Done)).collect()).await.unwrap();
    let host = host.on(&bus).await;
    let (flooder, other) = (bus.client().await, bus.client().await);

    let flood = tokio::spawn(async move {
        let manager = Proxy::new(&flooder, NAME, ROOT, "org.freedesktop.DBus.ObjectManager").await.unwrap();
        let calls = (0..6_000).map(|_| manager.call_method("GetManagedObjects", &()));
        join_all(calls).await.into_iter().filter(|answer| answer.as_ref().is_err_and(|e| e.to_string().contains("LimitsExceeded"))).count()
    });
    let mut slowest = Duration::ZERO;
    let manager: zbus::proxy::Builder<'_, Proxy<'_>> = zbus::proxy::Builder::new(&other);
    let manager = manager
        .destination(NAME)
        .path(ROOT)
        .interface(format!("{NAME}.Manager1"))
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build();
    let manager = manager.await.unwrap();
    while !flood.is_finished() {
        let began = std::time::Instant::now();
        assert!(manager.get_property::<u32>("ApiLevel").await.unwrap() > 0);
        assert!(host.engine.status().warnings.is_empty());
        slowest = slowest.max(began.elapsed());
    }

    assert!(flood.await.unwrap() > 1_000, "most of a flood is refused");
    assert!(slowest < PATIENCE / 3, "another client waited {slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_are_served() {
    let bus = PrivateBus::start();
    let _host = Host::new("alice").on(&bus).await;

    let clients = join_all((0..1_000).map(|_| bus.client())).await;
    let answers = join_all(clients.iter().map(async |client| {
        let bus_properties = Proxy::new(client, NAME, ROOT, "org.freedesktop.DBus.Properties").await?;
        bus_properties.call::<_, _, OwnedVariant>("Get", &(format!("{NAME}.Manager1"), "DeviceName")).await
    }))
    .await;

    let failed: Vec<String> = answers.into_iter().filter_map(|answer| answer.err().map(|e| e.to_string())).collect();
    assert!(failed.is_empty(), "{} of 1000 failed, as {:?}", failed.len(), failed.first());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_user_is_refused_every_method_and_every_property() {
    let bus = PrivateBus::start();
    let (host, client) = (Host::new("alice"), bus.client().await);
    // the same user calls, but the daemon is somebody else's
    let gate = Arc::new(Gate::of_user(bus.client().await, Kind::Session, u32::MAX));
    let (wishes, _waiting) = Wishes::channel();
    let address = bus.address();
    let objects = Objects::connect(
        (zbus::connection::Builder::address(address.as_str()), Kind::Session),
        host.engine.clone(),
        &gate,
        wishes,
        Spool::new(host.dir.path()),
    )
    .await
    .unwrap();
    let at = objects.connection().unique_name().unwrap().to_string();
    let manager = format!("{NAME}.Manager1");

    let call = async |interface: &str, method: &str, body: &[&str]| {
        let answer = match body {
            [] => client.call_method(Some(at.as_str()), ROOT, Some(interface), method, &()).await,
            [one] => client.call_method(Some(at.as_str()), ROOT, Some(interface), method, one).await,
            [one, two, ..] => client.call_method(Some(at.as_str()), ROOT, Some(interface), method, &(one, two)).await,
        };
        answer.unwrap_err().to_string()
    };
    for said in [
        call(&manager, "FindPeer", &["bob"]).await,
        call("org.freedesktop.DBus.Properties", "Get", &[&manager, "DeviceName"]).await,
        call("org.freedesktop.DBus.Properties", "GetAll", &[&manager]).await,
        call("org.freedesktop.DBus.ObjectManager", "GetManagedObjects", &[]).await,
    ] {
        assert!(said.contains("AccessDenied"), "{said}");
    }
    let properties = fdo::PropertiesProxy::builder(&client).destination(at.as_str()).path(ROOT).build().await.unwrap();
    assert!(properties.set(manager.as_str().try_into().unwrap(), "Version", &"9".into()).await.is_err());
}
