//! Length-prefixed protobuf. A length is judged before anything is allocated for it.

use prost::{Message, bytes::Bytes};

/// Why bytes are no frame.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FrameError {
    /// It says that it is longer than allowed here.
    #[error("a frame of {claimed} bytes where {limit} are allowed")]
    TooLong {
        /// The length that it claims, in bytes.
        claimed: u64,
        /// The most that is allowed, in bytes.
        limit: usize,
    },
    /// The length itself is not a varint of at most ten bytes.
    #[error("a frame without a length")]
    Length,
    /// The bytes are not the message that belongs here.
    #[error("a frame that is not what belongs here")]
    Content,
}

/// The message with its length in front.
pub fn encode_frame(message: &impl Message) -> Vec<u8> {
    message.encode_length_delimited_to_vec()
}

/// Reads a length from the front of `bytes`: `(length, bytes it took)`, or `None` where more bytes are needed.
///
/// # Errors
/// `TooLong` over `limit`, `Length` where it is no varint.
pub fn frame_length(bytes: &[u8], limit: usize) -> Result<Option<(usize, usize)>, FrameError> {
    let mut length = 0u64;
    for (i, byte) in bytes.iter().take(10).enumerate() {
        let part = u64::from(byte & 0x7f);
        length |= part.checked_shl(7 * i as u32).filter(|shifted| shifted >> (7 * i) == part).ok_or(FrameError::Length)?;
        if byte & 0x80 == 0 {
            return match usize::try_from(length) {
                Ok(length) if length <= limit => Ok(Some((length, i + 1))),
                _ => Err(FrameError::TooLong { claimed: length, limit }),
            };
        }
    }
    if bytes.len() >= 10 { Err(FrameError::Length) } else { Ok(None) }
}

/// The message in the bytes of a frame (without its length).
///
/// # Errors
/// `Content` where they are not such a message.
pub fn decode_frame<M: Message + Default>(bytes: impl Into<Bytes>) -> Result<M, FrameError> {
    M::decode(bytes.into()).map_err(|_| FrameError::Content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Request, request};

    #[test]
    fn a_frame_that_claims_four_gibibytes_is_refused_before_anything_is_allocated() {
        let claim = [0xff, 0xff, 0xff, 0xff, 0x0f];

        assert_eq!(frame_length(&claim, 1 << 16), Err(FrameError::TooLong { claimed: u64::from(u32::MAX), limit: 1 << 16 }));
        assert_eq!(frame_length(&[0xff; 10], 1 << 16), Err(FrameError::Length));
        assert_eq!(frame_length(&[0x80; 3], 1 << 16), Ok(None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = frame_length(&bytes, 1 << 16);
            let _ = decode_frame::<Request>(bytes);
        }

        #[test]
        fn what_is_written_is_read_back(nonce in any::<u64>(), limit in 0usize..300) {
            let written = encode_frame(&Request { kind: Some(request::Kind::Ping(crate::wire::Ping { nonce })) });
            match frame_length(&written, limit) {
                Ok(Some((length, at))) => {
                    prop_assert_eq!(length + at, written.len());
                    let read: Request = decode_frame(written[at..].to_vec()).unwrap();
                    prop_assert_eq!(read.kind, Some(request::Kind::Ping(crate::wire::Ping { nonce })));
                }
                Ok(None) => prop_assert!(false, "the length is whole"),
                Err(e) => prop_assert!(written.len() > limit, "{e}"),
            }
        }
    }
}
