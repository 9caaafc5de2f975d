//! Somebody on the LAN who is nobody: connections that say nothing, packets that mean nothing.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
};
use sharekaro_tests::{Host, MIB, digest, on_a_lan, pair, within};

/// Connections that are tried at once.
const CONNECTIONS: usize = 500;

/// Datagrams of noise.
const DATAGRAMS: usize = 10_000;

/// What so much nothing may cost the daemon, in KiB.
const MEMORY_KIB: u64 = 24 << 10;

/// Takes any certificate: this client does not care whom it talks to.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A client with a key that nobody knows and this protocol name.
fn stranger(alpn: &[u8]) -> Result<quinn::ClientConfig> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    let cert = rcgen::CertificateParams::new(vec!["stranger".to_owned()])?.self_signed(&key)?;
    let provider = Arc::new(ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_client_auth_cert(vec![cert.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))?;
    tls.alpn_protocols = vec![alpn.to_vec()];
    Ok(quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)))
}

/// Tries so many connections at once from within the namespace, keeps those that come about and says nothing on
/// them; `meanwhile` runs beside it. Returns how many came about.
fn silent_connections(namespace: &str, target: SocketAddr, meanwhile: impl FnOnce() -> Result<()> + Send) -> Result<usize> {
    within(namespace, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (held, _endpoint) = runtime.block_on(async {
            let mut endpoint = quinn::Endpoint::client("0.0.0.0:0".parse()?)?;
            endpoint.set_default_client_config(stranger(b"sharekaro/1")?);
            let tries: Vec<_> = (0..CONNECTIONS).map(|_| endpoint.connect(target, "peer.sharekaro.local")).collect::<Result<_, _>>()?;
            let tries = tries.into_iter().map(|connecting| tokio::spawn(tokio::time::timeout(Duration::from_secs(8), connecting)));
            let mut held = Vec::new();
            for attempt in tries.collect::<Vec<_>>() {
                if let Ok(Ok(connection)) = attempt.await? {
                    held.push(connection);
                }
            }
            anyhow::Ok((held, endpoint))
        })?;
        meanwhile()?;
        Ok(held.iter().filter(|connection| connection.close_reason().is_none()).count())
    })
}

fn daemon_address(host: &Host) -> Result<SocketAddr> {
    format!("{}:{}", host.cable().address(), host.port()?).parse().context("an odd address")
}

#[test]
fn five_hundred_connections_that_say_nothing_keep_nobody_out() -> Result<()> {
    on_a_lan(["alice", "bob", "mallory"], |[alice, bob, mallory]| {
        pair(alice, bob)?;
        let path = alice.file("wanted", 8 * MIB)?;
        let before = bob.proc_status("VmRSS")?;

        let held = silent_connections(mallory.cable().namespace(), daemon_address(bob)?, || {
            alice.ctl("send bob").arg(&path).within(30).ok()?;
            Ok(())
        })?;
        let grown = bob.proc_status("VmRSS")?.saturating_sub(before);

        ensure!(held <= 64, "{held} connections of one stranger were let in");
        ensure!(grown < MEMORY_KIB, "they cost {grown} KiB");
        ensure!(digest(&bob.received("wanted")?)? == digest(&path)?, "other bytes arrived");
        ensure!(bob.alive(), "bob's daemon ended");
        Ok(())
    })
}

#[test]
fn another_protocol_on_our_port_is_refused_in_the_handshake() -> Result<()> {
    on_a_lan(["bob", "mallory"], |[bob, mallory]| {
        let target = daemon_address(bob)?;

        let refused = within(mallory.cable().namespace(), || {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
                let mut endpoint = quinn::Endpoint::client("0.0.0.0:0".parse()?)?;
                endpoint.set_default_client_config(stranger(b"h3")?);
                anyhow::Ok(endpoint.connect(target, "peer.sharekaro.local")?.await.err())
            })
        })?;

        ensure!(refused.is_some(), "a client of another protocol was let in");
        Ok(())
    })
}

#[test]
fn ten_thousand_datagrams_of_noise_change_nothing() -> Result<()> {
    on_a_lan(["alice", "bob", "mallory"], |[alice, bob, mallory]| {
        pair(alice, bob)?;
        let (before, target) = (bob.proc_status("VmRSS")?, daemon_address(bob)?);
        let mut noise = vec![0; 2 * usize::try_from(MIB)?];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut noise);

        within(mallory.cable().namespace(), || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            for i in 0..DATAGRAMS {
                let at = i * 157 % (noise.len() - 1500);
                // A refused datagram (a full queue) is as good as a lost one.
                let _ = socket.send_to(&noise[at..at + 1 + i % 1472], target);
            }
            Ok(())
        })?;
        let path = alice.file("after", MIB)?;
        alice.ctl("send bob").arg(&path).within(30).ok()?;

        ensure!(bob.proc_status("VmRSS")?.saturating_sub(before) < MEMORY_KIB, "noise was remembered");
        ensure!(digest(&bob.received("after")?)? == digest(&path)?, "other bytes arrived");
        Ok(())
    })
}
