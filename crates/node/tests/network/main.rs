//! A whole network in one process: chain, contracts, nodes and clients, over real sockets.

mod clients;
mod strangers;
mod world;
