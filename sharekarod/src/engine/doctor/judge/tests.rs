use sharekaro_proto::DeviceId;

use super::{
    super::facts::{View, WatchLimit},
    *,
};

fn healthy_machine() -> Machine {
    Machine {
        port: 47810,
        mdns: MdnsPort::Open,
        small_buffer: None,
        full: vec![],
        watches: None,
        drop_folders: vec![],
        without_multicast: vec![],
    }
}

/// Connected on our link, and everything works.
fn healthy_way(name: &str) -> Way {
    Way {
        id: DeviceId::from_bytes([7; 32]),
        name: name.into(),
        asked_for: true,
        address: Some("10.0.0.2:47810".parse().unwrap()),
        on_our_link: true,
        connected: true,
        lost: false,
        announced: true,
        knock: Some(Knock::Answered),
        machine: Presence::There,
        missed_call: false,
        view: Some(View { reached_us: Some(true), looks: true, sees_us: true }),
        clock_ahead_ms: Some(40),
        other_key: None,
        copies: None,
    }
}

/// Not connected any more, and nothing comes back.
fn silent_way(name: &str, machine: Presence) -> Way {
    Way {
        connected: false,
        lost: true,
        announced: false,
        knock: Some(Knock::Silent),
        machine,
        view: None,
        clock_ahead_ms: None,
        ..healthy_way(name)
    }
}

fn facts(machine: Machine, ways: Vec<Way>) -> Facts {
    Facts { machine, gateway: Some(("10.0.0.1".parse().unwrap(), true)), ways }
}

/// The codes that are worse than a note; each verdict says what shows it and what mends it.
fn named(facts: &Facts) -> Vec<&'static str> {
    let verdicts = judge(facts);
    assert!(verdicts.iter().all(|it| !it.evidence.is_empty() && !it.fix.is_empty()), "{verdicts:?}");
    verdicts.iter().filter(|it| it.severity != Severity::Note).map(|it| it.code.word()).collect()
}

fn view(reached_us: bool) -> Option<View> {
    Some(View { reached_us: Some(reached_us), looks: true, sees_us: true })
}

#[test]
fn healthy_hosts_have_no_verdict() {
    assert_eq!(judge(&facts(healthy_machine(), vec![healthy_way("bob"), healthy_way("carol")])), []);
    assert_eq!(judge(&facts(healthy_machine(), vec![])), []);
}

#[test]
fn each_fact_about_this_machine_has_its_verdict() {
    let table: [(&str, Machine); 7] = [
        ("mdns_port_taken", Machine { mdns: MdnsPort::Taken("python3".into()), ..healthy_machine() }),
        ("no_multicast", Machine { without_multicast: vec!["eth0".into()], ..healthy_machine() }),
        ("small_buffers", Machine { small_buffer: Some(425_984), ..healthy_machine() }),
        ("no_space", Machine { full: vec!["/in".into(), "/state".into()], ..healthy_machine() }),
        (
            "inotify_limit",
            Machine { watches: Some(WatchLimit { key: "fs.inotify.max_user_watches", value: Some(0) }), ..healthy_machine() },
        ),
        ("drop_folder_unsafe", Machine { drop_folders: vec![("/drop".into(), Exposed::Writable(0o777))], ..healthy_machine() }),
        ("drop_folder_unsafe", Machine { drop_folders: vec![("/drop/bob".into(), Exposed::Link)], ..healthy_machine() }),
    ];
    for (code, machine) in table {
        assert_eq!(named(&facts(machine, vec![])), [code]);
    }
}

#[test]
fn each_fact_about_the_way_to_a_peer_has_its_verdict() {
    let table: [(&str, Way); 17] = [
        ("firewall_in", Way { view: view(false), ..healthy_way("bob") }),
        ("firewall_out", Way { knock: Some(Knock::Silent), ..healthy_way("bob") }),
        ("firewall_out", Way { knock: Some(Knock::Forbidden), ..healthy_way("bob") }),
        ("firewall_out", Way { knock: Some(Knock::Closed), ..healthy_way("bob") }),
        ("firewall_out", Way { knock: Some(Knock::Silent), view: None, ..healthy_way("bob") }),
        ("firewall_out", Way { missed_call: true, ..silent_way("bob", Presence::There) }),
        ("firewall_out", Way { knock: Some(Knock::Forbidden), ..silent_way("bob", Presence::Silent) }),
        ("udp_blocked", Way { knock: Some(Knock::Silent), view: view(false), ..healthy_way("bob") }),
        ("udp_blocked", silent_way("bob", Presence::There)),
        ("udp_blocked", Way { announced: true, ..silent_way("bob", Presence::Silent) }),
        (
            "no_multicast",
            Way { announced: false, view: Some(View { reached_us: Some(true), looks: true, sees_us: false }), ..healthy_way("bob") },
        ),
        ("no_multicast", Way { view: Some(View { reached_us: Some(true), looks: true, sees_us: false }), ..healthy_way("bob") }),
        ("no_multicast", Way { announced: false, view: Some(View { reached_us: None, looks: true, sees_us: true }), ..healthy_way("bob") }),
        (
            "other_subnet",
            Way {
                on_our_link: false,
                announced: false,
                view: Some(View { reached_us: Some(true), looks: true, sees_us: false }),
                ..healthy_way("bob")
            },
        ),
        ("clock_off", Way { clock_ahead_ms: Some(-3 * 86_400_000), ..healthy_way("bob") }),
        ("key_changed", Way { other_key: Some(DeviceId::from_bytes([9; 32])), ..silent_way("bob", Presence::There) }),
        (
            "cloned_identity",
            Way {
                copies: Some(["10.0.0.2:1".parse().unwrap(), "10.0.0.3:1".parse().unwrap()]),
                knock: Some(Knock::Silent),
                ..healthy_way("bob")
            },
        ),
    ];
    for (code, way) in table {
        assert_eq!(named(&facts(healthy_machine(), vec![way.clone()])), [code], "{way:?}");
    }
}

/// What a peer calls itself, and how a folder is called, are words of a command that a person will type.
#[test]
fn a_fix_is_a_command_whatever_things_are_called() {
    let machine = Machine {
        port: 5000,
        full: vec!["/my inbox".into()],
        drop_folders: vec![("/it's open".into(), Exposed::Writable(0o777))],
        ..healthy_machine()
    };
    let way = Way { other_key: Some(DeviceId::from_bytes([9; 32])), ..silent_way("$(reboot)", Presence::There) };
    let called = Way { view: view(false), ..healthy_way("bob") };

    let fixes: Vec<String> = judge(&facts(machine, vec![way, called])).into_iter().map(|it| it.fix).collect();

    let all = fixes.join("\n");
    assert!(!all.contains("reboot"), "{all}");
    for part in ["du -xh '/my inbox' |", "chmod go-w '/it'\\''s open'", "ufw allow 5000/udp", "--add-port=5000/udp", "forget k:"] {
        assert!(all.contains(part), "{part}: {all}");
    }
}

#[test]
fn who_is_switched_off_is_no_fault_of_the_network() {
    for way in [
        silent_way("bob", Presence::Absent),
        silent_way("bob", Presence::Silent),
        Way { knock: Some(Knock::Closed), ..silent_way("bob", Presence::There) },
        Way { knock: None, machine: Presence::Unasked, ..silent_way("bob", Presence::Unasked) },
    ] {
        assert_eq!(named(&facts(healthy_machine(), vec![way.clone()])), [""; 0], "{way:?}");
    }
}

#[test]
fn several_that_vanish_while_the_gateway_stays_are_isolated() {
    let vanished = || vec![silent_way("bob", Presence::Absent), silent_way("carol", Presence::Absent)];
    let no_gateway = Facts { gateway: Some(("10.0.0.1".parse().unwrap(), false)), ..facts(healthy_machine(), vanished()) };
    let one_is_reached = facts(healthy_machine(), [vanished(), vec![healthy_way("dave")]].concat());
    let said_goodbye = facts(healthy_machine(), vanished().into_iter().map(|way| Way { lost: false, ..way }).collect());

    assert_eq!(named(&facts(healthy_machine(), vanished())), ["ap_isolation"]);
    for facts in [no_gateway, one_is_reached, said_goodbye] {
        assert_eq!(named(&facts), [""; 0], "{facts:?}");
    }
}

#[test]
fn a_peer_without_mdns_and_a_peer_behind_a_router_in_passing_are_no_warning() {
    let without = Way { announced: false, view: Some(View { reached_us: Some(true), looks: false, sees_us: false }), ..healthy_way("bob") };
    let behind = Way { asked_for: false, on_our_link: false, announced: false, ..healthy_way("bob") };
    let nobody_looks = Machine { mdns: MdnsPort::Unwanted, ..healthy_machine() };

    assert_eq!(named(&facts(healthy_machine(), vec![without.clone()])), [""; 0]);
    assert_eq!(named(&facts(healthy_machine(), vec![behind])), [""; 0]);
    assert_eq!(named(&facts(nobody_looks, vec![Way { announced: false, ..healthy_way("bob") }])), [""; 0]);
}

#[test]
fn the_same_of_two_peers_is_one_verdict_with_both_names_and_the_worst_comes_first() {
    let ways = ["bob", "carol"].map(|name| Way { view: view(false), ..healthy_way(name) }).to_vec();
    let verdicts = judge(&facts(Machine { small_buffer: Some(1), ..healthy_machine() }, ways));

    let [worst, other] = verdicts.as_slice() else { panic!("{verdicts:?}") };
    assert!(worst.code == VerdictCode::FirewallIn && worst.evidence.contains("bob") && worst.evidence.contains("carol"));
    assert_eq!(other.severity, Severity::Warning);
    assert_eq!(
        (span(119), span(120), span(7_200), span(259_200)),
        ("119 seconds".into(), "2 minutes".into(), "2 hours".into(), "3 days".into())
    );
}
