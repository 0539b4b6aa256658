//! Checkpoints of the stored chain: when the cached range is trusted, and when a note is stored.

use audit_chain::checkpoint::{
    CachedRange, Checkpoint, CheckpointStore, CompactRange, ExtendOutcome, RecordPrefix, SignatureLine,
    SignedNote, StoreOutcome,
};
use audit_chain::{Appender, Effect, Hash, Head, ReadError, keys};
use redis::AsyncCommands;
use test_support::RedisServer;

use crate::support::{appender, event, verified_events};

async fn append(appender: &audit_chain::Appender, count: usize) -> Head {
    let mut all = tokio::task::JoinSet::new();
    for number in 0..count {
        let appender = appender.clone();
        all.spawn(async move {
            appender.append(&event(&format!("tag/{number}")), Effect::none()).await.unwrap();
        });
    }
    all.join_all().await;
    appender.log().head().await.unwrap()
}

/// The tree over all hashes, from the pages of the public API.
async fn tree_of_pages(appender: &Appender) -> CompactRange {
    let mut range = CompactRange::new();
    let mut after = None;
    loop {
        let page = appender.log().entries(after, 100.try_into().unwrap()).await.unwrap();
        page.events.iter().for_each(|entry| range.push(entry.hash));
        after = page.next;
        if after.is_none() {
            return range;
        }
    }
}

/// A note that commits to a tree. Its signature is not checked here.
fn note_of(size: u64, root: Hash) -> String {
    let checkpoint = Checkpoint { origin: "o".to_owned(), size, root };
    let line = SignatureLine::new("o", [1, 2, 3, 4], vec![0; 64]).unwrap();
    SignedNote::new(checkpoint.to_text(), vec![line]).unwrap().to_string()
}

/// The range at the head.
async fn range_at(store: &CheckpointStore, head: Head) -> CachedRange {
    let mut range = CachedRange::default();
    assert_eq!(store.extend(&mut range, head).await.unwrap(), ExtendOutcome::Complete);
    range
}

async fn stored_range(store: &CheckpointStore) -> CachedRange {
    store.cached_range(|_| true).await.unwrap().0
}

/// Stores the range and a note of it by key `number`.
async fn sign(store: &CheckpointStore, range: &CachedRange, number: u16) {
    let note = note_of(range.size(), range.root());
    assert_eq!(store.store(&[], range, number, &note).await.unwrap(), StoreOutcome::Stored);
}

#[tokio::test]
async fn a_range_that_no_note_commits_to_is_computed_again_and_replaced() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let store = CheckpointStore::new(appender.log().clone());
    let head = append(&appender, 5).await;
    let range = range_at(&store, head).await;
    let mut direct = redis.connection().await;
    sign(&store, &range, 1).await;
    let good: Vec<u8> = direct.get(keys::RANGE).await.unwrap();
    assert_eq!(stored_range(&store).await, range);
    let (mut other_peaks, mut other_size, mut much_larger) = (good.clone(), good.clone(), good.clone());
    other_peaks[20] ^= 1;
    other_size[7] -= 1;
    much_larger[0] = 1;
    for damaged in [other_peaks, other_size, much_larger, b"rubbish".to_vec(), Vec::new()] {
        let _: () = direct.set(keys::RANGE, &damaged).await.unwrap();
        let mut computed = stored_range(&store).await;
        assert_eq!(computed.size(), 0, "{damaged:?}");
        assert_eq!(store.extend(&mut computed, head).await.unwrap(), ExtendOutcome::Complete);
        sign(&store, &computed, 1).await;
        assert_eq!(stored_range(&store).await, range);
    }
    assert_eq!(store.cached_range(|_| false).await.unwrap().0.size(), 0, "the note is not trusted");
}

#[tokio::test]
async fn a_range_is_not_trusted_if_its_last_entry_was_replaced() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let store = CheckpointStore::new(appender.log().clone());
    let head = append(&appender, 6).await;
    let range = range_at(&store, head).await;
    sign(&store, &range, 1).await;
    let mut direct = redis.connection().await;
    let elements: Vec<Vec<u8>> = direct.lrange(keys::segment(0), 0, -1).await.unwrap();
    let _: () = direct.lset(keys::segment(0), 5, &elements[4]).await.unwrap();
    let mut other = stored_range(&store).await;
    assert_eq!(other.size(), 0);
    assert_eq!(store.extend(&mut other, head).await.unwrap(), ExtendOutcome::Contradicted { size: 6 });
    // A shortened chain contradicts its checkpoint too, with and without a stored range.
    let _: () = direct.ltrim(keys::segment(0), 0, 3).await.unwrap();
    let cut = Head { size: 4, hash: Hash::from_bytes(elements[3][..32].try_into().unwrap()) };
    for left in [true, false] {
        if !left {
            let _: () = direct.del(keys::RANGE).await.unwrap();
        }
        let mut other = stored_range(&store).await;
        assert_eq!(store.extend(&mut other, cut).await.unwrap(), ExtendOutcome::Contradicted { size: 6 });
    }
}

#[tokio::test]
async fn the_tree_must_agree_with_all_larger_trusted_notes() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let store = CheckpointStore::new(appender.log().clone());
    let mut ranges = Vec::new();
    for (number, more) in [(1, 2), (2, 3), (3, 2)] {
        let range = range_at(&store, append(&appender, more).await).await;
        sign(&store, &range, number).await;
        ranges.push(range);
    }
    let head = append(&appender, 1).await;
    let mut direct = redis.connection().await;
    let mut agrees = stored_range(&store).await;
    assert_eq!((agrees.size(), store.extend(&mut agrees, head).await.unwrap()), (7, ExtendOutcome::Complete));
    // From an older range, and from none, the newer notes are compared with the chain.
    let newest: Vec<u8> = direct.get(keys::RANGE).await.unwrap();
    let lying = note_of(5, head.hash);
    for from in [2, 0] {
        let _: () = direct.del(keys::RANGE).await.unwrap();
        if from == 2 {
            sign(&store, &ranges[0], 1).await;
        }
        let _: () = direct.hset(keys::NOTES, 2, note_of(5, ranges[1].root())).await.unwrap();
        let mut range = stored_range(&store).await;
        assert_eq!(
            (range.size(), store.extend(&mut range, head).await.unwrap()),
            (from, ExtendOutcome::Complete)
        );
        assert_eq!(range.root(), agrees.root());
        let _: () = direct.hset(keys::NOTES, 2, &lying).await.unwrap();
        let mut range = stored_range(&store).await;
        let found = store.extend(&mut range, head).await.unwrap();
        assert_eq!((from, found), (from, ExtendOutcome::Contradicted { size: 5 }));
        let (mut range, notes) = store.cached_range(|note| note.to_string() != lying).await.unwrap();
        assert_eq!(
            (store.extend(&mut range, head).await.unwrap(), notes.len()),
            (ExtendOutcome::Complete, 3)
        );
    }
    // Notes of the newest range's size and below were compared when it was stored.
    let _: () = direct.set(keys::RANGE, newest).await.unwrap();
    assert_eq!(store.extend(&mut stored_range(&store).await, head).await.unwrap(), ExtendOutcome::Complete);
}

#[tokio::test]
async fn a_range_is_extended_across_segments() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let store = CheckpointStore::new(appender.log().clone());
    let mut range = stored_range(&store).await;
    assert_eq!(range, CachedRange::default());
    sign(&store, &range, 1).await;
    for more in [0, 1, 511, 2, 3_700, 0] {
        let head = append(&appender, more).await;
        assert_eq!(store.extend(&mut range, head).await.unwrap(), ExtendOutcome::Complete);
        let tree = tree_of_pages(&appender).await;
        assert_eq!((range.size(), range.root()), (tree.size(), tree.root()));
        sign(&store, &range, 1).await;
        assert_eq!(stored_range(&store).await, range, "size {}", head.size);
    }
    assert!(range.size() > keys::SEGMENT_ENTRIES, "more than one segment");
    assert_eq!(verified_events(&appender).await.len() as u64, range.size());
}

#[tokio::test]
async fn a_range_larger_than_the_chain_is_a_state_loss() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let store = CheckpointStore::new(appender.log().clone());
    let short = append(&appender, 3).await;
    let mut range = range_at(&store, append(&appender, 1).await).await;
    assert!(matches!(store.extend(&mut range, short).await, Err(ReadError::StateLost(_))));
}

#[tokio::test]
async fn a_missing_entry_and_a_last_hash_that_is_not_the_heads_are_damage() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let store = CheckpointStore::new(appender.log().clone());
    let head = append(&appender, 5).await;
    let mut direct = redis.connection().await;
    let last: Vec<u8> = direct.lindex(keys::segment(0), -1).await.unwrap();
    let _: () = direct.lset(keys::segment(0), -1, [&[7; 32], &last[32..]].concat()).await.unwrap();
    let damaged = store.extend(&mut CachedRange::default(), head).await;
    assert!(matches!(damaged, Err(ReadError::Damaged { seq: 4 })), "{damaged:?}");
    let _: () = direct.ltrim(keys::segment(0), 0, 3).await.unwrap();
    let missing = store.extend(&mut CachedRange::default(), head).await;
    assert!(matches!(missing, Err(ReadError::Damaged { seq: 4 })), "{missing:?}");
}

#[tokio::test]
async fn a_note_is_stored_only_if_every_record_begins_as_the_signer_saw_it() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let store = CheckpointStore::new(appender.log().clone());
    let range = range_at(&store, append(&appender, 2).await).await;
    let mut direct = redis.connection().await;
    let _: () = direct.set("first", "abc").await.unwrap();
    let _: () = direct.set("second", b"\x00\x00\x00\x07{}").await.unwrap();
    let relied_on = |first: &str, second: &[u8]| {
        let one = |key: &str, prefix: &[u8]| RecordPrefix { key: key.into(), prefix: prefix.into() };
        [one("first", first.as_bytes()), one("second", second)]
    };
    for (first, second, record) in [("abd", &b"\x00\x00\x00\x07"[..], 0), ("ab", b"\x00\x00\x00\x06", 1)] {
        let stored = store.store(&relied_on(first, second), &range, 1, "note").await.unwrap();
        assert_eq!(stored, StoreOutcome::RecordChanged { record });
    }
    let missing = [RecordPrefix { key: b"nowhere".to_vec(), prefix: Vec::new() }];
    assert_eq!(
        store.store(&missing, &range, 1, "note").await.unwrap(),
        StoreOutcome::RecordChanged { record: 0 }
    );
    assert!(store.notes().await.unwrap().is_empty() && stored_range(&store).await.size() == 0);
    let seen = relied_on("ab", b"\x00\x00\x00\x07");
    assert_eq!(store.store(&seen, &range, 1, "note").await.unwrap(), StoreOutcome::Stored);
    assert_eq!(store.note(1).await.unwrap().as_deref(), Some("note"));
    assert_eq!(store.note(2).await.unwrap(), None);
    let lasts: (i64, i64) = (direct.ttl(keys::RANGE).await.unwrap(), direct.ttl(keys::NOTES).await.unwrap());
    assert_eq!(lasts, (-1, -1));
}

#[tokio::test]
async fn a_smaller_range_does_not_replace_a_larger_one() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let store = CheckpointStore::new(appender.log().clone());
    let small = range_at(&store, append(&appender, 2).await).await;
    let large = range_at(&store, append(&appender, 300).await).await;
    let of_large = note_of(large.size(), large.root());
    assert_eq!(store.store(&[], &large, 1, &of_large).await.unwrap(), StoreOutcome::Stored);
    assert_eq!(store.store(&[], &small, 1, "small").await.unwrap(), StoreOutcome::Behind);
    assert_eq!(store.store(&[], &large, 2, "by another key").await.unwrap(), StoreOutcome::Stored);
    let notes = store.notes().await.unwrap();
    assert_eq!((notes[&1].as_str(), notes[&2].as_str(), notes.len()), (&*of_large, "by another key", 2));
    assert_eq!(stored_range(&store).await, large);
}
