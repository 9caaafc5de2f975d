use super::*;
use crate::watchers::own_network::{ip, own_network};

/// A sighting takes a second or two, and far longer on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

fn device(number: u8) -> DeviceId {
    DeviceId::from_bytes([number; 32])
}

fn options(number: u8, mdns_port: u16) -> Options {
    Options {
        id: device(number),
        name: format!("device {number}"),
        port: 40_000 + u16::from(number),
        loopback: true,
        mdns_port,
        ..Options::default()
    }
}

/// Waits for a sighting that `wanted` accepts.
async fn wait(discovery: &mut Discovery, wanted: impl Fn(&Sighting) -> bool) -> Sighting {
    let waiting = async {
        loop {
            let sighting = discovery.next().await;
            if wanted(&sighting) {
                return sighting;
            }
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("not seen; {:?}", discovery.health))
}

fn is_seen(number: u8) -> impl Fn(&Sighting) -> bool {
    move |sighting| matches!(sighting, Sighting::Seen { id, .. } if *id == device(number))
}

#[test]
fn two_on_one_machine_find_each_other_and_say_goodbye() {
    if !own_network("watchers::discovery::tests::two_on_one_machine_find_each_other_and_say_goodbye") {
        return;
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut a = Discovery::start(options(1, 5454)).unwrap();
        let mut b = Discovery::start(options(2, 5454)).unwrap();

        let (seen_by_a, seen_by_b) = tokio::join!(wait(&mut a, is_seen(2)), wait(&mut b, is_seen(1)));

        let Sighting::Seen { name, addresses, .. } = seen_by_a else { unreachable!("it was waited for") };
        assert_eq!(name, "device 2");
        assert!(addresses.contains(&"127.0.0.1:40002".parse().unwrap()), "{addresses:?}");
        assert!(is_seen(1)(&seen_by_b));
        assert_eq!((a.health().problem, a.health().interfaces), (None, 1));

        b.shutdown().await;
        wait(&mut a, |sighting| *sighting == Sighting::Gone { id: device(2) }).await;
        assert!(timeout(Duration::from_millis(500), a.next()).await.is_err(), "our own announcement was told");
    });
}

#[test]
fn an_address_that_comes_later_is_announced_within_seconds() {
    if !own_network("watchers::discovery::tests::an_address_that_comes_later_is_announced_within_seconds") {
        return;
    }
    ip("link add eth0 type veth peer name eth1");
    ip("link set eth0 up");
    ip("link set eth1 up");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut a = Discovery::start(options(1, 5455)).unwrap();
        let mut b = Discovery::start(options(2, 5455)).unwrap();
        tokio::join!(wait(&mut a, is_seen(2)), wait(&mut b, is_seen(1)));

        ip("addr add 10.9.8.7/24 dev eth0");

        let news = "10.9.8.7:40002".parse().unwrap();
        let told = |sighting: &Sighting| matches!(sighting, Sighting::Seen { addresses, .. } if addresses.contains(&news));
        tokio::select! {
            _ = wait(&mut a, told) => {}
            () = async { loop { b.next().await; } } => {}
        }
    });
}

#[test]
fn an_interface_that_cannot_be_used_is_told_and_tried_again() {
    if !own_network("watchers::discovery::tests::an_interface_that_cannot_be_used_is_told_and_tried_again") {
        return;
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        // Whoever holds the port without sharing it, as avahi does with disallow-other-stacks.
        let keeper = std::net::UdpSocket::bind("[::]:5456").unwrap();
        let mut a = Discovery::start(options(1, 5456)).unwrap();

        wait(&mut a, |sighting| *sighting == Sighting::Nothing).await;
        assert_eq!(a.health(), Health { interfaces: 0, problem: Some(NO_INTERFACES) });

        drop(keeper);
        let mut b = Discovery::start(options(2, 5456)).unwrap();
        tokio::join!(wait(&mut a, is_seen(2)), wait(&mut b, is_seen(1)));
        assert_eq!(a.health().problem, None);
    });
}

#[test]
fn a_public_address_elsewhere_and_other_odd_ones_are_not_tried() {
    let check = |text: &str, loopback: bool| is_plausible(&text.parse().unwrap(), loopback);

    for good in ["10.0.0.1:47810", "192.168.1.2:1024", "100.64.0.9:47810", "169.254.1.2:47810", "[fd00::1]:47810", "[fe80::1%2]:47810"] {
        assert!(check(good, false), "{good}");
    }
    for bad in [
        "127.0.0.1:47810",
        "[::1]:47810",
        "[::ffff:127.0.0.1]:47810",
        "0.0.0.0:47810",
        "[::]:47810",
        "224.0.0.251:47810",
        "[ff02::fb]:47810",
        "255.255.255.255:47810",
        "10.0.0.1:53",
        "10.0.0.1:0",
        "[fe80::1]:47810",
        "8.8.8.8:47810",
        "[2001:4860:4860::8888]:47810",
    ] {
        assert!(!check(bad, false), "{bad}");
    }
    assert!(check("127.0.0.1:47810", true) && check("[::1]:47810", true));
}

#[test]
fn odd_announcements_are_no_instances() {
    let id = device(7).to_string();
    let found = |properties: &[(&str, &str)], address: &str| {
        let info = ServiceInfo::new(SERVICE, "x", "x.local.", address, 47_810, properties).unwrap();
        instance(&info.as_resolved_service(), false)
    };

    let good = found(&[("v", "1"), ("id", &id), ("n", "Küche")], "10.0.0.7").unwrap();
    assert_eq!((good.id, good.name.as_str()), (device(7), "Küche"));
    assert_eq!(found(&[("id", &id), ("n", &"é".repeat(60))], "10.0.0.7").unwrap().name, "é".repeat(31));
    assert_eq!(found(&[("id", &id)], "10.0.0.7").unwrap().name, "");
    assert_eq!(found(&[("id", &id)], "127.0.0.1"), None);
    for odd in ["", "alice", &id[1..], &"é".repeat(26), &format!("{}-", &id[1..])] {
        assert_eq!(found(&[("id", odd)], "10.0.0.7"), None, "{odd}");
    }
    assert_eq!(found(&[("n", "nobody")], "10.0.0.7"), None);
}

#[test]
fn the_number_of_interfaces_is_read_from_what_mdns_sd_says() {
    assert_eq!(interfaces_in("_sharekaro._udp.local. on 2 interfaces [lo (1), eth0 (2)]"), 2);
    assert_eq!(interfaces_in("_sharekaro._udp.local. on 0 interfaces []"), 0);
    assert_eq!(interfaces_in("something else"), 0);
}

#[test]
fn a_long_name_is_announced_cut_between_characters() {
    let long = Options { name: "é".repeat(300), ..options(1, 5353) };

    let info = announcement(&long).unwrap();

    assert_eq!(info.get_property_val_str("n"), Some("é".repeat(31).as_str()));
    assert_eq!(info.get_hostname(), format!("{}.local.", &device(1).to_string()[..12]));
}
