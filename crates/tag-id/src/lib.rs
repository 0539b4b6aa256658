//! Tag ids that carry a proof of authenticity (the public contract, docs/contract.md §2).
//!
//! A tag id is a UUIDv8 made of a key epoch, a hidden serial (batch number and index) and a MAC over both.
//! The holder of the master secret of an epoch can mint ids and open them. A forged id is rejected by
//! computation alone, without access to any store. This crate reads no clock, no randomness and no
//! environment.
//!
//! An id is read in two steps, so that two kinds of rejection stay apart. [`TagId::parse`] fails if the text
//! does not have the form of an id. [`TagKeys::open`] returns `None` if a well-formed id is not authentic.

mod epoch_keys;
mod numbers;
mod secret;
mod tag_keys;
mod text;

pub use numbers::{BatchNo, Epoch, TagIndex};
pub use secret::{MasterSecret, SecretError};
pub use tag_keys::{AuthenticId, MintError, Minter, Opened, TagKeys};
pub use text::{Crockford, ParseError, TagId};
