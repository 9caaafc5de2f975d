//! Real endpoints, real sockets, on loopback; where one side must misbehave, bare quinn.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use quinn::{
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
    rustls::{
        self,
        pki_types::{CertificateDer, PrivatePkcs8KeyDer},
        sign::{CertifiedKey, SingleCertAndKey},
    },
};
use sharekaro_proto::{
    DeviceId,
    wire::{self, Hello, Measure, Note, Ping, Presence, Progress, Reply, Request, Status, note, reply, request},
};
use tokio::{task::JoinSet, time::timeout};

use super::{tls, *};
use crate::{identity::Identity, testing::soon};

/// Everything happens within this or not at all, also on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

fn identity(number: u8) -> Arc<Identity> {
    Arc::new(Identity::from_seed([number; 32]).unwrap())
}

fn settings(number: u8, admission: Admission) -> Settings {
    Settings::new(0, move || Hello { name: format!("device {number}"), ..Hello::default() }, move |_| admission)
}

fn endpoint(number: u8, admission: Admission) -> Endpoint {
    Endpoint::bind(identity(number), settings(number, admission)).unwrap()
}

fn address(endpoint: &Endpoint) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, endpoint.local_port()).into()
}

/// Two sessions that are each other's ends: the caller's and the other's.
async fn pair(caller: &Endpoint, called: &Endpoint) -> (Session, Session) {
    let addresses = [address(called)];
    let (dialed, accepted) = tokio::join!(caller.dial(None, &addresses), called.accept());
    (dialed.unwrap(), accepted.unwrap())
}

async fn trusting_pair() -> (Endpoint, Endpoint, Session, Session) {
    let (a, b) = (endpoint(1, Admission::Trusted), endpoint(2, Admission::Trusted));
    let (dialed, accepted) = pair(&a, &b).await;
    (a, b, dialed, accepted)
}

fn ping(nonce: u64) -> Request {
    Request { kind: Some(request::Kind::Ping(Ping { nonce })) }
}

/// Answers pings and measurements until the session ends.
async fn serve(session: Session) {
    while let Some(incoming) = session.next_request().await {
        tokio::spawn(async move {
            let (kind, body) = match incoming.request.kind.clone() {
                Some(request::Kind::Ping(ping)) => (Some(reply::Kind::Pong(ping)), None),
                Some(request::Kind::Measure(Measure { down, .. })) => (None, Some(noise(down))),
                _ => (None, None),
            };
            let _ = incoming.respond(Reply { kind, ..Reply::default() }, body).await;
        });
    }
}

fn noise(seed: u32) -> Bytes {
    let mut bytes = vec![0; wire::PAGE_MAX];
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}

async fn assert_answers(session: &Session) {
    let (reply, body) = timeout(PATIENCE, session.request(ping(7))).await.unwrap().unwrap();
    assert_eq!((reply.kind, body.len()), (Some(reply::Kind::Pong(Ping { nonce: 7 })), 0));
}

// ---- who is there -----------------------------------------------------------------------------------

#[tokio::test]
async fn both_ends_know_whose_key_the_other_has_proven() {
    let (a, b, dialed, accepted) = trusting_pair().await;

    assert_eq!((dialed.peer(), accepted.peer()), (identity(2).id(), identity(1).id()));
    assert_eq!((dialed.hello().name.as_str(), accepted.hello().name.as_str()), ("device 2", "device 1"));
    assert!(dialed.dialed_by_us() && !accepted.dialed_by_us());
    assert_eq!((dialed.remote_address(), accepted.remote_address()), (address(&b), address(&a)));
}

#[tokio::test]
async fn who_answers_in_the_place_of_the_expected_device_is_named_and_learns_nothing() {
    let (a, b) = (endpoint(1, Admission::Trusted), endpoint(2, Admission::Trusted));

    let failed = a.dial(Some(identity(3).id()), &[address(&b)]).await;

    assert_eq!(failed.unwrap_err(), DialError::OtherKey(identity(2).id()));
    assert!(timeout(Duration::from_millis(100), b.accept()).await.is_err());
    assert!(a.dial(Some(identity(2).id()), &[address(&b)]).await.is_ok());
}

#[tokio::test]
async fn our_own_address_and_a_copy_of_our_key_are_noticed() {
    let (a, copy) = (endpoint(1, Admission::Trusted), endpoint(1, Admission::Trusted));

    assert_eq!(a.dial(None, &[address(&a)]).await.unwrap_err(), DialError::Itself);
    assert_eq!(a.dial(Some(identity(2).id()), &[address(&copy)]).await.unwrap_err(), DialError::Itself);
    assert_eq!(a.dial(None, &[]).await.unwrap_err(), DialError::NoAnswer);
}

#[tokio::test]
async fn a_caller_that_is_refused_never_believes_itself_connected() {
    let (a, b) = (endpoint(1, Admission::Trusted), endpoint(2, Admission::Blocked));

    let refused = timeout(PATIENCE, a.dial(Some(identity(2).id()), &[address(&b)])).await.unwrap();

    assert_eq!(refused.unwrap_err(), DialError::Refused);
    assert!(timeout(Duration::from_millis(100), b.accept()).await.is_err());
    assert_eq!(b.dial(None, &[address(&a)]).await.unwrap_err(), DialError::Blocked);
}

#[tokio::test]
async fn an_address_where_nobody_answers_delays_the_next_one_by_a_tenth_of_a_second_only() {
    let (a, b) = (endpoint(1, Admission::Trusted), endpoint(2, Admission::Trusted));
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let start = Instant::now();

    let session = a.dial(Some(identity(2).id()), &[silent.local_addr().unwrap(), address(&b)]).await.unwrap();

    assert_eq!(session.remote_address(), address(&b));
    assert!(start.elapsed() < limits::DIAL_DEADLINE, "{:?}", start.elapsed());
}

/// A's certificate with B's key: rustls itself would not put them together.
fn mismatched(certificate: &Identity, key: &Identity) -> Arc<SingleCertAndKey> {
    let key = PrivatePkcs8KeyDer::from(key.private_key()).into();
    let key = rustls::crypto::ring::sign::any_eddsa_type(&match key {
        rustls::pki_types::PrivateKeyDer::Pkcs8(key) => key,
        _ => unreachable!("it was made one line above"),
    })
    .unwrap();
    let certificate = CertificateDer::from(certificate.certificate().to_vec());
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key)))
}

fn bare_client(config: rustls::ClientConfig, from: &str) -> quinn::Endpoint {
    let mut bare = quinn::Endpoint::client(from.parse().unwrap()).unwrap();
    bare.set_default_client_config(quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap())));
    bare
}

#[tokio::test]
async fn a_certificate_without_its_key_opens_no_session_from_either_side() {
    let us = endpoint(1, Admission::Trusted);

    let mut config = tls::client(&identity(3), None, tls::Met::default()).unwrap();
    config.client_auth_cert_resolver = mismatched(&identity(2), &identity(3));
    let thief = bare_client(config, "127.0.0.1:0");
    let line = thief.connect(address(&us), "peer.sharekaro.local").unwrap().await;
    if let Ok(line) = line {
        assert!(timeout(PATIENCE, line.accept_bi()).await.unwrap().is_err());
    }
    assert!(timeout(Duration::from_millis(100), us.accept()).await.is_err());

    let mut config = tls::server(&identity(3)).unwrap();
    config.cert_resolver = mismatched(&identity(2), &identity(3));
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(config).unwrap()));
    let thief = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let accepting = tokio::spawn({
        let thief = thief.clone();
        async move { thief.accept().await.unwrap().await.map(drop) }
    });
    let failed = us.dial(Some(identity(2).id()), &[thief.local_addr().unwrap()]).await;
    assert_eq!(failed.unwrap_err(), DialError::OtherVersion);
    assert!(timeout(PATIENCE, accepting).await.unwrap().unwrap().is_err());
}

#[test]
fn only_one_short_ed25519_certificate_names_a_device() {
    let good = identity(1).certificate().to_vec();
    let other_kind = rcgen::generate_simple_self_signed(vec!["peer.sharekaro.local".to_owned()]).unwrap();
    let mut names = rcgen::CertificateParams::new(vec!["x.example".repeat(20); 30]).unwrap();
    names.serial_number = Some(rcgen::SerialNumber::from(1u64));
    let long = names.self_signed(&rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()).unwrap();

    assert_eq!(tls::device(&good.clone().into()), Some(identity(1).id()));
    assert_eq!(tls::device(other_kind.cert.der()), None);
    assert!(long.der().len() > limits::CERTIFICATE_MAX);
    assert_eq!(tls::device(long.der()), None);
    for cut in 0..good.len() {
        assert_eq!(tls::device(&good[..cut].to_vec().into()), None);
    }
}

#[tokio::test]
async fn another_protocol_or_version_is_told_as_such() {
    let us = endpoint(1, Admission::Trusted);
    let mut config = tls::server(&identity(2)).unwrap();
    config.alpn_protocols = vec![b"sharekaro/0".to_vec()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(config).unwrap()));
    let old = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    tokio::spawn({
        let old = old.clone();
        async move { old.accept().await.unwrap().await.map(drop) }
    });

    assert_eq!(us.dial(None, &[old.local_addr().unwrap()]).await.unwrap_err(), DialError::OtherVersion);
}

#[tokio::test]
async fn the_exported_key_is_equal_on_both_ends_and_of_one_session_only() {
    let (a, b) = (endpoint(1, Admission::Trusted), endpoint(2, Admission::Trusted));
    let (dialed, accepted) = pair(&a, &b).await;
    let (other, _accepted) = pair(&a, &b).await;

    assert_eq!(dialed.export_key(b"pair"), accepted.export_key(b"pair"));
    assert_ne!(dialed.export_key(b"pair"), dialed.export_key(b"other"));
    assert_ne!(dialed.export_key(b"pair"), other.export_key(b"pair"));
}

// ---- asking and answering ---------------------------------------------------------------------------

#[tokio::test]
async fn requests_go_both_ways_and_notes_too() {
    let (_a, _b, dialed, accepted) = trusting_pair().await;
    tokio::spawn(serve(accepted.clone()));
    tokio::spawn(serve(dialed.clone()));

    assert_answers(&dialed).await;
    assert_answers(&accepted).await;

    let away = Note { kind: Some(note::Kind::Presence(Presence { away: true, text: "lunch".to_owned() })) };
    dialed.notify(away.clone());
    assert_eq!(timeout(PATIENCE, accepted.next_note()).await.unwrap(), Some(away));
}

#[tokio::test]
async fn sixty_four_mebibytes_arrive_intact_over_eight_requests_at_a_time() {
    let (_a, _b, dialed, accepted) = trusting_pair().await;
    tokio::spawn(serve(accepted));
    let mut pulling = JoinSet::new();
    for worker in 0..8 {
        let session = dialed.clone();
        pulling.spawn(async move {
            let mut piece = Vec::new();
            for seed in (worker..64).step_by(8) {
                let request = Request { kind: Some(request::Kind::Measure(Measure { down: seed, disk: false })) };
                let (_, mut body) = session.request(Ask::new(request).priority(-1)).await.unwrap();
                piece.clear();
                body.read_exact_into(&mut piece).await.unwrap();
                assert!(body.is_empty() && piece == noise(seed), "piece {seed}");
            }
        });
    }

    timeout(3 * PATIENCE, async { while pulling.join_next().await.transpose().unwrap().is_some() {} }).await.unwrap();
    let stats = dialed.stats();
    assert!(stats.received_bytes > 64 << 20 && stats.rtt > Duration::ZERO, "{stats:?}");
}

#[tokio::test]
async fn bytes_after_a_request_are_read_by_who_is_asked() {
    let (_a, _b, dialed, accepted) = trusting_pair().await;
    let asked = tokio::spawn(async move {
        let mut incoming = accepted.next_request().await.unwrap();
        let mut bytes = Vec::new();
        incoming.body(wire::PAGE_MAX as u32).unwrap().unwrap().read_exact_into(&mut bytes).await.unwrap();
        incoming.respond(Reply::default(), None).await.unwrap();
        (bytes, accepted)
    });

    let (reply, _) = dialed.request(Ask::new(ping(1)).body(noise(5))).await.unwrap();

    assert_eq!(reply.status(), Status::Ok);
    assert_eq!(asked.await.unwrap().0, noise(5));
}

#[tokio::test]
async fn a_request_of_a_later_version_is_answered_as_unsupported() {
    let (_a, _b, dialed, accepted) = trusting_pair().await;
    tokio::spawn(serve(accepted));

    let (reply, _) = dialed.request(Request { kind: None }).await.unwrap();

    assert_eq!(reply.status(), Status::Unsupported);
}

#[tokio::test]
async fn a_request_that_is_dropped_unanswered_looks_given_up_and_never_complete() {
    let (_a, _b, dialed, accepted) = trusting_pair().await;
    tokio::spawn(async move { while accepted.next_request().await.is_some() {} });

    let failed = timeout(PATIENCE, dialed.request(ping(1))).await.unwrap();

    assert!(matches!(failed, Err(SessionError::GivenUp(29))), "{failed:?}");
}

#[tokio::test]
async fn a_reply_that_does_not_come_is_not_waited_for_beyond_the_askers_patience() {
    let (_a, _b, dialed, accepted) = trusting_pair().await;

    let failed = dialed.request(Ask::new(ping(1)).patience(Duration::from_millis(50))).await;

    assert!(matches!(failed, Err(SessionError::Stalled(_))), "{failed:?}");
    assert!(accepted.is_open() && dialed.is_open());
}

// ---- garbage ----------------------------------------------------------------------------------------

/// Opens a stream, writes bytes and ends it.
async fn raw_request(session: &Session, bytes: &[u8]) -> quinn::RecvStream {
    let (mut send, receive) = session.line().open_bi().await.unwrap();
    // A stream that the other has stopped already is what the test is about.
    let _ = send.write_all(bytes).await;
    let _ = send.finish();
    receive
}

#[tokio::test]
async fn garbage_costs_its_own_stream_only() {
    let (_a, _b, dialed, accepted) = trusting_pair().await;
    tokio::spawn(serve(accepted));
    let four_gib = [0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3];
    let half = &wire::encode_frame(&ping(1))[..2];

    for garbage in [&four_gib[..], &[0xff; 11], half, &[3, 1, 2, 3], &[]] {
        let mut receive = raw_request(&dialed, garbage).await;
        let answer = timeout(PATIENCE, receive.read_to_end(10)).await.unwrap();
        assert!(answer.is_err(), "{garbage:?}");
    }

    assert_answers(&dialed).await;
}

#[tokio::test]
async fn a_flood_of_garbage_ends_the_session() {
    let (_a, _b, dialed, accepted) = trusting_pair().await;

    for _ in 0..200 {
        let Ok((mut send, _)) = dialed.line().open_bi().await else { break };
        let _ = send.write_all(&[0xff; 11]).await;
    }

    assert_eq!(timeout(PATIENCE, dialed.closed()).await.unwrap(), Ended::ByPeer(Code::Protocol));
    assert_eq!(timeout(PATIENCE, accepted.next_request()).await.unwrap().map(drop), None);
}

#[tokio::test]
async fn a_stranger_has_shorter_frames_than_a_peer() {
    let (a, b) = (endpoint(1, Admission::Stranger), endpoint(2, Admission::Stranger));
    let (dialed, accepted) = pair(&a, &b).await;
    tokio::spawn(serve(accepted.clone()));
    let offer = wire::Offer { manifest: vec![0; wire::FRAME_MAX_STRANGER], ..wire::Offer::default() };
    let long = Request { kind: Some(request::Kind::Offer(offer)) };

    let failed = dialed.request(long.clone()).await;
    assert!(matches!(failed, Err(SessionError::GivenUp(_))), "{failed:?}");

    accepted.trust();
    assert_eq!(dialed.request(long).await.unwrap().0.status(), Status::Ok);
}

#[tokio::test]
async fn packets_that_are_no_quic_do_no_harm() {
    let (a, b) = (endpoint(1, Admission::Trusted), endpoint(2, Admission::Trusted));
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let junk = noise(1);
    for i in 0..2000 {
        let _ = stranger.send_to(&junk[i * 7..i * 7 + i % 1400], address(&b));
    }

    let (dialed, accepted) = pair(&a, &b).await;

    tokio::spawn(serve(accepted));
    assert_answers(&dialed).await;
}

// ---- too many ---------------------------------------------------------------------------------------

#[tokio::test]
async fn five_hundred_silent_connections_do_not_keep_a_paired_device_out() {
    let us = identity(1);
    let paired = identity(2).id();
    let admission = move |id: &DeviceId| if *id == paired { Admission::Trusted } else { Admission::Stranger };
    let called = Endpoint::bind(us, Settings { admission: Arc::new(admission), ..settings(1, Admission::Stranger) }).unwrap();
    let mob = bare_client(tls::client(&identity(3), None, tls::Met::default()).unwrap(), "127.0.0.2:0");
    let mut silent = JoinSet::new();
    for _ in 0..500 {
        let connecting = mob.connect(address(&called), "peer.sharekaro.local").unwrap();
        silent.spawn(async move {
            let line = connecting.await.ok()?;
            Some(line.closed().await)
        });
    }
    tokio::task::yield_now().await; // now they are under way
    let friend = endpoint(2, Admission::Trusted);
    let start = Instant::now();

    let dialing = async {
        // Its first packets may be lost among theirs, so it dials again, as the engine does.
        loop {
            if let Ok(session) = friend.dial(None, &[address(&called)]).await {
                return session;
            }
        }
    };
    let (dialed, accepted) = timeout(PATIENCE, async { tokio::join!(dialing, called.accept()) }).await.unwrap();
    let accepted = accepted.unwrap();

    // Later than that those who say nothing are thrown out anyway.
    assert!(start.elapsed() < limits::GREETING_DEADLINE, "{:?}", start.elapsed());
    assert_eq!(accepted.peer(), paired);
    tokio::spawn(serve(accepted));
    assert_answers(&dialed).await;
}

#[tokio::test]
async fn a_fifth_stranger_from_one_address_finds_no_place_until_one_is_trusted() {
    let called = endpoint(1, Admission::Stranger);
    let mut sessions = Vec::new();
    for number in 2..6 {
        let caller = endpoint(number, Admission::Stranger);
        sessions.push((pair(&caller, &called).await, caller));
    }
    let fifth = endpoint(7, Admission::Stranger);

    assert_eq!(fifth.dial(None, &[address(&called)]).await.unwrap_err(), DialError::Refused);

    sessions[0].0.1.trust();
    assert!(fifth.dial(None, &[address(&called)]).await.is_ok());
}

#[tokio::test]
async fn a_stranger_that_left_makes_room_at_once() {
    let called = endpoint(1, Admission::Stranger);
    for number in 2..12 {
        let caller = endpoint(number, Admission::Stranger);
        let (dialed, accepted) = pair(&caller, &called).await;
        dialed.close(Code::Ok);
        assert_eq!(timeout(PATIENCE, accepted.closed()).await.unwrap(), Ended::ByPeer(Code::Ok));
        // Its place is given back by the session's own task, which the last request of the engine sees end.
        assert!(accepted.next_request().await.is_none());
    }
}

#[tokio::test]
async fn a_peer_that_reads_no_notes_is_left_and_progress_alone_never_does_that() {
    let (_a, _b, dialed, accepted) = trusting_pair().await;
    for i in 0..100_000u64 {
        let progress = Progress { key: vec![1; 16], bytes_confirmed: i, ..Progress::default() };
        dialed.notify(Note { kind: Some(note::Kind::Progress(progress)) });
    }
    assert!(dialed.is_open());

    for i in 0..100_000u32 {
        let have = wire::Have { content: vec![1; 32], ranges: vec![i, 1] };
        dialed.notify(Note { kind: Some(note::Kind::Have(have)) });
        if !dialed.is_open() {
            break;
        }
        if i % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(timeout(PATIENCE, accepted.closed()).await.unwrap(), Ended::ByPeer(Code::Slow));
}

// ---- ends -------------------------------------------------------------------------------------------

#[test]
fn a_peer_that_vanishes_is_noticed_and_what_was_asked_fails() {
    let ours = tokio::runtime::Runtime::new().unwrap();
    let theirs = tokio::runtime::Runtime::new().unwrap();
    let called = theirs.block_on(async { endpoint(2, Admission::Trusted) });
    let at = address(&called);
    let accepting = theirs.spawn(async move {
        let session = called.accept().await.unwrap();
        (session, called)
    });
    let (_us, session) = ours.block_on(async {
        let us = Endpoint::bind(identity(1), Settings { idle: Duration::from_secs(3), ..settings(1, Admission::Trusted) }).unwrap();
        let session = us.dial(None, &[at]).await.unwrap();
        (us, session)
    });
    let asking = ours.spawn({
        let session = session.clone();
        async move { session.request(ping(1)).await.map(drop) }
    });

    // Its tasks are gone without a word, as after a power cut; dropping these would say one.
    std::mem::forget(theirs.block_on(accepting).unwrap());
    theirs.shutdown_background();

    ours.block_on(async {
        let ended = timeout(PATIENCE, session.closed()).await.unwrap();
        assert_eq!(ended, Ended::Vanished);
        assert!(matches!(timeout(PATIENCE, asking).await.unwrap().unwrap(), Err(SessionError::Ended(_))));
        assert!(!session.is_open() && session.next_note().await.is_none());
    });
}

/// Two with a session between them; one of them dies without a word and is there again at once.
fn one_is_killed_and_started_again(killed_dials: bool) {
    let ours = tokio::runtime::Runtime::new().unwrap();
    let theirs = tokio::runtime::Runtime::new().unwrap();
    let us = ours.block_on(async { endpoint(1, Admission::Trusted) });
    let them = theirs.block_on(async { endpoint(2, Admission::Trusted) });
    let (at_us, at_them) = (address(&us), address(&them));
    let dials = |from: Endpoint, to| async move { (from.dial(None, &[to]).await.unwrap(), from) };
    let accepts = |on: Endpoint| async move { (on.accept().await.unwrap(), on) };
    let ((session, _us), last_run) = if killed_dials {
        let accepting = ours.spawn(accepts(us));
        let dialed = theirs.block_on(dials(them, at_us));
        (ours.block_on(accepting).unwrap(), dialed)
    } else {
        let accepting = theirs.spawn(accepts(them));
        let dialed = ours.block_on(dials(us, at_them));
        (dialed, theirs.block_on(accepting).unwrap())
    };

    // The words by which a reset is known come behind the handshake; what was asked later is answered after them.
    theirs.spawn(serve(last_run.0.clone()));
    ours.block_on(assert_answers(&session));
    // Without its tasks, an endpoint that is dropped says nothing.
    theirs.shutdown_timeout(PATIENCE);
    drop(last_run);
    let _restarted = ours.block_on(async {
        let again = || Endpoint::bind(identity(2), Settings { port: at_them.port(), ..settings(2, Admission::Trusted) }).unwrap();
        soon(|| Some(again()).filter(|restarted| address(restarted) == at_them))
    });
    let began = Instant::now();

    ours.block_on(async {
        let answer = timeout(PATIENCE, session.request(ping(1))).await.unwrap();
        assert!(matches!(answer, Err(SessionError::Ended(Ended::Vanished))), "{:?}", answer.map(|(reply, _)| reply));
    });
    // Without a word it would be silence that tells.
    assert!(began.elapsed() < limits::IDLE / 2, "{:?}", began.elapsed());
}

#[test]
fn a_peer_that_was_killed_and_started_again_says_that_it_knows_nothing_of_the_old_session() {
    one_is_killed_and_started_again(true);
    one_is_killed_and_started_again(false);
}

#[tokio::test]
async fn closing_says_goodbye_to_all_and_returns_soon() {
    let (a, b, dialed, accepted) = trusting_pair().await;
    let start = Instant::now();

    b.close(false).await;

    assert!(start.elapsed() < limits::IDLE / 2, "{:?}", start.elapsed());
    assert_eq!(timeout(PATIENCE, dialed.closed()).await.unwrap(), Ended::ByPeer(Code::Shutdown));
    assert_eq!(accepted.closed().await, Ended::ByUs);
    assert_eq!(b.accept().await, None);
    assert_eq!(b.dial(None, &[address(&a)]).await.unwrap_err(), DialError::Unable);
}

#[tokio::test]
async fn the_last_handle_of_a_session_closes_it() {
    let (_a, _b, dialed, accepted) = trusting_pair().await;
    let clone = dialed.clone();

    drop(dialed);
    assert!(clone.is_open());
    drop(clone);

    assert_eq!(timeout(PATIENCE, accepted.closed()).await.unwrap(), Ended::ByPeer(Code::Ok));
}
