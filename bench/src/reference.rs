//! What ShareKaro is compared with: quinn and TCP, from memory to memory, doing nothing else.
//!
//! quinn is set up as the daemon sets it up: AES-128-GCM, cubic, the receive window half of the socket buffer, MTU
//! discovery up to 1,472. A receiver prints its port, takes one sender, answers it with one byte and ends.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use quinn::{
    ClientConfig, Endpoint, EndpointConfig, MtuDiscoveryConfig, ServerConfig, TokioRuntime, TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustix::net::sockopt;
use rustls::{
    ClientConnection, DigitallySignedStruct, ServerConnection, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
};

/// Bytes that are handed over at once.
const BLOCK: usize = 1 << 20;

/// Asked of the kernel for the UDP socket, as the daemon does.
const SOCKET_BUFFER: usize = 7 << 20;

/// The largest UDP payload at MTU 1500.
const PAYLOAD: u16 = 1472;

/// Which reference.
#[derive(Clone, Copy)]
pub(crate) enum Reference {
    /// QUIC without files, hashes, messages.
    Quinn,
    /// Not even encrypted.
    Tcp,
    /// TLS over TCP.
    Tls,
}

impl Reference {
    pub(crate) fn named(name: &str) -> Result<Self> {
        match name {
            "quinn" => Ok(Self::Quinn),
            "tcp" => Ok(Self::Tcp),
            "tls" => Ok(Self::Tls),
            _ => bail!("there is no reference {name}: quinn, tcp or tls"),
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Quinn => "quinn",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// Prints the port, takes everything that one sender has, answers it.
    pub(crate) fn receive(self) -> Result<()> {
        match self {
            Self::Quinn => runtime()?.block_on(receive_quinn()),
            Self::Tcp => receive_tcp(),
            Self::Tls => receive_tls(),
        }
    }

    /// Sends so many bytes and prints the seconds from the first of them to the answer.
    pub(crate) fn send(self, receiver: SocketAddr, bytes: u64) -> Result<()> {
        let seconds = match self {
            Self::Quinn => runtime()?.block_on(send_quinn(receiver, bytes)),
            Self::Tcp => send_tcp(receiver, bytes),
            Self::Tls => send_tls(receiver, bytes),
        }?;
        println!("{seconds}");
        Ok(())
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")
}

/// The lengths of the blocks that make up so many bytes.
fn blocks(bytes: u64) -> impl Iterator<Item = usize> {
    let block = BLOCK as u64;
    (0..bytes.div_ceil(block)).map(move |i| usize::try_from((bytes - i * block).min(block)).unwrap_or(BLOCK))
}

// ---- TCP ------------------------------------------------------------------------------------------

fn receive_tcp() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    println!("{}", listener.local_addr()?.port());
    let (mut stream, _) = listener.accept()?;
    let mut block = vec![0; BLOCK];
    while stream.read(&mut block)? > 0 {}
    Ok(stream.write_all(&[1])?)
}

fn send_tcp(receiver: SocketAddr, bytes: u64) -> Result<f64> {
    let mut stream = TcpStream::connect(receiver)?;
    let block = vec![7; BLOCK];
    let began = Instant::now();
    for length in blocks(bytes) {
        stream.write_all(&block[..length])?;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.read_exact(&mut [0])?;
    Ok(began.elapsed().as_secs_f64())
}

// ---- TLS over TCP -----------------------------------------------------------------------------------

fn receive_tls() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    println!("{}", listener.local_addr()?.port());
    let (mut stream, _) = listener.accept()?;
    let mut line = ServerConnection::new(Arc::new(server_tls()?))?;
    let mut tls = rustls::Stream::new(&mut line, &mut stream);
    let mut block = vec![0; BLOCK];
    while tls.read(&mut block)? > 0 {}
    Ok(tls.write_all(&[1])?)
}

fn send_tls(receiver: SocketAddr, bytes: u64) -> Result<f64> {
    let mut stream = TcpStream::connect(receiver)?;
    let mut line = ClientConnection::new(Arc::new(client_tls()?), "bench.sharekaro.local".try_into()?)?;
    line.set_buffer_limit(None);
    let mut tls = rustls::Stream::new(&mut line, &mut stream);
    let block = vec![7; BLOCK];
    let began = Instant::now();
    for length in blocks(bytes) {
        tls.write_all(&block[..length])?;
    }
    tls.conn.send_close_notify();
    tls.flush()?;
    tls.read_exact(&mut [0])?;
    Ok(began.elapsed().as_secs_f64())
}

fn server_tls() -> Result<rustls::ServerConfig> {
    let (cert, key) = certificate()?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)?;
    tls.alpn_protocols = vec![b"raw".to_vec()];
    Ok(tls)
}

fn client_tls() -> Result<rustls::ClientConfig> {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider())))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"raw".to_vec()];
    Ok(tls)
}

// ---- quinn ----------------------------------------------------------------------------------------

async fn receive_quinn() -> Result<()> {
    let (socket, window) = socket()?;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server_tls()?)?));
    config.transport_config(transport(window));
    println!("{}", socket.local_addr()?.port());
    let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))?;

    let connection = endpoint.accept().await.context("nobody came")?.await?;
    let (mut answer, mut stream) = connection.accept_bi().await?;
    while stream.read_chunk(BLOCK, true).await?.is_some() {}
    answer.write_all(&[1]).await?;
    answer.finish()?;
    connection.closed().await;
    Ok(())
}

async fn send_quinn(receiver: SocketAddr, bytes: u64) -> Result<f64> {
    let (socket, window) = socket()?;
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client_tls()?)?));
    config.transport_config(transport(window));
    let mut endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))?;
    endpoint.set_default_client_config(config);

    let connection = endpoint.connect(receiver, "bench.sharekaro.local")?.await?;
    let (mut stream, mut answer) = connection.open_bi().await?;
    let block = Bytes::from(vec![7; BLOCK]);
    let began = Instant::now();
    for length in blocks(bytes) {
        stream.write_chunk(block.slice(..length)).await?;
    }
    stream.finish()?;
    answer.read_to_end(1).await?;
    let took = began.elapsed().as_secs_f64();
    connection.close(VarInt::from_u32(0), b"");
    Ok(took)
}

/// A socket with large buffers and the receive window that fits them.
fn socket() -> Result<(UdpSocket, u32)> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    if sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER)?;
    }
    if sockopt::set_socket_send_buffer_size_force(&socket, SOCKET_BUFFER).is_err() {
        sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER)?;
    }
    let window = u32::try_from(sockopt::socket_recv_buffer_size(&socket)? / 2)?;
    socket.set_nonblocking(true)?;
    Ok((socket, window))
}

fn transport(window: u32) -> Arc<TransportConfig> {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(PAYLOAD);
    let mut config = TransportConfig::default();
    config
        .stream_receive_window(VarInt::from_u32(window))
        .receive_window(VarInt::from_u32(window))
        .send_window(8 << 20)
        .mtu_discovery_config(Some(discovery));
    Arc::new(config)
}

/// AES-128-GCM first: AES-256 costs a third more, ChaCha20 twice as much where there is AES hardware.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

fn certificate() -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    let cert = rcgen::CertificateParams::new(vec!["bench.sharekaro.local".to_owned()])?.self_signed(&key)?;
    Ok((cert.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into())))
}

/// Takes any certificate: nobody else is in these two namespaces.
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
