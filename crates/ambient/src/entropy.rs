//! Randomness: a thread-local CSPRNG seeded by the operating system (the `rand` crate's `ThreadRng`).

use rand::RngExt;
use uuid::{Builder, Uuid};

/// `N` random bytes, fit for nonces and secrets.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the one source the others are banned in favour of")]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    rand::rng().random()
}

/// A random 64-bit number, for jitter and seeds.
#[must_use]
pub fn random_u64() -> u64 {
    u64::from_be_bytes(random_bytes())
}

/// `span` spread evenly over `1 − permille/1000 ..= 1 + permille/1000` of itself.
#[must_use]
pub fn jittered(span: std::time::Duration, permille: u16) -> std::time::Duration {
    let permille = u64::from(permille.min(1_000));
    let factor = 1_000 - permille + random_u64() % (2 * permille + 1);
    span.mul_f64(factor as f64 / 1_000.0)
}

/// A version 7 UUID (RFC 9562 §5.7): the given time in Unix milliseconds, then 74 random bits.
#[must_use]
pub fn uuid_v7(unix_millis: u64) -> Uuid {
    uuid_v7_from(unix_millis, random_bytes())
}

/// A version 7 UUID from a time and the bits that follow it, so that the same id can be made again.
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
    fn uuids_are_version_7_distinct_and_carry_their_time() {
        let ids: HashSet<Uuid> = (0..1_000).map(|_| uuid_v7(1_771_243_200_000)).collect();
        assert_eq!(ids.len(), 1_000);
        for id in ids {
            assert_eq!(id.get_version_num(), 7);
            assert!(id.to_string().starts_with("019c6652-5e00-7"));
        }
    }

    #[test]
    fn the_same_bits_make_the_same_uuid() {
        assert_eq!(uuid_v7_from(9, [7; 10]), uuid_v7_from(9, [7; 10]));
        assert_ne!(uuid_v7_from(9, [7; 10]), uuid_v7_from(9, [8; 10]));
    }

    #[test]
    fn jitter_stays_within_its_band_and_varies() {
        let drawn: HashSet<Duration> = (0..200).map(|_| jittered(Duration::from_secs(10), 200)).collect();
        assert!(drawn.len() > 50);
        assert!(drawn.iter().all(|d| (8.0..=12.0).contains(&d.as_secs_f64())));
    }
}
