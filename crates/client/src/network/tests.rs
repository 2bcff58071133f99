use super::*;
use crate::test_network::World;

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn network_is_ready_once_the_index_is_complete() {
    let world = World::start(5).await;
    let (network, _home) = world.client();
    network.ready(SHORT).await.unwrap();

    let records: Vec<NodeRecord> = world.ledger.nodes().to_vec();
    world.ledger.set_complete(false);
    world.ledger.set_nodes(records[..3].to_vec());
    let later = Arc::clone(&world);
    tokio::spawn(async move {
        tokio::time::sleep(SHORT).await;
        later.ledger.set_nodes(records);
        later.ledger.set_complete(true);
    });
    network.ready(10 * SHORT).await.unwrap();
    assert_eq!(network.nodes().len(), 5);
}

#[tokio::test]
async fn network_with_the_ledger_out_of_reach_is_ready_with_what_it_knows() {
    let world = World::start(3).await;
    let (network, _home) = world.client();
    world.ledger.set_complete(false);
    network.ready(SHORT).await.unwrap();
}

#[tokio::test]
async fn network_without_nodes_says_how_many_it_needs() {
    let world = World::start(3).await;
    let (network, _home) = world.client();
    world
        .ledger
        .set_nodes(world.nodes[..2].iter().map(|node| node.record()).collect());
    let refused = network.ready(SHORT).await.unwrap_err();
    assert!(
        matches!(refused, NetworkError::TooFewNodes { known: 2, .. }),
        "{refused:?}"
    );
}

#[tokio::test]
async fn network_opens_without_its_ledger_and_closes_with_its_last_clone() {
    let home = tempfile::tempdir().unwrap();
    let network = Network::open(home.path(), crate::test_network::file())
        .await
        .unwrap();
    assert!(network.nodes().is_empty());
    assert!(home.path().join("networks/test/index.db").exists());
    let follower = network.inner.follower.as_ref().unwrap().task.clone();
    let clone = network.clone();
    drop(network);
    tokio::task::yield_now().await;
    assert!(!follower.is_finished());
    drop(clone);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if follower.is_finished() {
            return;
        }
    }
    panic!("the ledger is still followed");
}
