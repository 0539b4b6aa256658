//! One command in flight.
//!
//! If the caller is cancelled before the reply, a task takes over the command and its permit. The permit
//! stays acquired until the task has read and discarded the reply, or has given up the connection.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use redis::{Cmd, RedisResult, Value};

use crate::connections::{Handle, Objects, retire};
use crate::down::Down;

type Reply = Pin<Box<dyn Future<Output = RedisResult<Value>> + Send>>;

/// A future of the raw reply. It releases its permit, a `P`, only when the command has ended.
pub(crate) struct InFlight<P: Send + Unpin + 'static> {
    under_way: Option<(Reply, P)>,
    handle: Handle,
    objects: Objects,
    /// How long the connection may owe the reply after the caller left.
    drain_timeout: Duration,
}

impl<P: Send + Unpin + 'static> InFlight<P> {
    pub(crate) fn send(
        handle: Handle,
        objects: Objects,
        cmd: Cmd,
        permit: P,
        drain_timeout: Duration,
    ) -> Self {
        let mut connection = handle.connection.clone();
        let reply: Reply = Box::pin(async move { connection.send_packed_command(&cmd).await });
        Self { under_way: Some((reply, permit)), handle, objects, drain_timeout }
    }

    /// Returns the handle on the connection that carries the command.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl<P: Send + Unpin + 'static> Future for InFlight<P> {
    type Output = RedisResult<Value>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((reply, _permit)) = &mut self.under_way else {
            return Poll::Pending;
        };
        let reply = std::task::ready!(reply.as_mut().poll(cx));
        self.under_way = None;
        Poll::Ready(reply)
    }
}

impl<P: Send + Unpin + 'static> Drop for InFlight<P> {
    fn drop(&mut self) {
        let Some((reply, permit)) = self.under_way.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (handle, objects, drain_timeout) =
            (self.handle.clone(), self.objects.clone(), self.drain_timeout);
        runtime.spawn(async move {
            if tokio::time::timeout(drain_timeout, reply).await.is_err() {
                retire(&objects, &handle, Down::broken("it owed a reply for too long"));
            }
            drop(permit);
        });
    }
}
