//! Hosts on a LAN: real mDNS, real QUIC, real cables. Run by `./test.sh lan`, which gets the privilege for namespaces.

#![allow(missing_docs, reason = "the names of tests are sentences")]

mod breaks;
mod cables;
mod codes;
mod company;
mod crashes;
mod crowds;
mod discovery;
mod disks;
mod doctor;
mod drops;
mod kills;
mod messages;
mod net;
mod policy;
mod slow;
mod storms;
mod strangers;
mod trust;
