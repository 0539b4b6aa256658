//! Permits that a caller holds across several commands.

use std::fmt;
use std::sync::Arc;

use deadpool::managed::Object;

use crate::connections::HandleManager;

/// One or more acquired permits of a pool. They are released when this value is dropped and every command
/// sent with it has ended.
#[derive(Debug)]
#[must_use]
pub struct PoolPermit(pub(crate) Arc<Held>);

/// The permits behind one [`PoolPermit`].
pub(crate) struct Held {
    pub(crate) first: Object<HandleManager>,
    pub(crate) joined: Vec<Object<HandleManager>>,
    /// Identifies their pool.
    pub(crate) pool: usize,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("permits", &(1 + self.joined.len())).finish_non_exhaustive()
    }
}

impl PoolPermit {
    /// Adds the permits of `other` to this value, so that one command holds them all.
    ///
    /// # Panics
    /// If one of them has been used already, or belongs to another pool.
    pub fn join(&mut self, other: Self) {
        let used = "a permit is joined before it is used";
        assert_eq!(self.0.pool, other.0.pool, "permits of one pool are joined");
        let Held { first, joined, .. } = Arc::into_inner(other.0).expect(used);
        let own = Arc::get_mut(&mut self.0).expect(used);
        own.joined.push(first);
        own.joined.extend(joined);
    }
}
