use audit_chain::{Hash, Head};

use super::*;

const ID: &str = "00112233445566778899aabbccddeeff";

fn head(size: u64, fill: u8) -> Head {
    Head { size, hash: Hash::from_bytes([fill; 32]) }
}

fn known(generation: u64, size: u64, fill: u8) -> Known {
    Known { generation, ..Known::initial(ID) }.with_head(Some(head(size, fill)))
}

#[test]
fn a_merge_keeps_the_highest_head_of_the_latest_generation() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path().join("state")).unwrap();
    assert_eq!(dir.known(ID).unwrap(), None);
    for (update, merged) in [
        (known(0, 7, 1), known(0, 7, 1)),
        (known(0, 6, 2), known(0, 7, 1)),
        (known(0, 7, 3), known(0, 7, 1)),
        (known(0, 9, 4), known(0, 9, 4)),
        (known(1, 3, 5), known(1, 3, 5)),
        (known(0, 99, 6), known(1, 3, 5)),
    ] {
        assert_eq!(dir.merge(update).unwrap(), merged);
        assert_eq!(dir.known(ID).unwrap(), Some(merged));
    }
    let epochs = dir.merge(Known { highest_epoch: 7, ..Known::initial(ID) }).unwrap();
    assert_eq!((epochs.size, epochs.highest_epoch), (3, 7));
    let files: Vec<_> = fs::read_dir(folder.path().join("state")).unwrap().collect();
    assert_eq!(files.len(), 2, "the file and its lock file: {files:?}");
}

#[test]
fn a_head_counts_in_its_own_generation_only() {
    assert_eq!(known(2, 7, 1).head_in(2), Ok(Some(head(7, 1))));
    assert_eq!(known(2, 7, 1).head_in(3), Ok(None), "a later generation may have a shorter chain");
    assert_eq!(known(2, 7, 1).head_in(1), Err(EarlierGeneration { found: 1, seen: 2 }));
    assert_eq!(Known::initial(ID).head_in(0), Ok(None));
}

#[test]
fn concurrent_writers_lose_no_maximum() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8_u64 {
            let dir = dir.clone();
            scope.spawn(move || {
                for step in 1..=10 {
                    dir.merge(known(0, step * 10 + writer, 1)).unwrap();
                }
            });
        }
    });
    assert_eq!(dir.known(ID).unwrap().unwrap().size, 107);
}

#[test]
fn concurrent_starts_do_not_remove_each_others_probe_files() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..20).for_each(|_| drop(StateDir::open(folder.path()).unwrap())));
        }
    });
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_error_of_an_unusable_directory_names_it_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    for (path, says) in [(file.join("below"), "cannot create"), (file.clone(), "cannot create")] {
        let error = StateDir::open(&path).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("file"), "{error}");
    }
    let damaged = folder.path().join("state");
    fs::create_dir(&damaged).unwrap();
    for bytes in ["", "{", "[]", "{\"size\":1}"] {
        fs::write(damaged.join(format!("{ID}.json")), bytes).unwrap();
        let error = StateDir::open(&damaged).unwrap_err().to_string();
        assert!(error.contains(ID) && error.contains("move it away"), "{error}");
    }
}

#[test]
fn a_deployment_id_cannot_be_a_path() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path()).unwrap();
    for id in ["", "../x", "A", "a/b", &"a".repeat(65)] {
        assert!(matches!(dir.known(id), Err(StateDirError::NotAnId(_))), "{id}");
    }
}

#[test]
fn a_merge_fails_if_another_process_holds_the_lock_for_too_long() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path()).unwrap();
    let held = files::lock(&folder.path().join(format!("{ID}.lock"))).unwrap();
    let error = dir.merge(known(0, 1, 1)).unwrap_err().to_string();
    assert!(error.contains("another process holds it"), "{error}");
    drop(held);
    dir.merge(known(0, 1, 1)).unwrap();
}
