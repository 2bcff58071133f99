//! Free ports.

use std::net::{IpAddr, TcpListener};

use rand::Rng as _;

use crate::failure::{Failure, Outcome};

/// Below the ports that Linux gives to outgoing connections: there they could be taken at the next start.
const RANGE: std::ops::Range<u16> = 20_000..32_000;
/// Ports tried for each that is wanted.
const ATTEMPTS: usize = 200;

/// Finds that many free ports on `ip`. Nobody holds them: another program may be faster.
pub(crate) fn free_ports(ip: IpAddr, count: usize) -> Outcome<Vec<u16>> {
    let mut held = Vec::new();
    for _ in 0..count.saturating_mul(ATTEMPTS) {
        if held.len() == count {
            break;
        }
        let port = rand::thread_rng().gen_range(RANGE);
        match TcpListener::bind((ip, port)) {
            Ok(listener) => held.push((port, listener)),
            Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {
                return Err(Failure::error(format!(
                    "{ip} is no address of this machine: see `ip address`"
                )));
            }
            Err(_) => {}
        }
    }
    if held.len() < count {
        return Err(Failure::error(format!("no {count} free ports on {ip}")));
    }
    Ok(held.into_iter().map(|(port, _)| port).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_different_and_can_be_listened_on() {
        let ip = "127.0.0.1".parse().unwrap();
        let mut ports = free_ports(ip, 20).unwrap();
        for port in &ports {
            TcpListener::bind((ip, *port)).unwrap();
        }
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
    }

    #[test]
    fn address_of_another_machine_is_a_clear_error() {
        let failure = free_ports("192.0.2.1".parse().unwrap(), 1).unwrap_err();
        assert!(
            failure
                .message()
                .contains("192.0.2.1 is no address of this machine"),
            "{}",
            failure.message()
        );
    }
}
