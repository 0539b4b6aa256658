//! Verifying the chain without Redis: pure, one stored element at a time, so that a copy of the segments can
//! be verified anywhere.
//!
//! An element is `hash(32) ‖ payload`. Its hash must follow from its seq, the hash before it and its payload,
//! and the payload must be the canonical form of an event. The first element that fails is reported:
//!
//! - An entry that was changed, removed, swapped or inserted is reported with its own seq.
//! - If its hash was recomputed too, the entry after it is reported.
//! - If all following hashes were recomputed, only the head, or a head or checkpoint kept elsewhere, reveals
//!   it.

use crate::chain::hash::{Hash, entry_hash, genesis_prev, payload_hash};
use crate::chain::head::Head;
use crate::event::reader::{NotCanonical, read_canonical};
use serde::{Serialize, Serializer};

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// The head counts an entry here, and there is none.
    #[error("the entry is missing")]
    Missing,
    /// There is an entry after the end of the chain, or of a full segment.
    #[error("there is an entry that the chain does not count")]
    Surplus,
    /// The element is shorter than a hash.
    #[error("the entry is cut short")]
    Short,
    /// The stored hash does not follow from the seq, the hash before and the payload.
    #[error("the hash does not follow from the entry's place, the entry before and its payload")]
    Hash,
    /// The payload is not the canonical form of an event.
    #[error("the payload is {0}")]
    Payload(NotCanonical),
    /// A line of an export is not an entry.
    #[error("the line is not an entry")]
    NotAnEntry,
    /// The last record of an export differs from its first in size or head.
    #[error("the export's last record differs from its first line in size or head")]
    End,
    /// The head is not the hash of the last entry.
    #[error("the head is not the hash of the last entry")]
    Head,
}

impl Serialize for EntryFault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The first entry that does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("entry {seq}: {why}")]
pub struct VerifyError {
    /// The entry's place in the chain.
    pub seq: u64,
    /// What is wrong with it.
    pub why: EntryFault,
}

/// The result of verifying a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Whether the whole range verifies.
    pub ok: bool,
    /// Number of sound entries, from the start of the range to the first error.
    pub checked: u64,
    /// The head that the range was verified against: members `size` and `head`.
    #[serde(flatten)]
    pub head: Head,
    /// The first entry that does not verify.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_error: Option<VerifyError>,
}

/// Verifies stored elements, given in order.
///
/// ```
/// use audit_chain::{Details, EntryFault, Event, Head, NewEvent, Verifier};
/// use audit_chain::{entry_hash, genesis_prev, payload_hash};
///
/// let what = NewEvent {
///     tenant: "acme".into(),
///     actor: "key/7f3a".into(),
///     action: "product.created".into(),
///     resource: "product/42".into(),
///     request_id: "req-1".into(),
///     ip: None,
///     details: Details::new(),
/// };
/// let event = Event::new(1_771_243_200_000, ambient::uuid_v7(1_771_243_200_000), [7; 16], what)?;
///
/// // A stored element is the entry's hash and its payload.
/// let origin = "example.com/audit";
/// let hash = entry_hash(0, &genesis_prev(origin), &payload_hash(event.payload()));
/// let element = [&hash.as_bytes()[..], event.payload()].concat();
///
/// let mut verifier = Verifier::from_genesis(origin);
/// verifier.push(&element)?;
/// verifier.expect_head(Head { size: 1, hash })?;
///
/// // A changed payload is found at its seq.
/// let mut tampered = element.clone();
/// *tampered.last_mut().unwrap() ^= 1;
/// let error = Verifier::from_genesis(origin).push(&tampered).unwrap_err();
/// assert_eq!((error.seq, error.why), (0, EntryFault::Hash));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Verifier {
    start: u64,
    next: Head,
}

impl Verifier {
    /// Begins with the first entry of the chain named `origin`.
    #[must_use]
    pub fn from_genesis(origin: &str) -> Self {
        Self::following(Head { size: 0, hash: genesis_prev(origin) })
    }

    /// Begins with the entry after `head`: its seq is `head.size`, and its previous hash is `head.hash`.
    #[must_use]
    pub fn following(head: Head) -> Self {
        Self { start: head.size, next: head }
    }

    /// Returns the seq of the next element.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next.size
    }

    /// Returns the head of the chain as far as it is verified.
    #[must_use]
    pub fn reached(&self) -> Head {
        self.next
    }

    /// Verifies the next element.
    ///
    /// # Errors
    /// What is wrong with it. Nothing after it can be verified.
    pub fn push(&mut self, element: &[u8]) -> Result<(), VerifyError> {
        let fail = |why| Err(VerifyError { seq: self.next.size, why });
        let Some((stored, payload)) = element.split_first_chunk() else {
            return fail(EntryFault::Short);
        };
        self.link(&payload_hash(payload), &Hash::from_bytes(*stored), Some(payload))
    }

    /// Verifies the next entry, given in parts. Where the payload is withheld, its hash stands for it.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_hashed(
        &mut self,
        hashed: &Hash,
        stored: &Hash,
        payload: Option<&[u8]>,
    ) -> Result<(), VerifyError> {
        if payload.is_some_and(|payload| payload_hash(payload) != *hashed) {
            return Err(VerifyError { seq: self.next.size, why: EntryFault::Hash });
        }
        self.link(hashed, stored, payload)
    }

    /// `hashed` must be the hash of `payload`, if that is given.
    fn link(&mut self, hashed: &Hash, stored: &Hash, payload: Option<&[u8]>) -> Result<(), VerifyError> {
        let fail = |why| Err(VerifyError { seq: self.next.size, why });
        if entry_hash(self.next.size, &self.next.hash, hashed) != *stored {
            return fail(EntryFault::Hash);
        }
        if let Some(Err(error)) = payload.map(|payload| read_canonical(payload, |_, _| ())) {
            return fail(EntryFault::Payload(error));
        }
        self.next = Head { size: self.next.size + 1, hash: *stored };
        Ok(())
    }

    /// Compares the verified entries with `head`, if they reach as far.
    ///
    /// # Errors
    /// [`EntryFault::Head`] at the last entry, or [`EntryFault::Surplus`] at the first entry that `head` does
    /// not count.
    pub fn expect_head(&self, head: Head) -> Result<(), VerifyError> {
        if self.next.size > head.size {
            return Err(VerifyError { seq: head.size, why: EntryFault::Surplus });
        }
        if self.next.size == head.size && self.next.hash != head.hash {
            return Err(VerifyError { seq: head.size.saturating_sub(1), why: EntryFault::Head });
        }
        Ok(())
    }

    /// Makes the report from the first error, if there was one.
    #[must_use]
    pub fn report(&self, head: Head, first_error: Option<VerifyError>) -> VerifyReport {
        VerifyReport { ok: first_error.is_none(), checked: self.next.size - self.start, head, first_error }
    }
}

/// Verifies a whole chain against its head. `elements` are its stored elements, in order.
pub fn verify_elements<E: AsRef<[u8]>>(
    origin: &str,
    head: Head,
    elements: impl IntoIterator<Item = E>,
) -> VerifyReport {
    let mut verifier = Verifier::from_genesis(origin);
    let verify = || {
        elements.into_iter().try_for_each(|element| verifier.push(element.as_ref()))?;
        if verifier.next_seq() < head.size {
            return Err(VerifyError { seq: verifier.next_seq(), why: EntryFault::Missing });
        }
        verifier.expect_head(head)
    };
    let first_error = verify().err();
    verifier.report(head, first_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::event::new_event::NewEvent;
    use uuid::Uuid;

    const ORIGIN: &str = "voketag.local/audit";

    /// Makes a chain without using [`Verifier`].
    fn chain(length: u64) -> (Head, Vec<Vec<u8>>) {
        let mut prev = genesis_prev(ORIGIN);
        let mut elements = Vec::new();
        for seq in 0..length {
            let what = NewEvent { resource: format!("tag/{seq}"), ..NewEvent::sample() };
            let id = Uuid::from_u128(0x019c6652_5e00_7000_8000_000000000000 + u128::from(seq));
            let event = Event::new(1_771_243_200_000 + seq, id, [0; 16], what).unwrap();
            prev = entry_hash(seq, &prev, &payload_hash(event.payload()));
            elements.push([&prev.as_bytes()[..], event.payload()].concat());
        }
        (Head { size: length, hash: prev }, elements)
    }

    fn first_error(head: Head, elements: &[Vec<u8>]) -> (u64, EntryFault) {
        let report = verify_elements(ORIGIN, head, elements);
        assert!(!report.ok);
        let error = report.first_error.unwrap();
        (error.seq, error.why)
    }

    #[test]
    fn an_unchanged_chain_verifies() {
        for length in [0, 1, 9] {
            let (head, elements) = chain(length);
            let report = verify_elements(ORIGIN, head, &elements);
            assert_eq!(report, VerifyReport { ok: true, checked: length, head, first_error: None });
        }
    }

    #[test]
    fn the_published_vectors_verify() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../../docs/vectors.json")).unwrap();
        let audit = &vectors["audit"];
        let mut verifier = Verifier::from_genesis(audit["origin"].as_str().unwrap());
        for entry in audit["entries"].as_array().unwrap() {
            let hash = hex::decode(entry["hash"].as_str().unwrap()).unwrap();
            verifier.push(&[&hash, entry["canonical"].as_str().unwrap().as_bytes()].concat()).unwrap();
        }
        assert_eq!(verifier.next_seq(), 4);
    }

    #[test]
    fn tampering_is_reported_at_the_first_wrong_seq() {
        let (head, good) = chain(9);
        for at in 0..9_usize {
            let seq = at as u64;
            let mut tampered = good.clone();
            let last = tampered[at].len() - 3;
            tampered[at][last] ^= 1;
            assert_eq!(first_error(head, &tampered), (seq, EntryFault::Hash));

            let mut removed = good.clone();
            removed.remove(at);
            let why = if at == 8 { EntryFault::Missing } else { EntryFault::Hash };
            assert_eq!(first_error(head, &removed), (seq, why));

            let mut inserted = good.clone();
            inserted.insert(at, good[(at + 3) % 9].clone());
            assert_eq!(first_error(head, &inserted), (seq, EntryFault::Hash));

            let mut short = good.clone();
            short[at].truncate(31);
            assert_eq!(first_error(head, &short), (seq, EntryFault::Short));
        }
        for at in 0..8 {
            let mut swapped = good.clone();
            swapped.swap(at, at + 1);
            assert_eq!(first_error(head, &swapped), (at as u64, EntryFault::Hash));
        }
    }

    #[test]
    fn a_head_that_does_not_match_the_entries_is_reported() {
        let (head, elements) = chain(3);
        let other = Head { hash: Hash::from_bytes([1; 32]), ..head };
        assert_eq!(first_error(other, &elements), (2, EntryFault::Head));
        assert_eq!(first_error(Head { size: 2, ..head }, &elements), (2, EntryFault::Surplus));
        assert_eq!(first_error(Head { size: 4, ..head }, &elements), (3, EntryFault::Missing));
    }

    #[test]
    fn a_payload_that_is_not_a_canonical_event_is_reported() {
        let payload = br#"{"b":1,"a":2}"#;
        let hash = entry_hash(0, &genesis_prev(ORIGIN), &payload_hash(payload));
        let element = [&hash.as_bytes()[..], payload].concat();
        let (seq, why) = first_error(Head { size: 1, hash }, &[element]);
        assert_eq!(seq, 0);
        assert!(matches!(why, EntryFault::Payload(NotCanonical { at: 0, .. })));
    }

    #[test]
    fn a_range_is_verified_from_the_hash_before_it() {
        let (head, elements) = chain(9);
        let (before, _) = chain(5);
        let mut verifier = Verifier::following(before);
        elements[5..].iter().for_each(|element| verifier.push(element).unwrap());
        assert_eq!(verifier.expect_head(head), Ok(()));
        assert_eq!(verifier.report(head, None).checked, 4);
    }

    #[test]
    fn a_report_is_serialized_flat() {
        let head = Head { size: 2, hash: Hash::from_bytes([0xab; 32]) };
        let first_error = Some(VerifyError { seq: 1, why: EntryFault::Missing });
        let report = VerifyReport { ok: false, checked: 1, head, first_error };
        let json = serde_json::to_value(report).unwrap();
        let expected = serde_json::json!({
            "ok": false, "checked": 1, "size": 2, "head": "ab".repeat(32),
            "first_error": {"seq": 1, "why": "the entry is missing"},
        });
        assert_eq!(json, expected);
    }
}
