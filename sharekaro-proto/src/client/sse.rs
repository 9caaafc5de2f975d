//! Server-sent events as bytes: what a stream of them says, whatever it is cut into.
//!
//! The format is that of the HTML standard, 9.2.6. Only `data` is of interest here: the number of an event and its kind
//! stand in its JSON too. What is too long is an error, never memory without end.

/// The longest event, in bytes: a snapshot of everything is well below.
const EVENT_MAX: usize = 16 << 20;

/// The stream is none of ours.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum SseError {
    /// An event has more than `EVENT_MAX` bytes.
    #[error("an event is longer than {EVENT_MAX} bytes")]
    TooLong,
    /// An event is no text.
    #[error("an event is no UTF-8")]
    NoText,
}

/// Bytes in, events out.
#[derive(Debug, Default)]
pub(crate) struct SseReader {
    buffer: Vec<u8>,
    read: usize,
    searched: usize,
    data: Option<Vec<u8>>,
}

impl SseReader {
    /// More bytes, as they came.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.read);
        self.searched = self.searched.saturating_sub(self.read);
        self.read = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The data of the next event; `None` where more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<String>, SseError> {
        while let Some(line) = self.line() {
            if line.is_empty() {
                if let Some(data) = self.data.take() {
                    return String::from_utf8(data).map(Some).map_err(|_| SseError::NoText);
                }
            } else if let Some(value) = data_of(&line) {
                self.add(value)?;
            }
        }
        if self.buffer.len() - self.read > EVENT_MAX { Err(SseError::TooLong) } else { Ok(None) }
    }

    /// The next line without its end. Our daemon ends lines with LF; a CR before it goes too.
    fn line(&mut self) -> Option<Vec<u8>> {
        let from = self.searched.max(self.read);
        let Some(end) = self.buffer.get(from..)?.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len(); // a snapshot comes in many chunks; none is searched twice
            return None;
        };
        let line = self.buffer.get(self.read..from + end)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        self.read = from + end + 1;
        Some(line)
    }

    fn add(&mut self, value: &[u8]) -> Result<(), SseError> {
        let data = match &mut self.data {
            Some(data) => {
                data.push(b'\n');
                data
            }
            none => none.insert(Vec::new()),
        };
        if data.len() + value.len() > EVENT_MAX {
            return Err(SseError::TooLong);
        }
        data.extend_from_slice(value);
        Ok(())
    }
}

/// The value of a `data` line; comments and other fields have none.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    let value = line.strip_prefix(b"data")?;
    match value.strip_prefix(b":") {
        Some(value) => Some(value.strip_prefix(b" ").unwrap_or(value)),
        None if value.is_empty() => Some(value),
        None => None, // another field whose name begins with "data"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(chunks: &[&[u8]]) -> Result<Vec<String>, SseError> {
        let (mut reader, mut events) = (SseReader::default(), Vec::new());
        for chunk in chunks {
            reader.feed(chunk);
            while let Some(event) = reader.next()? {
                events.push(event);
            }
        }
        Ok(events)
    }

    #[test]
    fn only_data_counts_and_an_empty_line_ends_an_event() {
        let stream = b": keep-alive\n\nid: 7\nevent: x\ndata: {\"a\":1}\n\nretry: 5\n\ndata:no space\r\ndata:  two\r\n\r\ndatabase: 1\n\ndata\n\ndata: cut";

        assert_eq!(read(&[stream]).unwrap(), ["{\"a\":1}", "no space\n two", ""]);
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let mut reader = SseReader::default();
        let block = vec![b'x'; 1 << 20];

        let refused = (0..20).map(|_| (reader.feed(&block), reader.next()).1).find(Result::is_err);

        assert_eq!(refused, Some(Err(SseError::TooLong)));
    }

    #[test]
    fn an_event_of_endless_lines_is_refused() {
        let lines = b"data: 0123456789\n".repeat((EVENT_MAX / 11) + 1);

        assert_eq!(read(&[&lines]), Err(SseError::TooLong));
    }

    #[test]
    fn what_is_no_text_is_an_error() {
        assert_eq!(read(&[b"data: \xff\xfe\n\n"]), Err(SseError::NoText));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(chunks: Vec<Vec<u8>>) {
            let _ = read(&chunks.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }

        #[test]
        fn it_does_not_matter_where_a_stream_is_cut(texts in prop::collection::vec("[a-z:{} é]{0,20}", 0..6), size in 1..9_usize) {
            let stream: String = texts.iter().map(|text| format!(": c\nid: 1\ndata: {text}\n\n")).collect();

            let read = read(&stream.as_bytes().chunks(size).collect::<Vec<_>>()).unwrap();

            prop_assert_eq!(read, texts);
        }
    }
}
