//! TLS 1.3 where a device is its key: names, dates and authorities mean nothing, the handshake signature everything.
//!
//! Both sides show one self-signed Ed25519 certificate. A dialler that expects a certain device stops before it shows
//! its own, once the other has proven to be somebody else.

use std::sync::{Arc, OnceLock};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider,
        ring::{
            self,
            cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256},
        },
        verify_tls13_signature,
    },
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    server::{
        NoServerSessionStorage, ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use sharekaro_proto::{DeviceId, wire};

use crate::{identity::Identity, net::limits};

/// What stands before the key in the public key of an Ed25519 certificate (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Whom a dialler met, once the other has proven it. Empty while nobody has.
pub(super) type Met = Arc<OnceLock<DeviceId>>;

/// AES-128 first: on CPUs that we measured, AES-256 costs 1.3 times and ChaCha20 2.2 times the CPU of a transfer.
fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256];
    Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() })
}

/// The TLS of the side that is called.
///
/// # Errors
/// Where rustls refuses our own certificate.
pub(super) fn server(identity: &Identity) -> Result<ServerConfig, Error> {
    let provider = provider();
    let verifier = Arc::new(Verifier { provider: provider.clone(), us: identity.id(), expected: None, met: None });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(identity), key(identity))?;
    config.alpn_protocols = vec![wire::ALPN.to_vec()];
    // Early data can be replayed, and a resumed session would skip the check of the certificate.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The TLS of a side that calls, for one dial: whoever is there in truth stands in `met` afterwards.
///
/// # Errors
/// Where rustls refuses our own certificate.
pub(super) fn client(identity: &Identity, expected: Option<DeviceId>, met: Met) -> Result<ClientConfig, Error> {
    let provider = provider();
    let verifier = Arc::new(Verifier { provider: provider.clone(), us: identity.id(), expected, met: Some(met) });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(certificates(identity), key(identity))?;
    config.alpn_protocols = vec![wire::ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

fn certificates(identity: &Identity) -> Vec<CertificateDer<'static>> {
    vec![CertificateDer::from(identity.certificate().to_vec())]
}

fn key(identity: &Identity) -> rustls::pki_types::PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(identity.private_key()).into()
}

/// The device that a certificate names; `None` for anything but a short Ed25519 certificate.
pub(super) fn device(certificate: &CertificateDer<'_>) -> Option<DeviceId> {
    if certificate.len() > limits::CERTIFICATE_MAX {
        return None;
    }
    let spki = ParsedCertificate::try_from(certificate).ok()?.subject_public_key_info();
    let key = spki.as_ref().strip_prefix(SPKI_PREFIX.as_slice())?;
    Some(DeviceId::from_bytes(key.try_into().ok()?))
}

/// Accepts exactly one Ed25519 certificate whose owner signed this very handshake.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    us: DeviceId,
    expected: Option<DeviceId>,
    met: Option<Met>,
}

impl Verifier {
    fn judge(&self, certificate: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), Error> {
        match device(certificate) {
            Some(_) if others.is_empty() => Ok(()),
            _ => Err(CertificateError::BadEncoding.into()),
        }
    }

    /// Who it is counts only once the signature is good: until then anybody could claim to be anybody.
    fn prove(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if signed.scheme != SignatureScheme::ED25519 {
            return Err(CertificateError::BadSignature.into());
        }
        let valid = verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)?;
        let device = device(certificate).ok_or(CertificateError::BadEncoding)?;
        if let Some(met) = &self.met {
            met.get_or_init(|| device);
        }
        if device == self.us || self.expected.is_some_and(|expected| expected != device) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(valid)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(certificate, others).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.prove(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(certificate, others).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.prove(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
