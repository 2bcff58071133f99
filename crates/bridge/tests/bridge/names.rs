//! Names, asked for with the real resolver at a name server on loopback.

use core::time::Duration;

use bridge::policy::Denial;
use bridge::{
    Bridge, Config, ConnectError, NameServers, Resolve, ResolveError, SetupError, Timeouts,
    WebResolver,
};
use protocol::target::HostName;

use super::name_server::{Entry, NameServer, addresses, alias};

async fn resolve(server: &NameServer, name: &str) -> Result<Vec<String>, ResolveError> {
    let resolver = WebResolver::new(&server.servers()).unwrap();
    let name: HostName = name.parse().unwrap();
    let mut found: Vec<String> = resolver
        .resolve(&name)
        .await?
        .iter()
        .map(ToString::to_string)
        .collect();
    found.sort();
    Ok(found)
}

async fn deny(server: &NameServer, target: &str) -> ConnectError {
    deny_within(server, target, Timeouts::default()).await
}

async fn deny_within(server: &NameServer, target: &str, timeouts: Timeouts) -> ConnectError {
    let config = Config {
        name_servers: server.servers(),
        timeouts,
        ..Config::default()
    };
    let bridge = Bridge::new(config).unwrap();
    bridge
        .connect(1, &target.parse().unwrap())
        .await
        .unwrap_err()
}

#[tokio::test]
async fn name_is_resolved_to_the_addresses_of_both_families() {
    let both = addresses(&["8.8.8.8", "2a00::1", "8.8.4.4"]);
    let server = NameServer::start(&[
        ("both.example", both),
        ("six.example", addresses(&["2a00::2"])),
    ])
    .await;
    assert_eq!(
        resolve(&server, "both.example").await.unwrap(),
        ["2a00::1", "8.8.4.4", "8.8.8.8"]
    );
    assert_eq!(resolve(&server, "six.example").await.unwrap(), ["2a00::2"]);
}

#[tokio::test]
async fn answer_that_is_cut_off_is_asked_for_over_tcp() {
    let large = Entry::Large(vec!["8.8.8.8".parse().unwrap()]);
    let server = NameServer::start(&[("large.example", large)]).await;
    assert_eq!(
        resolve(&server, "large.example").await.unwrap(),
        ["8.8.8.8"]
    );
}

#[tokio::test]
async fn aliases_are_followed_and_what_stands_at_their_end_is_judged() {
    let server = NameServer::start(&[
        ("www.example", alias("cdn.example")),
        ("cdn.example", alias("edge.example")),
        ("edge.example", addresses(&["8.8.8.8"])),
        ("evil.example", alias("innocent.example")),
        ("innocent.example", alias("inside.internal")),
        ("inside.internal", addresses(&["10.0.0.1", "fd00::1"])),
        ("loop.example", alias("pool.example")),
        ("pool.example", alias("loop.example")),
    ])
    .await;
    assert_eq!(resolve(&server, "www.example").await.unwrap(), ["8.8.8.8"]);
    assert_eq!(
        deny(&server, "evil.example:80").await,
        ConnectError::Denied(Denial::Address)
    );
    assert!(resolve(&server, "loop.example").await.is_err());
}

#[tokio::test]
async fn names_that_do_not_resolve_say_whose_fault_it_is() {
    let server = NameServer::start(&[
        ("fails.example", Entry::Fails),
        ("silent.example", Entry::Silent),
        ("empty.example", addresses(&[])),
    ])
    .await;
    assert_eq!(
        deny(&server, "missing.example:80").await,
        ConnectError::NoSuchHost
    );
    assert_eq!(
        deny(&server, "empty.example:80").await,
        ConnectError::NoSuchHost
    );
    assert_eq!(
        deny(&server, "fails.example:80").await,
        ConnectError::ResolverFailed
    );
    let hasty = Timeouts {
        resolve: Duration::from_millis(200),
        ..Timeouts::default()
    };
    let silent = deny_within(&server, "silent.example:80", hasty).await;
    assert_eq!(silent, ConnectError::ResolverFailed);
}

#[tokio::test]
async fn no_name_server_hears_of_more_than_what_was_asked_for() {
    let server = NameServer::start(&[]).await;
    let _ = deny(&server, "missing.example:80").await;
    let _ = deny(&server, "localhost:80").await;
    let _ = deny(&server, "secret.local:80").await;
    let _ = deny(&server, "127.0.0.1:80").await;
    let questions = server.questions();
    assert!(!questions.is_empty());
    assert!(
        questions.iter().all(|name| name == "missing.example."),
        "{questions:?}"
    );
}

#[tokio::test]
async fn name_is_kept_for_a_while() {
    let server = NameServer::start(&[("both.example", addresses(&["8.8.8.8", "2a00::1"]))]).await;
    let resolver = WebResolver::new(&server.servers()).unwrap();
    let name: HostName = "both.example".parse().unwrap();
    for _ in 0..5 {
        resolver.resolve(&name).await.unwrap();
    }
    assert_eq!(server.questions().len(), 2, "one for each family");
}

#[tokio::test]
async fn bridge_without_name_servers_does_not_start() {
    let config = Config {
        name_servers: NameServers::Given(Vec::new()),
        ..Config::default()
    };
    assert!(matches!(
        Bridge::new(config).unwrap_err(),
        SetupError::NoNameServer
    ));
}
