//! Whole processes on loopback. They need no privilege and no network; mDNS is off, hosts meet by address.

#![allow(missing_docs, reason = "the names of tests are sentences")]

mod agent;
mod bus;
mod chat;
mod demo;
mod desktop;
mod drop;
mod far;
mod files;
mod inbox;
mod messages;
mod mistakes;
mod net;
mod pairing;
mod places;
mod policy;
mod socket;
mod sources;
mod unit;
mod verbs;
