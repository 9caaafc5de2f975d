//! The room as strangers see it: a real `dbus-daemon`, real engines, and busctl, gdbus and zbus as clients.

mod bus;
mod introspection;
mod messages;
mod misuse;
mod sending;
mod stage;
mod system;
