//! The bridge as a whole: on a virtual clock with made-up names and hosts, and over loopback with real ones.

#[path = "bridge/datagrams.rs"]
mod datagrams;
#[path = "bridge/eyeballs.rs"]
mod eyeballs;
#[path = "bridge/forgery.rs"]
mod forgery;
#[path = "bridge/name_server.rs"]
mod name_server;
#[path = "bridge/names.rs"]
mod names;
#[path = "bridge/silence.rs"]
mod silence;
#[path = "bridge/sockets.rs"]
mod sockets;
#[path = "bridge/virtual_world.rs"]
mod virtual_world;
