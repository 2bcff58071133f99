//! Two processes of one node on one mailbox: clients reach now the one, now the other.

use std::net::SocketAddr;
use std::time::Duration;

use client::carrier::{Privacy, Stored};
use client::submit::SubmitOptions;
use node::{MailboxConfig, MailboxStore, NodeConfig};
use packet::Packet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wallet::WalletAddress;

use crate::server::{Server, free_ports};
use crate::world::{Person, World, free_socket, keys};

/// What stands before an operator's machines: passes connections on to one of them.
struct Switch {
    to: watch::Sender<SocketAddr>,
}

impl Switch {
    async fn start(listen: SocketAddr, first: SocketAddr) -> Self {
        let listener = TcpListener::bind(listen).await.unwrap();
        let to = watch::Sender::new(first);
        let mut target = to.subscribe();
        tokio::spawn(async move {
            loop {
                let (mut from, _) = listener.accept().await.unwrap();
                let address = *target.borrow_and_update();
                let mut moved = target.clone();
                tokio::spawn(async move {
                    let Ok(mut onward) = TcpStream::connect(address).await else {
                        return;
                    };
                    tokio::select! {
                        _ = moved.changed() => {}
                        _ = tokio::io::copy_bidirectional(&mut from, &mut onward) => {}
                    }
                });
            }
        });
        Self { to }
    }
}

struct Twin {
    socket: SocketAddr,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

fn start_twin(world: &World, index: usize, name: &str, servers: &str) -> Twin {
    let config = world.config(&world.nodes[index]);
    let (socket, stop) = (free_socket(), CancellationToken::new());
    let config = NodeConfig {
        listen: socket,
        admin_listen: free_socket(),
        data_dir: config.data_dir.with_file_name(name),
        mailbox: MailboxConfig {
            store: MailboxStore::Nats {
                servers: servers.to_owned(),
                replicas: 1,
            },
            ..config.mailbox
        },
        ..config
    };
    let running = node::run(config, keys(index as u64), stop.clone());
    let running = tokio::spawn(async move { running.await.unwrap() });
    Twin {
        socket,
        stop,
        running,
    }
}

/// Submits until the links have found the process that is there now.
async fn submit(from: &Person, packet: &Packet, mailbox: WalletAddress) -> Stored {
    for _ in 0..120 {
        let options = SubmitOptions::default();
        let sent = from
            .network
            .submit(packet, &[mailbox], Privacy::Relayed, options)
            .await;
        match sent {
            Ok(stored) => return stored,
            Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
    panic!("the mailbox takes nothing");
}

/// Collects, once the way to the process that is there now stands.
async fn collect(owner: &Person, mailbox: WalletAddress) -> Vec<String> {
    for _ in 0..120 {
        let reached = owner
            .network
            .acknowledge(owner.owner(), mailbox, [1; 16], 0);
        if reached.await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let collected = owner.collect(mailbox).await;
    collected.into_iter().map(|(_, text)| text).collect()
}

#[ignore = "needs a nats-server: tests/nats/run"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_process_of_a_node_serves_the_mail_that_the_other_one_took() {
    let mut server = Server::prepare(free_ports(1)[0], "");
    server.run();
    let mut world = World::new(4).await;
    let mailbox = world.nodes[3].address;
    world.stop_node(3).await;
    let one = start_twin(&world, 3, "one", &server.url());
    let two = start_twin(&world, 3, "two", &server.url());
    let switch = Switch::start(world.nodes[3].socket, one.socket).await;

    let alice = world.person(1, &[]).await;
    let bob = world.person(2, &[mailbox]).await;
    let mut opened = false;
    for _ in 0..120 {
        opened = bob.network.open_mailbox(bob.owner(), mailbox).await.is_ok();
        if opened {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert!(opened, "the mailbox can't be opened");
    // A first collection makes the device known.
    assert!(bob.collect(mailbox).await.is_empty());
    let first = alice.seal(&bob, "taken by one");
    let stored = submit(&alice, &first, mailbox).await;

    switch.to.send_replace(two.socket);
    let again = submit(&alice, &first, mailbox).await;
    assert_eq!(
        again, stored,
        "the second process knows what the first stored"
    );
    submit(&alice, &alice.seal(&bob, "taken by two"), mailbox).await;
    assert_eq!(
        collect(&bob, mailbox).await,
        ["taken by one", "taken by two"]
    );

    switch.to.send_replace(one.socket);
    submit(&alice, &alice.seal(&bob, "taken by one again"), mailbox).await;
    assert_eq!(
        collect(&bob, mailbox).await,
        ["taken by one again"],
        "what was acknowledged at two is gone at one"
    );
    for twin in [one, two] {
        twin.stop.cancel();
        twin.running.await.unwrap();
    }
    world.stop().await;
}
