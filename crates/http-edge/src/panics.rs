//! Panics: a handler's becomes an error of that one request, any other becomes one log line.
//!
//! [`guard`] catches the panic while the handler is polled. The hook of [`install_hook`] knows by a thread-local
//! mark whether a guard is at work: then it only notes the place and leaves the logging to the edge, which knows
//! the request id; otherwise (a background task) it logs by itself. Without the hook, as in tests, the panic
//! still becomes an error, and the standard hook prints it as well.

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

/// A handler panicked. For the log alone.
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

/// Drives `future`; a panic inside it is the error.
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

/// Makes every panic of the process one line of the log instead of text on stderr.
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
        "a payload that is no text".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_after_a_suspension_is_an_error_and_the_mark_is_gone() {
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
