//! What the kernel gives only to `unsafe`, behind interfaces that are not: pages it may have back, and packets that it
//! hands over in memory that it shares with us. The only place with `unsafe`.
#![allow(unsafe_code, reason = "no safe interface to these calls exists, and every one of them stands here")]

pub mod packets;
pub mod pages;
