//! Lua scripts, called by their digest. A Redis that has forgotten a script (restart, `SCRIPT FLUSH`) is
//! given the source again inside the same deadline; `NOSCRIPT` is the only answer that is retried blindly,
//! since nothing has run then.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, ToRedisArgs, Value};
use tracing::{Instrument, Span};

use crate::error::PoolError;
use crate::permit::PoolPermit;
use crate::pool::RedisPool;
use crate::span;

/// A script and its digest. Build it once.
#[derive(Debug)]
pub struct Script {
    name: &'static str,
    source: String,
    sha1: String,
}

impl Script {
    /// `name` is for logs and metrics.
    #[must_use]
    pub fn new(name: &'static str, source: impl Into<String>) -> Self {
        let source = source.into();
        let sha1 = redis::Script::new(&source).get_hash().to_owned();
        Self { name, source, sha1 }
    }

    /// The script's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Starts a call: keys first, then arguments.
    pub fn invoke(&self) -> Invocation<'_> {
        Invocation { script: self, keys: 0, rest: Cmd::new(), arguments_begun: false }
    }
}

/// A call being put together. All keys must be given before the first argument.
#[must_use]
pub struct Invocation<'a> {
    script: &'a Script,
    keys: usize,
    rest: Cmd,
    arguments_begun: bool,
}

impl Invocation<'_> {
    /// Adds a key.
    ///
    /// # Panics
    /// When an argument was added before: that is a fault of the program, not of its input.
    pub fn key(mut self, key: impl ToRedisArgs) -> Self {
        self.push_key(key);
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.push_arg(arg);
        self
    }

    /// Adds a key, by reference.
    ///
    /// # Panics
    /// As [`Self::key`].
    pub fn push_key(&mut self, key: impl ToRedisArgs) {
        assert!(!self.arguments_begun, "script {}: a key after an argument", self.script.name);
        self.keys += key.num_of_args();
        self.rest.arg(key);
    }

    /// Adds an argument, by reference.
    pub fn push_arg(&mut self, arg: impl ToRedisArgs) {
        self.arguments_begun = true;
        self.rest.arg(arg);
    }

    /// Runs the script within the pool's command timeout.
    ///
    /// # Errors
    /// See [`PoolError`]; [`PoolError::Reply`] when the reply is no `T`.
    pub async fn run<T: FromRedisValue>(self, pool: &RedisPool) -> Result<T, PoolError> {
        let within = pool.command_timeout();
        self.run_within(pool, within).await
    }

    /// Runs the script within `within`, counted from when a permit is free.
    ///
    /// # Errors
    /// See [`PoolError`]; [`PoolError::Reply`] when the reply is no `T`.
    pub async fn run_within<T: FromRedisValue>(
        self,
        pool: &RedisPool,
        within: Duration,
    ) -> Result<T, PoolError> {
        let permit = pool.permit().await?;
        self.run_with_permit(pool, &permit, within).await
    }

    /// Runs the script within the pool's command timeout for somebody who holds a permit already, perhaps of
    /// another pool: with that permit where it is one of this pool's. Whoever holds one must not wait for
    /// another of the same pool, or all of them wait for ever.
    ///
    /// # Errors
    /// See [`PoolError`]; [`PoolError::Reply`] when the reply is no `T`.
    pub async fn run_with_held_permit<T: FromRedisValue>(
        self,
        pool: &RedisPool,
        held: Option<&PoolPermit>,
    ) -> Result<T, PoolError> {
        match held.filter(|held| pool.owns(held)) {
            Some(held) => self.run_with_permit(pool, held, pool.command_timeout()).await,
            None => self.run(pool).await,
        }
    }

    /// Runs the script within `within`, on behalf of all who took the joined `permit`, which is held for as
    /// long as that takes. Where Redis does not hold the script it is sent again with its source.
    ///
    /// # Errors
    /// See [`PoolError`]; [`PoolError::Reply`] when the reply is no `T`.
    pub async fn run_with_permit<T: FromRedisValue>(
        self,
        pool: &RedisPool,
        permit: &PoolPermit,
        within: Duration,
    ) -> Result<T, PoolError> {
        let span = match spans::is_sampled() {
            true => span::of_call(pool.name(), "EVALSHA", Some((self.script.name, self.keys))),
            false => Span::none(),
        };
        let reply = self.sent(pool, permit, within).instrument(span.clone()).await;
        span::record(&span, &reply);
        parse(self.script.name, reply?)
    }

    /// Sends the call, and again with the source of the script if Redis does not hold it.
    async fn sent(
        &self,
        pool: &RedisPool,
        permit: &PoolPermit,
        within: Duration,
    ) -> Result<Value, PoolError> {
        let started = pool.clock().monotonic();
        let first = pool.command_with_permit(self.packed("EVALSHA", &self.script.sha1), permit, within).await;
        match first {
            Err(error) if error.is_unknown_script() => {
                tracing::info!(
                    script = self.script.name,
                    "redis does not hold the script, sending its source"
                );
                let left = within.saturating_sub(pool.clock().monotonic().saturating_sub(started));
                pool.command_with_permit(self.packed("EVAL", &self.script.source), permit, left).await
            }
            other => other,
        }
    }

    fn packed(&self, verb: &str, script: &str) -> Cmd {
        let bytes: usize = self
            .rest
            .args_iter()
            .map(|arg| if let redis::Arg::Simple(bytes) = arg { bytes.len() } else { 0 })
            .sum();
        let mut cmd = Cmd::with_capacity(self.rest.args_iter().len() + 3, bytes + script.len() + 16);
        cmd.arg(verb).arg(script).arg(self.keys);
        for arg in self.rest.args_iter() {
            if let redis::Arg::Simple(bytes) = arg {
                cmd.arg(bytes);
            }
        }
        cmd
    }
}

fn parse<T: FromRedisValue>(script: &str, reply: Value) -> Result<T, PoolError> {
    redis::from_redis_value(reply)
        .map_err(|error| PoolError::Reply { what: format!("script {script}: {error}") })
}
