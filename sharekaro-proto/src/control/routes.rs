//! Paths of the control API.

/// `GET`: `Status`.
pub const STATUS: &str = "/v1/status";
/// `GET`: `Identity`.
pub const IDENTITY: &str = "/v1/identity";
/// `GET`: every key in force and its value.
pub const CONFIG: &str = "/v1/config";
/// `GET`: server-sent events, each an `Event`; the first is a snapshot.
pub const EVENTS: &str = "/v1/events";
/// `GET` with `DoctorQuery`: `Diagnosis`; takes up to some twenty seconds.
pub const DOCTOR: &str = "/v1/doctor";
/// `GET`: this API as OpenAPI 3.
pub const OPENAPI: &str = "/v1/openapi.json";
/// `GET`: `Peers`. `POST` `AddPeer`: `Peer`.
pub const PEERS: &str = "/v1/peers";
/// `GET`: `Peer`. `DELETE`: forgets it.
pub const PEER: &str = "/v1/peers/{target}";
/// `POST` `Rename`: `Peer`.
pub const PEER_RENAME: &str = "/v1/peers/{target}/rename";
/// `POST` `SetTrust`: `Peer`.
pub const PEER_TRUST: &str = "/v1/peers/{target}/trust";
/// `POST`: `Peer`.
pub const PEER_BLOCK: &str = "/v1/peers/{target}/block";
/// `POST`: `Peer`.
pub const PEER_UNBLOCK: &str = "/v1/peers/{target}/unblock";
/// `POST`: `Pong`.
pub const PEER_PING: &str = "/v1/peers/{target}/ping";
/// `POST` `StartPairing`: `Pairing`.
pub const PAIRINGS: &str = "/v1/pairings";
/// `GET`: `Pairing`. `DELETE`: gives it up.
pub const PAIRING: &str = "/v1/pairings/{id}";
/// `POST`: this side says that the words are the same; `Pairing`.
pub const PAIRING_CONFIRM: &str = "/v1/pairings/{id}/confirm";
/// `POST`: `Invitation`.
pub const INVITATIONS: &str = "/v1/invitations";
/// `GET`: `Invitation`. `DELETE`: withdraws it.
pub const INVITATION: &str = "/v1/invitations/{id}";
/// `POST` `JoinInvitation`: `Peer`.
pub const JOIN: &str = "/v1/invitations/join";
/// `POST` `SendCode`: `Invitation`; asked for and withdrawn as any invitation.
pub const CODES: &str = "/v1/codes";
/// `POST` `ReceiveCode`: `Transfer`.
pub const CODES_RECEIVE: &str = "/v1/codes/receive";
/// `POST` raw bytes, with `SendPipe` as the query: `Transfers`.
pub const PIPES_SEND: &str = "/v1/pipes/send";
/// `POST` `ReceivePipe`: raw bytes, once there are any.
pub const PIPES_RECEIVE: &str = "/v1/pipes/receive";
/// `GET`: `Transfers`. `POST` `Send`: `Transfers`.
pub const TRANSFERS: &str = "/v1/transfers";
/// `GET`: `Transfer`.
pub const TRANSFER: &str = "/v1/transfers/{id}";
/// `POST`: `Transfer`.
pub const TRANSFER_PAUSE: &str = "/v1/transfers/{id}/pause";
/// `POST`: `Transfer`.
pub const TRANSFER_RESUME: &str = "/v1/transfers/{id}/resume";
/// `POST`: `Transfer`.
pub const TRANSFER_CANCEL: &str = "/v1/transfers/{id}/cancel";
/// `POST`: `Transfer`.
pub const TRANSFER_RETRY: &str = "/v1/transfers/{id}/retry";
/// `POST` `SetLimit`: `Transfer`.
pub const TRANSFER_LIMIT: &str = "/v1/transfers/{id}/limit";
/// `POST` `SetPriority`: `Transfer`.
pub const TRANSFER_PRIORITY: &str = "/v1/transfers/{id}/priority";
/// `GET`: `Explanation`.
pub const TRANSFER_EXPLAIN: &str = "/v1/transfers/{id}/explain";
/// `GET`: `Receipt`.
pub const TRANSFER_RECEIPT: &str = "/v1/transfers/{id}/receipt";
/// `POST` `Receipt`: `ReceiptVerdict`.
pub const RECEIPTS_VERIFY: &str = "/v1/receipts/verify";
/// `POST`: `Bench`; takes some ten seconds.
pub const PEER_BENCH: &str = "/v1/peers/{target}/bench";
/// `GET`: `Inbox`.
pub const INBOX: &str = "/v1/inbox";
/// `POST` `Accept`: `Transfer`.
pub const INBOX_ACCEPT: &str = "/v1/inbox/{id}/accept";
/// `POST` `Decline`: `Transfer`.
pub const INBOX_DECLINE: &str = "/v1/inbox/{id}/decline";
/// `POST`: `Undone`.
pub const INBOX_UNDO: &str = "/v1/inbox/{id}/undo";
/// `GET`: `Rules`. `POST` `AddRule`: `Rules`.
pub const POLICY: &str = "/v1/policy";
/// `DELETE`: `Rules`, without that one.
pub const POLICY_RULE: &str = "/v1/policy/rules/{name}";
/// `POST` `TestOffer`: `Verdict`.
pub const POLICY_TEST: &str = "/v1/policy/test";
/// `GET` with `LogQuery`: `Decisions`.
pub const POLICY_LOG: &str = "/v1/policy/log";

/// `GET`: `Drops`.
pub const DROP: &str = "/v1/drop";
/// `POST` `RetryDrop`: `Drops`, those that are tried.
pub const DROP_RETRY: &str = "/v1/drop/retry";

/// `GET` with `HistoryQuery`: `Messages`. `POST` `WriteMessage`: `WrittenMessages`.
pub const MESSAGES: &str = "/v1/messages";
/// `POST` `MarkRead`.
pub const MESSAGES_READ: &str = "/v1/messages/read";
/// `GET`: `Groups`.
pub const GROUPS: &str = "/v1/groups";
/// `POST` `GroupPeers`: `Group`; makes it where it is missing.
pub const GROUP_ADD: &str = "/v1/groups/{name}/add";
/// `POST` `GroupPeers`: `Group`.
pub const GROUP_REMOVE: &str = "/v1/groups/{name}/remove";
/// `GET`: our `PresenceBody`. `POST` `PresenceBody`: sets it.
pub const PRESENCE: &str = "/v1/presence";

/// `GET`: `Interfaces`.
pub const NET: &str = "/v1/net";
/// `GET` with `NetHistoryQuery`: `History`.
pub const NET_HISTORY: &str = "/v1/net/history";
/// `POST` `WriteCsv`: begins to write `Network.csv`. `DELETE`: ends it.
pub const NET_CSV: &str = "/v1/net/csv";
/// `GET`: `Anomalies`.
pub const NET_ANOMALIES: &str = "/v1/net/anomalies";
/// `GET`: `Anomaly`.
pub const NET_ANOMALY: &str = "/v1/net/anomalies/{id}";
/// `POST`: this is normal from now on; `Anomaly`.
pub const NET_ANOMALY_NORMAL: &str = "/v1/net/anomalies/{id}/normal";
/// `GET`: `Networks`.
pub const NET_NETWORKS: &str = "/v1/net/networks";
/// `DELETE`: forgets it; it is learnt anew.
pub const NET_NETWORK: &str = "/v1/net/networks/{id}";
/// `POST` `ReadRecording`: `Findings`.
pub const NET_REPLAY: &str = "/v1/net/replay";
/// `POST` `ReadRecording`: `Scores`.
pub const NET_SCORES: &str = "/v1/net/scores";
/// `POST` `ReadPackets`: `Packets`.
pub const NET_PACKETS: &str = "/v1/net/packets";
/// `POST` `BeginCapture`: `Capture`, which runs.
pub const NET_CAPTURES: &str = "/v1/net/captures";
/// `GET`: `Capture`. `DELETE`: ends it; `Capture`, whole.
pub const NET_CAPTURE: &str = "/v1/net/captures/{id}";

/// A path with its parameter filled in; what is no letter, digit, `-`, `.`, `_` or `~` is percent-encoded (RFC 3986).
pub fn fill(path: &str, value: &str) -> String {
    let encoded = encode(value);
    match (path.find('{'), path.find('}')) {
        (Some(open), Some(close)) => format!("{}{encoded}{}", &path[..open], &path[close + 1..]),
        _ => path.to_owned(),
    }
}

/// A path with a query of these names and values.
pub fn with_query(path: &str, pairs: &[(&str, String)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    format!("{path}?{}", pairs.join("&"))
}

fn encode(value: &str) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_cannot_leave_its_place_in_the_path() {
        assert_eq!(fill(PEER_BLOCK, "../x y"), "/v1/peers/..%2Fx%20y/block");
        assert_eq!(fill(PEER, "[fe80::1]:47810"), "/v1/peers/%5Bfe80%3A%3A1%5D%3A47810");
        assert_eq!(with_query("/x", &[("a", "1&b=2 ü".into()), ("c", String::new())]), "/x?a=1%26b%3D2%20%C3%BC&c=");
    }
}
