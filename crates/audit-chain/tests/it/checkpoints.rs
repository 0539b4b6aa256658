//! The Merkle tree over the stored chain, and notes that are stored only while what their signer relied on stands.

use audit_chain::checkpoints::{CheckpointStore, Edge, NoteStored, Standing};
use audit_chain::merkle::CompactRange;
use audit_chain::note::{Checkpoint, SignatureLine, SignedNote};
use audit_chain::{Effect, Head, ReadError, keys};
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

/// The range over all hashes, taken from the pages that everybody can read.
async fn range_of_pages(appender: &audit_chain::Appender) -> CompactRange {
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

/// A note that commits to a tree; who signed it nobody here asks.
fn note_of(range: &CompactRange) -> String {
    let checkpoint = Checkpoint { origin: "o".to_owned(), size: range.size(), root: range.root() };
    let line = SignatureLine::new("o", [1, 2, 3, 4], vec![0; 64]).unwrap();
    SignedNote::new(checkpoint.to_text(), vec![line]).unwrap().to_string()
}

#[tokio::test]
async fn an_edge_that_no_note_commits_to_is_computed_anew_and_replaced_whatever_it_claims() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let store = CheckpointStore::new(appender.log().clone());
    let head = append(&appender, 5).await;
    let mut true_range = CompactRange::new();
    store.extend(&mut true_range, head).await.unwrap();
    let note = note_of(&true_range);
    let mut direct = redis.connection().await;
    let mut other_peaks = true_range.to_bytes();
    other_peaks[12] ^= 1;
    let mut much_larger = CompactRange::new();
    (0..300).for_each(|_| much_larger.push(head.hash));
    for damaged in [other_peaks, much_larger.to_bytes()] {
        assert_eq!(store.store(&[], &true_range.clone().into(), 1, &note).await.unwrap(), NoteStored::Yes);
        let _: () = direct.set(keys::RANGE, &damaged).await.unwrap();
        let mut edge = store.edge(|_| true).await.unwrap();
        assert_eq!(edge.range.size(), 0);
        store.extend(&mut edge.range, head).await.unwrap();
        assert_eq!(edge.range, true_range);
        assert_eq!(store.store(&[], &edge, 1, &note).await.unwrap(), NoteStored::Yes);
        assert_eq!(store.edge(|_| true).await.unwrap(), Edge::from(true_range.clone()));
    }
    let unbelieved = store.edge(|_| false).await.unwrap();
    assert_eq!((unbelieved.range.size(), unbelieved.signed), (0, Vec::new()));
}

#[tokio::test]
async fn without_a_range_the_tree_has_to_agree_with_all_that_believed_notes_commit_to() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let store = CheckpointStore::new(appender.log().clone());
    let (mut small, mut large) = (CompactRange::new(), CompactRange::new());
    store.extend(&mut small, append(&appender, 2).await).await.unwrap();
    store.extend(&mut large, append(&appender, 3).await).await.unwrap();
    for (number, range) in [(1, small), (2, large)] {
        let note = note_of(&range);
        assert_eq!(store.store(&[], &range.into(), number, &note).await.unwrap(), NoteStored::Yes);
    }
    let _: () = redis.connection().await.del(keys::RANGE).await.unwrap();
    let edge = store.edge(|_| true).await.unwrap();
    let sizes: Vec<u64> = edge.signed.iter().map(|checkpoint| checkpoint.size).collect();
    assert_eq!((edge.range.size(), sizes), (0, vec![2, 5]));
    let roots = store.roots_at([2, 5]).await.unwrap();
    assert!(edge.signed.iter().all(|checkpoint| roots[&checkpoint.size] == checkpoint.root));
}

#[tokio::test]
async fn a_range_is_extended_by_what_was_appended_since_across_segments() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let store = CheckpointStore::new(appender.log().clone());
    let mut range = store.edge(|_| true).await.unwrap().range;
    assert_eq!(range, CompactRange::new());
    for more in [1, 511, 2, 3_700, 0] {
        let head = append(&appender, more).await;
        store.extend(&mut range, head).await.unwrap();
        assert_eq!(range, range_of_pages(&appender).await, "size {}", head.size);
    }
    assert!(range.size() > keys::SEGMENT_ENTRIES, "more than one segment");
    let edge = Edge::from(range.clone());
    assert_eq!(store.store(&[], &edge, 1, &note_of(&range)).await.unwrap(), NoteStored::Yes);
    assert_eq!(store.edge(|_| true).await.unwrap(), edge);
    assert_eq!(verified_events(&appender).await.len() as u64, range.size());
}

#[tokio::test]
async fn a_range_that_cannot_be_read_is_computed_anew_and_one_beyond_the_chain_is_state_lost() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let store = CheckpointStore::new(appender.log().clone());
    let head = append(&appender, 3).await;
    let _: () = redis.connection().await.set(keys::RANGE, b"rubbish").await.unwrap();
    let mut range = store.edge(|_| true).await.unwrap().range;
    assert_eq!(range.size(), 0);
    store.extend(&mut range, head).await.unwrap();
    let mut beyond = range.clone();
    beyond.push(head.hash);
    assert!(matches!(store.extend(&mut beyond, head).await, Err(ReadError::StateLost(_))));
}

#[tokio::test]
async fn a_missing_entry_or_a_last_one_that_is_not_the_heads_is_damage_and_nothing_is_signed() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let store = CheckpointStore::new(appender.log().clone());
    let head = append(&appender, 5).await;
    let mut direct = redis.connection().await;
    let last: Vec<u8> = direct.lindex(keys::segment(0), -1).await.unwrap();
    let _: () = direct.lset(keys::segment(0), -1, [&[7; 32], &last[32..]].concat()).await.unwrap();
    let damaged = store.extend(&mut CompactRange::new(), head).await;
    assert!(matches!(damaged, Err(ReadError::Damaged { seq: 4 })), "{damaged:?}");
    let _: () = direct.ltrim(keys::segment(0), 0, 3).await.unwrap();
    let missing = store.extend(&mut CompactRange::new(), head).await;
    assert!(matches!(missing, Err(ReadError::Damaged { seq: 4 })), "{missing:?}");
}

#[tokio::test]
async fn a_note_is_stored_only_while_every_record_begins_as_the_signer_saw_it() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let store = CheckpointStore::new(appender.log().clone());
    let head = append(&appender, 2).await;
    let mut range = CompactRange::new();
    store.extend(&mut range, head).await.unwrap();
    let range = Edge::from(range);
    let mut direct = redis.connection().await;
    let _: () = direct.set("first", "abc").await.unwrap();
    let _: () = direct.set("second", b"\x00\x00\x00\x07{}").await.unwrap();
    let standing = |first: &str, second: &[u8]| {
        let one = |key: &str, prefix: &[u8]| Standing { key: key.into(), prefix: prefix.into() };
        [one("first", first.as_bytes()), one("second", second)]
    };
    for (first, second, record) in [("abd", &b"\x00\x00\x00\x07"[..], 0), ("ab", b"\x00\x00\x00\x06", 1)] {
        let stored = store.store(&standing(first, second), &range, 1, "note").await.unwrap();
        assert_eq!(stored, NoteStored::Overtaken { record });
    }
    let missing = [Standing { key: b"nowhere".to_vec(), prefix: Vec::new() }];
    assert_eq!(store.store(&missing, &range, 1, "note").await.unwrap(), NoteStored::Overtaken { record: 0 });
    assert!(store.notes().await.unwrap().is_empty() && store.edge(|_| true).await.unwrap().range.size() == 0);
    let seen = standing("ab", b"\x00\x00\x00\x07");
    assert_eq!(store.store(&seen, &range, 1, "note").await.unwrap(), NoteStored::Yes);
    assert_eq!(store.note(1).await.unwrap().as_deref(), Some("note"));
    assert_eq!(store.note(2).await.unwrap(), None);
    let lasts: (i64, i64) = (direct.ttl(keys::RANGE).await.unwrap(), direct.ttl(keys::NOTES).await.unwrap());
    assert_eq!(lasts, (-1, -1));
}

#[tokio::test]
async fn a_note_of_a_smaller_size_does_not_replace_a_larger_one() {
    let redis = RedisServer::start().await;
    let appender = appender(&redis.url());
    let store = CheckpointStore::new(appender.log().clone());
    let (mut small, mut large) = (CompactRange::new(), CompactRange::new());
    store.extend(&mut small, append(&appender, 2).await).await.unwrap();
    store.extend(&mut large, append(&appender, 300).await).await.unwrap();
    let (small, large_note, large) = (Edge::from(small), note_of(&large), Edge::from(large));
    assert_eq!(store.store(&[], &large, 1, &large_note).await.unwrap(), NoteStored::Yes);
    assert_eq!(store.store(&[], &small, 1, "small").await.unwrap(), NoteStored::Behind);
    assert_eq!(store.store(&[], &large, 2, "by another key").await.unwrap(), NoteStored::Yes);
    let notes = store.notes().await.unwrap();
    assert_eq!((notes[&1].as_str(), notes[&2].as_str(), notes.len()), (&*large_note, "by another key", 2));
    assert_eq!(store.edge(|_| true).await.unwrap(), large);
}
