//! A circuit breaker around any future, here a TCP connection to an address that refuses it.
//!
//! ```text
//! cargo run -p circuit-breaker --example around_a_future [address]
//! ```
//!
//! The first five attempts fail and open the breaker. The attempts after that return at once, without a
//! connection, and say when the next probe may start.

use std::future::Future;
use std::time::Duration;

use ambient::{Clock, SystemClock, entropy};
use circuit_breaker::{Breaker, BreakerConfig, Rejected};
use tokio::net::TcpStream;

/// The time after which an attempt counts as a failure.
const TIMEOUT: Duration = Duration::from_millis(200);

/// Why a call returned no value.
#[derive(Debug)]
enum CallError<E> {
    /// The breaker is open: no call was made.
    Rejected(Rejected),
    /// The call took longer than [`TIMEOUT`].
    TimedOut,
    /// The call failed.
    Failed(E),
}

/// Runs `call` if the breaker lets it through, and reports its outcome to the breaker.
///
/// If the caller drops this future, the permit is dropped with it and counts as neither success nor failure.
async fn guarded<T, E>(
    breaker: &Breaker,
    clock: &impl Clock,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, CallError<E>> {
    let permit = breaker.try_acquire(clock.monotonic()).map_err(CallError::Rejected)?;
    match tokio::time::timeout(TIMEOUT, call).await {
        Ok(Ok(value)) => {
            permit.success(clock.monotonic());
            Ok(value)
        }
        Ok(Err(error)) => {
            permit.failure(clock.monotonic());
            Err(CallError::Failed(error))
        }
        Err(_) => {
            permit.failure(clock.monotonic());
            Err(CallError::TimedOut)
        }
    }
}

#[tokio::main]
async fn main() {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9".to_owned());
    let clock = SystemClock::new();
    // The contract sets the probe timeout to twice the timeout of a call.
    let breaker = Breaker::new(BreakerConfig::new(TIMEOUT * 2), u64::from_le_bytes(entropy::random_bytes()));
    for attempt in 1..=7 {
        match guarded(&breaker, &clock, TcpStream::connect(&address)).await {
            Ok(_) => println!("attempt {attempt}: connected to {address}"),
            Err(CallError::Failed(error)) => println!("attempt {attempt}: failed: {error}"),
            Err(CallError::TimedOut) => println!("attempt {attempt}: no connection within {TIMEOUT:?}"),
            Err(CallError::Rejected(rejected)) => {
                println!(
                    "attempt {attempt}: not made, the next probe may start in {:?}",
                    rejected.retry_after
                );
            }
        }
    }
    println!("the breaker is {:?}", breaker.state());
}
