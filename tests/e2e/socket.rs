//! The control socket under clients that are broken, slow, many, or no clients at all.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sharekaro_tests::{Host, on_loopback, until};

/// The daemon listens to half a request for ten seconds; this is far more, and far from for ever.
const HALF_REQUEST: Duration = Duration::from_secs(60);

/// Clients that connect and sit.
const IDLE: usize = 1000;

/// What all of that may cost the daemon, in KiB.
const MEMORY_KIB: u64 = 16 << 10;

fn connect(host: &Host) -> Result<UnixStream> {
    let stream = UnixStream::connect(host.socket()?)?;
    stream.set_read_timeout(Some(HALF_REQUEST))?;
    stream.set_write_timeout(Some(HALF_REQUEST))?;
    Ok(stream)
}

/// Sends these bytes and returns all that comes back until the daemon closes.
fn answer(host: &Host, bytes: &[u8]) -> Result<String> {
    let mut stream = connect(host)?;
    // The daemon may close before it has read all of it; that is an answer too.
    let _ = stream.write_all(bytes);
    let mut reply = Vec::new();
    match stream.read_to_end(&mut reply) {
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
        Err(e) => {
            return Err(e).context(format!(
                "the daemon neither answers nor closes after {:?}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(60)])
            ));
        }
    }
    Ok(String::from_utf8_lossy(&reply).into_owned())
}

fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn only_its_owner_reaches_the_socket() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        let socket = alice.socket()?;

        let mode = |path: &std::path::Path| anyhow::Ok(path.metadata()?.permissions().mode() & 0o777);

        ensure!(mode(&socket)? == 0o600 && mode(socket.parent().context("no folder")?)? == 0o700, "the socket is open to others");
        Ok(())
    })
}

#[test]
fn garbage_is_refused_and_the_daemon_lives() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
        let mut noise = vec![0; 256 << 10];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut noise);
        let long_header = [b"GET /v1/status HTTP/1.1\r\nx: ".to_vec(), vec![b'a'; 1 << 20], b"\r\n\r\n".to_vec()].concat();

        for bytes in [tls_hello, noise, long_header, b"\r\n".repeat(2000), b"GET / HTTP/9.9\r\n\r\n".to_vec()] {
            let reply = answer(alice, &bytes)?;
            ensure!(!reply.starts_with("HTTP/1.1 2") && !reply.starts_with("HTTP/1.1 5"), "{reply}");
            alice.ctl("status").ok()?;
        }
        Ok(())
    })
}

#[test]
fn requests_that_make_no_sense_are_a_client_error_with_a_sentence() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        let deep = [b"{\"target\":".to_vec(), b"[".repeat(100_000)].concat();
        let cases: [(&str, &str, &[u8]); 11] = [
            ("GET", "/v1/nothing", b""),
            ("DELETE", "/v1/status", b""),
            ("POST", "/v1/transfers", b""),
            ("POST", "/v1/transfers", b"{"),
            ("POST", "/v1/transfers", b"{\"target\":\"bob\"}"),
            ("POST", "/v1/transfers", b"{\"target\":7,\"paths\":[]}"),
            ("POST", "/v1/transfers", b"{\"target\":\"bob\",\"paths\":[\"/x\"],\"no_such_key\":1}"),
            ("POST", "/v1/transfers", b"{\"target\":\"bob\",\"paths\":[\"relative\"]}"),
            ("POST", "/v1/transfers", b"\xff\xfe"),
            ("POST", "/v1/transfers", &deep),
            ("GET", "/v1/peers/%ff%00..%2f", b""),
        ];

        for (method, path, body) in cases {
            let reply = answer(alice, &request(method, path, body))?;
            ensure!(reply.starts_with("HTTP/1.1 4"), "{method} {path} {:?}: {reply}", String::from_utf8_lossy(&body[..body.len().min(60)]));
            ensure!(reply.contains("\"message\""), "{method} {path}: no sentence in {reply}");
        }
        alice.ctl("status").ok().map(drop)
    })
}

#[test]
fn a_body_that_claims_four_gibibytes_is_not_waited_for() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        let before = alice.proc_status("VmRSS")?;
        let claim = b"POST /v1/transfers HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 4294967296\r\n\r\n{";

        let reply = answer(alice, claim)?;

        ensure!(!reply.starts_with("HTTP/1.1 2"), "{reply}");
        ensure!(alice.proc_status("VmRSS")? < before + MEMORY_KIB, "memory was set aside for a claim");
        Ok(())
    })
}

#[test]
fn half_a_request_is_not_waited_for_for_ever() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        let half_head = b"GET /v1/status HTTP/1.1\r\nhost: x\r\n".as_slice();
        let half_body =
            b"POST /v1/peers HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"addr".as_slice();

        for half in [half_head, half_body] {
            let reply = answer(alice, half)?;
            ensure!(!reply.starts_with("HTTP/1.1 2"), "{reply}");
        }
        Ok(())
    })
}

#[test]
fn a_thousand_clients_that_sit_there_keep_nobody_out() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
        let (before, socket) = (alice.proc_status("VmRSS")?, alice.socket()?);

        let idle: Vec<_> = (0..IDLE).filter_map(|_| idle_client(&socket)).collect();

        ensure!(idle.len() > 100, "only {} clients could connect at all", idle.len());
        until("the daemon answers somebody who asks", 30, || Ok((alice.ctl("status").within(30).run()?.code == Some(0)).then_some(())))?;
        ensure!(alice.proc_status("VmRSS")? < before + MEMORY_KIB, "idle clients cost {} KiB", alice.proc_status("VmRSS")? - before);
        Ok(())
    })
}

#[test]
fn one_client_too_many_is_told_so() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        let socket = alice.socket()?;
        let hello = b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n";
        let mut listeners = Vec::new();

        // those that listen stay: all places are taken once somebody hears that there is none
        let refused = until("somebody is refused", 30, || {
            let mut stream = UnixStream::connect(&socket)?;
            stream.set_read_timeout(Some(HALF_REQUEST))?;
            stream.write_all(hello)?;
            let mut head = [0; 12];
            stream.read_exact(&mut head)?;
            let refused = &head == b"HTTP/1.1 429";
            listeners.push(stream);
            Ok(refused.then_some(()))
        });

        refused?;
        ensure!(listeners.len() > 100, "only {} clients were served", listeners.len());
        let told = alice.ctl("status").run()?.exits(&[11])?;
        ensure!(told.error_code()? == "busy" && told.err.contains("hint"), "{told:?}");
        drop(listeners);
        until("the daemon serves again", 30, || Ok((alice.ctl("status").run()?.code == Some(0)).then_some(())))
    })
}

#[test]
fn a_hundred_thousand_names_are_one_request_and_elsewhere_a_body_is_small() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        let paths: Vec<String> =
            (0..100_000).map(|i| format!("/home/somebody/Pictures/2026/holidays in the mountains/DSC_{i:09}.jpg")).collect();
        let body = serde_json::to_vec(&serde_json::json!({ "target": "nobody", "paths": paths }))?;
        ensure!(body.len() > 4 << 20, "this is no large request: {} bytes", body.len());

        let sent = answer(alice, &request("POST", "/v1/transfers", &body))?;
        ensure!(sent.contains("nobody") && !sent.contains("cannot be read"), "{}", &sent[..sent.len().min(300)]);
        let elsewhere = answer(alice, &request("POST", "/v1/peers", &body))?;
        ensure!(elsewhere.is_empty() || elsewhere.starts_with("HTTP/1.1 4"), "{}", &elsewhere[..elsewhere.len().min(300)]);
        alice.ctl("status").ok().map(drop)
    })
}

/// A client that says nothing; `None` where the queue of the socket is full (which is a refusal as well).
fn idle_client(socket: &std::path::Path) -> Option<UnixStream> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

    let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None).ok()?;
    connect(&fd, &SocketAddrUnix::new(socket).ok()?).ok()?;
    Some(fd.into())
}

#[test]
fn a_client_that_asks_and_never_reads_is_held_back() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        let before = alice.proc_status("VmRSS")?;
        let mut stream = connect(alice)?;
        stream.set_write_timeout(Some(Duration::from_secs(2)))?;
        let requests = b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);

        // Either the daemon stops reading, which is what fails here, or it closes.
        let held_back = (0..100).any(|_| stream.write_all(&requests).is_err());

        ensure!(held_back, "a hundred thousand requests were taken without one reply being read");
        ensure!(alice.proc_status("VmRSS")? < before + MEMORY_KIB, "replies piled up in memory");
        alice.ctl("status").ok().map(drop)
    })
}
