//! Tag ids that prove themselves (the public contract, docs/contract.md §2).
//!
//! A tag id is a UUIDv8 made of a key epoch, a hidden serial (batch number and index) and a MAC over both. Who
//! holds the epoch's master secret can mint ids and open them again; a forged id is refused by arithmetic
//! alone, without asking any store. This crate reads no clock, no randomness, no environment.
//!
//! From text to meaning in two steps, so that the two refusals stay apart: [`TagId::parse`] fails when the text
//! is not an id in an accepted form; [`TagKeys::open`] is `None` when a well-formed id does not prove itself.

mod epoch_keys;
mod numbers;
mod secret;
mod tag_keys;
mod text;

pub use numbers::{BatchNo, Epoch, TagIndex};
pub use secret::{MasterSecret, SecretError};
pub use tag_keys::{AuthenticId, MintError, Minter, Opened, TagKeys};
pub use text::{Crockford, ParseError, TagId};
