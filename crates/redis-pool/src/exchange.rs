//! One command on its way. If its caller leaves before the reply, the exchange goes on by itself: the slot stays taken
//! until the reply has been read and thrown away, or the connection is closed.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use redis::{Cmd, RedisResult, Value};

use crate::link::Live;

type Reply = Pin<Box<dyn Future<Output = RedisResult<Value>> + Send>>;

/// A future of the raw reply that never gives its slot, an `S`, back early.
pub(crate) struct Exchange<S: Send + Unpin + 'static> {
    under_way: Option<(Reply, S)>,
    live: Live,
    /// How long the connection may go on owing the reply after the caller left.
    patience: Duration,
}

impl<S: Send + Unpin + 'static> Exchange<S> {
    pub(crate) fn start(live: Live, cmd: Cmd, slot: S, patience: Duration) -> Self {
        let mut connection = live.connection.clone();
        let reply: Reply = Box::pin(async move { connection.send_packed_command(&cmd).await });
        Self { under_way: Some((reply, slot)), live, patience }
    }
}

impl<S: Send + Unpin + 'static> Future for Exchange<S> {
    type Output = RedisResult<Value>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((reply, _slot)) = &mut self.under_way else {
            return Poll::Pending;
        };
        let reply = std::task::ready!(reply.as_mut().poll(cx));
        self.under_way = None;
        Poll::Ready(reply)
    }
}

impl<S: Send + Unpin + 'static> Drop for Exchange<S> {
    fn drop(&mut self) {
        let Some((reply, slot)) = self.under_way.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (live, patience) = (self.live.clone(), self.patience);
        runtime.spawn(async move {
            if tokio::time::timeout(patience, reply).await.is_err() {
                tracing::warn!(
                    silent_ms = patience.as_millis(),
                    "closing a redis connection that owes a reply"
                );
                live.close().await;
            }
            drop(slot);
        });
    }
}
