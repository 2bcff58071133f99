//! The embedded directory of account records.

#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mailbox::{
    ACCOUNT_KEY_MAX, ACCOUNT_VALUE_MAX, Directory, DirectoryError, LogConfig, LogDirectory,
    LogStore,
};
use proptest::prelude::*;

fn open(folder: &tempfile::TempDir) -> LogStore {
    LogStore::open(
        folder.path(),
        LogConfig {
            segment_bytes: 2 << 20,
            ..LogConfig::default()
        },
    )
    .unwrap()
}

async fn all(directory: &LogDirectory) -> BTreeMap<Bytes, Bytes> {
    let mut found = BTreeMap::new();
    let mut after = None;
    loop {
        let page = directory.page(after, 7).await.unwrap();
        let Some((last, _)) = page.last() else {
            return found;
        };
        after = Some(last.clone());
        found.extend(page);
    }
}

#[tokio::test]
async fn directory_after_reopen_has_what_was_put_last() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let directory = store.directory();
    directory.put("a".into(), "1".into()).await.unwrap();
    directory.put("b".into(), "2".into()).await.unwrap();
    directory.put("a".into(), "3".into()).await.unwrap();
    assert!(directory.remove("b".into()).await.unwrap());
    assert!(!directory.remove("b".into()).await.unwrap());
    drop((directory, store));
    let store = open(&folder);
    assert_eq!(
        store.directory().get("a".into()).await.unwrap(),
        Some("3".into())
    );
    assert_eq!(store.directory().get("b".into()).await.unwrap(), None);
    assert_eq!(store.directory().len(), 1);
}

#[tokio::test]
async fn directory_refuses_keys_and_values_out_of_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(&folder).directory();
    let longest = Bytes::from(vec![b'k'; ACCOUNT_KEY_MAX]);
    directory
        .put(longest.clone(), vec![1; ACCOUNT_VALUE_MAX].into())
        .await
        .unwrap();
    assert_eq!(
        directory.get(longest).await.unwrap().unwrap().len(),
        ACCOUNT_VALUE_MAX
    );
    let long = Bytes::from(vec![b'k'; ACCOUNT_KEY_MAX + 1]);
    assert!(matches!(
        directory.put(long.clone(), Bytes::new()).await,
        Err(DirectoryError::KeyLength { .. })
    ));
    assert!(matches!(
        directory.get(long).await,
        Err(DirectoryError::KeyLength { .. })
    ));
    assert!(matches!(
        directory.remove(Bytes::new()).await,
        Err(DirectoryError::KeyLength { .. })
    ));
    let large = vec![1; ACCOUNT_VALUE_MAX + 1].into();
    assert!(matches!(
        directory.put("k".into(), large).await,
        Err(DirectoryError::ValueTooLarge { .. })
    ));
}

#[tokio::test]
async fn directory_at_its_limit_takes_changes_of_known_keys_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = LogStore::open(
        folder.path(),
        LogConfig {
            max_accounts: 1,
            ..LogConfig::default()
        },
    )
    .unwrap();
    let directory = store.directory();
    directory.put("a".into(), "1".into()).await.unwrap();
    assert!(matches!(
        directory.put("b".into(), "2".into()).await,
        Err(DirectoryError::Full { limit: 1 })
    ));
    directory.put("a".into(), "3".into()).await.unwrap();
    directory.remove("a".into()).await.unwrap();
    directory.put("b".into(), "2".into()).await.unwrap();
}

#[tokio::test]
async fn directory_rewritten_many_times_stays_small_and_complete() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let directory = store.directory();
    for round in 0..60u8 {
        let puts: Vec<_> = (0..10u8)
            .map(|key| {
                let directory = Arc::clone(&directory);
                tokio::spawn(async move {
                    directory
                        .put(vec![key + 1].into(), vec![round; 10_000].into())
                        .await
                })
            })
            .collect();
        for put in puts {
            put.await.unwrap().unwrap();
        }
        assert_eq!(
            directory.get(vec![1].into()).await.unwrap(),
            Some(vec![round; 10_000].into())
        );
    }
    directory.close().await;
    assert!(matches!(
        directory.put("a".into(), "1".into()).await,
        Err(DirectoryError::Closed)
    ));
    drop((directory, store));
    let files = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap());
    let accounts: Vec<_> = files
        .filter(|file| file.file_name().to_str().unwrap().starts_with("accounts"))
        .collect();
    assert_eq!(accounts.len(), 1);
    assert!(accounts[0].metadata().unwrap().len() < 5 << 20);
    assert_ne!(accounts[0].file_name(), "accounts-00000001.log");
    let found = all(&open(&folder).directory()).await;
    assert_eq!(found.len(), 10);
    assert!(found.values().all(|value| *value == vec![59; 10_000]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn directory_with_any_history_equals_a_map(
        history in proptest::collection::vec((0u8..12, proptest::option::of(0usize..3000), 0u8..20), 1..60),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut store = open(&folder);
            let mut map = BTreeMap::new();
            for (step, (key, length, dice)) in history.into_iter().enumerate() {
                let key = Bytes::from(vec![key; 3]);
                match length {
                    Some(length) => {
                        let value = Bytes::from(vec![step as u8; length]);
                        store.directory().put(key.clone(), value.clone()).await.unwrap();
                        map.insert(key, value);
                    }
                    None => assert_eq!(store.directory().remove(key.clone()).await.unwrap(), map.remove(&key).is_some()),
                }
                if dice == 0 {
                    drop(store);
                    store = open(&folder);
                }
            }
            assert_eq!(all(&store.directory()).await, map);
        });
    }
}
