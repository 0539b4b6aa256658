//! Randomness: a thread-local CSPRNG seeded by the operating system (the `rand` crate's `ThreadRng`).

use rand::RngExt;
use uuid::{Builder, Uuid};

/// Returns `N` random bytes, fit for nonces and secrets.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "all other code reads randomness through this function")]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    rand::rng().random()
}

/// Returns a random 64-bit number, for jitter and seeds.
#[must_use]
pub fn random_u64() -> u64 {
    u64::from_be_bytes(random_bytes())
}

/// Returns `span` times a random factor, uniform in `1 − permille/1000 ..= 1 + permille/1000`.
#[must_use]
pub fn jittered(span: std::time::Duration, permille: u16) -> std::time::Duration {
    let permille = u64::from(permille.min(1_000));
    let factor = 1_000 - permille + random_u64() % (2 * permille + 1);
    span.mul_f64(factor as f64 / 1_000.0)
}

/// Returns a version 7 UUID (RFC 9562 §5.7): the given time in Unix milliseconds, then 74 random bits.
#[must_use]
pub fn uuid_v7(unix_millis: u64) -> Uuid {
    uuid_v7_from(unix_millis, random_bytes())
}

/// Returns the version 7 UUID of a time and random bits, so that a caller can compute the same id again.
#[must_use]
pub fn uuid_v7_from(unix_millis: u64, random: [u8; 10]) -> Uuid {
    Builder::from_unix_timestamp_millis(unix_millis, &random).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::time::Duration;

    #[test]
    fn uuids_are_distinct_have_version_7_and_hold_their_time() {
        let ids: HashSet<Uuid> = (0..1_000).map(|_| uuid_v7(1_771_243_200_000)).collect();
        assert_eq!(ids.len(), 1_000);
        for id in ids {
            assert_eq!(id.get_version_num(), 7);
            assert!(id.to_string().starts_with("019c6652-5e00-7"));
        }
    }

    #[test]
    fn the_same_bits_give_the_same_uuid() {
        assert_eq!(uuid_v7_from(9, [7; 10]), uuid_v7_from(9, [7; 10]));
        assert_ne!(uuid_v7_from(9, [7; 10]), uuid_v7_from(9, [8; 10]));
    }

    #[test]
    fn jitter_varies_within_its_bounds() {
        let drawn: HashSet<Duration> = (0..200).map(|_| jittered(Duration::from_secs(10), 200)).collect();
        assert!(drawn.len() > 50);
        assert!(drawn.iter().all(|d| (8.0..=12.0).contains(&d.as_secs_f64())));
    }
}
