//! The one loop that changes stored records: read, compute the change, append it with its event, and try
//! again if others changed the record meanwhile.

use std::time::Duration;

use ambient::{Clock, entropy};

/// How long an update is tried. Each attempt has the deadlines of its own Redis calls.
const UPDATE_WITHIN: Duration = Duration::from_secs(2);
/// Attempts that every update gets, even if they take longer than [`UPDATE_WITHIN`] over a slow connection.
const LEAST_ATTEMPTS: u32 = 5;
/// Pause before the second attempt, about as long as an append takes. It doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// Jitter of a pause, in thousandths. It separates callers that collided.
const PAUSE_JITTER: u16 = 800;

/// The outcome of an attempt, and of all attempts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Update<T> {
    /// The change is written, or nothing had to change.
    Done(T),
    /// Others changed the same thing since it was read. Nothing was written.
    Overtaken,
}

/// Calls `attempt` until it is done, with a growing, jittered pause between attempts. Returns
/// [`Update::Overtaken`] if it was overtaken five times or more, for two seconds or more.
///
/// # Errors
/// The first error of an attempt.
pub(crate) async fn update<T, E, F>(clock: &dyn Clock, attempt: impl Fn() -> F) -> Result<Update<T>, E>
where
    F: Future<Output = Result<Update<T>, E>>,
{
    let mut backoff = Backoff::start(clock.monotonic());
    loop {
        if let Update::Done(value) = attempt().await? {
            return Ok(Update::Done(value));
        }
        let Some(pause) = backoff.next_pause(clock.monotonic()) else { return Ok(Update::Overtaken) };
        tokio::time::sleep(pause).await;
    }
}

/// The pauses of one update.
#[derive(Debug)]
struct Backoff {
    deadline: Duration,
    /// Attempts that begin whether or not the deadline has passed.
    attempts_due: u32,
    pause: Duration,
}

impl Backoff {
    /// `now` is monotonic, here and in [`Self::next_pause`].
    fn start(now: Duration) -> Self {
        Self { deadline: now + UPDATE_WITHIN, attempts_due: LEAST_ATTEMPTS - 1, pause: FIRST_PAUSE }
    }

    /// Returns the pause before the next attempt, `None` if that attempt is not due and would begin after the
    /// deadline.
    fn next_pause(&mut self, now: Duration) -> Option<Duration> {
        let pause = entropy::jittered(self.pause, PAUSE_JITTER);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let due = self.attempts_due > 0;
        self.attempts_due = self.attempts_due.saturating_sub(1);
        (due || now + pause < self.deadline).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use ambient::ManualClock;

    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_end_at_the_deadline() {
        let clock = ManualClock::new();
        let start = clock.monotonic();
        let mut backoff = Backoff::start(start);
        let mut pauses = Vec::new();
        while let Some(pause) = backoff.next_pause(clock.monotonic()) {
            clock.advance(pause);
            pauses.push(pause);
        }
        assert!(clock.monotonic() - start < UPDATE_WITHIN);
        assert!(pauses[0] <= FIRST_PAUSE * 9 / 5, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE * 9 / 5), "{pauses:?}");
        // Each pause is at least a fifth of its mean: 20 ms after the first few.
        assert!((10..110).contains(&pauses.len()), "{pauses:?}");
        let distinct: std::collections::HashSet<_> = pauses.iter().collect();
        assert!(distinct.len() > 2, "pauses are jittered: {pauses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_updates_of_one_record_all_succeed() {
        let (clock, record) = (Arc::new(ManualClock::new()), Arc::new(AtomicU32::new(0)));
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let (clock, record) = (Arc::clone(&clock), Arc::clone(&record));
                tokio::spawn(async move {
                    update(&*clock, || async {
                        let read = record.load(Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        let written =
                            record.compare_exchange(read, read + 1, Ordering::SeqCst, Ordering::SeqCst);
                        Ok::<_, Infallible>(written.map_or(Update::Overtaken, Update::Done))
                    })
                    .await
                })
            })
            .collect();
        for task in tasks {
            assert!(matches!(task.await.unwrap(), Ok(Update::Done(_))));
        }
        assert_eq!(record.load(Ordering::SeqCst), 64);
    }

    #[tokio::test(start_paused = true)]
    async fn an_update_that_is_always_overtaken_ends_after_its_deadline_and_five_attempts() {
        for (took, expected) in [(Duration::from_millis(250), 8), (Duration::from_secs(60), LEAST_ATTEMPTS)] {
            let (clock, attempts) = (ManualClock::new(), AtomicU32::new(0));
            let ended = update(&clock, || async {
                attempts.fetch_add(1, Ordering::SeqCst);
                clock.advance(took);
                Ok::<_, Infallible>(Update::<()>::Overtaken)
            });
            assert_eq!(ended.await, Ok(Update::Overtaken));
            assert_eq!(attempts.load(Ordering::SeqCst), expected, "{took:?} each");
        }
    }

    #[tokio::test]
    async fn an_error_ends_the_update_at_once() {
        let ended = update(&ManualClock::new(), || async { Err::<Update<()>, _>("fault") }).await;
        assert_eq!(ended, Err("fault"));
    }
}
