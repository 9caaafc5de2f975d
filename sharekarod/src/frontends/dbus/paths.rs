//! Where objects stand. Path elements are made of ids alone: nothing that a peer calls itself is part of one.

use sharekaro_proto::{DeviceId, TransferId};
use zbus::{ObjectPath, OwnedObjectPath};

/// The name that the daemon owns.
pub(super) const NAME: &str = "org.sharekaro.ShareKaro1";

/// The object manager and `Manager1`.
pub(super) const ROOT: &str = "/org/sharekaro/ShareKaro1";

/// The object of a peer.
pub(super) fn peer_path(id: &DeviceId) -> OwnedObjectPath {
    path(format!("{ROOT}/peers/k{id}"))
}

/// The object of a transfer.
pub(super) fn transfer_path(id: TransferId) -> OwnedObjectPath {
    path(format!("{ROOT}/transfers/{id}"))
}

/// The object of a drop folder, by its place among them.
pub(super) fn drop_path(place: usize) -> OwnedObjectPath {
    path(format!("{ROOT}/drops/d{}", place + 1))
}

fn path(text: String) -> OwnedObjectPath {
    // base32 and decimal digits are all that can stand in an id, so this is always a path
    ObjectPath::from_string_unchecked(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_makes_a_path() {
        for byte in [0, 1, 0x5a, 0xff] {
            let path = peer_path(&DeviceId::from_bytes([byte; 32]));

            assert!(ObjectPath::try_from(path.as_str()).is_ok(), "{path}");
        }
        assert_eq!(transfer_path(TransferId(8)).as_str(), "/org/sharekaro/ShareKaro1/transfers/t8");
    }
}
