//! Panics: one in a handler becomes an error of its request, any other becomes one log line.
//!
//! [`guard`] catches panics of the future that it polls, and sets a thread-local flag meanwhile. With the
//! flag set, the hook of [`install_hook`] only records the place: the edge logs the panic with the request
//! id. Otherwise, e.g. in a background task, the hook logs the panic. Without the hook, as in tests, the
//! standard hook also prints it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::pin;
use std::task::Poll;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic of a handler. Only for the log.
#[derive(Debug, thiserror::Error)]
#[error("panicked at {place}: {message}")]
pub(crate) struct Panicked {
    place: String,
    message: String,
}

struct Guarded(bool);

impl Guarded {
    fn enter() -> Self {
        Self(GUARDED.replace(true))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        GUARDED.set(self.0);
    }
}

/// Runs `future`. Returns a panic inside it as an error.
pub(crate) async fn guard<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let guarded = Guarded::enter();
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        drop(guarded);
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(payload) => Poll::Ready(Err(Panicked {
                place: PLACE.take().unwrap_or_else(|| "an unknown place".to_owned()),
                message: message_of(payload.as_ref()),
            })),
        }
    })
    .await
}

/// Makes every panic of the process one log line instead of text on stderr.
pub(crate) fn install_hook() {
    std::panic::set_hook(Box::new(|info| {
        let place = place_of(info);
        if GUARDED.get() {
            PLACE.set(Some(place));
        } else {
            tracing::error!(place, message = message_of(info.payload()), "a task panicked");
        }
    }));
}

fn place_of(info: &PanicHookInfo<'_>) -> String {
    info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string)
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a payload that is not text".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_after_a_suspension_is_an_error_and_clears_the_flag() {
        let outcome = guard(async {
            tokio::task::yield_now().await;
            assert!(GUARDED.get());
            panic!("boom {}", 1);
        });
        let panicked = outcome.await.unwrap_err();
        assert_eq!(panicked.message, "boom 1");
        assert!(!GUARDED.get());
        assert_eq!(guard(async { 7 }).await.unwrap(), 7);
    }
}
