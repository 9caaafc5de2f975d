//! The committed XML is what other programs are written against: it says what the live objects say.

use std::{fs, path::Path};

use sharekaro_proto::{DeviceId, nouns::transfer::TransferState};
use zbus::fdo::IntrospectableProxy;

use super::stage::{Host, PrivateBus};
use crate::{
    engine::transfers::table::tests::record,
    frontends::dbus::paths::{NAME, ROOT, peer_path},
};

/// Where the XML is; `SHAREKARO_WRITE_XML=1` writes it anew.
const XML: &str = "dbus/org.sharekaro.ShareKaro1.xml";

/// The lines of one interface of the object itself, not of one below it.
fn interface(xml: &str, name: &str) -> String {
    let first = format!("  <interface name=\"{NAME}.{name}\"");
    let lines = xml.lines().map(str::trim_end).skip_while(|line| !line.starts_with(&first));
    let mut out = String::new();
    for line in lines {
        out.push_str(line);
        out.push('\n');
        if line == "  </interface>" {
            return out;
        }
    }
    panic!("no interface {name} in {xml}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_committed_xml_is_what_the_live_objects_say() {
    let bus = PrivateBus::start();
    let host = Host::new("alice");
    let bob = DeviceId::from_bytes([1; 32]);
    host.engine.update(|state| state.peers.sighted(bob, "bob", &["192.0.2.1:47810".parse().unwrap()]));
    host.engine.record_all(vec![record(0, TransferState::Done)]).await.unwrap();
    let _host = host.on(&bus).await;
    let client = bus.client().await;

    let mut live = String::new();
    for (path, name) in [
        (format!("{ROOT}/drops/d1"), "Drop1"),
        (ROOT.to_owned(), "Manager1"),
        (ROOT.to_owned(), "Messages1"),
        (peer_path(&bob).to_string(), "Peer1"),
        (format!("{ROOT}/transfers/t1"), "Transfer1"),
    ] {
        let object = IntrospectableProxy::builder(&client).destination(NAME).path(path).build().await.unwrap();
        live.push_str(&interface(&object.introspect().await.unwrap(), name));
    }
    let live = format!(
        "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\" \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>\n{live}</node>\n"
    );

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(XML);
    if std::env::var_os("SHAREKARO_WRITE_XML").is_some() {
        fs::write(&path, &live).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == live,
        "{XML} differs from the live objects; if that is meant, run this test with SHAREKARO_WRITE_XML=1 and read the difference"
    );
    assert!(live.contains("<!--"), "no documentation");
}
