//! How many connections the process's limit of file descriptors allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::num::NonZeroUsize;

/// Descriptors that connections never take: for the connections to each Redis and one more while they are made again, for
/// looking up its name, for the scrapes of `/metrics`, files, the listeners and the runtime itself.
const KEPT_BACK: u64 = 64;

/// The most connections, at most `wanted`, that leave descriptors for everything else. The soft limit is raised first, as
/// far as the hard one allows and `wanted` needs.
pub(crate) fn fit_connections(wanted: NonZeroUsize) -> NonZeroUsize {
    let needed = (wanted.get() as u64).saturating_add(KEPT_BACK);
    let limit = raised(needed);
    let fitted = fitted(wanted, limit);
    if fitted < wanted {
        tracing::warn!(
            max_connections = fitted.get(),
            wanted = wanted.get(),
            limit,
            "MAX_CONNECTIONS is lowered to what the limit of file descriptors (RLIMIT_NOFILE) allows"
        );
    }
    fitted
}

/// The soft limit, after raising it towards `needed`.
fn raised(needed: u64) -> u64 {
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
    let most = limit - KEPT_BACK.min(limit / 2);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    NonZeroUsize::new(most).map_or(NonZeroUsize::MIN, |most| most.min(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_everything_else() {
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
