//! An export verifies like the chain, and every change of it is found.

use audit_chain::checkpoint::{Checkpoint, CompactRange, SignatureLine, SignedNote};
use audit_chain::export::{ExportError, ExportHeader, ExportPages, ExportReport, verify_export};
use audit_chain::{Appender, Effect, EntryFault, Head, ReadError};
use serde_json::Value;
use test_support::RedisServer;

use crate::support::{ORIGIN, appender, event};

async fn chain(redis: &RedisServer, count: usize) -> (Appender, Head) {
    let appender = appender(&redis.url());
    for number in 0..count {
        appender.append(&event(&format!("tag/{number}")), Effect::none()).await.unwrap();
    }
    let head = appender.log().head().await.unwrap();
    (appender, head)
}

fn note(origin: &str, range: &CompactRange) -> String {
    let text = Checkpoint { origin: origin.to_owned(), size: range.size(), root: range.root() }.to_text();
    let line = SignatureLine::new(ORIGIN, [1; 4], vec![1; 64]).unwrap();
    SignedNote::new(text, vec![line]).unwrap().to_string()
}

async fn ranges(appender: &Appender, sizes: &[u64]) -> Vec<CompactRange> {
    let page = appender.log().entries(None, 1_000.try_into().unwrap()).await.unwrap();
    let upto = |size: &u64| {
        let mut range = CompactRange::new();
        page.events.iter().take(usize::try_from(*size).unwrap()).for_each(|entry| range.push(entry.hash));
        range
    };
    sizes.iter().map(upto).collect()
}

async fn export(appender: &Appender, head: Head, notes: Vec<String>, shows: fn(&str) -> bool) -> Vec<u8> {
    let header = ExportHeader::new(ORIGIN, head, "2026-02-16T12:00:00Z".to_owned(), notes, Vec::new());
    let mut file = header.to_line();
    let mut pages = ExportPages::new(appender.log().clone(), head);
    while let Some(lines) = pages.next(|event| shows(event.get())).await.unwrap() {
        file.extend(lines);
    }
    file
}

fn verify(file: &[u8]) -> ExportReport<String> {
    verify_export(file, |_, note| note.text().to_owned()).unwrap()
}

fn first_error(lines: &[String]) -> (u64, EntryFault) {
    let report = verify(lines.concat().as_bytes());
    assert!(!report.ok);
    let error = report.first_error.unwrap();
    (error.seq, error.why)
}

#[tokio::test]
async fn an_export_verifies_with_its_checkpoints_and_withheld_events() {
    let redis = RedisServer::start().await;
    let (appender, head) = chain(&redis, 40).await;
    let notes = ranges(&appender, &[40, 0, 7, 32]).await.iter().map(|range| note(ORIGIN, range)).collect();
    let file = export(&appender, head, notes, |event| event.contains("tag/1")).await;
    let report = verify(&file);
    assert!(report.ok, "{report:?}");
    assert_eq!((report.checked, report.shown), (40, 11), "tag/1 and tag/10 to tag/19 are shown");
    assert_eq!(report.header.head(), head);
    let sizes: Vec<_> = report.checkpoints.iter().map(|note| (note.size, note.contradicted)).collect();
    assert_eq!(sizes, [(Some(40), None), (Some(0), None), (Some(7), None), (Some(32), None)]);
    assert!(report.checkpoints[2].signature.as_ref().unwrap().contains("\n7\n"));
    let empty = verify(
        &export(&appender, Head { size: 0, hash: audit_chain::genesis_prev(ORIGIN) }, vec![], |_| true).await,
    );
    assert_eq!((empty.ok, empty.checked), (true, 0));
}

#[tokio::test]
async fn entries_appended_after_the_head_was_read_are_left_out() {
    let redis = RedisServer::start().await;
    let (appender, head) = chain(&redis, 5).await;
    appender.append(&event("tag/later"), Effect::none()).await.unwrap();
    let ranges = ranges(&appender, &[5, 6]).await;
    let notes = ranges.iter().map(|range| note(ORIGIN, range)).collect();
    let report = verify(&export(&appender, head, notes, |_| true).await);
    assert_eq!((report.ok, report.checked, report.checkpoints.len()), (true, 5, 1));
    let mut beyond = ExportPages::new(appender.log().clone(), Head { size: 9, ..head });
    assert!(beyond.next(|_| true).await.is_ok_and(|lines| lines.is_some()));
    assert!(matches!(beyond.next(|_| true).await, Err(ReadError::Damaged { seq: 6 })));
}

#[tokio::test]
async fn a_changed_line_is_reported_at_its_seq() {
    let redis = RedisServer::start().await;
    let (appender, head) = chain(&redis, 6).await;
    let file = String::from_utf8(export(&appender, head, vec![], |_| true).await).unwrap();
    let lines: Vec<String> = file.split_inclusive('\n').map(str::to_owned).collect();
    for at in 0..6_usize {
        let seq = at as u64;
        let changed = |change: &dyn Fn(&mut Vec<String>)| {
            let mut lines = lines.clone();
            change(&mut lines);
            first_error(&lines)
        };
        let edit =
            |from: &str, to: &str| changed(&|lines| lines[at + 1] = lines[at + 1].replacen(from, to, 1));
        assert_eq!(edit("tag/", "bag/"), (seq, EntryFault::Hash));
        assert_eq!(edit(&format!("\"seq\":{at}"), "\"seq\":77"), (seq, EntryFault::Hash));
        assert_eq!(edit("{\"seq\"", "{\"sec\""), (seq, EntryFault::NotAnEntry));
        assert_eq!(changed(&|lines| lines[at + 1] = "{}\n".to_owned()), (seq, EntryFault::NotAnEntry));
        let removed = changed(&|lines| drop(lines.remove(at + 1)));
        assert_eq!(removed, (seq, if at == 5 { EntryFault::Missing } else { EntryFault::Hash }));
        let ended = changed(&|lines| lines[at + 1] = lines[7].clone());
        assert_eq!(ended, (seq, EntryFault::Missing), "a last record instead of an entry");
        assert_eq!(
            changed(&|lines| lines.insert(at + 1, lines[(at + 3) % 6 + 1].clone())),
            (seq, EntryFault::Hash)
        );
    }
    let last =
        |change: &dyn Fn(&str) -> Vec<String>| first_error(&[&lines[..7], &change(&lines[7])].concat());
    assert_eq!(last(&|end| vec![lines[6].clone(), end.to_owned()]), (6, EntryFault::Surplus));
    assert_eq!(last(&|end| vec![end.to_owned(), lines[6].clone()]), (6, EntryFault::Surplus));
    assert_eq!(last(&|end| vec![end.to_owned(), end.to_owned()]), (6, EntryFault::Surplus));
    assert_eq!(last(&|end| vec![end.to_owned(), "\n".to_owned()]), (6, EntryFault::Surplus));
    assert_eq!(last(&|end| vec![end.replace("\"size\":6", "\"size\":5")]), (5, EntryFault::End));
    assert_eq!(last(&|end| vec![end.replace("true", "false")]), (5, EntryFault::End));
    assert_eq!(
        last(&|end| vec![end.replace(&head.hash.to_string(), &"ab".repeat(32))]),
        (5, EntryFault::End)
    );
    assert_eq!(last(&|_| vec!["{\"end\":true}\n".to_owned()]), (6, EntryFault::NotAnEntry));
}

/// At any length, except without its final line feed, the file is reported as cut and not as broken.
#[tokio::test]
async fn a_cut_export_is_neither_whole_nor_broken() {
    let redis = RedisServer::start().await;
    let (appender, head) = chain(&redis, 3).await;
    let ranges = ranges(&appender, &[2, 3]).await;
    let notes = ranges.iter().map(|range| note(ORIGIN, range)).collect();
    let file = export(&appender, head, notes, |event| event.contains("tag/1")).await;
    let header = file.iter().position(|byte| *byte == b'\n').unwrap();
    for length in header..file.len() - 1 {
        let report = verify(&file[..length]);
        assert_eq!((report.ok, report.is_cut, report.first_error), (false, true, None), "at {length}");
        assert!(report.checkpoints.iter().all(|note| note.contradicted.is_none()), "{report:?}");
    }
    for whole in [&file[..], &file[..file.len() - 1]] {
        let report = verify(whole);
        assert_eq!((report.ok, report.is_cut), (true, false));
    }
    let mut broken = file.clone();
    let at = broken.windows(5).position(|bytes| bytes == b"tag/1").unwrap();
    broken[at] = b'b';
    let report = verify(&broken[..file.len() - 3]);
    assert!(
        !report.is_cut && report.first_error.is_some(),
        "the wrong entry is reported, not the cut: {report:?}"
    );
    let older = String::from_utf8(file).unwrap().replacen("export/v2", "export/v1", 1);
    let error = verify_export(older.as_bytes(), |_, _| ()).unwrap_err().to_string();
    assert!(error.contains("no last record"), "{error}");
}

#[tokio::test]
async fn a_changed_header_is_reported() {
    let redis = RedisServer::start().await;
    let (appender, head) = chain(&redis, 3).await;
    let range = &ranges(&appender, &[3]).await[0];
    let file = export(&appender, head, vec![note(ORIGIN, range), note("elsewhere", range)], |_| true).await;
    let text = String::from_utf8(file).unwrap();
    let (first, entries) = text.split_once('\n').unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut header: Value = serde_json::from_str(first).unwrap();
        change(&mut header);
        verify(format!("{header}\n{entries}").as_bytes())
    };
    let error = |report: ExportReport<String>| report.first_error.map(|error| (error.seq, error.why));
    let report = with(&|_| {});
    assert!(report.ok);
    assert_eq!(report.checkpoints[0].contradicted, None);
    assert_eq!(report.checkpoints[1].contradicted, Some("it is of another origin"));
    assert_eq!(error(with(&|header| header["origin"] = "elsewhere".into())), Some((0, EntryFault::Hash)));
    assert_eq!(error(with(&|header| header["head"] = "ab".repeat(32).into())), Some((2, EntryFault::Head)));
    assert_eq!(error(with(&|header| header["size"] = 2.into())), Some((2, EntryFault::Surplus)));
    let short = with(&|header| header["size"] = 4.into());
    assert_eq!(short.first_error.map(|error| (error.seq, error.why)), Some((3, EntryFault::Missing)));
    let fewer = with(&|header| header["size"] = 2.into());
    assert_eq!(fewer.checkpoints[0].contradicted, Some("it is of more entries than the export has"));
}

#[tokio::test]
async fn a_checkpoint_with_another_root_or_after_the_first_error_is_contradicted() {
    let redis = RedisServer::start().await;
    let (appender, head) = chain(&redis, 8).await;
    let mut ranges = ranges(&appender, &[3, 8]).await;
    let mut other = CompactRange::new();
    (0..5).for_each(|_| other.push(head.hash));
    ranges.push(other);
    let notes = ranges.iter().map(|range| note(ORIGIN, range)).chain(["rubbish".to_owned()]).collect();
    let file = export(&appender, head, notes, |_| true).await;
    let contradictions = |report: ExportReport<String>| -> Vec<Option<&'static str>> {
        report.checkpoints.iter().map(|note| note.contradicted).collect()
    };
    let other_root = Some("the entries have another root at this size");
    let report = verify(&file);
    let unreadable: Vec<bool> = report.checkpoints.iter().map(|note| note.unreadable.is_some()).collect();
    assert_eq!(unreadable, [false, false, false, true]);
    assert_eq!(contradictions(report), [None, None, other_root, None]);
    let broken = String::from_utf8(file).unwrap().replacen("tag/6", "bag/6", 1);
    let report = verify(broken.as_bytes());
    assert_eq!(report.first_error.map(|error| error.seq), Some(6));
    let not_reached = Some("the entries were not verified up to this size");
    assert_eq!(contradictions(report), [None, not_reached, other_root, None]);
}

#[tokio::test]
async fn a_file_that_is_not_an_export_is_an_error_and_not_a_report() {
    for wrong in [
        "",
        "\n",
        "{}\n",
        "rubbish",
        r#"{"format":"other","origin":"o","size":0,"head":"","exported_at":"","checkpoints":[]}"#,
    ] {
        let read = verify_export(wrong.as_bytes(), |_, _| ());
        assert!(matches!(read, Err(ExportError::NotAnExport(_))), "{wrong:?}");
    }
    let endless = std::io::BufReader::new(std::io::repeat(b'x'));
    assert!(matches!(verify_export(endless, |_, _| ()), Err(ExportError::NotAnExport(_))));
}
