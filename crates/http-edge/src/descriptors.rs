//! The number of connections that the limit of file descriptors allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::num::NonZeroUsize;

/// Descriptors reserved for other uses: connections to each Redis, including one more while they reconnect,
/// name lookups, scrapes of `/metrics`, files, listeners and the runtime.
const RESERVED: u64 = 64;

/// Returns the number of connections, at most `wanted`, that leaves descriptors for other uses. First raises
/// the soft limit as far as `wanted` needs and the hard limit allows.
pub(crate) fn fit_connections(wanted: NonZeroUsize) -> NonZeroUsize {
    let needed = (wanted.get() as u64).saturating_add(RESERVED);
    let limit = raise_limit(needed);
    let fitted = fitted(wanted, limit);
    if fitted < wanted {
        tracing::warn!(
            max_connections = fitted.get(),
            wanted = wanted.get(),
            limit,
            "MAX_CONNECTIONS lowered to what the limit of file descriptors (RLIMIT_NOFILE) allows"
        );
    }
    fitted
}

/// Raises the soft limit towards `needed`, and returns it.
fn raise_limit(needed: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(current) = current.filter(|current| *current < needed) else {
        return current.unwrap_or(u64::MAX);
    };
    let goal = maximum.map_or(needed, |maximum| maximum.min(needed));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(goal), maximum }) {
        Ok(()) => goal,
        Err(_) => current,
    }
}

fn fitted(wanted: NonZeroUsize, limit: u64) -> NonZeroUsize {
    let most = limit - RESERVED.min(limit / 2);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    NonZeroUsize::new(most).map_or(NonZeroUsize::MIN, |most| most.min(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_other_uses() {
        let wanted = NonZeroUsize::new(10_000).unwrap();
        for (limit, most) in [
            (u64::MAX, 10_000),
            (20_000, 10_000),
            (10_064, 10_000),
            (10_063, 9_999),
            (300, 236),
            (100, 50),
            (1, 1),
            (0, 1),
        ] {
            assert_eq!(fitted(wanted, limit).get(), most, "{limit}");
        }
    }
}
