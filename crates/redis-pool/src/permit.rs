//! The permits that a caller holds across several commands.

use std::fmt;
use std::sync::Arc;

use deadpool::managed::Object;

use crate::connections::HandleManager;

/// A permit that is taken, or several joined. It is given back when it was dropped and every command sent with it is over.
#[derive(Debug)]
#[must_use]
pub struct PoolPermit(pub(crate) Arc<Held>);

/// The permits of one permit.
pub(crate) struct Held {
    pub(crate) first: Object<HandleManager>,
    pub(crate) joined: Vec<Object<HandleManager>>,
    /// Which pool they are of.
    pub(crate) pool: usize,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("permits", &(1 + self.joined.len())).finish_non_exhaustive()
    }
}

impl PoolPermit {
    /// Joins another permit of the same pool to this one.
    ///
    /// # Panics
    /// When one of them was used already, or is of another pool.
    pub fn join(&mut self, other: Self) {
        let used = "a permit is joined before it is used";
        assert_eq!(self.0.pool, other.0.pool, "permits of one pool are joined");
        let Held { first, joined, .. } = Arc::into_inner(other.0).expect(used);
        let own = Arc::get_mut(&mut self.0).expect(used);
        own.joined.push(first);
        own.joined.extend(joined);
    }
}
