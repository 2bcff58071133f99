//! Which process a connection of this machine belongs to, by `/proc`.

use std::collections::HashSet;
use std::fs;

/// One end of an established connection over IPv4, as the system lists it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Socket {
    pub(super) local_port: u16,
    pub(super) remote_port: u16,
}

/// The established connections of a process.
pub(super) fn of(process: u32) -> anyhow::Result<Vec<Socket>> {
    let mut own = HashSet::new();
    for file in fs::read_dir(format!("/proc/{process}/fd"))? {
        // It may have been closed meanwhile.
        let Ok(target) = fs::read_link(file?.path()) else {
            continue;
        };
        let target = target.to_string_lossy();
        let inode = target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'));
        own.extend(inode.and_then(|inode| inode.parse::<u64>().ok()));
    }
    let mut sockets = Vec::new();
    for line in fs::read_to_string("/proc/net/tcp")?.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, state, _, _, _, _, _, inode, ..] = fields.as_slice() else {
            continue;
        };
        // 01: established.
        if *state != "01" || !inode.parse().is_ok_and(|inode: u64| own.contains(&inode)) {
            continue;
        }
        if let (Some(local_port), Some(remote_port)) = (port(local), port(remote)) {
            sockets.push(Socket {
                local_port,
                remote_port,
            });
        }
    }
    Ok(sockets)
}

fn port(address: &str) -> Option<u16> {
    u16::from_str_radix(address.split_once(':')?.1, 16).ok()
}
