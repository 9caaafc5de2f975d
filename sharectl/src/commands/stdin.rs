//! `send TARGET - --name NAME`: what comes on standard input, as it comes.

use std::io::{self, Read};

use sharekaro_proto::{
    ErrorBody,
    client::Client,
    control::{
        routes,
        transfer::{SendPipe, Transfers},
    },
};
use tokio::sync::mpsc;

/// Read at once.
const PART: usize = 256 << 10;

/// Parts that wait for the daemon: while it does not read, neither do we.
const PARTS_AHEAD: usize = 4;

/// Streams standard input to the daemon, which sends it when it ends.
pub(super) async fn send(wanted: &SendPipe, client: &Client) -> Result<Transfers, ErrorBody> {
    let (sender, parts) = mpsc::channel(PARTS_AHEAD);
    // a thread, as standard input may be anything; it ends with the program
    std::thread::spawn(move || read_all(io::stdin().lock(), &sender));
    client.upload(&path(wanted), parts).await
}

fn read_all(mut input: impl Read, sender: &mpsc::Sender<io::Result<bytes::Bytes>>) {
    loop {
        let mut part = vec![0; PART];
        let read = match input.read(&mut part) {
            Ok(0) => return,
            Ok(count) => {
                part.truncate(count);
                Ok(part.into())
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => Err(e),
        };
        let over = read.is_err();
        if sender.blocking_send(read).is_err() || over {
            return; // the daemon wants no more, or there is no more
        }
    }
}

fn path(wanted: &SendPipe) -> String {
    let mut query = vec![("target", wanted.target.clone()), ("name", wanted.name.clone()), ("note", wanted.note.clone())];
    query.extend(wanted.conflict.map(|it| ("conflict", it.word().to_owned())));
    query.extend(wanted.limit.map(|it| ("limit", it.to_string())));
    query.extend(wanted.priority.map(|it| ("priority", it.word().to_owned())));
    query.push(("apart", wanted.apart.to_string()));
    routes::with_query(routes::PIPES_SEND, &query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_signs_stays_one_value() {
        let wanted = SendPipe { target: "bob".into(), name: "a&b=c d".into(), limit: Some(5), ..SendPipe::default() };

        assert_eq!(path(&wanted), "/v1/pipes/send?target=bob&name=a%26b%3Dc%20d&note=&limit=5&apart=false");
    }

    #[test]
    fn input_that_breaks_is_no_end_of_the_stream() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        let (sender, mut parts) = mpsc::channel(4);

        read_all(&b"abc"[..], &sender);
        read_all(Broken, &sender);

        assert_eq!(parts.try_recv().unwrap().unwrap(), "abc");
        assert!(parts.try_recv().unwrap().is_err());
    }
}
