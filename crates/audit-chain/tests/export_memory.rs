//! An export is verified in constant memory: a process of its own reads a file far larger than its memory
//! bound.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufReader, Read};

use audit_chain::export::{FORMAT, end_line, verify_export};
use audit_chain::{Details, Event, Hash, Head, NewEvent, entry_hash, genesis_prev, payload_hash};
use serde_json::json;

const ORIGIN: &str = "voketag.local/audit";

/// About 30 MB of lines.
const ENTRIES: u64 = 12_000;

/// Most memory, in KiB, that the process may gain.
const MAX_GROWTH_KIB: u64 = 2 * 1024;

/// An export that is generated line by line.
struct Lines {
    line: Vec<u8>,
    at: usize,
    seq: u64,
    prev: Hash,
    given: u64,
    has_ended: bool,
}

fn event(seq: u64) -> Event {
    let what = NewEvent {
        tenant: "default".into(),
        actor: "key/1".into(),
        action: "tag.revoked".into(),
        resource: format!("tag/{seq}"),
        request_id: "r".into(),
        ip: None,
        details: Details::new().with("reason", "x".repeat(2_000)),
    };
    let id = uuid::Uuid::from_u128(0x019c6652_5e00_7000_8000_000000000000 + u128::from(seq));
    Event::new(1_771_243_200_000 + seq, id, [0; 16], what).unwrap()
}

fn hash_of(seq: u64, prev: &Hash) -> (Hash, Hash) {
    let hashed = payload_hash(event(seq).payload());
    (hashed, entry_hash(seq, prev, &hashed))
}

impl Lines {
    fn new(head: Hash) -> Self {
        let header = json!({
            "format": FORMAT, "origin": ORIGIN, "size": ENTRIES, "head": head,
            "exported_at": "2026-02-16T12:00:00Z", "checkpoints": [],
        });
        Self {
            line: format!("{header}\n").into_bytes(),
            at: 0,
            seq: 0,
            prev: genesis_prev(ORIGIN),
            given: 0,
            has_ended: false,
        }
    }

    fn step(&mut self) {
        let (hashed, hash) = hash_of(self.seq, &self.prev);
        let event = event(self.seq);
        let event = std::str::from_utf8(event.payload()).unwrap();
        let (seq, prev) = (self.seq, self.prev);
        self.line = format!(
            "{{\"seq\":{seq},\"prev\":\"{prev}\",\"payload_hash\":\"{hashed}\",\
             \"hash\":\"{hash}\",\"event\":{event}}}\n"
        )
        .into_bytes();
        (self.at, self.seq, self.prev) = (0, seq + 1, hash);
    }
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.line.len() && self.seq < ENTRIES {
            self.step();
        } else if self.at == self.line.len() && !std::mem::replace(&mut self.has_ended, true) {
            (self.line, self.at) = (end_line(Head { size: ENTRIES, hash: self.prev }), 0);
        }
        let count = buffer.len().min(self.line.len() - self.at);
        buffer[..count].copy_from_slice(&self.line[self.at..self.at + count]);
        self.at += count;
        self.given += count as u64;
        Ok(count)
    }
}

/// The highest memory use of this process so far, in KiB.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn memory_does_not_grow_with_the_export() {
    let head = (0..ENTRIES).fold(genesis_prev(ORIGIN), |prev, seq| hash_of(seq, &prev).1);
    let mut reader = BufReader::new(Lines::new(head));
    let before = peak_kib();
    let report = verify_export(&mut reader, |_, _| ()).unwrap();
    let (grown, read) = (peak_kib() - before, reader.get_ref().given);
    assert!(report.ok && report.checked == ENTRIES, "{:?}", report.first_error);
    println!("verified {} MB in {grown} KiB", read / 1_000_000);
    assert!(read / 1024 > 10 * MAX_GROWTH_KIB && grown <= MAX_GROWTH_KIB, "{grown} KiB for {read} bytes");
}
