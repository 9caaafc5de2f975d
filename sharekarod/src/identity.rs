//! Who we are: one Ed25519 key, made at the first start and kept for ever.
//!
//! The file holds the bare 32-byte seed; the certificate is made from it again at each start and is always the same.
//! A key file that is there but not as it must be is never replaced: that would make us a stranger to every peer.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use sharekaro_proto::DeviceId;

use crate::words;

/// The name of the key file in the state directory.
const KEY_FILENAME: &str = "identity.key";

/// The name that the certificate carries, the same for everyone: the id is the key, a name would only tell on us.
pub(crate) const CERTIFICATE_NAME: &str = "peer.sharekaro.local";

/// Bytes of the seed.
const SEED_LEN: usize = 32;

/// What stands before an Ed25519 seed in PKCS#8 version 1 (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Words that a device id is shown as: 66 bits, out of reach for whoever tries keys until the words are alike.
const ID_WORDS: usize = 6;

/// Our key pair and certificate.
pub struct Identity {
    id: DeviceId,
    seed: [u8; SEED_LEN],
    key: Ed25519KeyPair,
    certificate: Vec<u8>,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory or the key file could not be read or written.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What we tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key file is something else than a file.
    #[error("{} is not a regular file; move it away, or restore the key from a backup", path.display())]
    NotAFile {
        /// The key file.
        path: PathBuf,
    },
    /// The key file belongs to another user.
    #[error("{} belongs to user {owner}, not to you; correct it with chown, or set another state directory", path.display())]
    Owner {
        /// The key file.
        path: PathBuf,
        /// Number of its owner.
        owner: u32,
    },
    /// Others may read or write the key file.
    #[error("{} can be used by others (mode {mode:03o}); if nobody read it, correct it with: chmod 600 {}", path.display(), path.display())]
    Open {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file does not hold 32 bytes.
    #[error("{} holds {length} bytes where a key has 32; restore it from a backup, or remove it to become a new device that must be paired again", path.display())]
    Length {
        /// The key file.
        path: PathBuf,
        /// Bytes that it holds.
        length: u64,
    },
    /// The system gives no random bytes.
    #[error("cannot get random bytes for a new key")]
    Random,
    /// No certificate could be made from the key.
    #[error("cannot make a certificate from the key")]
    Certificate(#[from] rcgen::Error),
}

impl Identity {
    /// The identity kept in `state_dir`; the first time, a new one is made and stored durably.
    ///
    /// # Errors
    /// Where the key file is there but empty, cut short, no file, another user's or open to others: it is left as it is.
    pub fn load_or_create(state_dir: &Path) -> Result<Self, Error> {
        make_private_dir(state_dir)?;
        let key_path = state_dir.join(KEY_FILENAME);
        match fs::symlink_metadata(&key_path) {
            Ok(_) => Self::from_seed(read_seed(&key_path)?),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let seed = new_seed()?;
                write_seed(state_dir, &key_path, &seed)?;
                Self::from_seed(seed)
            }
            Err(source) => Err(Error::Io { verb: "look at", path: key_path, source }),
        }
    }

    /// The identity of a seed. The same seed gives the same certificate, byte for byte.
    pub(crate) fn from_seed(seed: [u8; SEED_LEN]) -> Result<Self, Error> {
        let pkcs8 = pkcs8(&seed);
        let signer = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.as_slice().into(), &rcgen::PKCS_ED25519)?;
        let mut parameters = rcgen::CertificateParams::new(vec![CERTIFICATE_NAME.to_owned()])?;
        parameters.serial_number = Some(rcgen::SerialNumber::from(1u64));
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        let certificate = parameters.self_signed(&signer)?.der().to_vec();

        let key = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
        let public = key.public_key().as_ref().try_into().map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
        Ok(Self { id: DeviceId::from_bytes(public), seed, key, certificate })
    }

    /// Our public key.
    pub fn id(&self) -> DeviceId {
        self.id
    }

    /// Our self-signed X.509 certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Our private key, PKCS#8 version 1. For the TLS handshake only.
    pub(crate) fn private_key(&self) -> Vec<u8> {
        pkcs8(&self.seed)
    }

    /// A key of its own for one purpose, the same after each start; it tells nothing of our private key.
    pub(crate) fn derived_key(&self, purpose: &'static str) -> [u8; 32] {
        blake3::derive_key(purpose, &self.seed)
    }

    /// Our Ed25519 signature over `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut bytes = [0; 64];
        // An Ed25519 signature always has 64 bytes; the zip cannot come out shorter.
        bytes.iter_mut().zip(self.key.sign(message).as_ref()).for_each(|(to, from)| *to = *from);
        bytes
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Whether `signature` is that device's over `message`.
pub fn verify(id: DeviceId, message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, id.as_bytes()).verify(message, signature).is_ok()
}

/// Six words for a device id, to read aloud.
pub fn words(id: &DeviceId) -> String {
    words::from_bits(blake3::hash(id.as_bytes()).as_bytes(), ID_WORDS)
}

fn pkcs8(seed: &[u8; SEED_LEN]) -> Vec<u8> {
    [PKCS8_PREFIX.as_slice(), seed].concat()
}

fn new_seed() -> Result<[u8; SEED_LEN], Error> {
    let mut seed = [0; SEED_LEN];
    SystemRandom::new().fill(&mut seed).map_err(|_| Error::Random)?;
    Ok(seed)
}

fn make_private_dir(dir: &Path) -> Result<(), Error> {
    let failed = |verb| move |source| Error::Io { verb, path: dir.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("create"))?;
    let mode = fs::metadata(dir).map_err(failed("look at"))?.mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(failed("close to others"))
}

/// Judges and reads one and the same open file, so that nothing can be put in its place between the two.
fn read_seed(key_path: &Path) -> Result<[u8; SEED_LEN], Error> {
    let path = || key_path.to_owned();
    let failed = |source| Error::Io { verb: "read", path: path(), source };
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut file = match OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(key_path) {
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => return Err(Error::NotAFile { path: path() }),
        opened => opened.map_err(failed)?,
    };
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(Error::NotAFile { path: path() });
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::Owner { path: path(), owner: found.uid() });
    }
    if found.mode() & 0o077 != 0 {
        return Err(Error::Open { path: path(), mode: found.mode() & 0o777 });
    }
    if found.len() != SEED_LEN as u64 {
        return Err(Error::Length { path: path(), length: found.len() });
    }
    let mut seed = [0; SEED_LEN];
    file.read_exact(&mut seed).map_err(failed)?;
    Ok(seed)
}

/// Under another name first, synced, then renamed: a power cut leaves no key or the whole one.
fn write_seed(state_dir: &Path, key_path: &Path, seed: &[u8; SEED_LEN]) -> Result<(), Error> {
    let new_path = state_dir.join("identity.key.new");
    let failed = |source| Error::Io { verb: "write", path: key_path.to_owned(), source };
    // What an interrupted first start left behind was never an identity.
    match fs::remove_file(&new_path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new_path).map_err(failed)?;
    file.write_all(seed).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&new_path, key_path).map_err(failed)?;
    File::open(state_dir).and_then(|dir| dir.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn private(path: &Path, bytes: &[u8]) {
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn the_identity_of_the_first_start_is_that_of_every_later_one() {
        let home = tempfile::tempdir().unwrap();
        let state_dir = home.path().join("a/sharekaro");

        let first = Identity::load_or_create(&state_dir).unwrap();
        let again = Identity::load_or_create(&state_dir).unwrap();

        assert_eq!((first.id(), first.certificate()), (again.id(), again.certificate()));
        assert_eq!(fs::metadata(&state_dir).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(state_dir.join(KEY_FILENAME)).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&state_dir).unwrap().count(), 1);
    }

    #[test]
    fn a_key_file_that_is_not_as_it_must_be_is_refused_and_left_alone() {
        let check = |spoil: &dyn Fn(&Path), refused: &dyn Fn(&Error) -> bool| {
            let state = tempfile::tempdir().unwrap();
            let key_path = state.path().join(KEY_FILENAME);
            spoil(&key_path);
            let before = fs::read(&key_path).ok();

            let error = Identity::load_or_create(state.path()).unwrap_err();

            assert!(refused(&error), "{error}");
            assert_eq!(fs::read(&key_path).ok(), before);
        };

        check(&|path| private(path, b""), &|e| matches!(e, Error::Length { length: 0, .. }));
        check(&|path| private(path, &[1; 31]), &|e| matches!(e, Error::Length { length: 31, .. }));
        check(&|path| private(path, &[1; 33]), &|e| matches!(e, Error::Length { length: 33, .. }));
        check(&|path| fs::create_dir(path).unwrap(), &|e| matches!(e, Error::NotAFile { .. }));
        let linked = |path: &Path| {
            private(&path.with_extension("elsewhere"), &[1; 32]);
            std::os::unix::fs::symlink("identity.elsewhere", path).unwrap();
        };
        check(&linked, &|e| matches!(e, Error::NotAFile { .. }));
        let readable = |path: &Path| {
            private(path, &[1; 32]);
            fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
        };
        check(&readable, &|e| matches!(e, Error::Open { mode: 0o644, .. }));
        if rustix::process::geteuid().is_root() {
            let foreign = |path: &Path| {
                private(path, &[1; 32]);
                std::os::unix::fs::chown(path, Some(12345), None).unwrap();
            };
            check(&foreign, &|e| matches!(e, Error::Owner { owner: 12345, .. }));
        } else {
            eprintln!("a key of another owner was not tried: that needs root");
        }
    }

    #[test]
    fn what_an_interrupted_first_start_left_behind_does_no_harm() {
        let state = tempfile::tempdir().unwrap();
        private(&state.path().join("identity.key.new"), &[1; 7]);

        let identity = Identity::load_or_create(state.path()).unwrap();

        assert_eq!(fs::read(state.path().join(KEY_FILENAME)).unwrap(), identity.seed);
        assert!(!state.path().join("identity.key.new").exists());
    }

    #[test]
    fn a_signature_is_good_for_its_message_and_its_device_only() {
        // RFC 8032, section 7.1, test 1: the seed and its public key.
        let seed = data_encoding::HEXLOWER.decode(b"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let public = data_encoding::HEXLOWER.decode(b"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap();
        let identity = Identity::from_seed(seed.try_into().unwrap()).unwrap();
        let other = Identity::from_seed([2; 32]).unwrap();

        let signature = identity.sign(b"receipt");

        assert_eq!(identity.id().as_bytes().as_slice(), public);
        assert!(verify(identity.id(), b"receipt", &signature));
        assert!(!verify(identity.id(), b"Receipt", &signature));
        assert!(!verify(other.id(), b"receipt", &signature));
        assert!(!verify(identity.id(), b"receipt", &signature[..63]));
    }

    #[test]
    fn an_id_is_shown_as_six_words() {
        let one = words(&DeviceId::from_bytes([1; 32]));
        let other = words(&DeviceId::from_bytes([2; 32]));

        assert_eq!(one.split(' ').count(), 6);
        assert_ne!(one, other);
    }
}
