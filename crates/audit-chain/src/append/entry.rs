//! An event prepared for the script.

use crate::chain::hash::{HASH_BYTES, Hash, payload_hash};
use crate::effect::Effect;
use crate::event::Event;

/// An event that is hashed but not chained yet, with its effect.
#[derive(Debug)]
pub(crate) struct PreparedEntry {
    pub(crate) id: [u8; 16],
    pub(crate) payload_hash: Hash,
    /// What is stored: room for the entry's hash, then the payload.
    element: Vec<u8>,
    effect: Effect,
    bytes: usize,
}

impl PreparedEntry {
    pub(crate) fn new(event: &Event, effect: Effect) -> Self {
        let mut element = Vec::with_capacity(HASH_BYTES + event.payload().len());
        element.resize(HASH_BYTES, 0);
        element.extend_from_slice(event.payload());
        let bytes = element.len() + effect.bytes();
        Self {
            id: event.id().into_bytes(),
            payload_hash: payload_hash(event.payload()),
            element,
            effect,
            bytes,
        }
    }

    pub(crate) fn effect(&self) -> &Effect {
        &self.effect
    }

    pub(crate) fn element(&self) -> &[u8] {
        &self.element
    }

    /// Returns what the entry adds to a call, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Chains the entry. It can be chained again when its call was not written.
    pub(crate) fn set_hash(&mut self, hash: &Hash) {
        self.element[..HASH_BYTES].copy_from_slice(hash.as_bytes());
    }

    pub(crate) fn hash(&self) -> Hash {
        let mut hash = [0; HASH_BYTES];
        hash.copy_from_slice(&self.element[..HASH_BYTES]);
        Hash::from_bytes(hash)
    }
}
